/** The option `gitorious`: which Gitorious application is asked, by its internal API. */
import { isAbsolute } from "node:path";
import {
  badOption,
  CALLER_KEYS,
  type CallerOptions,
  type CheckedCallerOptions,
  checkApplicationUrl,
  checkCallerOptions,
  checkKeys,
  type Given,
  numberOf,
} from "../remote/caller-options.js";

export interface GitoriousOptions extends CallerOptions {
  /**
   * The internal API; `/repo-config`, `/authenticate` and `/hooks/…` are appended. `https:`, or `http:` to this machine.
   * @default "http://localhost:3000/api/internal"
   */
  readonly url?: string;
  /** Absolute directories in which an answered `full_path` may lie. @default the directory of repositories */
  readonly roots?: readonly string[];
  /** Of `WWW-Authenticate`. @default "Gitorious" */
  readonly realm?: string;
  /** How long an answered configuration of a repository holds for the same path and user; 0 keeps none. @default 5 */
  readonly cacheSeconds?: number;
  /** An absolute directory with `custom-pre-receive`, `custom-update` and `custom-post-receive`. @default none */
  readonly hooksDirectory?: string;
  /** Refuse forced updates and deletions: everywhere, or in the repositories of these patterns. @default false */
  readonly denyForcePushing?: boolean | readonly string[];
  /** Between two attempts to deliver to an application that is away, at the most. @default 60 */
  readonly deliverySecondsMax?: number;
}

export interface CheckedGitoriousOptions extends CheckedCallerOptions {
  readonly url: string;
  readonly roots: readonly string[] | undefined;
  readonly realm: string;
  readonly cacheSeconds: number;
  readonly hooksDirectory: string | undefined;
  /** Patterns of repositories. */
  readonly denyForcePushing: readonly string[];
  readonly deliverySecondsMax: number;
}

const URL_PRESET = "http://localhost:3000/api/internal";
const KEYS = [
  "url",
  "roots",
  "realm",
  "cacheSeconds",
  "hooksDirectory",
  "denyForcePushing",
  "deliverySecondsMax",
  ...CALLER_KEYS,
];
const bad = badOption("gitorious");

/** @throws server/bad-configuration */
export function checkGitoriousOptions(given: unknown): CheckedGitoriousOptions {
  checkKeys(given, KEYS, bad);
  const caller = checkCallerOptions(given, bad);
  const { realm = "Gitorious", hooksDirectory } = given;
  if (typeof realm !== "string" || !/^[\x20-\x7e]{1,100}$/.test(realm) || /["\\]/.test(realm))
    throw bad('realm is 1 to 100 printable characters of ASCII without " and \\');
  if (hooksDirectory !== undefined && !isAbsoluteText(hooksDirectory))
    throw bad("hooksDirectory is an absolute directory");
  return {
    ...caller,
    url: checkApplicationUrl(given["url"] ?? URL_PRESET, caller.insecure, bad),
    roots: listOf(given, "roots", isAbsoluteText, "a list of absolute directories"),
    realm,
    cacheSeconds: numberOf(given, { key: "cacheSeconds", preset: 5, min: 0, max: 300 }, bad),
    hooksDirectory,
    denyForcePushing: denied(given),
    deliverySecondsMax: numberOf(given, { key: "deliverySecondsMax", preset: 60, min: 1, max: 86_400 }, bad),
  };
}

function denied(given: Given): readonly string[] {
  const value = given["denyForcePushing"];
  if (value === undefined || value === false) return [];
  if (value === true) return ["**"];
  const isText = (each: unknown): each is string => typeof each === "string" && each !== "";
  return listOf(given, "denyForcePushing", isText, "true, false or a list of patterns") ?? [];
}

function listOf(
  given: Given,
  key: string,
  isGood: (each: unknown) => each is string,
  what: string,
): readonly string[] | undefined {
  const value = given[key];
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || !value.every(isGood)) throw bad(`${key} is ${what}`);
  return value;
}

function isAbsoluteText(value: unknown): value is string {
  return typeof value === "string" && isAbsolute(value) && !value.includes("\0");
}
