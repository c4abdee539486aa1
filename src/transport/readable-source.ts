/** A Node stream as a byte source: pulled, given up when the other side stalls. It is left open when the reader ends. */
import type { Readable } from "node:stream";
import { abortedError, GitwharfError } from "../base/errors.js";

/** @throws base/truncated (nothing came in time), base/aborted, and what the stream throws */
export async function* readReadable(
  stream: Readable,
  options: { readonly idleTimeoutMs: number; readonly signal: AbortSignal },
): AsyncGenerator<Uint8Array, void, void> {
  const { signal, idleTimeoutMs } = options;
  const iterator = stream.iterator({ destroyOnReturn: false });
  let timer: NodeJS.Timeout | undefined;
  let give: ((error: GitwharfError) => void) | undefined;
  const onAbort = (): void => give?.(abortedError(signal));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    for (;;) {
      if (signal.aborted) throw abortedError(signal);
      const stalled = new Promise<never>((_, reject) => {
        give = reject;
        if (Number.isFinite(idleTimeoutMs)) {
          timer = setTimeout(() => {
            reject(
              new GitwharfError("base/truncated", `no byte arrived for ${idleTimeoutMs / 1000} seconds`),
            );
          }, idleTimeoutMs);
        }
      });
      let next: IteratorResult<unknown>;
      try {
        next = await Promise.race([iterator.next(), stalled]);
      } finally {
        clearTimeout(timer);
      }
      if (next.done === true) return;
      yield next.value as Uint8Array;
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    // (It waits for the bytes that it was last asked for, which may never come.)
    void iterator.return?.().catch(() => undefined);
  }
}
