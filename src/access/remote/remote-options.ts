/** The option `remote`: which application is asked, and how long it may take. */
import { isAbsolute } from "node:path";
import { GitwharfError } from "../../base/errors.js";
import { isLoopbackName } from "../open-access.js";

export interface RemoteOptions {
  /** `/authenticate`, `/authorize` and `/resolve` are appended. `https:`, or `http:` to this machine. */
  readonly url: string;
  /** Shared with the application, which checks signatures with it; at least 16 characters. */
  readonly secret: string;
  /** Ask who sends credentials that nobody else knows. @default true */
  readonly authenticate?: boolean;
  /** Ask for every decision that no policy makes. @default true */
  readonly authorize?: boolean;
  /**
   * Ask about the refs of a push when its objects are there: what is a forced update is then told as `force`. What may
   * not be pushed is uploaded first.
   * @default false
   */
  readonly exactActions?: boolean;
  /** Ask which repository a public name stands for. @default false */
  readonly resolve?: boolean;
  /** Absolute directories in which an answered `fullPath` may lie. @default the directory of repositories */
  readonly roots?: readonly string[];
  /** Of one attempt, to the last byte of the answer. @default 3,000 */
  readonly timeoutMs?: number;
  /** Further attempts when the application is away (no connection, no answer in time, 429, 5xx). @default 2 */
  readonly retries?: number;
  /** After so many attempts in a row without an answer the application is left alone for a while. @default 5 */
  readonly breakerFailures?: number;
  /** For so long. @default 10,000 */
  readonly breakerResetMs?: number;
  /** Questions at once. @default 64 */
  readonly concurrencyMax?: number;
  /** Questions that wait for their turn; more are not asked, which lets nobody in. @default 1,024 */
  readonly queueMax?: number;
  /** An answer's `max-age` counts up to here; 0 keeps no answer. @default 60 */
  readonly cacheSecondsMax?: number;
  /** Bytes of an answer. @default 65,536 */
  readonly answerBytesMax?: number;
  /** Take `http:` to another machine: passwords and answers then travel in the clear. @default false */
  readonly insecure?: boolean;
}

export type CheckedRemoteOptions = Required<Omit<RemoteOptions, "roots">> & Pick<RemoteOptions, "roots">;

const NUMBERS = {
  timeoutMs: { value: 3000, min: 1, max: 600_000 },
  retries: { value: 2, min: 0, max: 10 },
  breakerFailures: { value: 5, min: 1, max: 1_000_000 },
  breakerResetMs: { value: 10_000, min: 1, max: 3_600_000 },
  concurrencyMax: { value: 64, min: 1, max: 10_000 },
  queueMax: { value: 1024, min: 0, max: 1_000_000 },
  cacheSecondsMax: { value: 60, min: 0, max: 86_400 },
  answerBytesMax: { value: 65_536, min: 64, max: 16_777_216 },
} as const;
const SWITCHES = {
  authenticate: true,
  authorize: true,
  resolve: false,
  exactActions: false,
  insecure: false,
} as const;
const SECRET_LENGTH_MIN = 16;

/** @throws server/bad-configuration */
export function checkRemoteOptions(options: unknown): CheckedRemoteOptions {
  if (typeof options !== "object" || options === null) throw bad("it is an object");
  const given = options as Readonly<Record<string, unknown>>;
  const known = ["url", "secret", "roots", ...Object.keys(NUMBERS), ...Object.keys(SWITCHES)];
  const odd = Object.keys(given).find((key) => !known.includes(key));
  if (odd !== undefined) throw bad(`it has no '${odd}'; known are ${known.join(", ")}`);
  const { secret } = given;
  if (typeof secret !== "string" || secret.length < SECRET_LENGTH_MIN)
    throw bad(`the secret is a text of at least ${SECRET_LENGTH_MIN} characters`);
  const switches = {
    authenticate: switchOf(given, "authenticate"),
    authorize: switchOf(given, "authorize"),
    resolve: switchOf(given, "resolve"),
    exactActions: switchOf(given, "exactActions"),
    insecure: switchOf(given, "insecure"),
  };
  return {
    ...switches,
    ...rootsOf(given["roots"]),
    url: checkUrl(given["url"], switches.insecure),
    secret,
    timeoutMs: numberOf(given, "timeoutMs"),
    retries: numberOf(given, "retries"),
    breakerFailures: numberOf(given, "breakerFailures"),
    breakerResetMs: numberOf(given, "breakerResetMs"),
    concurrencyMax: numberOf(given, "concurrencyMax"),
    queueMax: numberOf(given, "queueMax"),
    cacheSecondsMax: numberOf(given, "cacheSecondsMax"),
    answerBytesMax: numberOf(given, "answerBytesMax"),
  };
}

/** @returns without a slash at its end */
function checkUrl(text: unknown, insecure: boolean): string {
  if (typeof text !== "string" || !URL.canParse(text)) throw bad("the url cannot be read");
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") throw bad("the url begins with https: or http:");
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    throw bad("the url has no user, password, '?' or '#'");
  if (url.protocol === "http:" && !insecure && !isLoopbackName(url.hostname.replace(/^\[|\]$/g, "")))
    throw bad(
      `http: to ${url.hostname} would send passwords and answers in the clear; use https:, or set insecure: true`,
    );
  return url.href.replace(/\/+$/, "");
}

function rootsOf(value: unknown): Pick<RemoteOptions, "roots"> {
  if (value === undefined) return {};
  if (!Array.isArray(value) || !value.every((each) => typeof each === "string" && isAbsolute(each)))
    throw bad("roots is a list of absolute directories");
  return { roots: value as readonly string[] };
}

function numberOf(given: Readonly<Record<string, unknown>>, key: keyof typeof NUMBERS): number {
  const { value: preset, min, max } = NUMBERS[key];
  const value = given[key] ?? preset;
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max)
    throw bad(`${key} is a whole number from ${min} to ${max}`);
  return value;
}

function switchOf(given: Readonly<Record<string, unknown>>, key: keyof typeof SWITCHES): boolean {
  const value = given[key] ?? SWITCHES[key];
  if (typeof value !== "boolean") throw bad(`${key} is true or false`);
  return value;
}

function bad(why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", `the option remote is wrong: ${why}`);
}
