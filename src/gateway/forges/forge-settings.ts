/** Where a forge is, who we are there, and how long we wait for it. */
import { createAddressGuard, type IsCallable } from "../../base/address-guard.js";
import { GitwharfError } from "../../base/errors.js";
import type { ForgeName } from "../upstream-name.js";
import { isToken } from "./token-pool.js";

export interface ForgeSettings {
  readonly name: ForgeName;
  /** As in the gateway's addresses. @default the forge's own; of `gt` there is none */
  readonly host?: string;
  /** Where people see it: `https://github.com`. @default https on the host */
  readonly webUrl?: string;
  /** Where its API is. @default as the forge has it */
  readonly apiUrl?: string;
  /** Where its repositories are cloned from. @default webUrl */
  readonly gitUrl?: string;
  /** Of accounts of ours, asked in turn. @default none: only what anybody may read */
  readonly tokens?: readonly string[];
  /** Addresses beyond the public internet that may be called. @default none */
  readonly allowAddresses?: readonly string[];
  /** From a host's name to the last byte of an answer. @default 20,000 */
  readonly requestTimeoutMs?: number;
  /** Of one answer. @default 8 MiB */
  readonly answerBytesMax?: number;
  /** Of what failed without anything having been done. @default 2 */
  readonly retriesMax?: number;
  /** Before the first of them; each later one waits twice as long. @default 500 */
  readonly retryDelayMs?: number;
  /** How long a fork may take. @default 120,000 */
  readonly forkTimeoutMs?: number;
  /** Between two looks at it. @default 1,000 */
  readonly forkPollMs?: number;
  /** GitHub asks for a second between two writes of an account. @default true */
  readonly isPaced?: boolean;
}

export interface ForgePlace {
  readonly name: ForgeName;
  readonly host: string;
  readonly webUrl: string;
  readonly apiUrl: string;
  readonly gitUrl: string;
  readonly isCallable: IsCallable;
  readonly requestTimeoutMs: number;
  readonly answerBytesMax: number;
  readonly retriesMax: number;
  readonly retryDelayMs: number;
  readonly forkTimeoutMs: number;
  readonly forkPollMs: number;
  readonly isPaced: boolean;
}

const HOSTS: Readonly<Record<ForgeName, string>> = {
  gh: "github.com",
  gl: "gitlab.com",
  cb: "codeberg.org",
  gt: "",
};

/** @throws server/bad-configuration */
export function forgePlace(settings: ForgeSettings): ForgePlace {
  const host = settings.host ?? HOSTS[settings.name];
  if (host === "") throw bad(`the forge ${settings.name} needs a host`);
  const webUrl = checkUrl(settings.webUrl ?? `https://${host}`);
  if (!(settings.tokens ?? []).every(isToken))
    throw bad("a token of a forge is empty, longer than 1,024 characters, or has characters that none has");
  return {
    name: settings.name,
    host,
    webUrl,
    apiUrl: checkUrl(settings.apiUrl ?? apiOf(settings.name, webUrl)),
    gitUrl: checkUrl(settings.gitUrl ?? webUrl),
    isCallable: createAddressGuard(settings.allowAddresses ?? []),
    requestTimeoutMs: settings.requestTimeoutMs ?? 20_000,
    answerBytesMax: settings.answerBytesMax ?? 8 * 1024 * 1024,
    retriesMax: settings.retriesMax ?? 2,
    retryDelayMs: settings.retryDelayMs ?? 500,
    forkTimeoutMs: settings.forkTimeoutMs ?? 120_000,
    forkPollMs: settings.forkPollMs ?? 1000,
    isPaced: settings.isPaced ?? true,
  };
}

/** GitLab's and Gitea's SDKs know the rest of it. */
function apiOf(name: ForgeName, webUrl: string): string {
  if (name !== "gh") return webUrl;
  return webUrl === "https://github.com" ? "https://api.github.com" : `${webUrl}/api/v3`;
}

/** Without a slash at its end. */
function checkUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (
    !/^https?:$/.test(url?.protocol ?? "") ||
    url?.username !== "" ||
    url.password !== "" ||
    url.search !== ""
  )
    throw bad("the address of a forge is none of http or https, or has a user, a password or a query in it");
  return url.href.replace(/\/+$/, "");
}

function bad(why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", why);
}
