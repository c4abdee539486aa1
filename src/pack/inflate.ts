/**
 * Inflating one zlib stream out of the middle of a buffer, and deflating. The one place that touches a private part
 * of Node: the synchronous handle behind `zlib.Inflate` is used again for every object, which costs a third of a
 * fresh `inflateSync`. It is used only after a self-test has passed; otherwise the public interface does the work.
 * Specification: RFC 1950.
 */
import { constants, createInflate, deflateSync, inflateSync } from "node:zlib";
import { GitwharfError } from "../base/errors.js";

export interface Inflated {
  readonly data: Buffer;
  /** Compressed bytes that were read. */
  readonly consumed: number;
}

interface InflateHandle {
  reset(): void;
  writeSync(flush: number, input: Uint8Array, inAt: number, inLength: number, out: Uint8Array, outAt: number, outLength: number): void;
  onerror: (message: string, errno: number, code: string) => void;
}

interface Engine {
  readonly handle: InflateHandle;
  /** [0]: free bytes of output, [1]: unread bytes of input, after a write. */
  readonly state: Uint32Array;
}

let failure = "";
const engine = openEngine();

function openEngine(): Engine | undefined {
  const stream = createInflate();
  const handle: unknown = Reflect.get(stream, "_handle");
  const state: unknown = Reflect.get(stream, "_writeState");
  if (!isHandle(handle) || !(state instanceof Uint32Array)) return undefined;
  handle.onerror = (_message, _errno, code) => {
    failure = code;
  };
  const opened = { handle, state };
  return selfTest(opened) ? opened : undefined;
}

function isHandle(value: unknown): value is InflateHandle {
  return typeof value === "object" && value !== null && "writeSync" in value && "reset" in value;
}

function selfTest(candidate: Engine): boolean {
  try {
    const text = Buffer.from("gitwharf ".repeat(300));
    const packed = Buffer.concat([Buffer.from("xx"), deflateSync(text), Buffer.from("tail")]);
    for (let i = 0; i < 2; i++) {
      const whole = inflateWith(candidate, packed, 2, text.length);
      if (whole === "short" || whole === "bad" || !whole.data.equals(text)) return false;
      if (whole.consumed !== packed.length - 6) return false;
      if (inflateWith(candidate, packed.subarray(0, 12), 2, text.length) !== "short") return false;
      if (inflateWith(candidate, packed, 2, text.length - 1) !== "bad") return false;
      if (inflateWith(candidate, packed, 0, text.length) !== "bad") return false;
    }
    return true;
  } catch {
    // Whatever a changed Node throws here means that the private interface is not what it was.
    return false;
  }
}

function inflateWith(using: Engine, bytes: Uint8Array, offset: number, sizeBytes: number): Inflated | "short" | "bad" {
  const data = Buffer.allocUnsafe(sizeBytes);
  const { handle, state } = using;
  const available = bytes.length - offset;
  failure = "";
  handle.reset();
  // zlib wants a place to write even when nothing is to come.
  const out = sizeBytes === 0 ? ONE_BYTE : data;
  handle.writeSync(constants.Z_FINISH, bytes, offset, available, out, 0, out.length);
  const free = state[0] as number;
  const unread = state[1] as number;
  if (failure !== "") {
    // "Buffer error": it did not come to its end, for lack of input (then all of it was read) or of room.
    return failure === "Z_BUF_ERROR" && unread === 0 ? "short" : "bad";
  }
  if (free !== out.length - sizeBytes) return "bad";
  return { data, consumed: available - unread };
}

const ONE_BYTE = Buffer.alloc(1);

/**
 * Inflates a stream that begins at `offset` and must amount to exactly `sizeBytes`. Allocates `sizeBytes`: the
 * caller has checked it against its limits.
 * @returns "short" when the input ends before the stream does: call again with more
 * @throws pack/bad-zlib when it is malformed or amounts to another size
 */
export function tryInflateAt(bytes: Uint8Array, offset: number, sizeBytes: number): Inflated | "short" {
  const result = engine === undefined ? inflatePublic(bytes, offset, sizeBytes) : inflateWith(engine, bytes, offset, sizeBytes);
  if (result === "bad") throw badZlib();
  return result;
}

/** The same where all input is there. @throws pack/bad-zlib */
export function inflateAt(bytes: Uint8Array, offset: number, sizeBytes: number): Inflated {
  const result = tryInflateAt(bytes, offset, sizeBytes);
  if (result === "short") throw badZlib();
  return result;
}

/** The first `length` inflated bytes, or fewer when the stream is shorter or the input ends. @throws pack/bad-zlib */
export function inflatePrefix(bytes: Uint8Array, offset: number, length: number): Buffer {
  const out = Buffer.allocUnsafe(length);
  if (engine !== undefined) {
    failure = "";
    engine.handle.reset();
    engine.handle.writeSync(constants.Z_SYNC_FLUSH, bytes, offset, bytes.length - offset, out, 0, length);
    if (failure !== "") throw badZlib();
    return out.subarray(0, length - (engine.state[0] as number));
  }
  try {
    const all = inflateSync(bytes.subarray(offset), { finishFlush: constants.Z_SYNC_FLUSH });
    return all.subarray(0, length);
  } catch (cause) {
    throw new GitwharfError("pack/bad-zlib", "compressed data is malformed", { cause });
  }
}

function inflatePublic(bytes: Uint8Array, offset: number, sizeBytes: number): Inflated | "short" | "bad" {
  try {
    const input = bytes.subarray(offset);
    const options = { info: true, maxOutputLength: Math.max(sizeBytes, 1) } as const;
    const result: unknown = inflateSync(input, options);
    if (!isInfo(result)) return "bad";
    return result.buffer.length === sizeBytes ? { data: result.buffer, consumed: result.engine.bytesWritten } : "bad";
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "Z_BUF_ERROR" ? "short" : "bad";
  }
}

function isInfo(value: unknown): value is { buffer: Buffer; engine: { bytesWritten: number } } {
  return typeof value === "object" && value !== null && "buffer" in value && "engine" in value;
}

/** @param level zlib's 0 to 9 @default 6 */
export function deflate(data: Uint8Array, level = 6): Buffer {
  return deflateSync(data, { level });
}

function badZlib(): GitwharfError {
  return new GitwharfError("pack/bad-zlib", "compressed data is malformed or does not amount to the size it claims");
}
