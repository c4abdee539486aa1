/**
 * The two shapes in which bytes flow through gitwharf. Node streams and sockets are met only in `transport/`.
 */
import type { MaybePromise } from "./maybe-promise.js";

/** Pulled chunk by chunk; the consumer owns each chunk. Ending the loop early (`return`) releases the source. */
export type ByteSource = AsyncIterable<Uint8Array>;

/**
 * Where a service writes. `write` takes chunks in order, may keep them without copying (the caller must not
 * change them afterwards) and answers with a promise when the reader is slow: the caller must await it before
 * writing more, which is how a slow reader slows the writer.
 * @throws base/aborted once the other side has gone
 */
export interface ByteSink {
  write(...chunks: Uint8Array[]): MaybePromise<void>;
}
