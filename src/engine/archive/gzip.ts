/** gzip around a stream of chunks, in zlib's threads; nothing is read faster than the reader takes. RFC 1952. */
import { Readable } from "node:stream";
import { createGzip } from "node:zlib";

export async function* writeGzip(
  chunks: AsyncIterable<Uint8Array>,
  options: { readonly level: number; readonly signal: AbortSignal },
): AsyncGenerator<Uint8Array, void, void> {
  const { level, signal } = options;
  const source = Readable.from(chunks, { objectMode: false, signal });
  const gzip = createGzip({ level, chunkSize: 64 * 1024 });
  source.on("error", (error) => gzip.destroy(error));
  source.pipe(gzip);
  try {
    for await (const chunk of gzip) yield chunk as Buffer;
  } finally {
    gzip.destroy();
    source.destroy();
  }
}
