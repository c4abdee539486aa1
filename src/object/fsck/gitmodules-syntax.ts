/**
 * Git's configuration syntax as far as `.gitmodules` needs it. Unlike the parser of a repository's configuration it
 * gives what stands before a mistake, as git does, and works on byte strings (latin1).
 * Specification: git-config, "Syntax".
 */
export interface ConfigEntry {
  /** `section.subsection.key`; all but the subsection in lower case. */
  readonly name: string;
  /** undefined: the key stands alone. */
  readonly value: string | undefined;
}

const BOM = "\xef\xbb\xbf";
const KEY = /[A-Za-z0-9-]*/y;
const BLANKS = /[ \t]*/y;

/** @returns false when the text is malformed; the entries before that were given */
export function readConfigEntries(bytes: string, onEntry: (entry: ConfigEntry) => void): boolean {
  const text = bytes.startsWith(BOM) ? bytes.slice(BOM.length) : bytes;
  return new ConfigReader(text.replaceAll("\r\n", "\n"), onEntry).read();
}

class ConfigReader {
  readonly #text: string;
  readonly #onEntry: (entry: ConfigEntry) => void;
  #at = 0;
  #section = "";

  constructor(text: string, onEntry: (entry: ConfigEntry) => void) {
    this.#text = text;
    this.#onEntry = onEntry;
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
    this.#section = `${name.toLowerCase()}.`;
    if (end === "]") return name !== "";
    // What separates it from the subsection is on one line.
    const subsection = /[ \t\r]*"((?:[^"\\\n]|\\[^\n])*)"\]/y;
    subsection.lastIndex = this.#at;
    const quoted = end === "\n" ? null : subsection.exec(this.#text);
    if (quoted === null) return false;
    this.#at += quoted[0].length;
    this.#section += `${(quoted[1] ?? "").replaceAll(/\\([^])/g, "$1")}.`;
    return true;
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
    this.#onEntry({ name: this.#section + key, value });
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
