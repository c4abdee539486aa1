/**
 * Git's configuration syntax as far as `.gitmodules` needs it. Unlike the parser of a repository's configuration it
 * gives what stands before a mistake, as git does, and works on byte strings (latin1).
 * Specification: git-config, "Syntax".
 */
export interface ConfigVisitor {
  /** @param name `section.` or `section.subsection.`; all but the subsection in lower case */
  section(name: string): void;
  /** @param value undefined: the key, in lower case, stands alone */
  entry(key: string, value: string | undefined): void;
}

const BOM = "\xef\xbb\xbf";
const KEY = /[A-Za-z0-9-]*/y;
const BLANKS = /[ \t]*/y;
const BLANKS_AND_CR = /[ \t\r]*/y;
const QUOTED_RUN = /[^"\\\n]*/y;
/** Of a value, what means itself. */
const PLAIN_RUN = /[^ \t\r\n"\\#;]+/y;

/**
 * Takes time and memory in proportion to the text.
 * @returns false when the text is malformed; what stands before that was given
 */
export function readConfigEntries(bytes: string, visitor: ConfigVisitor): boolean {
  const text = bytes.startsWith(BOM) ? bytes.slice(BOM.length) : bytes;
  return new ConfigReader(text.replaceAll("\r\n", "\n"), visitor).read();
}

class ConfigReader {
  readonly #text: string;
  readonly #visitor: ConfigVisitor;
  #at = 0;

  constructor(text: string, visitor: ConfigVisitor) {
    this.#text = text;
    this.#visitor = visitor;
  }

  read(): boolean {
    const text = this.#text;
    while (this.#at < text.length) {
      const c = text.charAt(this.#at);
      if (/[ \t\n\r]/.test(c)) this.#at++;
      else if (c === "#" || c === ";") this.#at = lineEnd(text, this.#at);
      else if (c === "[") {
        if (!this.#readSection()) return false;
      } else if (!/[A-Za-z]/.test(c) || !this.#readEntry()) return false;
    }
    return true;
  }

  #readSection(): boolean {
    const base = /\[([A-Za-z0-9.-]*)(\]|[ \t\r\n])/y;
    base.lastIndex = this.#at;
    const match = base.exec(this.#text);
    if (match === null) return false;
    const [whole, name = "", end] = match;
    this.#at += whole.length;
    const section = `${name.toLowerCase()}.`;
    if (end === "]") {
      this.#visitor.section(section);
      return name !== "";
    }
    if (end === "\n") return false;
    this.#take(BLANKS_AND_CR);
    const subsection = this.#readQuoted();
    if (subsection === undefined || this.#text.charAt(this.#at++) !== "]") return false;
    this.#visitor.section(`${section}${subsection}.`);
    return true;
  }

  /** In quotes, on one line; a backslash stands for what follows. */
  #readQuoted(): string | undefined {
    const text = this.#text;
    if (text.charAt(this.#at) !== '"') return undefined;
    const parts: string[] = [];
    for (this.#at++; ; ) {
      parts.push(this.#take(QUOTED_RUN));
      const c = text.charAt(this.#at++);
      if (c === '"') return parts.join("");
      const escaped = c === "\\" ? text.charAt(this.#at++) : "";
      if (escaped === "" || escaped === "\n") return undefined;
      parts.push(escaped);
    }
  }

  #readEntry(): boolean {
    const key = this.#take(KEY).toLowerCase();
    this.#take(BLANKS);
    const c = this.#text.charAt(this.#at++);
    let value: string | undefined;
    if (c === "=") {
      value = this.#readValue();
      if (value === undefined) return false;
    } else if (c !== "\n" && c !== "") return false;
    this.#visitor.entry(key, value);
    return true;
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += found.length;
    return found;
  }

  /** To the end of the line. undefined: it is malformed. */
  #readValue(): string | undefined {
    const text = this.#text;
    const out: string[] = [];
    /** How many of `out` are kept: all but blanks at the end. */
    let kept = 0;
    let quoted = false;
    for (;;) {
      const run = this.#take(PLAIN_RUN);
      if (run !== "") kept = out.push(run);
      const c = text.charAt(this.#at++);
      if (c === "\n" || c === "") return quoted ? undefined : out.slice(0, kept).join("");
      if (!quoted && (c === "#" || c === ";")) {
        this.#at = lineEnd(text, this.#at) + 1;
        return out.slice(0, kept).join("");
      }
      if (!quoted && /[ \t\r]/.test(c)) {
        if (out.length > 0) out.push(c);
        continue;
      }
      if (c === "\\") {
        const next = text.charAt(this.#at++);
        // The end of the text counts as the end of a line.
        const escaped = next === "\n" || next === "" ? "" : ESCAPES.get(next);
        if (escaped === undefined) return undefined;
        if (escaped !== "") out.push(escaped);
      } else if (c === '"') quoted = !quoted;
      else out.push(c);
      kept = out.length;
    }
  }
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ["t", "\t"],
  ["b", "\b"],
  ["n", "\n"],
  ["\\", "\\"],
  ['"', '"'],
]);

function lineEnd(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end;
}
