/** The option `remote`: which application is asked, and how long it may take. */
import { isAbsolute } from "node:path";
import {
  badOption,
  CALLER_KEYS,
  type CallerOptions,
  type CheckedCallerOptions,
  checkApplicationUrl,
  checkCallerOptions,
  checkKeys,
  numberOf,
  switchOf,
} from "./caller-options.js";
import { SECRETS_MAX } from "./remote-signature.js";

export interface RemoteOptions extends CallerOptions {
  /** `/authenticate`, `/authorize` and `/resolve` are appended. `https:`, or `http:` to this machine. */
  readonly url: string;
  /**
   * Shared with the application, which checks signatures with it; at least 16 characters. Several while they are changed:
   * questions are signed with each.
   */
  readonly secret: string | readonly string[];
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
  /** An answer's `max-age` counts up to here; 0 keeps no answer. @default 60 */
  readonly cacheSecondsMax?: number;
}

export type CheckedRemoteOptions = CheckedCallerOptions &
  Required<Omit<RemoteOptions, "roots" | "secret">> &
  Pick<RemoteOptions, "roots"> & { readonly secrets: readonly string[] };

const SWITCHES = { authenticate: true, authorize: true, resolve: false, exactActions: false } as const;
const SECRET_LENGTH_MIN = 16;
const KEYS = ["url", "secret", "roots", "cacheSecondsMax", ...CALLER_KEYS, ...Object.keys(SWITCHES)];
const bad = badOption("remote");

/** @throws server/bad-configuration */
export function checkRemoteOptions(given: unknown): CheckedRemoteOptions {
  checkKeys(given, KEYS, bad);
  const caller = checkCallerOptions(given, bad);
  const is = (key: keyof typeof SWITCHES): boolean => switchOf(given, { key, preset: SWITCHES[key] }, bad);
  return {
    ...caller,
    authenticate: is("authenticate"),
    authorize: is("authorize"),
    resolve: is("resolve"),
    exactActions: is("exactActions"),
    ...rootsOf(given["roots"]),
    url: checkApplicationUrl(given["url"], caller.insecure, bad),
    secrets: secretsOf(given["secret"]),
    cacheSecondsMax: numberOf(given, { key: "cacheSecondsMax", preset: 60, min: 0, max: 86_400 }, bad),
  };
}

function secretsOf(value: unknown): readonly string[] {
  const secrets: readonly unknown[] = Array.isArray(value) ? value : [value];
  const isGood = (one: unknown): one is string => typeof one === "string" && one.length >= SECRET_LENGTH_MIN;
  if (!secrets.every(isGood) || secrets.length === 0 || secrets.length > SECRETS_MAX)
    throw bad(
      `the secret is a text of at least ${SECRET_LENGTH_MIN} characters, or a list of up to ${SECRETS_MAX}`,
    );
  return secrets;
}

function rootsOf(value: unknown): Pick<RemoteOptions, "roots"> {
  if (value === undefined) return {};
  if (!Array.isArray(value) || !value.every((each) => typeof each === "string" && isAbsolute(each)))
    throw bad("roots is a list of absolute directories");
  return { roots: value as readonly string[] };
}
