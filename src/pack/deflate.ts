/**
 * Deflating many small pieces: one zlib state is used again for all of them, because making a new one costs more
 * than deflating a kilobyte. Like `inflate.ts` it touches the synchronous handle behind Node's zlib, only after a
 * self-test, with the public interface to fall back on. Specification: RFC 1950, RFC 1951.
 */
import { constants, createDeflate, deflateSync, inflateSync } from "node:zlib";

interface DeflateHandle {
  reset(): void;
  writeSync(
    flush: number,
    input: Uint8Array,
    inAt: number,
    inLength: number,
    out: Uint8Array,
    outAt: number,
    outLength: number,
  ): void;
  onerror: (message: string, errno: number, code: string) => void;
}

interface Engine {
  readonly handle: DeflateHandle;
  /** [0]: free bytes of output, [1]: unread bytes of input, after a write. */
  readonly state: Uint32Array;
}

/** zlib's levels: 1 for what is kept for a short time only, 6 for what travels. */
export type DeflateLevel = 1 | 6;

/** Below it the few bytes that deflating saves are not worth its time: the content is stored as it is. */
const STORED_BYTES_MAX = 100;
/** Larger pieces get a state of their own: the output buffer that is used again stays small. */
const REUSED_BYTES_MAX = 256 * 1024;

let failed = false;
let output = Buffer.alloc(0);
const engines = { 1: openEngine(1), 6: openEngine(6) };

/** A complete zlib stream (header, blocks, adler32). The bytes are the caller's. */
export function deflateSmall(data: Uint8Array, level: DeflateLevel = 6): Buffer {
  if (data.length <= STORED_BYTES_MAX) return stored(data);
  const engine = engines[level];
  const deflated =
    engine === undefined || data.length > REUSED_BYTES_MAX ? undefined : deflateWith(engine, data);
  return deflated ?? deflateSync(data, { level });
}

/** One stored block. */
function stored(data: Uint8Array): Buffer {
  const { length } = data;
  const out = Buffer.allocUnsafe(length + 11);
  out[0] = 0x78;
  out[1] = 0x01;
  out[2] = 1;
  out.writeUInt16LE(length, 3);
  out.writeUInt16LE(0xffff - length, 5);
  out.set(data, 7);
  let a = 1;
  let b = 0;
  for (let i = 0; i < length; i++) {
    a += data[i] as number;
    b += a;
  }
  out.writeUInt16BE(b % 65_521, length + 7);
  out.writeUInt16BE(a % 65_521, length + 9);
  return out;
}

function openEngine(level: DeflateLevel): Engine | undefined {
  const stream = createDeflate({ level });
  const handle: unknown = Reflect.get(stream, "_handle");
  const state: unknown = Reflect.get(stream, "_writeState");
  if (!isHandle(handle) || !(state instanceof Uint32Array)) return undefined;
  handle.onerror = () => {
    failed = true;
  };
  const opened = { handle, state };
  return selfTest(opened, level) ? opened : undefined;
}

function isHandle(value: unknown): value is DeflateHandle {
  return typeof value === "object" && value !== null && "writeSync" in value && "reset" in value;
}

function selfTest(candidate: Engine, level: DeflateLevel): boolean {
  try {
    for (const text of ["gitwharf ".repeat(300), "x", "", "gitwharf ".repeat(300)]) {
      const data = Buffer.from(text);
      const deflated = deflateWith(candidate, data);
      if (deflated === undefined || !deflated.equals(deflateSync(data, { level }))) return false;
      if (!inflateSync(deflated).equals(data)) return false;
    }
    return true;
  } catch {
    // Whatever a changed Node throws here means that the private interface is not what it was.
    return false;
  }
}

function deflateWith({ handle, state }: Engine, data: Uint8Array): Buffer | undefined {
  // zlib's own bound for any settings.
  const bound = data.length + Math.ceil(data.length / 8) + Math.ceil(data.length / 64) + 32;
  if (output.length < bound) output = Buffer.allocUnsafeSlow(Math.max(bound, output.length * 2, 16 * 1024));
  failed = false;
  handle.reset();
  handle.writeSync(constants.Z_FINISH, data, 0, data.length, output, 0, output.length);
  if (failed || state[1] !== 0 || state[0] === 0) return undefined;
  return Buffer.from(output.subarray(0, output.length - (state[0] as number)));
}
