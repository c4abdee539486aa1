/**
 * An application that is asked for every decision, by our own remote contract. No answer, or one that is not
 * understood, lets nobody in: credentials are answered by 503 (git keeps its password then), permissions are denied.
 */
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { AuthorizationAnswer, AuthorizationRequest, Authorize } from "../../engine/authorization.js";
import type { RefAction } from "../../engine/identity.js";
import type { Identity, PushCommand } from "../../engine/push.js";
import { parseRepositoryName } from "../../storage/contracts/repository-name.js";
import { UNDECIDED } from "../authorization-answer.js";
import type { Credentials } from "../credentials.js";
import { nameOfPath, type ResolveRepository } from "../repository-resolver.js";
import { createPushDecisions, type ExactPush } from "./push-decisions.js";
import { readAuthenticateAnswer, readAuthorizeAnswer, readResolveAnswer } from "./remote-answers.js";
import { createRemoteCaller } from "./remote-call.js";
import { RemoteFailure } from "./remote-failure.js";
import { checkRemoteOptions, type RemoteOptions } from "./remote-options.js";
import {
  authenticateQuestion,
  authorizeQuestion,
  type RemoteCallerOfGit,
  resolveQuestion,
} from "./remote-questions.js";

export interface RemoteLogEntry {
  readonly level: "info" | "warn" | "error";
  readonly message: string;
}

export interface RemoteApplication {
  /** undefined: they are wrong. @throws access/unavailable */
  readonly authenticate:
    | ((
        credentials: Credentials,
        caller: RemoteCallerOfGit & { readonly transport: "http" | "ssh" },
      ) => Promise<Identity | undefined>)
    | undefined;
  readonly authorize: Authorize | undefined;
  /** With `exactActions`, to be called before policies look at a push. */
  readonly exactPush: ExactPush | undefined;
  /** @throws access/unavailable */
  readonly resolveRepository: ResolveRepository | undefined;
}

const CACHED_ANSWERS_MAX = 10_000;

/** @throws server/bad-configuration */
export function createRemoteApplication(
  given: RemoteOptions,
  log: (entry: RemoteLogEntry) => void,
  /** Of repositories; undefined when they are in no directory: then there is no `fullPath`. */
  directory?: string,
): RemoteApplication {
  const options = checkRemoteOptions(given);
  const tell = (level: RemoteLogEntry["level"], message: string): void =>
    log({ level, message: `remote application: ${message}` });
  const caller = createRemoteCaller(options, {
    onRetry: (why) => tell("info", `asking again, because ${why}`),
    onBreak: () => tell("error", `it does not answer; it is left alone for ${options.breakerResetMs} ms`),
    onReset: () => tell("warn", "it answers again"),
  });
  const kept = new LRUCache<string, { readonly answer: unknown }>({ max: CACHED_ANSWERS_MAX });

  /** Only what was understood is kept. */
  async function ask<T>(
    question: { readonly path: string; readonly body: string; readonly address: string | undefined },
    read: (value: unknown) => T,
  ): Promise<T> {
    const { path, body, address } = question;
    // Questions hold passwords: only their digest stays.
    const key = createHash("sha256").update(`${path}\0${body}`).digest("base64");
    const before = kept.get(key);
    if (before !== undefined) return read(before.answer);
    const { value, maxAgeSeconds } = await caller.ask(path, body, address);
    const answer = read(value);
    const ttl = Math.min(maxAgeSeconds, options.cacheSecondsMax) * 1000;
    if (ttl > 0) kept.set(key, { answer: value }, { ttl });
    return answer;
  }

  async function authenticate(
    credentials: Credentials,
    from: RemoteCallerOfGit,
  ): Promise<Identity | undefined> {
    const what = `${credentials.kind} credentials`;
    const startedMs = performance.now();
    try {
      const answer = await ask(
        { path: "authenticate", body: authenticateQuestion(credentials, from), address: from.address },
        readAuthenticateAnswer,
      );
      const outcome = "identity" in answer ? `are of ${answer.identity.user}` : `refused: ${answer.refused}`;
      tell("info", `${what} ${outcome} (${since(startedMs)})`);
      return "identity" in answer ? answer.identity : undefined;
    } catch (error) {
      tell("error", `${what} were not checked: ${whyOf(error)} (${since(startedMs)})`);
      throw new GitwharfError(
        "access/unavailable",
        "the server cannot check credentials at the moment; try again later",
      );
    }
  }

  async function decide(
    request: AuthorizationRequest,
    actions?: ReadonlyMap<PushCommand, RefAction>,
  ): Promise<AuthorizationAnswer> {
    const { identity, operation, repository, commands } = request;
    const refs = commands === undefined ? "" : ` (${commands.length} refs)`;
    const what = `${operation} '${repository}'${refs} for ${identity.user ?? "anonymous"}`;
    const startedMs = performance.now();
    try {
      const answer = await ask(
        { path: "authorize", body: authorizeQuestion(request, actions), address: request.address },
        readAuthorizeAnswer,
      );
      tell(
        "info",
        `${what} ${answer.allowed ? "allowed" : `denied: ${answer.reason}`} (${since(startedMs)})`,
      );
      return answer;
    } catch (error) {
      tell("error", `${what} denied: ${whyOf(error)} (${since(startedMs)})`);
      return UNDECIDED;
    }
  }
  const { authorize, exactPush } = createPushDecisions(decide, options.exactActions);

  const resolveRepository: ResolveRepository = async (name, request) => {
    const what = `the name '${name}' for ${request.identity.user ?? "anonymous"}`;
    const startedMs = performance.now();
    try {
      const answer = await ask(
        { path: "resolve", body: resolveQuestion(name, request), address: request.address },
        readResolveAnswer,
      );
      const found = answer === undefined ? undefined : await nameOfAnswer(answer, options, directory);
      tell("info", `${what} is ${found === undefined ? "unknown" : `'${found}'`} (${since(startedMs)})`);
      return found;
    } catch (error) {
      tell("error", `${what} was not found: ${whyOf(error)} (${since(startedMs)})`);
      throw new GitwharfError(
        "access/unavailable",
        "the server cannot tell which repository this is at the moment; try again later",
      );
    }
  };

  return {
    resolveRepository: options.resolve ? resolveRepository : undefined,
    authenticate: options.authenticate ? authenticate : undefined,
    authorize: options.authorize ? authorize : undefined,
    exactPush: options.authorize ? exactPush : undefined,
  };
}

async function nameOfAnswer(
  answer: { readonly repository: string } | { readonly fullPath: string },
  { roots }: Pick<RemoteOptions, "roots">,
  directory: string | undefined,
): Promise<string> {
  if ("repository" in answer) return parseRepositoryName(answer.repository);
  if (directory === undefined)
    throw new RemoteFailure("it answered with a fullPath, and repositories are in no directory here");
  return nameOfPath(answer.fullPath, { directory, roots: roots ?? [directory] });
}

function since(startedMs: number): string {
  return `${Math.round(performance.now() - startedMs)} ms`;
}

function whyOf(error: unknown): string {
  if (error instanceof RemoteFailure || isGitwharfError(error, "storage/bad-name")) return error.message;
  return error instanceof Error ? `unexpectedly, ${error.message}` : "unexpectedly";
}
