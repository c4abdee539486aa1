/** What forges answer, taken for nothing until it was looked at. @throws forge/bad-answer, naming the field */
import { GitwharfError } from "../../base/errors.js";
import { isName } from "../upstream-name.js";

export class Answer {
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #path: string;

  /** @param path for the error: `pull.head` */
  constructor(value: unknown, path: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad(path);
    this.#value = value as Readonly<Record<string, unknown>>;
    this.#path = path;
  }

  has(key: string): boolean {
    return this.#value[key] !== undefined && this.#value[key] !== null;
  }

  text(key: string): string {
    const value = this.#value[key];
    if (typeof value !== "string") throw bad(`${this.#path}.${key}`);
    return value;
  }

  /** Of an account or a repository: it goes into addresses. */
  name(key: string): string {
    const value = this.text(key);
    if (!isName(value)) throw bad(`${this.#path}.${key}`);
    return value;
  }

  count(key: string): number {
    const value = this.#value[key];
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
      throw bad(`${this.#path}.${key}`);
    return value;
  }

  /** undefined: there is none, or null. */
  maybeCount(key: string): number | undefined {
    return this.has(key) ? this.count(key) : undefined;
  }

  flag(key: string): boolean {
    const value = this.#value[key];
    if (typeof value !== "boolean") throw bad(`${this.#path}.${key}`);
    return value;
  }

  timeMs(key: string): number {
    const value = Date.parse(this.text(key));
    if (Number.isNaN(value)) throw bad(`${this.#path}.${key}`);
    return value;
  }

  at(key: string): Answer {
    return new Answer(this.#value[key], `${this.#path}.${key}`);
  }

  /** undefined: there is none, or null. */
  maybe(key: string): Answer | undefined {
    return this.has(key) ? this.at(key) : undefined;
  }
}

export function answers(value: unknown, path: string): readonly Answer[] {
  if (!Array.isArray(value)) throw bad(path);
  return value.map((each, index) => new Answer(each, `${path}[${index}]`));
}

/** A branch as a forge names it: what git would take, and nothing that a line of the protocol or a page would stumble over. */
export function branchName(text: string, path: string): string {
  if (
    text === "" ||
    text.length > 255 ||
    /[\u0000-\u0020\u007f~^:?*[\\]|\.\.|@\{|\/\/|^[-/.]|[/.]$/.test(text)
  )
    throw bad(path);
  return text;
}

function bad(path: string): GitwharfError {
  return new GitwharfError("forge/bad-answer", `a forge's answer is not what its API says: '${path}'`);
}
