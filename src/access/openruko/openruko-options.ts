/** The option `openruko`: which API server is asked, where dynos are met, and how long all that may take. */
import { readFileSync } from "node:fs";
import { checkOneRate, type Rate } from "../rates/rates.js";
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
  switchOf,
} from "../remote/caller-options.js";

/** What `CallerOptions` say is about looking keys up; a dyno is asked for once. */
export interface OpenrukoOptions extends CallerOptions {
  /** The server's own key at the API server: `APISERVER_KEY`. */
  readonly apiServerKey: string;
  /** `https:`, or `http:` to this machine. @default http://localhost:5000 */
  readonly apiServerUrl?: string;
  /** Authorities that sign the API server's certificate (PEM), in place of those that Node trusts. */
  readonly apiServerCaFile?: string;
  /** @default 4000 */
  readonly rendezvousPort?: number;
  /** The first line that a dyno host is sent. @default the server's own key */
  readonly rendezvousSecret?: string;
  /** Authorities that sign the certificates of dyno hosts (PEM), in place of those that Node trusts. */
  readonly rendezvousCaFile?: string;
  /** The name that certificates of dyno hosts are for. @default the host that the API server names */
  readonly rendezvousServerName?: string;
  /** How old an answer about a key may be for a command; an older one is asked for again. @default 60,000 */
  readonly keyMaxAgeMs?: number;
  /** From asking for a dyno to its first byte. @default 30,000 */
  readonly provisionTimeoutMs?: number;
  /** Of one command, waiting included; then the whole chain is ended. @default 3,600,000 */
  readonly sessionTimeoutMs?: number;
  /** From telling a dyno to end to cutting it off. @default 10,000 */
  readonly exitTimeoutMs?: number;
  /** How often a silent dyno host is asked whether it is there, and a session says in the log that it goes on. @default 60,000 */
  readonly heartbeatMs?: number;
  /** Pushes that wait for another push to the same app. @default 16 */
  readonly pushQueueMax?: number;
  /** Commands of one user that are at work or wait. @default 32 */
  readonly sessionsPerUserMax?: number;
  /** Tell the dyno when the client has sent all it has to send. Openruko's dyno hosts drop the session then. @default false */
  readonly halfClose?: boolean;
  /** Keys that the API server does not know. @default { max: 300, seconds: 600 } */
  readonly unknownKeysPerAddress?: Rate;
  /** Apps that the API server refuses. @default { max: 300, seconds: 600 } */
  readonly refusalsPerAddress?: Rate;
  /** @default { max: 60, seconds: 600 } */
  readonly refusalsPerUser?: Rate;
}

type Optional = "apiServerCaFile" | "rendezvousCaFile" | "rendezvousServerName";
export type CheckedOpenrukoOptions = CheckedCallerOptions &
  Required<Omit<OpenrukoOptions, Optional>> &
  Pick<OpenrukoOptions, Optional>;

export const DEFAULT_API_SERVER_URL = "http://localhost:5000";

const DAY_MS = 86_400_000;
const NUMBERS = {
  rendezvousPort: { preset: 4000, min: 1, max: 65_535 },
  keyMaxAgeMs: { preset: 60_000, min: 0, max: DAY_MS },
  provisionTimeoutMs: { preset: 30_000, min: 1, max: DAY_MS },
  sessionTimeoutMs: { preset: 3_600_000, min: 1, max: 7 * DAY_MS },
  exitTimeoutMs: { preset: 10_000, min: 0, max: DAY_MS },
  heartbeatMs: { preset: 60_000, min: 1000, max: DAY_MS },
  pushQueueMax: { preset: 16, min: 0, max: 10_000 },
  sessionsPerUserMax: { preset: 32, min: 1, max: 1_000_000 },
} as const;
const RATES = {
  unknownKeysPerAddress: { max: 300, seconds: 600 },
  refusalsPerAddress: { max: 300, seconds: 600 },
  refusalsPerUser: { max: 60, seconds: 600 },
} as const satisfies Record<string, Rate>;
const FILES = ["apiServerCaFile", "rendezvousCaFile"] as const;
const TEXTS = ["apiServerKey", "apiServerUrl", "rendezvousSecret", "rendezvousServerName", ...FILES] as const;
const KEYS = [...TEXTS, "halfClose", ...CALLER_KEYS, ...Object.keys(NUMBERS), ...Object.keys(RATES)];
/** A key stands in one line and one header. */
const KEY = /^[\x21-\x7e]{1,512}$/;
const HOST_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/;
const bad = badOption("openruko");

/** @throws server/bad-configuration */
export function checkOpenrukoOptions(given: unknown): CheckedOpenrukoOptions {
  checkKeys(given, KEYS, bad);
  const texts = textsOf(given);
  const { apiServerKey, rendezvousSecret = apiServerKey, apiServerUrl = DEFAULT_API_SERVER_URL } = texts;
  const { rendezvousServerName: name, apiServerCaFile, rendezvousCaFile } = texts;
  if (apiServerKey === undefined || !KEY.test(apiServerKey))
    throw bad("it needs apiServerKey (APISERVER_KEY), of up to 512 characters without spaces");
  if (rendezvousSecret === undefined || !KEY.test(rendezvousSecret))
    throw bad("rendezvousSecret has up to 512 characters, and no spaces among them");
  if (name !== undefined && !HOST_NAME.test(name))
    throw bad(`rendezvousServerName '${name}' is no name of a host`);
  for (const option of FILES) checkFile(option, texts[option]);
  const caller = checkCallerOptions(given, bad);
  const number = (key: keyof typeof NUMBERS): number => numberOf(given, { key, ...NUMBERS[key] }, bad);
  return {
    ...caller,
    ...(apiServerCaFile === undefined ? {} : { apiServerCaFile }),
    ...(rendezvousCaFile === undefined ? {} : { rendezvousCaFile }),
    ...(name === undefined ? {} : { rendezvousServerName: name }),
    apiServerKey,
    apiServerUrl: checkApplicationUrl(apiServerUrl, caller.insecure, bad),
    rendezvousSecret,
    halfClose: switchOf(given, { key: "halfClose", preset: false }, bad),
    rendezvousPort: number("rendezvousPort"),
    keyMaxAgeMs: number("keyMaxAgeMs"),
    provisionTimeoutMs: number("provisionTimeoutMs"),
    sessionTimeoutMs: number("sessionTimeoutMs"),
    exitTimeoutMs: number("exitTimeoutMs"),
    heartbeatMs: number("heartbeatMs"),
    pushQueueMax: number("pushQueueMax"),
    sessionsPerUserMax: number("sessionsPerUserMax"),
    unknownKeysPerAddress: rateOf(given, "unknownKeysPerAddress"),
    refusalsPerAddress: rateOf(given, "refusalsPerAddress"),
    refusalsPerUser: rateOf(given, "refusalsPerUser"),
  };
}

function textsOf(given: Given): Partial<Record<(typeof TEXTS)[number], string>> {
  for (const name of TEXTS)
    if (given[name] !== undefined && (typeof given[name] !== "string" || given[name] === ""))
      throw bad(`${name} is a text`);
  return given;
}

/** It is read again whenever it is needed; here, that it can be. */
function checkFile(name: string, file: string | undefined): void {
  if (file === undefined) return;
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw bad(`${name} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  if (!text.includes("-----BEGIN")) throw bad(`${name} '${file}' holds no certificate in PEM`);
}

function rateOf(given: Given, key: keyof typeof RATES): Rate {
  const value = given[key] ?? RATES[key];
  checkOneRate(`openruko.${key}`, value);
  return value as Rate;
}
