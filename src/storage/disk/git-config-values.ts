/**
 * Settings by name, with git's types.
 * Specification: git-config ("Values").
 */
import { GitwharfError } from "../../base/errors.js";
import { type ConfigEntry, parseConfig } from "./git-config.js";

/** Of a bad value. */
const SHOWN_CHARACTERS_MAX = 200;

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
    return badSetting(
      `${name} is '${(value ?? "").slice(0, SHOWN_CHARACTERS_MAX)}', which is not ${wanted}`,
      this.#source,
    );
  }
}

/** @param setting what is wrong with which key: the person at the other end may read it, but not where the file is */
export function badSetting(setting: string, source = "config"): GitwharfError {
  return new GitwharfError("storage/bad-config", `${source}: ${setting}`, { details: { setting } });
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
