/**
 * `GET /NAME/bundles/ID.bundle`: the bundle that the server has made of a repository, for who may read it, whole or in
 * ranges. Where storage gives addresses of its own, clients are told these instead.
 */
import { GitwharfError } from "../../base/errors.js";
import { findOfferedBundle } from "../../protocol/offered-bundle.js";
import { uploadPackContext } from "../service-contexts.js";
import type { HttpExchange } from "./answer-request.js";
import { sendFile } from "./dumb.js";
import { withFilesCall } from "./files-call.js";
import { setNoCache } from "./no-cache.js";

export async function serveBundle(exchange: HttpExchange, name: string, id: string): Promise<void> {
  await withFilesCall(exchange, name, async (call) => {
    const bundle =
      exchange.host.bundleUris === undefined
        ? undefined
        : await findOfferedBundle(uploadPackContext(exchange, call, 2));
    if (bundle?.id !== id)
      throw new GitwharfError("storage/not-found", `there is no such bundle of repository '${name}'`);
    setNoCache(exchange.response);
    await sendFile(exchange, "application/octet-stream", bundle);
  });
}
