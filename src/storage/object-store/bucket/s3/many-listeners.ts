/** A caller's one signal ends any number of requests. Node takes more than ten listeners of it for a leak, and says so. */
import { setMaxListeners } from "node:events";

export function expectManyListeners(signal: AbortSignal | undefined): void {
  if (signal !== undefined) setMaxListeners(0, signal);
}
