/**
 * The header of a commit or a tag, line by line. Lines are byte strings (latin1) without their LF. A peer decides how
 * many there are and how long: none is read before it is asked for.
 */
import type { Report } from "./fsck-message.js";

const LF = 0x0a;

export class HeaderLines {
  readonly #data: Buffer;
  readonly #end: number;
  #at = 0;

  /** @param end behind the LF of the last line */
  constructor(data: Buffer, end: number) {
    this.#data = data;
    this.#end = end;
  }

  /** The value of the next line when it begins with `prefix`; then it is done with. */
  take(prefix: string): string | undefined {
    const from = this.#at + prefix.length;
    if (from >= this.#end || this.#data.toString("latin1", this.#at, from) !== prefix) return undefined;
    const stop = this.#data.indexOf(LF, from);
    this.#at = stop + 1;
    return this.#data.toString("latin1", from, stop);
  }

  get ended(): boolean {
    return this.#at >= this.#end;
  }
}

/** undefined: it is not whole, which was reported. */
export function headerLines(data: Buffer, report: Report): HeaderLines | undefined {
  const blank = data.indexOf("\n\n");
  const end = blank < 0 ? data.length : blank + 1;
  const nul = data.indexOf(0);
  if (nul >= 0 && nul < end) {
    report("nulInHeader", `unterminated header: NUL at offset ${nul}`);
    return undefined;
  }
  if (blank < 0 && data.at(-1) !== LF) {
    report("unterminatedHeader", "unterminated header");
    return undefined;
  }
  return new HeaderLines(data, end);
}
