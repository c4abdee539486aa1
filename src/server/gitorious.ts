/**
 * The option `gitorious`, turned into the callbacks and handlers that it stands for. The application is told of pushes as
 * webhooks are: it is a target of events.
 */
import { join, resolve } from "node:path";
import { setTimeout as setTimeoutPromise } from "node:timers/promises";
import { createGitoriousApi, whyOf } from "../access/gitorious/gitorious-api.js";
import { createGitoriousApplication } from "../access/gitorious/gitorious-application.js";
import { checkGitoriousOptions } from "../access/gitorious/gitorious-options.js";
import { describeAsGitorious, greetAsGitorious } from "../access/gitorious/gitorious-texts.js";
import { parsePublicPath } from "../access/gitorious/public-path.js";
import type { PolicyEntry } from "../access/policies/policy-rule.js";
import { GitwharfError } from "../base/errors.js";
import { GITORIOUS_TARGET } from "../database/delivery-store.js";
import type { PushHandlers } from "../engine/push.js";
import { DeliveryRefused, type DeliveryTarget } from "../events/delivery-queue.js";
import { createCustomHooks, gitoriousEnvironment } from "../hooks/custom-hooks.js";
import { createServerInfo } from "../hooks/server-info.js";
import type { RepositoryStore } from "../storage/contracts/repository.js";
import type { ServiceHost, ServiceLogEntry } from "../transport/service-host.js";
import type { GitServerOptions } from "./git-server-options.js";

/** What a server with `gitorious` does otherwise. */
export interface Gitorious {
  /** With the callbacks that stand for it. */
  readonly options: GitServerOptions;
  readonly host: Pick<ServiceHost, "parseName" | "answers">;
  /** Tells the application of events. */
  readonly target: DeliveryTarget;
  /** For hooks of a repository. */
  readonly environmentOf: typeof gitoriousEnvironment;
  /** Once the stores are there. */
  attach(stores: {
    readonly repositories: RepositoryStore;
    /** Resolves when the application has been told of what happened in a repository, or has to wait. */
    readonly told: (repository: string) => Promise<void>;
  }): GitoriousHandlers;
}

export interface GitoriousHandlers {
  /** Before those of repositories. */
  readonly first: readonly PushHandlers[];
  /** After all that may refuse. */
  readonly last: readonly PushHandlers[];
  /** Packs were folded. */
  refreshServerInfo(name: string): Promise<void>;
}

const CALLBACKS = ["authenticate", "authorize", "resolveRepository", "remote"] as const;

/** @throws server/bad-configuration when it is wrong, or stands beside what answers the same questions */
export function createGitorious(
  given: GitServerOptions,
  log: (entry: ServiceLogEntry) => void,
): Gitorious | undefined {
  if (given.gitorious === undefined) return undefined;
  const checked = checkGitoriousOptions(given.gitorious);
  const other = CALLBACKS.find((name) => given[name] !== undefined);
  if (other !== undefined) throw bad(`both ${other} and gitorious would answer: leave one out`);
  if (typeof given.repositories !== "string")
    throw bad("gitorious tells repositories by their path: repositories is a directory then");
  const directory = resolve(given.repositories);
  const api = createGitoriousApi(checked, {
    onRetry: (why) => log({ level: "info", message: `gitorious: asking again, because ${why}` }),
    onBreak: () =>
      log({
        level: "error",
        message: `gitorious: it does not answer; it is left alone for ${checked.breakerResetMs} ms`,
      }),
    onReset: () => log({ level: "warn", message: "gitorious: it answers again" }),
  });
  const application = createGitoriousApplication({ options: checked, api, directory, log });
  return {
    options: {
      ...given,
      ...gitoriousPolicies(given),
      database: given.database ?? `sqlite:${join(directory, ".gitwharf", "access.sqlite")}`,
      authenticate: (credentials, from) => application.authenticate(credentials, from),
      authorize: application.authorize,
      resolveRepository: application.resolveRepository,
    },
    host: {
      parseName: parsePublicPath,
      answers: { realm: checked.realm, describe: describeAsGitorious, greeting: greetAsGitorious },
    },
    environmentOf: gitoriousEnvironment,
    target: {
      name: GITORIOUS_TARGET,
      title: "gitorious",
      timeoutMs: checked.timeoutMs,
      pauseMsMax: checked.deliverySecondsMax * 1000,
      // Out of order would be worse than late: it is asked until it takes it.
      keepsRecords: false,
      takesRepository: () => true,
      takes: () => true,
      async deliver({ user, refName, oldOid, newOid, about }, signal) {
        const repositoryId = about.facts?.["repository_id"] ?? "";
        try {
          await api.postReceive({ user, repositoryId, refName, oldOid, newOid }, signal);
        } catch (error) {
          throw new DeliveryRefused(whyOf(error));
        }
        return undefined;
      },
    },
    attach({ repositories, told }) {
      const { timeoutMs, hooksDirectory } = checked;
      const onReceived: PushHandlers = {
        async postReceive({ repository }) {
          const delivered = new AbortController();
          const patience = setTimeoutPromise(timeoutMs, undefined, { signal: delivered.signal });
          await Promise.race([told(repository.name), patience.catch(() => undefined)]);
          delivered.abort();
        },
      };
      const environment = process.env;
      const custom = createCustomHooks({ environment, environmentOf: gitoriousEnvironment, hooksDirectory });
      const writeServerInfo = createServerInfo();
      return {
        first: [application.handler, onReceived, custom],
        last: [{ postReceive: ({ repository }) => writeServerInfo(repository) }],
        async refreshServerInfo(name) {
          const repository = await repositories.open(name);
          try {
            if (repository !== undefined) await writeServerInfo(repository);
          } finally {
            await repository?.close();
          }
        },
      };
    },
  };
}

/** This rule goes first, then those of the operator, then the application. */
export function gitoriousPolicies({
  policies,
  gitorious,
}: Pick<GitServerOptions, "policies" | "gitorious">): Pick<GitServerOptions, "policies"> {
  if (gitorious === undefined) return {};
  const { denyForcePushing } = checkGitoriousOptions(gitorious);
  if (denyForcePushing.length === 0) return {};
  return { policies: [denyForcePushingIn(denyForcePushing), ...(policies ?? [])] };
}

/**
 * Gitorious's "deny force pushing" as a rule: forced updates and deletions of the repositories of these patterns are
 * refused in its words.
 */
export function denyForcePushingIn(repositories: readonly string[]): PolicyEntry {
  return { name: "deny force pushing", effect: "deny", repositories, actions: ["force", "delete"] };
}

function bad(why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", why);
}
