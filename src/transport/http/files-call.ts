/** A request for a file of a repository: authorized like a fetch, and given back and counted whatever comes of it. */
import { beginServiceCall, type ServiceCall } from "../service-call.js";
import type { HttpExchange } from "./answer-request.js";

export async function withFilesCall(
  exchange: HttpExchange,
  name: string,
  use: (call: ServiceCall) => Promise<void>,
): Promise<void> {
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
    await use(call);
  } finally {
    await call.release();
    await host.rates.countBytes(caller, caller.activity.bytes);
  }
}
