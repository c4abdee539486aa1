/**
 * Side-band: three channels in one stream. Specification: gitprotocol-pack, "Packfile Data".
 *
 * Band 1 carries the pack or the report, band 2 text for the person, band 3 a last message before the end. Frames
 * hold at most 65,515 bytes of data (`side-band-64k`) or 995 (`side-band`), which is what git sends; the prose of the
 * specification allows four more.
 */
import type { ByteSink } from "../../base/byte-streams.js";
import { isPromise, type MaybePromise } from "../../base/maybe-promise.js";
import { FLUSH, formatPktLength } from "./pkt-line.js";
import { sanitizeText } from "./sanitize.js";

export const SIDE_BAND_64K_BYTES_MAX = 65_515;
export const SIDE_BAND_BYTES_MAX = 995;

export interface SideBandWriter {
  /** Band 1; framed without copying. Await it before writing more. */
  data(...chunks: readonly Uint8Array[]): MaybePromise<void>;
  /** Band 2, control characters taken out. */
  progress(text: string): MaybePromise<void>;
  /** An empty frame on band 2, which keeps proxies from giving up. */
  keepAlive(): MaybePromise<void>;
  /** Band 3: the client prints it and ends. */
  fatal(text: string): MaybePromise<void>;
  flush(): MaybePromise<void>;
}

/** @param options.dataBytesMax per frame: 65,515 or 995 */
export function createSideBandWriter(sink: ByteSink, options: { readonly dataBytesMax: number }): SideBandWriter {
  const { dataBytesMax } = options;
  const heads = new Map<number, Buffer>();
  const head = (band: number, bytes: number): Buffer => {
    const key = band * 0x20000 + bytes;
    let known = heads.get(key);
    if (known === undefined) {
      known = Buffer.concat([Buffer.from(formatPktLength(bytes + 1)), Buffer.from([band])]);
      if (heads.size < 64) heads.set(key, known);
    }
    return known;
  };
  const framed = (band: number, chunks: readonly Uint8Array[]): Uint8Array[] => {
    const out: Uint8Array[] = [];
    for (const chunk of chunks) {
      for (let at = 0; at < chunk.length; at += dataBytesMax) {
        const piece = chunk.subarray(at, at + dataBytesMax);
        out.push(head(band, piece.length), piece);
      }
    }
    return out;
  };
  const write = (band: number, chunks: readonly Uint8Array[]): MaybePromise<void> => {
    const frames = framed(band, chunks);
    return frames.length === 0 ? undefined : sink.write(...frames);
  };
  return {
    data: (...chunks) => write(1, chunks),
    progress: (text) => write(2, [Buffer.from(sanitizeText(text))]),
    keepAlive: () => sink.write(head(2, 0)),
    fatal: (text) => write(3, [Buffer.from(sanitizeText(text))]),
    flush: () => sink.write(FLUSH),
  };
}

export interface SerialSideBand extends SideBandWriter {
  /** Writes that were not awaited are out. @throws what a write threw */
  settled(): Promise<void>;
}

/**
 * The same for writers that do not know of each other (progress callbacks, timers): writes happen one after the
 * other. Progress that is not awaited is dropped while the reader is slow, instead of piling up.
 */
export function serializeSideBand(writer: SideBandWriter): SerialSideBand {
  let last: Promise<void> | undefined;
  let failure: unknown;
  const run = (write: () => MaybePromise<void>): MaybePromise<void> => {
    if (failure !== undefined) throw failure;
    if (last === undefined) {
      const result = write();
      if (!isPromise(result)) return undefined;
      return track(result);
    }
    return track(last.then(write));
  };
  const track = (promise: Promise<void>): Promise<void> => {
    const own: Promise<void> = promise.finally(() => {
      if (last === own) last = undefined;
    });
    last = own;
    own.catch((error: unknown) => {
      failure ??= error;
    });
    return own;
  };
  return {
    data: (...chunks) => run(() => writer.data(...chunks)),
    progress: (text) => run(() => writer.progress(text)),
    keepAlive: () => (last === undefined ? run(() => writer.keepAlive()) : undefined),
    fatal: (text) => run(() => writer.fatal(text)),
    flush: () => run(() => writer.flush()),
    async settled() {
      await last;
      if (failure !== undefined) throw failure;
    },
  };
}
