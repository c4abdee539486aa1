/**
 * Side-band: three channels in one stream. Specification: gitprotocol-pack, "Packfile Data".
 *
 *     OFFSET  SIZE       MEANING
 *     0       4          pkt-line length
 *     4       1          band: 1 the pack or the report, 2 text for the person, 3 a last message before the end
 *     5       length-5   data
 *
 * Example: `000a\x02hello` prints "hello". Frames hold at most 65,515 bytes of data (`side-band-64k`) or 995
 * (`side-band`), which is what git sends; the prose of the specification allows four more.
 */
import type { ByteSink } from "../../base/byte-streams.js";
import { GitwharfError } from "../../base/errors.js";
import { isPromise, type MaybePromise } from "../../base/maybe-promise.js";
import { FLUSH, formatPktLength } from "./pkt-line.js";
import { sanitizeText } from "./sanitize.js";

export const SIDE_BAND_64K_BYTES_MAX = 65_515;
export const SIDE_BAND_BYTES_MAX = 995;

export type Band = 1 | 2 | 3;

/** Frames handed to the sink at once: a reader that is slow is noticed after so many. */
const FRAMES_PER_WRITE = 64;

/** Frames around bytes, without copying them: head, piece, head, piece … Nothing for no bytes. */
function* frameSideBand(
  band: Band,
  chunks: readonly Uint8Array[],
  dataBytesMax: number,
): Generator<readonly [head: Buffer, piece: Uint8Array], void, void> {
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += dataBytesMax) {
      const piece = at === 0 && chunk.length <= dataBytesMax ? chunk : chunk.subarray(at, at + dataBytesMax);
      yield [frameHead(band, piece.length), piece];
    }
  }
}

const fullHeads = new Map<number, Buffer>();

function frameHead(band: Band, dataBytes: number): Buffer {
  const isFull = band === 1 && (dataBytes === SIDE_BAND_64K_BYTES_MAX || dataBytes === SIDE_BAND_BYTES_MAX);
  const known = isFull ? fullHeads.get(dataBytes) : undefined;
  if (known !== undefined) return known;
  const head = Buffer.from(`${formatPktLength(dataBytes + 1)}${String.fromCharCode(band)}`, "latin1");
  if (isFull) fullHeads.set(dataBytes, head);
  return head;
}

/** A data packet of a side-band stream. @throws protocol/bad-request when it names no band */
export function parseSideBand(payload: Buffer): { readonly band: Band; readonly data: Buffer } {
  const band = payload[0];
  if (band === 1 || band === 2 || band === 3) return { band, data: payload.subarray(1) };
  throw new GitwharfError(
    "protocol/bad-request",
    `a side-band packet is for band ${band ?? "nothing"}, not 1, 2 or 3`,
  );
}

export interface SideBandWriter {
  /** Band 1; framed without copying. Await it before writing more. */
  data(...chunks: readonly Uint8Array[]): MaybePromise<void>;
  /** Band 2, control characters taken out. */
  progress(text: string): MaybePromise<void>;
  /** Band 2 as it is: who calls it has taken out what a terminal must not see. */
  terminal(text: string): MaybePromise<void>;
  /** An empty frame on band 2, which keeps proxies from giving up. */
  keepAlive(): MaybePromise<void>;
  /** Band 3: the client prints it and ends. */
  fatal(text: string): MaybePromise<void>;
  flush(): MaybePromise<void>;
}

/** @param options.dataBytesMax per frame: 65,515 or 995 */
export function createSideBandWriter(
  sink: ByteSink,
  options: { readonly dataBytesMax: number },
): SideBandWriter {
  const { dataBytesMax } = options;
  const write = (band: Band, chunks: readonly Uint8Array[]): MaybePromise<void> => {
    const frames: Uint8Array[] = [];
    let bytes = 0;
    for (const chunk of chunks) bytes += chunk.length;
    if (bytes > FRAMES_PER_WRITE * dataBytesMax) return writeMany(band, chunks);
    for (const [head, piece] of frameSideBand(band, chunks, dataBytesMax)) frames.push(head, piece);
    return frames.length === 0 ? undefined : sink.write(...frames);
  };
  const writeMany = async (band: Band, chunks: readonly Uint8Array[]): Promise<void> => {
    let frames: Uint8Array[] = [];
    const send = async (): Promise<void> => {
      const written = sink.write(...frames);
      frames = [];
      if (isPromise(written)) await written;
    };
    for (const [head, piece] of frameSideBand(band, chunks, dataBytesMax)) {
      frames.push(head, piece);
      if (frames.length >= FRAMES_PER_WRITE * 2) await send();
    }
    if (frames.length > 0) await send();
  };
  return {
    data: (...chunks) => write(1, chunks),
    progress: (text) => write(2, [Buffer.from(sanitizeText(text))]),
    terminal: (text) => write(2, [Buffer.from(text)]),
    keepAlive: () => sink.write(frameHead(2, 0)),
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
 * other. A keep-alive is dropped while the reader is slow, instead of piling up.
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
    terminal: (text) => run(() => writer.terminal(text)),
    keepAlive: () => (last === undefined ? run(() => writer.keepAlive()) : undefined),
    fatal: (text) => run(() => writer.fatal(text)),
    flush: () => run(() => writer.flush()),
    async settled() {
      await last;
      if (failure !== undefined) throw failure;
    },
  };
}
