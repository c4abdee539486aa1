/**
 * Inflating one zlib stream out of the middle of a buffer, and deflating. The one place that touches a private part
 * of Node: the synchronous handle behind `zlib.Inflate` is used again for every object, which costs a third of a
 * fresh `inflateSync`. It is used only after a self-test has passed; otherwise the public interface does the work.
 * Specification: RFC 1950.
 */
import { constants, createInflate, deflateSync, inflateSync } from "node:zlib";
import { GitwharfError, invariant } from "../base/errors.js";
import { SLAB_CUT_BYTES_MAX, slab } from "./slab.js";

export interface Inflated {
  readonly data: Buffer;
  /** Compressed bytes that were read. */
  readonly consumed: number;
}

interface InflateHandle {
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
  readonly handle: InflateHandle;
  /** [0]: free bytes of output, [1]: unread bytes of input, after a write. */
  readonly state: Uint32Array;
}

/**
 * Free bytes behind the expected end of the output. One would do to see whether a stream is longer than expected;
 * with room for a longest match (258) zlib stays in its fast loop up to the last byte.
 */
export const OUTPUT_SLACK_BYTES = 320;

const SHORT = -1;
const BAD = -2;

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

/** @returns bytes of input that were read; −1: the input ends before the stream does; −2: malformed */
function inflateRaw(
  { handle, state }: Engine,
  bytes: Uint8Array,
  offset: number,
  target: Uint8Array,
  at: number,
  sizeBytes: number,
): number {
  const available = bytes.length - offset;
  failure = "";
  handle.reset();
  handle.writeSync(constants.Z_FINISH, bytes, offset, available, target, at, sizeBytes + OUTPUT_SLACK_BYTES);
  // Told to finish, with room left, zlib calls the lack of input a "buffer error".
  if (failure !== "") return failure === "Z_BUF_ERROR" ? SHORT : BAD;
  return state[0] === OUTPUT_SLACK_BYTES ? available - (state[1] as number) : BAD;
}

function inflateWith(
  using: Engine,
  bytes: Uint8Array,
  offset: number,
  sizeBytes: number,
): Inflated | "short" | "bad" {
  const small = sizeBytes <= SLAB_CUT_BYTES_MAX;
  if (small) slab.reserve(sizeBytes + OUTPUT_SLACK_BYTES);
  const out = small ? slab.memory : Buffer.allocUnsafeSlow(sizeBytes + OUTPUT_SLACK_BYTES);
  const consumed = inflateRaw(using, bytes, offset, out, small ? slab.used : 0, sizeBytes);
  if (consumed < 0) return consumed === SHORT ? "short" : "bad";
  return { data: small ? slab.cut(sizeBytes) : out.subarray(0, sizeBytes), consumed };
}

/**
 * Inflates into memory that is there: `sizeBytes` at `at`, with OUTPUT_SLACK_BYTES behind them that are overwritten.
 * @returns compressed bytes that were read; −1 when the input ends before the stream does
 * @throws pack/bad-zlib when it is malformed or amounts to another size
 */
export function inflateInto(
  bytes: Uint8Array,
  offset: number,
  target: Buffer,
  at: number,
  sizeBytes: number,
): number {
  if (engine === undefined) {
    const result = inflatePublic(bytes, offset, sizeBytes);
    if (result === "bad") throw badZlib();
    if (result === "short") return SHORT;
    target.set(result.data, at);
    return result.consumed;
  }
  const consumed = inflateRaw(engine, bytes, offset, target, at, sizeBytes);
  if (consumed === BAD) throw badZlib();
  return consumed;
}

/**
 * Inflates a stream that begins at `offset` and must amount to exactly `sizeBytes`. Allocates `sizeBytes`: the
 * caller has checked it against its limits.
 * @returns "short" when the input ends before the stream does: call again with more
 * @throws pack/bad-zlib when it is malformed or amounts to another size
 */
export function tryInflateAt(bytes: Uint8Array, offset: number, sizeBytes: number): Inflated | "short" {
  const result =
    engine === undefined
      ? inflatePublic(bytes, offset, sizeBytes)
      : inflateWith(engine, bytes, offset, sizeBytes);
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

/** False when only the public interface is there: it cannot inflate piece by piece without waiting. */
export const canStreamInflate = engine !== undefined;

/** Inflates one stream piece by piece, synchronously, for objects too large to be held whole. */
export class StreamInflater {
  readonly #onData: (piece: Buffer) => void;
  readonly #engine: Engine;
  readonly #sizeBytes: number;
  #outBytes = 0;
  #failure = "";

  /** @param onData takes each inflated piece; the bytes are valid during the call only */
  constructor(sizeBytes: number, onData: (piece: Buffer) => void) {
    this.#sizeBytes = sizeBytes;
    this.#onData = onData;
    const own = openEngine();
    invariant(own !== undefined, "streaming inflate needs the private handle; ask canStreamInflate first");
    this.#engine = own;
    own.handle.onerror = (_message, _errno, code) => {
      this.#failure = code;
    };
    own.handle.reset();
  }

  /**
   * @returns how many bytes of `input` belonged to the stream when it came to its end in it; undefined when it goes on
   * @throws pack/bad-zlib when it is malformed or amounts to another size
   */
  push(input: Buffer): number | undefined {
    const using = this.#engine;
    const out = Buffer.allocUnsafe(65_536);
    let at = 0;
    for (;;) {
      using.handle.writeSync(constants.Z_NO_FLUSH, input, at, input.length - at, out, 0, out.length);
      if (this.#failure !== "") throw badZlib();
      const free = using.state[0] as number;
      const unread = using.state[1] as number;
      const made = out.length - free;
      at = input.length - unread;
      this.#outBytes += made;
      if (this.#outBytes > this.#sizeBytes) throw badZlib();
      if (made > 0) this.#onData(out.subarray(0, made));
      // zlib stops for three reasons: the input is used up, the output is full, or the stream has ended.
      if (unread > 0 && free > 0) {
        if (this.#outBytes !== this.#sizeBytes) throw badZlib();
        return at;
      }
      if (unread === 0 && free > 0) return undefined;
    }
  }
}

function inflatePublic(bytes: Uint8Array, offset: number, sizeBytes: number): Inflated | "short" | "bad" {
  try {
    const input = bytes.subarray(offset);
    const options = { info: true, maxOutputLength: Math.max(sizeBytes, 1) } as const;
    const result: unknown = inflateSync(input, options);
    if (!isInfo(result)) return "bad";
    return result.buffer.length === sizeBytes
      ? { data: result.buffer, consumed: result.engine.bytesWritten }
      : "bad";
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
  return new GitwharfError(
    "pack/bad-zlib",
    "compressed data is malformed or does not amount to the size it claims",
  );
}
