/**
 * Packet lines as a hook speaks them: short lines of text. How many there may be is for the reader of the pipe to say.
 * Specification: gitprotocol-common "pkt-line Format".
 *
 *     OFFSET  SIZE  MEANING
 *          0     4  length in hexadecimal, these four included; 0 to 2 are marks without a payload
 *          4     -  payload; a newline at its end is not part of it
 */

/** @returns the line with its length before it */
export function formatPacketLine(text: string): string {
  return (Buffer.byteLength(text) + 4).toString(16).padStart(4, "0") + text;
}

export type HookPacket =
  | { readonly kind: "line"; readonly text: string }
  /** `flush` stands for any mark; `end`: no whole packet is left. */
  | { readonly kind: "flush" | "end" | "malformed" };

const PACKET_BYTES_MAX = 65_520;

export class PacketLines {
  readonly #source: AsyncIterator<Buffer>;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async next(): Promise<HookPacket> {
    if (!(await this.#fill(4))) return { kind: "end" };
    const head = this.#bytes.toString("latin1", 0, 4);
    const length = /^[0-9a-fA-F]{4}$/.test(head) ? Number.parseInt(head, 16) : 3;
    if (length < 3) {
      this.#bytes = this.#bytes.subarray(4);
      return { kind: "flush" };
    }
    if (length < 4 || length > PACKET_BYTES_MAX) return { kind: "malformed" };
    if (!(await this.#fill(length))) return { kind: "end" };
    const text = this.#bytes.toString("utf8", 4, length).replace(/\n$/, "");
    this.#bytes = this.#bytes.subarray(length);
    return { kind: "line", text };
  }

  /** False when the source ends before. */
  async #fill(size: number): Promise<boolean> {
    while (this.#bytes.length < size) {
      let more: IteratorResult<Buffer>;
      try {
        more = await this.#source.next();
      } catch {
        // A pipe that breaks has no more to say.
        return false;
      }
      if (more.done === true) return false;
      this.#bytes = Buffer.concat([this.#bytes, more.value]);
    }
    return true;
  }
}
