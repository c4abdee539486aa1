/**
 * The four calls of a Gitorious application's internal API. `GET /authenticate` carries a password in its address, which
 * is the contract; addresses are in no message of ours.
 */
import { GitwharfError } from "../../base/errors.js";
import { addressKey } from "../rates/address-key.js";
import { type BoundedAnswer, fetchBounded, parseJson } from "../remote/bounded-fetch.js";
import { createPatience, type PatienceEvents } from "../remote/patience.js";
import { RemoteFailure } from "../remote/remote-failure.js";
import { isUserName } from "../user-name.js";
import type { CheckedGitoriousOptions } from "./gitorious-options.js";
import { readRepositoryConfiguration, type RepositoryConfiguration } from "./repository-configuration.js";

/** One ref of a push, as both hooks are told of it. */
export interface HookReport {
  /** Empty: nobody has signed in. */
  readonly user: string;
  readonly repositoryId: string;
  readonly refName: string;
  readonly oldOid: string;
  readonly newOid: string;
}

/** Of whom it is about: addresses take turns. */
type Address = string | undefined;

export interface GitoriousApi {
  /** @throws RemoteFailure */
  repositoryConfiguration(
    path: string,
    user: string,
    address: Address,
  ): Promise<RepositoryConfiguration | "denied" | "unknown">;
  /** @returns the login; undefined: they are wrong. @throws RemoteFailure */
  authenticate(user: string, password: string, address: Address): Promise<string | undefined>;
  /** @returns why not. @throws RemoteFailure */
  preReceive(
    report: HookReport & { readonly mergeBase: string },
    address: Address,
  ): Promise<string | undefined>;
  /** Once, without trying again. @throws RemoteFailure */
  postReceive(report: HookReport, signal?: AbortSignal): Promise<void>;
}

const OK = 200;
const UNAUTHORIZED = 401;
const FORBIDDEN = 403;
const NOT_FOUND = 404;
const AWAY: readonly number[] = [429, 502, 503, 504];
const HEADERS = { Accept: "application/json", "Accept-Encoding": "identity" };
const REASON_LENGTH_MAX = 1000;
const REFUSED = "pre-receive hook declined";

interface Question {
  readonly parameters: Readonly<Record<string, string>>;
  readonly address: Address;
  readonly readStatuses?: readonly number[];
}

/**
 * 500 is a question that the application chokes on: whoever finds one must not be able to have it left alone for
 * everybody.
 */
function isAway(status: number): boolean {
  return AWAY.includes(status);
}

export function createGitoriousApi(options: CheckedGitoriousOptions, events: PatienceEvents): GitoriousApi {
  const patiently = createPatience(options, events);
  const get = (
    path: string,
    { parameters, address, readStatuses = [OK] }: Question,
  ): Promise<BoundedAnswer> => {
    const url = `${options.url}/${path}?${new URLSearchParams(parameters).toString()}`;
    const bounds = { ...options, readStatuses, isAway };
    return patiently(() => fetchBounded(url, { headers: HEADERS }, bounds), addressKey(address));
  };
  return {
    async repositoryConfiguration(path, user, address) {
      const parameters = { repo_path: path, username: user };
      const { status, text } = await get("repo-config", { parameters, address });
      if (status === FORBIDDEN) return "denied";
      if (status === NOT_FOUND) return "unknown";
      if (status !== OK) throw unexpected(status);
      return readRepositoryConfiguration(parseJson(text));
    },
    async authenticate(user, password, address) {
      const parameters = { username: user, password };
      const { status, text } = await get("authenticate", { parameters, address });
      if (status === UNAUTHORIZED) return undefined;
      if (status !== OK) throw unexpected(status);
      const answer = parseJson(text);
      const login: unknown =
        typeof answer === "object" && answer !== null ? Reflect.get(answer, "username") : undefined;
      if (typeof login !== "string" || !isUserName(login))
        throw new RemoteFailure("its answer cannot be understood: username is no name of a user");
      return login;
    },
    async preReceive({ mergeBase, ...report }, address) {
      const parameters = { ...parametersOf(report), mergebase: mergeBase };
      const readStatuses = [FORBIDDEN];
      const { status, text } = await get("hooks/pre-receive", { parameters, address, readStatuses });
      if (status === OK) return undefined;
      if (status !== FORBIDDEN) throw unexpected(status);
      return firstLineOf(text) ?? REFUSED;
    },
    async postReceive(report, signal) {
      const request = {
        method: "POST",
        headers: { ...HEADERS, "Content-Type": "application/x-www-form-urlencoded" },
        body: new URLSearchParams(parametersOf(report)).toString(),
      };
      const url = `${options.url}/hooks/post-receive`;
      const bounds = { ...options, readStatuses: [], ...(signal === undefined ? {} : { signal }) };
      const { status } = await fetchBounded(url, request, bounds);
      if (status !== OK) throw unexpected(status);
    },
  };
}

function parametersOf(report: HookReport): Record<string, string> {
  return {
    username: report.user,
    repository_id: report.repositoryId,
    refname: report.refName,
    oldsha: report.oldOid,
    newsha: report.newOid,
  };
}

/** A second line would break out of the report that the pusher's git reads. */
function firstLineOf(text: string): string | undefined {
  const [first = ""] = text.trim().split(/[\r\n]/, 1);
  const line = first.slice(0, REASON_LENGTH_MAX).replace(/[\0-\x1f\x7f-\x9f]/g, "?");
  return line === "" ? undefined : line;
}

function unexpected(status: number): RemoteFailure {
  return new RemoteFailure(`it answered with status ${status}, which is not expected here`);
}

/** For the log. */
export function whyOf(error: unknown): string {
  if (error instanceof RemoteFailure || error instanceof GitwharfError) return error.message;
  return error instanceof Error ? `unexpectedly, ${error.message}` : "unexpectedly";
}
