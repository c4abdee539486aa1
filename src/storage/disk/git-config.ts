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

function isBlank(c: string): boolean {
  return c === " " || c === "\t" || c === "\r";
}

function isKeyCharacter(c: string | undefined): boolean {
  return c !== undefined && /^[A-Za-z0-9-]$/.test(c);
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
