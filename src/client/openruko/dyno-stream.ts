/**
 * Tells standard error from git's bytes in what a dyno sends: a chunk that begins `E:` is standard error. A chunk is what
 * a dyno host has written at once and no more than 16 KiB, which is one TLS record and one `data` event.
 *
 * Git's bytes are cut into chunks anywhere, and one chunk of a pack in 65,536 begins `E:` by chance. So the lines of git's
 * protocol are followed: `E:` counts where a line begins, which no line does with it (a line begins with its length in
 * four hexadecimal digits). Within a line, and after something that is no line (a pack without side-band), all bytes are
 * git's. Specification: gitprotocol-common, pkt-line format.
 *
 *   OFFSET  SIZE  MEANING
 *   0       4     length of the line with these, hexadecimal; 0 to 2 stand alone
 *   4       n-4   payload
 */
import { StringDecoder } from "node:string_decoder";
import { sanitizeText } from "../../protocol/wire/sanitize.js";

export interface DynoBytes {
  /** What is for "errors" drives no terminal. */
  readonly to: "output" | "errors";
  readonly bytes: Buffer;
}

export interface DynoReader {
  read(chunk: Buffer): DynoBytes;
  /** Has any of it been git's? */
  readonly hasSpoken: boolean;
}

const HEAD_BYTES = 4;
const LINE_BYTES_MAX = 65_520;
/** Of those that are nothing but a length: flush, delimiter, end of the response. */
const MARK_MAX = 2;

export function createDynoReader(): DynoReader {
  /** "text": it began with something that is no line, so a person is meant. */
  let mode: "lines" | "pack" | "text" = "lines";
  let head = 0;
  let headBytes = 0;
  /** Bytes of the running line that are still to come. */
  let left = 0;
  let hasSpoken = false;
  const decoder = new StringDecoder("utf8");
  const forPerson = (bytes: Buffer): DynoBytes => ({
    to: "errors",
    bytes: Buffer.from(sanitizeText(decoder.write(bytes))),
  });

  /** @returns false when these bytes are no lines */
  const follow = (chunk: Buffer): boolean => {
    let at = 0;
    while (at < chunk.length) {
      if (left > 0) {
        const taken = Math.min(left, chunk.length - at);
        left -= taken;
        at += taken;
        continue;
      }
      const digit = hexDigit(chunk[at] as number);
      if (digit === undefined) return false;
      head = head * 16 + digit;
      at++;
      if (++headBytes < HEAD_BYTES) continue;
      if (head > LINE_BYTES_MAX || (head > MARK_MAX && head < HEAD_BYTES)) return false;
      left = Math.max(0, head - HEAD_BYTES);
      head = 0;
      headBytes = 0;
      hasSpoken = true;
    }
    return true;
  };

  return {
    get hasSpoken() {
      return hasSpoken;
    },
    read(chunk) {
      if (mode === "text") return forPerson(chunk);
      if (mode === "pack") return { to: "output", bytes: chunk };
      if (left === 0 && headBytes === 0 && chunk[0] === 0x45 && chunk[1] === 0x3a)
        return forPerson(chunk.subarray(2));
      if (!follow(chunk)) mode = hasSpoken ? "pack" : "text";
      // (The compiler does not see that `follow` has changed it.)
      return (mode as string) === "text" ? forPerson(chunk) : { to: "output", bytes: chunk };
    },
  };
}

function hexDigit(byte: number): number | undefined {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : undefined;
}
