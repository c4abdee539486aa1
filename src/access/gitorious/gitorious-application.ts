/**
 * A Gitorious application that is asked for every decision: who calls, which repository a path stands for and whether it
 * may be read, and, ref by ref, whether it may be pushed to. Without an answer nobody is let in.
 */
import { LRUCache } from "lru-cache";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { type Authorize, isReading } from "../../engine/authorization.js";
import type { Identity } from "../../engine/identity.js";
import { findMergeBase } from "../../engine/merge-base.js";
import type { Push, PushCommand, PushHandlers, Verdict } from "../../engine/push.js";
import { isNullObjectId } from "../../object/object-id.js";
import type { Credentials } from "../credentials.js";
import { nameOfPath, type ResolvedRepository, type ResolveRepository } from "../repository-resolver.js";
import { RemoteFailure } from "../remote/remote-failure.js";
import { type GitoriousApi, whyOf } from "./gitorious-api.js";
import { ACCESS_DENIED, ANONYMOUS_PUSH, INVALID_PATH, INVALID_USER } from "./gitorious-texts.js";
import type { CheckedGitoriousOptions } from "./gitorious-options.js";
import type { RepositoryConfiguration } from "./repository-configuration.js";

export interface GitoriousLogEntry {
  readonly level: "info" | "warn" | "error";
  readonly message: string;
}

export interface GitoriousApplication {
  /** Names and passwords only; undefined: none of its business. @throws access/unauthenticated, access/unavailable */
  authenticate(
    credentials: Credentials,
    from: { readonly address: string | undefined },
  ): Promise<Identity | undefined>;
  readonly authorize: Authorize;
  /** @throws access/denied, access/unauthenticated, access/unavailable */
  readonly resolveRepository: ResolveRepository;
  readonly handler: PushHandlers;
}

export interface GitoriousApplicationOptions {
  readonly options: Pick<CheckedGitoriousOptions, "roots" | "cacheSeconds">;
  readonly api: GitoriousApi;
  /** Of the repositories. */
  readonly directory: string;
  readonly log: (entry: GitoriousLogEntry) => void;
}

const CACHED_MAX = 10_000;
const UNDECIDED = "the server could not ask whether you may push; try again later";

export function createGitoriousApplication(about: GitoriousApplicationOptions): GitoriousApplication {
  const { api, directory, options } = about;
  const roots = options.roots ?? [directory];
  const kept = new LRUCache<string, RepositoryConfiguration>({ max: CACHED_MAX });
  const tell = (level: GitoriousLogEntry["level"], message: string): void =>
    about.log({ level, message: `gitorious: ${message}` });

  async function configurationOf(
    path: string,
    user: string,
    address: string | undefined,
  ): Promise<RepositoryConfiguration | "denied" | "unknown"> {
    const key = `${user}\0${path}`;
    const before = kept.get(key);
    if (before !== undefined) return before;
    const answer = await api.repositoryConfiguration(path, user, address);
    if (typeof answer === "object" && options.cacheSeconds > 0)
      kept.set(key, answer, { ttl: options.cacheSeconds * 1000 });
    return answer;
  }

  async function authenticate(
    credentials: Credentials,
    { address }: { readonly address: string | undefined },
  ): Promise<Identity | undefined> {
    if (credentials.kind !== "basic") return undefined;
    const startedMs = performance.now();
    let login: string | undefined;
    try {
      login = await api.authenticate(credentials.user, credentials.password, address);
    } catch (error) {
      tell("error", `credentials were not checked: ${whyOf(error)} (${since(startedMs)})`);
      throw new GitwharfError(
        "access/unavailable",
        "the server cannot check credentials at the moment; try again later",
      );
    }
    tell(
      "info",
      `credentials ${login === undefined ? "are wrong" : `are of ${login}`} (${since(startedMs)})`,
    );
    if (login === undefined) throw new GitwharfError("access/unauthenticated", INVALID_USER);
    return { user: login, method: "gitorious" };
  }

  const resolveRepository: ResolveRepository = async (path, { identity, operation, address }) => {
    const { user = "" } = identity;
    if (operation === "push" && user === "")
      throw new GitwharfError("access/unauthenticated", ANONYMOUS_PUSH);
    const what = `${operation} '${path}' for ${user === "" ? "anonymous" : user}`;
    const startedMs = performance.now();
    let found: ResolvedRepository | "denied" | "unknown";
    try {
      const answer = await configurationOf(path, user, address);
      found =
        typeof answer === "string"
          ? answer
          : { repository: await nameOfPath(answer.fullPath, { directory, roots }), facts: answer.facts };
    } catch (error) {
      tell("error", `${what} denied: ${whyOf(error)} (${since(startedMs)})`);
      throw new GitwharfError(
        "access/unavailable",
        "the server cannot tell which repository this is at the moment; try again later",
      );
    }
    const outcome = typeof found === "string" ? found : `is '${found.repository}'`;
    tell("info", `${what} ${outcome} (${since(startedMs)})`);
    if (found === "unknown") return undefined;
    if (found !== "denied") return found;
    // Who has not signed in is asked to, so that private repositories prompt.
    throw new GitwharfError(user === "" ? "access/unauthenticated" : "access/denied", ACCESS_DENIED);
  };

  /** What may be read has been resolved; what may be pushed is asked ref by ref, once the objects are there. */
  const authorize: Authorize = ({ operation, identity }) => {
    if (operation !== "push" && !isReading(operation))
      return { allowed: false, reason: INVALID_PATH, answer: "hide" };
    if (operation === "push" && identity.user === undefined)
      return { allowed: false, reason: ANONYMOUS_PUSH, answer: "challenge" };
    return { allowed: true };
  };

  async function judge(push: Push, command: PushCommand): Promise<Verdict> {
    const { name, oldOid, newOid } = command;
    const startedMs = performance.now();
    const what = `'${name}' of '${push.repository.name}' for ${push.identity.user}`;
    try {
      const verdict = await api.preReceive(
        {
          user: push.identity.user ?? "",
          repositoryId: push.facts?.["repository_id"] ?? "",
          refName: name,
          oldOid,
          newOid,
          mergeBase: await mergeBaseOf(push, command),
        },
        push.address,
      );
      tell(
        "info",
        `${what} ${verdict === undefined ? "allowed" : `refused: ${verdict}`} (${since(startedMs)})`,
      );
      return verdict;
    } catch (error) {
      if (isGitwharfError(error, "base/limit-exceeded")) return error.message;
      if (!(error instanceof RemoteFailure)) throw error;
      tell("error", `${what} refused: ${whyOf(error)} (${since(startedMs)})`);
      return UNDECIDED;
    }
  }

  const handler: PushHandlers = {
    async preReceive(push) {
      if (push.identity.user === undefined) return ANONYMOUS_PUSH;
      for (const command of push.commands) {
        const verdict = await judge(push, command);
        if (verdict !== undefined) return verdict;
      }
      return undefined;
    },
  };
  return { authenticate, authorize, resolveRepository, handler };
}

/** Empty where there is none: a ref comes, goes, or is no branch. */
async function mergeBaseOf(push: Push, { oldOid, newOid }: PushCommand): Promise<string> {
  if (isNullObjectId(oldOid) || isNullObjectId(newOid)) return "";
  const { shallow } = push.snapshot;
  return (await findMergeBase(push.objects, oldOid, newOid, { shallow, signal: push.signal })) ?? "";
}

function since(startedMs: number): string {
  return `${Math.round(performance.now() - startedMs)} ms`;
}
