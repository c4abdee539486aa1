/**
 * `GET /NAME/bundles/ID.bundle`: the bundle that the server has made of a repository, for who may read it, whole or in
 * ranges. Where storage gives addresses of its own, clients are told these instead.
 */
import { GitwharfError } from "../../base/errors.js";
import { findOfferedBundle } from "../../protocol/offered-bundle.js";
import { beginServiceCall } from "../service-call.js";
import { uploadPackContext } from "../service-contexts.js";
import type { HttpExchange } from "./answer-request.js";
import { sendFile } from "./dumb.js";
import { setNoCache } from "./no-cache.js";

export async function serveBundle(exchange: HttpExchange, name: string, id: string): Promise<void> {
  const { host, caller, signal } = exchange;
  const call = await beginServiceCall({
    host,
    caller,
    name,
    operation: "fetch",
    discovery: true,
    service: "files",
    signal,
  });
  try {
    const bundle =
      host.bundleUris === undefined
        ? undefined
        : await findOfferedBundle(uploadPackContext(exchange, call, 2));
    if (bundle?.id !== id)
      throw new GitwharfError("storage/not-found", `there is no such bundle of repository '${name}'`);
    setNoCache(exchange.response);
    await sendFile(exchange, "application/octet-stream", bundle);
  } finally {
    await call.release();
    await host.rates.countBytes(caller, caller.activity.bytes);
  }
}
