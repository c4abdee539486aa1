/**
 * Git's configuration syntax, read only.
 * Specification: git-config ("Syntax", "Values").
 *
 * Differs from git: `include.path` and `includeIf` are not followed, and no system or user file is read: what a
 * server does depends on the repository's own file alone.
 */
import { GitwharfError } from "../../base/errors.js";

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
  #section = "";
  #subsection: string | undefined;

  constructor(text: string, source: string) {
    this.#text = (text.startsWith("\ufeff") ? text.slice(1) : text).replace(/\r\n/g, "\n");
    this.#source = source;
  }

  parse(): ConfigEntry[] {
    const entries: ConfigEntry[] = [];
    while (this.#at < this.#text.length) {
      const c = this.#text[this.#at] as string;
      if (/\s/.test(c)) this.#at++;
      else if (c === "#" || c === ";") this.#skipLine();
      else if (c === "[") this.#readSection();
      else entries.push(this.#readEntry());
    }
    return entries;
  }

  #readSection(): void {
    const rest = this.#text.slice(this.#at, this.#at + 4096);
    const match = /^\[([A-Za-z0-9.-]+)(?:[ \t]+"((?:[^"\\\n]|\\[^\n])*)")?[ \t]*\]/.exec(rest);
    if (match === null) throw this.#bad("a section header is malformed");
    this.#at += match[0].length;
    const [, name = "", quoted] = match;
    if (quoted !== undefined) {
      this.#section = name.toLowerCase();
      this.#subsection = quoted.replace(/\\(.)/g, "$1");
      return;
    }
    // `[section.subsection]` is an old spelling in which the subsection is case-insensitive.
    const dot = name.indexOf(".");
    this.#section = (dot < 0 ? name : name.slice(0, dot)).toLowerCase();
    this.#subsection = dot < 0 ? undefined : name.slice(dot + 1).toLowerCase();
  }

  #readEntry(): ConfigEntry {
    const match = /^([A-Za-z][A-Za-z0-9-]*)[ \t]*/.exec(this.#text.slice(this.#at, this.#at + 4096));
    if (match === null) throw this.#bad("a line is neither a section, a setting nor a comment");
    if (this.#section === "") throw this.#bad("a setting stands before the first section");
    this.#at += match[0].length;
    const key = (match[1] as string).toLowerCase();
    const c = this.#text[this.#at];
    let value: string | undefined;
    if (c === "=") {
      this.#at++;
      value = this.#readValue();
    } else if (c !== undefined && c !== "\n") {
      if (c !== "#" && c !== ";") throw this.#bad(`setting '${key}' has no '='`);
      this.#skipLine();
    }
    const name = [this.#section, this.#subsection, key].filter((part) => part !== undefined).join(".");
    return { name, section: this.#section, subsection: this.#subsection, key, value };
  }

  #readValue(): string {
    let value = "";
    /** Spaces count only when something follows them. */
    let spaces = "";
    let quoted = false;
    for (; this.#at < this.#text.length; this.#at++) {
      const c = this.#text[this.#at] as string;
      if (c === "\n") break;
      if (!quoted && (c === " " || c === "\t")) {
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
        const escape = this.#text[this.#at];
        if (escape === "\n") continue;
        value += spaces + this.#unescape(escape);
      } else value += spaces + c;
      spaces = "";
    }
    if (quoted) throw this.#bad("a quoted value does not end on its line");
    return value;
  }

  #unescape(escape: string | undefined): string {
    switch (escape) {
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
        throw this.#bad("a backslash is followed by something else than n, t, b, \" or \\");
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

/** The settings of one repository by name; of a name that is given several times the last counts. */
export class GitConfig {
  readonly entries: readonly ConfigEntry[];
  readonly #source: string;
  readonly #last = new Map<string, ConfigEntry>();

  constructor(entries: readonly ConfigEntry[], source = "config") {
    this.entries = entries;
    this.#source = source;
    for (const entry of entries) this.#last.set(entry.name, entry);
  }

  /** @throws storage/bad-config */
  static parse(text: string, source?: string): GitConfig {
    return new GitConfig(parseConfig(text, source), source);
  }

  /** undefined when unset or without a value. */
  text(name: string): string | undefined {
    return this.#last.get(name)?.value;
  }

  has(name: string): boolean {
    return this.#last.has(name);
  }

  /** All values of a name, in order. */
  all(name: string): string[] {
    return this.entries.filter((entry) => entry.name === name).map((entry) => entry.value ?? "");
  }

  /** @throws storage/bad-config */
  boolean(name: string): boolean | undefined {
    const entry = this.#last.get(name);
    if (entry === undefined) return undefined;
    const value = parseBoolean(entry.value);
    if (value === undefined) throw this.#bad(name, entry.value, "true or false");
    return value;
  }

  /** With git's suffixes k, m, g. @throws storage/bad-config */
  integer(name: string): number | undefined {
    const entry = this.#last.get(name);
    if (entry === undefined) return undefined;
    const value = parseInteger(entry.value ?? "");
    if (value === undefined) throw this.#bad(name, entry.value, "a number");
    return value;
  }

  /** One of some words, compared without case. @throws storage/bad-config */
  oneOf<T extends string>(name: string, words: readonly T[]): T | undefined {
    const entry = this.#last.get(name);
    if (entry === undefined) return undefined;
    const word = words.find((w) => w.toLowerCase() === entry.value?.toLowerCase());
    if (word === undefined) throw this.#bad(name, entry.value, words.join(", "));
    return word;
  }

  #bad(name: string, value: string | undefined, wanted: string): GitwharfError {
    return new GitwharfError(
      "storage/bad-config",
      `${this.#source}: ${name} is '${value ?? ""}', which is not ${wanted}`,
    );
  }
}

/** undefined when it is none. A key without value is true; an empty value is false. */
export function parseBoolean(value: string | undefined): boolean | undefined {
  if (value === undefined) return true;
  const word = value.toLowerCase();
  if (["true", "yes", "on"].includes(word)) return true;
  if (["false", "no", "off", ""].includes(word)) return false;
  const number = parseInteger(value);
  return number === undefined ? undefined : number !== 0;
}

/** Decimal, hexadecimal (0x) or octal (0) as C reads them, with an optional k, m or g. undefined when it is none. */
export function parseInteger(value: string): number | undefined {
  const match = /^\s*([+-]?)(0x[0-9a-f]+|[0-9]+)([kmg]?)$/i.exec(value);
  if (match === null) return undefined;
  const [, sign, digits = "", suffix = ""] = match;
  const octal = /^0[0-7]+$/.test(digits);
  const number = octal ? Number.parseInt(digits, 8) : Number(digits);
  if (!Number.isFinite(number)) return undefined;
  const unit = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[suffix.toLowerCase()] ?? 1;
  return (sign === "-" ? -number : number) * unit;
}
