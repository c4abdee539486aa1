/**
 * Git's configuration syntax, read only.
 * Specification: git-config ("Syntax", "Values").
 *
 * Differs from git: `include.path` and `includeIf` are not followed, and no system or user file is read: what a
 * server does depends on the repository's own file alone. Tabs inside a value stay (git before 2.45 made them spaces).
 */
import { GitwharfError } from "../../base/errors.js";

/** A longer section header is malformed. */
const SECTION_CHARACTERS_MAX = 64 * 1024;

export interface ConfigEntry {
  /** `section.key` or `section.subsection.key`; section and key in lower case, the subsection as written. */
  readonly name: string;
  readonly section: string;
  readonly subsection: string | undefined;
  readonly key: string;
  /** undefined: the key stands alone, which means true. */
  readonly value: string | undefined;
}

/** @throws storage/bad-config with the line number */
export function parseConfig(text: string, source = "config"): ConfigEntry[] {
  return new ConfigParser(text, source).parse();
}

class ConfigParser {
  readonly #text: string;
  readonly #source: string;
  #at = 0;
  #section: string | undefined;
  #subsection: string | undefined;

  constructor(text: string, source: string) {
    this.#text = (text.startsWith("\ufeff") ? text.slice(1) : text).replace(/\r\n/g, "\n");
    this.#source = source;
  }

  parse(): ConfigEntry[] {
    const entries: ConfigEntry[] = [];
    while (this.#at < this.#text.length) {
      const c = this.#text[this.#at] as string;
      if (c === "\n" || isBlank(c)) this.#at++;
      else if (c === "#" || c === ";") this.#skipLine();
      else if (c === "[") this.#readSection();
      else entries.push(this.#readEntry());
    }
    return entries;
  }

  #readSection(): void {
    const rest = this.#text.slice(this.#at, this.#at + SECTION_CHARACTERS_MAX);
    const match = /^\[([A-Za-z0-9.-]+)(?:[ \t\r]+"((?:[^"\\\n]|\\[^\n])*)")?\]/.exec(rest);
    if (match === null) throw this.#bad("a section header is malformed");
    this.#at += match[0].length;
    const [, name = "", quoted] = match;
    // `[section.subsection]` is an old spelling in which the subsection is case-insensitive.
    const [section = "", ...old] = name.toLowerCase().split(".");
    this.#section = section;
    this.#subsection = old.length > 0 ? old.join(".") : undefined;
    if (quoted === undefined) return;
    const text = quoted.replace(/\\(.)/g, "$1");
    this.#subsection = this.#subsection === undefined ? text : `${this.#subsection}.${text}`;
  }

  #readEntry(): ConfigEntry {
    const start = this.#at;
    while (isKeyCharacter(this.#text[this.#at])) this.#at++;
    const key = this.#text.slice(start, this.#at).toLowerCase();
    if (!/^[a-z]/.test(key)) throw this.#bad("a line is neither a section, a setting nor a comment");
    while (this.#text[this.#at] === " " || this.#text[this.#at] === "\t") this.#at++;
    const c = this.#text[this.#at];
    let value: string | undefined;
    if (c === "=") {
      this.#at++;
      value = this.#readValue();
    } else if (c !== undefined && c !== "\n") throw this.#bad(`setting '${key}' has no '='`);
    const section = this.#section;
    const name = [section, this.#subsection, key].filter((part) => part !== undefined).join(".");
    return { name, section: section ?? "", subsection: this.#subsection, key, value };
  }

  #readValue(): string {
    let value = "";
    /** Spaces count only when something follows them. */
    let spaces = "";
    let quoted = false;
    for (; this.#at < this.#text.length; this.#at++) {
      const c = this.#text[this.#at] as string;
      if (c === "\n") break;
      if (!quoted && isBlank(c)) {
        if (value !== "") spaces += c;
        continue;
      }
      if (!quoted && (c === "#" || c === ";")) {
        this.#skipLine();
        break;
      }
      if (c === '"') {
        value += spaces;
        spaces = "";
        quoted = !quoted;
        continue;
      }
      if (c === "\\") {
        this.#at++;
        value += spaces + this.#unescape(this.#text[this.#at]);
      } else value += spaces + c;
      spaces = "";
    }
    if (quoted) throw this.#bad("a quoted value does not end on its line");
    return value;
  }

  #unescape(escape: string | undefined): string {
    switch (escape) {
      // The value goes on in the next line.
      case "\n":
      case undefined:
        return "";
      case "n":
        return "\n";
      case "t":
        return "\t";
      case "b":
        return "\b";
      case '"':
      case "\\":
        return escape;
      default:
        throw this.#bad('a backslash is followed by something else than n, t, b, " or \\');
    }
  }

  #skipLine(): void {
    const end = this.#text.indexOf("\n", this.#at);
    this.#at = end < 0 ? this.#text.length : end;
  }

  #bad(why: string): GitwharfError {
    const line = this.#text.slice(0, this.#at).split("\n").length;
    return new GitwharfError("storage/bad-config", `${this.#source} line ${line}: ${why}`);
  }
}

function isBlank(c: string): boolean {
  return c === " " || c === "\t" || c === "\r";
}

function isKeyCharacter(c: string | undefined): boolean {
  return c !== undefined && /^[A-Za-z0-9-]$/.test(c);
}
