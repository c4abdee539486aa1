/**
 * What options say, looked at before the server starts. A configuration file and plain JavaScript can say anything,
 * and an option that is not understood must not be taken for one that is absent: a handler under a wrong name would
 * let every push through.
 */
import { bundleUrisOf } from "./bundle-uris.js";
import { apiOptionsOf } from "../api/api-options.js";
import { auditOptionsOf } from "../access/audit/audit-options.js";
import { checkRates } from "../access/rates/rates.js";
import { GitwharfError } from "../base/errors.js";
import { DEFAULT_LIMITS, type Limits } from "../base/limits.js";
import type { PushHandlers } from "../engine/push.js";
import { checkRefName } from "../object/ref-name.js";
import { checkGitDaemonOptions } from "./git-daemon-options.js";
import type { GitServerOptions } from "./git-server-options.js";
import { checkSshServerOptions } from "./ssh-options.js";

const KNOWN_VALUES = {
  autoCreate: ["never", "push", "read"],
  objectFormat: ["sha1", "sha256"],
  refFormat: ["files", "reftable"],
  durability: ["sync", "none"],
} as const satisfies Partial<Record<keyof GitServerOptions, readonly string[]>>;

const HANDLER_NAMES: ReadonlySet<string> = new Set(
  Object.keys({
    preUpload: true,
    preReceive: true,
    update: true,
    procReceive: true,
    referenceTransaction: true,
    pushToCheckout: true,
    postReceive: true,
  } satisfies Record<Exclude<keyof PushHandlers, "timeoutMs" | "procReceiveRefs">, true>),
);

/** @throws server/bad-configuration */
export function checkOptions(options: GitServerOptions): void {
  const { repositories, defaultBranch, handlers, limits } = options;
  if (typeof repositories !== "string" && !hasFunction(repositories, "open"))
    throw wrong("repositories is a directory or a RepositoryStore");
  for (const [option, known] of Object.entries(KNOWN_VALUES)) {
    const value: unknown = options[option as keyof typeof KNOWN_VALUES];
    if (value !== undefined && !known.some((text) => text === value))
      throw wrong(`${option} '${shown(value)}' is not known; it may be ${known.join(" or ")}`);
  }
  for (const option of ["repositoryHooks", "requirePreReceive", "collisionDetection", "past"] as const) {
    const value: unknown = options[option];
    if (value !== undefined && typeof value !== "boolean") throw wrong(`${option} is true or false`);
  }
  for (const option of [
    "authenticate",
    "authorize",
    "resolveRepository",
    "verifyPushCertificate",
    "verifyCommit",
    "front",
    "beside",
    "furtherMetrics",
    "log",
  ] as const) {
    const value: unknown = options[option];
    if (value !== undefined && typeof value !== "function") throw wrong(`${option} is a function`);
  }
  checkAccessOptions(options);
  checkGitDaemonOptions(options.gitDaemon);
  checkSshServerOptions(options.sshServer);
  checkRates(options.rates);
  if (options.audit !== undefined) auditOptionsOf(options.audit);
  checkApi(options);
  bundleUrisOf(options.bundleUris);
  bundleUrisOf(options.packfileUris, "packfileUris");
  if (defaultBranch !== undefined) checkBranch(defaultBranch);
  for (const one of [handlers ?? []].flat()) checkHandlers(one);
  if (options.handlerTimeoutMs !== undefined && !isDuration(options.handlerTimeoutMs))
    throw wrong("handlerTimeoutMs is a number of milliseconds above 0, or Infinity");
  if (limits !== undefined) checkLimits(limits);
}

/** undefined: any. */
const ACCESS_KEYS = {
  users: undefined,
  signedTokens: ["keys", "audience", "issuer", "lifetimeSecondsMax", "clockToleranceSeconds"],
  trustedUserHeader: ["header", "proxies"],
  clientCertificates: ["from", "map"],
} as const satisfies Partial<Record<keyof GitServerOptions, readonly string[] | undefined>>;

/** What stands in an option is looked at by who reads it; here, that it is there to be read. */
function checkAccessOptions(options: GitServerOptions): void {
  const { database, authenticators, anonymousRead, serialPushes } = options;
  if (database !== undefined && typeof database !== "string")
    throw wrong("database is a text: sqlite:PATH or postgres://USER@HOST/NAME");
  for (const [option, known] of Object.entries<readonly string[] | undefined>(ACCESS_KEYS)) {
    const value: unknown = options[option as keyof typeof ACCESS_KEYS];
    if (value === undefined) continue;
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw wrong(`${option} is an object`);
    const odd = known === undefined ? undefined : Object.keys(value).find((key) => !known.includes(key));
    if (odd !== undefined) throw wrong(`${option} has no '${odd}'; known are ${known?.join(", ")}`);
  }
  const { trustedProxies } = options;
  const lists: readonly (readonly [string, unknown, (each: unknown) => boolean])[] = [
    ["authenticators", authenticators, (each) => hasFunction(each, "authenticate")],
    ["anonymousRead", anonymousRead, isText],
    ["serialPushes", serialPushes, isText],
    ["trustedProxies", trustedProxies, isText],
    ["signedTokens.keys", options.signedTokens?.keys, isText],
    ["trustedUserHeader.proxies", options.trustedUserHeader?.proxies, isText],
  ];
  for (const [option, value, isGood] of lists)
    if (value !== undefined && !(Array.isArray(value) && value.every(isGood)))
      throw wrong(`${option} is a list of ${isGood === isText ? "texts" : "authenticators"}`);
  const { signedTokens, trustedUserHeader } = options;
  if (signedTokens !== undefined && !(isText(signedTokens.audience) && signedTokens.keys !== undefined))
    throw wrong("signedTokens needs keys, and the audience that tokens must name");
  if (
    trustedUserHeader !== undefined &&
    !(isText(trustedUserHeader.header) && trustedUserHeader.proxies !== undefined)
  )
    throw wrong("trustedUserHeader needs a header and the addresses of proxies");
}

function checkApi({ api, resolveRepository, gitorious, remote }: GitServerOptions): void {
  if (apiOptionsOf(api) === undefined) return;
  const other =
    resolveRepository !== undefined
      ? "resolveRepository"
      : gitorious !== undefined
        ? "gitorious"
        : remote?.resolve === true
          ? "remote.resolve"
          : undefined;
  if (other !== undefined)
    throw wrong(`api and ${other} do not go together: to the API, names are those of repositories`);
}

function isDuration(value: unknown): boolean {
  return typeof value === "number" && value > 0;
}

function isText(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}

function checkBranch(branch: unknown): void {
  const why = typeof branch === "string" ? checkRefName(`refs/heads/${branch}`) : "it is no text";
  if (why !== undefined) throw wrong(`defaultBranch '${shown(branch)}' cannot be a branch: ${why}`);
}

/** An object of a class may keep what it likes beside its handlers; a plain one has nothing but handlers. */
function checkHandlers(handlers: unknown): void {
  if (typeof handlers !== "object" || handlers === null)
    throw wrong("handlers is an object with handlers of pushes, or a list of such objects");
  const plain = [Object.prototype, null].includes(Object.getPrototypeOf(handlers) as object | null);
  for (const name of plain ? Object.keys(handlers) : []) {
    if (!HANDLER_NAMES.has(name) && name !== "timeoutMs" && name !== "procReceiveRefs")
      throw wrong(`there is no handler '${name}'; known are ${[...HANDLER_NAMES].join(", ")}`);
  }
  const { timeoutMs, procReceiveRefs } = handlers as Record<string, unknown>;
  if (timeoutMs !== undefined && !isDuration(timeoutMs))
    throw wrong("the handlers' timeoutMs is a number of milliseconds above 0, or Infinity");
  if (procReceiveRefs !== undefined && !(Array.isArray(procReceiveRefs) && procReceiveRefs.every(isText)))
    throw wrong('the handlers\' procReceiveRefs is a list of prefixes: ["refs/for"]');
  for (const name of HANDLER_NAMES) {
    const handler: unknown = Reflect.get(handlers, name);
    if (handler !== undefined && typeof handler !== "function")
      throw wrong(`the handler ${name} is a function`);
  }
}

/** @throws server/bad-configuration */
export function checkLimits(limits: unknown): void {
  if (typeof limits !== "object" || limits === null || Array.isArray(limits))
    throw wrong("limits is an object: { NAME: NUMBER }");
  for (const [name, value] of Object.entries(limits as Record<string, unknown>)) {
    if (!(name in DEFAULT_LIMITS))
      throw wrong(`there is no limit '${name}'; known are ${Object.keys(DEFAULT_LIMITS).join(", ")}`);
    if (value === undefined) continue;
    if (typeof value !== "number" || Number.isNaN(value) || value < 0)
      throw wrong(`limit '${name}' must be a number from 0 up, or Infinity`);
  }
}

/** The default limits with deviations; one that is undefined is no deviation. */
export function limitsWith(deviations: Partial<Limits> = {}): Limits {
  const given = Object.entries(deviations).filter(([, value]) => value !== undefined);
  return { ...DEFAULT_LIMITS, ...(Object.fromEntries(given) as Partial<Limits>) };
}

function hasFunction(value: unknown, name: string): boolean {
  return typeof value === "object" && value !== null && typeof Reflect.get(value, name) === "function";
}

function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function wrong(message: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", message);
}
