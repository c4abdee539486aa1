/**
 * A sink that gathers small writes: an answer of a few lines and a small pack leaves in one piece. What is large
 * passes through at once. Whoever is about to wait (for the client, for a plan) flushes first.
 */
import type { ByteSink } from "../../base/byte-streams.js";
import type { MaybePromise } from "../../base/maybe-promise.js";

const GATHERED_BYTES_MAX = 64 * 1024;

export interface GatheringSink extends ByteSink {
  /** Writes what was gathered. */
  flush(): MaybePromise<void>;
  /** Whether anything has left. */
  readonly begun: boolean;
}

export function createGatheringSink(sink: ByteSink): GatheringSink {
  let gathered: Uint8Array[] = [];
  let bytes = 0;
  let begun = false;
  const flush = (): MaybePromise<void> => {
    if (gathered.length === 0) return undefined;
    begun = true;
    const chunks = gathered;
    gathered = [];
    bytes = 0;
    return sink.write(...chunks);
  };
  return {
    write(...chunks) {
      for (const chunk of chunks) {
        gathered.push(chunk);
        bytes += chunk.length;
      }
      return bytes >= GATHERED_BYTES_MAX ? flush() : undefined;
    },
    flush,
    get begun() {
      return begun;
    },
  };
}
