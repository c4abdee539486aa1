/** What every application that is asked over HTTP has in common: where it is, and how long and how often it is asked. */
import { GitwharfError } from "../../base/errors.js";
import { isLoopbackName } from "../open-access.js";

export interface CallerOptions {
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
  /** Bytes of an answer. @default 65,536 */
  readonly answerBytesMax?: number;
  /** Take `http:` to another machine: passwords and answers then travel in the clear. @default false */
  readonly insecure?: boolean;
}

export type CheckedCallerOptions = Required<CallerOptions>;

const NUMBERS = {
  timeoutMs: { preset: 3000, min: 1, max: 600_000 },
  retries: { preset: 2, min: 0, max: 10 },
  breakerFailures: { preset: 5, min: 1, max: 1_000_000 },
  breakerResetMs: { preset: 10_000, min: 1, max: 3_600_000 },
  concurrencyMax: { preset: 64, min: 1, max: 10_000 },
  queueMax: { preset: 1024, min: 0, max: 1_000_000 },
  answerBytesMax: { preset: 65_536, min: 64, max: 16_777_216 },
} as const;

export const CALLER_KEYS: readonly string[] = [...Object.keys(NUMBERS), "insecure"];

export type Given = Readonly<Record<string, unknown>>;
/** Names the option that is wrong. */
export type Bad = (why: string) => GitwharfError;

export function badOption(option: string): Bad {
  return (why) => new GitwharfError("server/bad-configuration", `the option ${option} is wrong: ${why}`);
}

/** @throws server/bad-configuration */
export function checkCallerOptions(given: Given, bad: Bad): CheckedCallerOptions {
  const number = (key: keyof typeof NUMBERS): number => numberOf(given, { key, ...NUMBERS[key] }, bad);
  return {
    timeoutMs: number("timeoutMs"),
    retries: number("retries"),
    breakerFailures: number("breakerFailures"),
    breakerResetMs: number("breakerResetMs"),
    concurrencyMax: number("concurrencyMax"),
    queueMax: number("queueMax"),
    answerBytesMax: number("answerBytesMax"),
    insecure: switchOf(given, { key: "insecure", preset: false }, bad),
  };
}

/** @throws server/bad-configuration */
export function checkKeys(given: unknown, known: readonly string[], bad: Bad): asserts given is Given {
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw bad("it is an object");
  const odd = Object.keys(given).find((key) => !known.includes(key));
  if (odd !== undefined) throw bad(`it has no '${odd}'; known are ${known.join(", ")}`);
}

/**
 * @returns without a slash at its end
 * @throws server/bad-configuration
 */
export function checkApplicationUrl(text: unknown, insecure: boolean, bad: Bad): string {
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

/** @throws server/bad-configuration */
export function numberOf(
  given: Given,
  { key, preset, min, max }: { readonly key: string } & Readonly<Record<"preset" | "min" | "max", number>>,
  bad: Bad,
): number {
  const value = given[key] ?? preset;
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max)
    throw bad(`${key} is a whole number from ${min} to ${max}`);
  return value;
}

/** @throws server/bad-configuration */
export function switchOf(
  given: Given,
  { key, preset }: { readonly key: string; readonly preset: boolean },
  bad: Bad,
): boolean {
  const value = given[key] ?? preset;
  if (typeof value !== "boolean") throw bad(`${key} is true or false`);
  return value;
}
