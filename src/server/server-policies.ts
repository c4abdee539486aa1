/** The rules of the configuration and the `authorize` callback as one. */
import { UNDECIDED } from "../access/authorization-answer.js";
import { createPolicy } from "../access/policies/policy.js";
import { checkPolicies, type PolicyEntry } from "../access/policies/policy-rule.js";
import { GitwharfError } from "../base/errors.js";
import { type AuthorizationRequest, type Authorize, isReading } from "../engine/authorization.js";
import type { PushHandlers } from "../engine/push.js";
import type { ServiceLogEntry } from "../transport/service-host.js";
import type { Identification } from "./identification.js";
import type { GitServerOptions } from "./git-server-options.js";
import { tellOfMovedForOthers } from "./moved-for-others.js";

export interface ServerPolicies {
  /** undefined: there is nothing but the difference between open and closed. */
  readonly authorize: Authorize | undefined;
  readonly handlers: readonly PushHandlers[];
  /** Refs that the caller may not see; undefined: none. */
  hiddenRefsOf(request: AuthorizationRequest): Promise<((ref: string) => boolean) | undefined>;
}

type PolicyOptions = Pick<GitServerOptions, "anonymousRead" | "policies" | "authorize" | "verifyCommit">;

/** The rule that stands for `gitwharf public`. */
export const PUBLIC_REPOSITORIES = "public repositories";

/** @throws server/bad-configuration */
export function createServerPolicies(
  options: PolicyOptions,
  { isOpen, isUserKey, isPublic }: Pick<Identification, "isOpen" | "isUserKey" | "isPublic">,
  { timeoutMs, log }: { readonly timeoutMs: number; readonly log: (entry: ServiceLogEntry) => void },
): ServerPolicies {
  const { authorize } = options;
  const entries = policyEntriesOf(options, isPublic);
  if (entries.length === 0) return { authorize, handlers: [], hiddenRefsOf: async () => undefined };
  const { verifyCommit } = options;
  const needsKeys = entries.some(
    (entry) => "require" in entry && entry.require?.signedCommits === "user-keys",
  );
  if (needsKeys && isUserKey === undefined) {
    throw new GitwharfError(
      "server/bad-configuration",
      'a rule requires commits that are signed with "user-keys", and there is no database of users: set `database`',
    );
  }
  const policy = createPolicy({ entries, otherwise: authorize, verifyCommit, isUserKey, timeoutMs });
  const { preReceive } = policy.handler;
  const handler: PushHandlers = {
    async preReceive(push) {
      // As long as there is nobody to tell apart, rules about reading close nothing.
      if (await isOpen()) return undefined;
      try {
        return await preReceive?.(push);
      } catch (error) {
        if (push.signal.aborted) throw error;
        log({
          level: "error",
          message: `the policies could not judge a push to ${push.repository.name}`,
          error,
        });
        return UNDECIDED.reason;
      }
    },
    async postReceive(push, changed) {
      if (!(await isOpen())) await tellOfMovedForOthers({ push, changed }, policy.judgeMoved, log);
    },
  };
  return {
    authorize: policy.authorize,
    // What nobody wrote rules about needs nobody to judge it.
    handlers: options.policies === undefined ? [] : [handler],
    hiddenRefsOf: async (request) => ((await isOpen()) ? undefined : policy.hiddenRefsOf(request)),
  };
}

/**
 * All rules in their order. Those that other options stand for come last: rules that deny, and rules about refs, hold
 * for public repositories as well.
 */
export function policyEntriesOf(
  { anonymousRead = [], policies, authorize }: PolicyOptions,
  isPublic?: (repository: string) => Promise<boolean>,
): readonly PolicyEntry[] {
  const entries: PolicyEntry[] = [];
  if (policies !== undefined) {
    checkPolicies(policies);
    entries.push(...policies);
  } else if (authorize === undefined && (anonymousRead.length > 0 || isPublic !== undefined)) {
    entries.push({ name: "signed in", effect: "allow", users: ["@users"] });
  }
  if (anonymousRead.length > 0) {
    entries.push({
      name: "anonymousRead",
      effect: "allow",
      repositories: anonymousRead,
      operations: ["read"],
    });
  }
  if (isPublic !== undefined) {
    entries.push({
      name: PUBLIC_REPOSITORIES,
      decide: async ({ operation, repository }) =>
        isReading(operation) && (await isPublic(repository)) ? { allowed: true } : undefined,
    });
  }
  return entries;
}
