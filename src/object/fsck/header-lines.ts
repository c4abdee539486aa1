/**
 * The header of a commit or a tag, line by line. Lines are byte strings (latin1) without their LF.
 */
import type { Report } from "./fsck-message.js";

export class HeaderLines {
  readonly #lines: readonly string[];
  #at = 0;

  constructor(lines: readonly string[]) {
    this.#lines = lines;
  }

  /** The value of the next line when it begins with `prefix`; then it is done with. */
  take(prefix: string): string | undefined {
    const line = this.#lines[this.#at];
    if (line?.startsWith(prefix) !== true) return undefined;
    this.#at++;
    return line.slice(prefix.length);
  }

  get ended(): boolean {
    return this.#at >= this.#lines.length;
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
  if (blank < 0 && data.at(-1) !== 0x0a) {
    report("unterminatedHeader", "unterminated header");
    return undefined;
  }
  return new HeaderLines(data.toString("latin1", 0, end).split("\n").slice(0, -1));
}
