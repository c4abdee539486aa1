/**
 * pkt-lines, the frame of everything that Git sends. Specification: gitprotocol-common, "pkt-line Format".
 *
 *     OFFSET  SIZE       MEANING
 *     0       4          length in hexadecimal, these four included; 0000 flush, 0001 delimiter, 0002 response end
 *     4       length-4   payload
 *
 * Example: `0006a\n` carries "a\n".
 */
import type { ByteSource } from "../../base/byte-streams.js";
import type { SharedBudget, BudgetShare } from "../../base/shared-budget.js";
import { GitwharfError } from "../../base/errors.js";
import type { MaybePromise } from "../../base/maybe-promise.js";

/** Longest pkt-line, its length included. */
export const PKT_LINE_BYTES_MAX = 65_520;

export const FLUSH = Buffer.from("0000");
export const DELIM = Buffer.from("0001");
export const RESPONSE_END = Buffer.from("0002");

export type Packet =
  | { readonly kind: "data"; readonly payload: Buffer }
  | { readonly kind: "flush" }
  | { readonly kind: "delim" }
  | { readonly kind: "response-end" }
  /** The stream ended where a packet could begin. */
  | { readonly kind: "eof" };

const FLUSH_PACKET: Packet = { kind: "flush" };
const DELIM_PACKET: Packet = { kind: "delim" };
const RESPONSE_END_PACKET: Packet = { kind: "response-end" };
const EOF_PACKET: Packet = { kind: "eof" };

/** The four digits before a payload of so many bytes (0 to 65,516). */
export function formatPktLength(payloadBytes: number): string {
  return (payloadBytes + 4).toString(16).padStart(4, "0");
}

/** @param payload at most 65,516 bytes */
export function encodePktLine(payload: string | Uint8Array): Buffer {
  const bytes = typeof payload === "string" ? Buffer.from(payload) : payload;
  if (bytes.length + 4 > PKT_LINE_BYTES_MAX) {
    throw new GitwharfError("base/invariant", `a pkt-line of ${bytes.length} bytes was to be sent`);
  }
  return Buffer.concat([Buffer.from(formatPktLength(bytes.length)), bytes]);
}

/**
 * A pkt-line as text, to be joined with others and turned into bytes once.
 * @returns undefined when it is too long for one pkt-line
 */
export function formatPktText(text: string): string | undefined {
  const bytes = Buffer.byteLength(text);
  return bytes + 4 > PKT_LINE_BYTES_MAX ? undefined : formatPktLength(bytes) + text;
}

/** The text of a data packet without its newline. */
export function packetText(payload: Buffer): string {
  const end = payload.at(-1) === 0x0a ? payload.length - 1 : payload.length;
  return payload.toString("utf8", 0, end);
}

export interface PktLineLimits {
  /** Bytes of all packets of one request together. */
  readonly totalBytesMax: number;
  /** The name of the limit, for the message. */
  readonly limitName: string;
  /** What packets of all requests together may hold: those read here count until the next request, or `close`. */
  readonly budget?: SharedBudget | undefined;
}

/**
 * Reads packets out of a stream, pulled one by one; how the stream is cut into chunks makes no difference. What it
 * holds is one packet and the chunks that it came in. Whoever needs the raw bytes behind the packets takes
 * `rest()`; then `next` is over.
 */
export class PktLineReader {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #limits: PktLineLimits;
  readonly #share: BudgetShare | undefined;
  #buffer: Buffer = Buffer.alloc(0);
  #at = 0;
  #ended = false;
  /** Bytes of packets so far: where the next one begins. */
  #position = 0;
  /** `#position` where the request began that the limit counts. */
  #requestStart = 0;

  constructor(source: ByteSource, limits: PktLineLimits) {
    this.#iterator = source[Symbol.asyncIterator]();
    this.#limits = limits;
    this.#share = limits.budget?.open();
  }

  /**
   * At once when the packet has arrived already. A payload is a view of what the source gave, and the caller's.
   * @throws protocol/bad-line, base/truncated, base/limit-exceeded, server/busy, and what the source throws
   */
  next(): MaybePromise<Packet> {
    return this.#take() ?? this.#takeLater();
  }

  /** From here on bytes count for a new request (a connection carries several). */
  beginRequest(): void {
    this.#requestStart = this.#position;
    this.#share?.release();
  }

  /** The bytes that follow the last packet, as they come. */
  rest(): ByteSource {
    const first = this.#buffer.subarray(this.#at);
    this.#at = this.#buffer.length;
    const iterator = this.#iterator;
    return {
      async *[Symbol.asyncIterator]() {
        if (first.length > 0) yield first;
        try {
          for (;;) {
            const next = await iterator.next();
            if (next.done === true) return;
            yield next.value;
          }
        } finally {
          await iterator.return?.();
        }
      },
    };
  }

  /** Gives the source up. */
  async close(): Promise<void> {
    this.#share?.release();
    await this.#iterator.return?.();
  }

  /** The next packet, when all of it is there. */
  #take(): Packet | undefined {
    if (this.#buffer.length - this.#at < 4) return undefined;
    const length = this.#length();
    if (this.#buffer.length - this.#at < length) return undefined;
    const start = this.#at + 4;
    const bytes = Math.max(length, 4);
    this.#share?.take(bytes);
    this.#at += bytes;
    this.#position += bytes;
    if (length >= 4) return { kind: "data", payload: this.#buffer.subarray(start, this.#at) };
    return length === 0 ? FLUSH_PACKET : length === 1 ? DELIM_PACKET : RESPONSE_END_PACKET;
  }

  async #takeLater(): Promise<Packet> {
    if (!(await this.#fill(4))) {
      if (this.#at === this.#buffer.length) return EOF_PACKET;
      throw this.#truncated();
    }
    if (!(await this.#fill(this.#length()))) throw this.#truncated();
    return this.#take() as Packet;
  }

  /** What the four digits at hand say, checked against format and limit. */
  #length(): number {
    const length = parseLength(this.#buffer, this.#at);
    if (length === undefined || length === 3 || length > PKT_LINE_BYTES_MAX) {
      const shown = JSON.stringify(this.#buffer.toString("latin1", this.#at, this.#at + 4));
      throw new GitwharfError(
        "protocol/bad-line",
        `bad line length ${shown} at byte ${this.#position} of the request`,
      );
    }
    if (this.#position - this.#requestStart + Math.max(length, 4) > this.#limits.totalBytesMax) {
      throw new GitwharfError(
        "base/limit-exceeded",
        `the request has more than ${this.#limits.totalBytesMax} bytes, the server's limit (${this.#limits.limitName})`,
      );
    }
    return length;
  }

  /** Pulls until so many bytes are at hand, and joins the chunks once. */
  async #fill(bytes: number): Promise<boolean> {
    const chunks: Buffer[] = [this.#buffer.subarray(this.#at)];
    let have = this.#buffer.length - this.#at;
    while (have < bytes && !this.#ended) {
      const next = await this.#iterator.next();
      if (next.done === true) this.#ended = true;
      else if (next.value.length > 0) {
        chunks.push(Buffer.from(next.value.buffer, next.value.byteOffset, next.value.length));
        have += next.value.length;
      }
    }
    this.#buffer =
      chunks.length === 2 && chunks[0]?.length === 0 ? (chunks[1] as Buffer) : Buffer.concat(chunks);
    this.#at = 0;
    return have >= bytes;
  }

  #truncated(): GitwharfError {
    return new GitwharfError(
      "base/truncated",
      `the request ends in the line that begins at byte ${this.#position}`,
    );
  }
}

function parseLength(bytes: Buffer, at: number): number | undefined {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    const byte = bytes[at + i] as number;
    const digit =
      byte >= 0x30 && byte <= 0x39
        ? byte - 0x30
        : byte >= 0x61 && byte <= 0x66
          ? byte - 0x57
          : byte >= 0x41 && byte <= 0x46
            ? byte - 0x37
            : -1;
    if (digit < 0) return undefined;
    value = value * 16 + digit;
  }
  return value;
}
