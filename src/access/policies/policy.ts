/**
 * A list of rules as an `authorize` and a push handler. Before the objects of a push are there, a push is let through
 * when some rule may allow it; the handler then decides on the quarantine, ref by ref, and one refusal refuses the push.
 */
import { isGitwharfError } from "../../base/errors.js";
import type { AuthorizationAnswer, AuthorizationRequest, Authorize } from "../../engine/authorization.js";
import type { RefAction } from "../../engine/identity.js";
import type { Push, PushCommand, PushHandlers } from "../../engine/push.js";
import { isNullObjectId } from "../../object/object-id.js";
import { guardDecision } from "../authorization-answer.js";
import { compilePatterns, type MatchesName } from "../name-pattern.js";
import { possibleActions } from "../ref-rules.js";
import {
  matchBeforeObjects,
  matchesCaller,
  matchesRef,
  policyOperation,
  isAboutReadableRefs,
} from "./match-rule.js";
import {
  checkPolicies,
  isPolicyFunction,
  nameOf,
  type PolicyEntry,
  type PolicyOperation,
  type PolicyRule,
} from "./policy-rule.js";
import { createPushFacts, type PushFacts } from "./push-facts.js";
import { hiddenRefsOf } from "./readable-refs.js";
import { checkRequirements, type IsUserKey, type VerifyCommit } from "./requirements.js";

export interface PolicyOptions {
  readonly entries: readonly PolicyEntry[];
  /** Asked when no entry decides. @default it is denied */
  readonly otherwise?: Authorize | undefined;
  readonly verifyCommit?: VerifyCommit | undefined;
  readonly isUserKey?: IsUserKey | undefined;
  /** For each question to code. @default Infinity */
  readonly timeoutMs?: number;
}

type GuardedOptions = Omit<PolicyOptions, "otherwise"> & {
  readonly otherwise:
    | ((request: AuthorizationRequest) => Promise<AuthorizationAnswer | undefined>)
    | undefined;
};

export interface Policy {
  readonly authorize: Authorize;
  /** Refs that the caller may not see; undefined: none. */
  readonly hiddenRefsOf: (request: AuthorizationRequest) => Promise<MatchesName | undefined>;
  readonly handler: PushHandlers;
  /** What the rules would have said about a ref that has moved. @returns why not */
  readonly judgeMoved: (push: Push, moved: PushCommand) => Promise<string | undefined>;
}

/** @throws server/bad-configuration */
export function createPolicy(given: PolicyOptions): Policy {
  checkPolicies(given.entries);
  const options = guarded(given);
  const { entries, otherwise } = options;
  const decide = async (request: AuthorizationRequest): Promise<AuthorizationAnswer> => {
    const commands = request.operation === "push" ? (request.commands ?? [undefined]) : [undefined];
    for (const command of commands) {
      const final =
        (await decideBeforeObjects(entries, request, command)) ??
        (await askOtherwise(otherwise, request)) ??
        refusal(undefined, request, command);
      if (!final.allowed) return final;
    }
    return { allowed: true };
  };
  return {
    authorize: async (request) => {
      const answer = await decide(request);
      if (answer.allowed || answer.answer !== undefined) return answer;
      return { ...answer, answer: await answerTo(request, decide) };
    },
    hiddenRefsOf: (request) => hiddenRefsOf(entries, otherwise, request),
    judgeMoved: (push, moved) => judge(options, push, moved),
    handler: {
      async preReceive(push) {
        for (const command of push.commands) {
          const why = await judge(options, push, command).catch((error: unknown) => {
            if (isGitwharfError(error, "base/limit-exceeded")) return error.message;
            throw error;
          });
          if (why !== undefined) return why;
        }
        return undefined;
      },
    },
  };
}

/** With every answer of code looked at, and in time. */
function guarded(given: PolicyOptions): GuardedOptions {
  const { timeoutMs = Infinity, otherwise } = given;
  const entries = given.entries.map((entry, index): PolicyEntry => {
    if (!isPolicyFunction(entry)) return entry;
    const what = `the policy '${nameOf(entry, index)}'`;
    return { ...entry, decide: guardDecision((request) => entry.decide(request), { timeoutMs, what }) };
  });
  return {
    ...given,
    entries,
    otherwise:
      otherwise === undefined
        ? undefined
        : guardDecision(otherwise, { timeoutMs, what: "the authorize callback" }),
  };
}

/** A callback says itself how its refusal is to be told. */
async function askOtherwise(
  otherwise: GuardedOptions["otherwise"],
  request: AuthorizationRequest,
): Promise<AuthorizationAnswer | undefined> {
  const answer = await otherwise?.(request);
  return answer?.allowed === false ? { answer: "forbid", ...answer } : answer;
}

/** Who has not signed in may do so; who may not read a repository does not learn whether it is there. */
async function answerTo(
  request: AuthorizationRequest,
  decide: Authorize,
): Promise<"challenge" | "hide" | "forbid"> {
  if (request.identity.user === undefined) return "challenge";
  if (policyOperation(request.operation) === "read") return "hide";
  const { commands: _, ...rest } = request;
  const mayRead = await decide({ ...rest, operation: "fetch" });
  return mayRead.allowed ? "forbid" : "hide";
}

async function decideBeforeObjects(
  entries: readonly PolicyEntry[],
  request: AuthorizationRequest,
  command: PushCommand | undefined,
): Promise<AuthorizationAnswer | undefined> {
  for (const entry of entries) {
    if (isPolicyFunction(entry)) {
      const answer = await entry.decide(request);
      if (answer !== undefined) return answer;
      continue;
    }
    if (entry.effect === "require") continue;
    const match = matchBeforeObjects(entry, request, command);
    if (match === "no") continue;
    // It may be allowed: what is pushed will tell.
    if (entry.effect === "allow") return { allowed: true };
    if (match === "yes") return refusal(entry, request, command);
  }
  return undefined;
}

function refusal(
  rule: PolicyRule | undefined,
  request: AuthorizationRequest,
  command: PushCommand | undefined,
): AuthorizationAnswer {
  const { operation, identity } = request;
  if (rule?.reason !== undefined) return { allowed: false, reason: rule.reason };
  if (identity.user === undefined) return { allowed: false, reason: "authentication required" };
  if (command !== undefined)
    return { allowed: false, reason: refRefusal(command.name, possibleActions(command)[0]) };
  const asked = policyOperation(operation);
  const verb = asked === "push" ? "push to" : asked;
  return { allowed: false, reason: `You are not allowed to ${verb} this repository` };
}

function refRefusal(ref: string, action: RefAction = "update"): string {
  return `You are not allowed to ${action === "force" ? "force-update" : action} ${ref} in this repository`;
}

/** With everything known. @returns why not */
async function judge(options: GuardedOptions, push: Push, command: PushCommand): Promise<string | undefined> {
  const request: AuthorizationRequest = {
    identity: push.identity,
    repository: push.repository.name,
    operation: "push",
    commands: [command],
    address: push.address,
    transport: push.transport,
  };
  const facts = createPushFacts(push, command);
  for (const entry of options.entries) {
    if (isPolicyFunction(entry)) {
      const answer = await entry.decide(request);
      if (answer !== undefined) return answer.allowed ? undefined : answer.reason;
      continue;
    }
    if (!matchesCaller(entry, request) || !(await matches(entry, command, facts))) continue;
    if (entry.effect === "allow") return undefined;
    if (entry.effect === "deny") return entry.reason ?? refRefusal(command.name, await facts.action());
    const context = {
      push,
      command,
      facts,
      verifyCommit: options.verifyCommit,
      isUserKey: options.isUserKey,
      timeoutMs: options.timeoutMs ?? Infinity,
    };
    const why = await checkRequirements(entry, entry.require ?? {}, context);
    if (why !== undefined) return entry.reason === undefined ? why : `${entry.reason} (${why})`;
  }
  const answer = await options.otherwise?.(request);
  if (answer === undefined) return refRefusal(command.name, await facts.action());
  return answer.allowed ? undefined : answer.reason;
}

async function matches(rule: PolicyRule, command: PushCommand, facts: PushFacts): Promise<boolean> {
  let match = matchesRef(rule, command.name, possibleActions(command));
  if (match === "maybe") match = matchesRef(rule, command.name, [await facts.action()]);
  if (match !== "yes") return false;
  if (rule.paths === undefined) return true;
  // To take a ref away changes no path, and is more than to change some: it takes a rule that says so.
  if (isNullObjectId(command.newOid))
    return rule.effect === "allow" && rule.actions?.includes("delete") === true;
  const isMeant = compilePatterns(rule.paths);
  const paths = [...(await facts.paths())];
  return rule.effect === "allow" ? paths.every(isMeant) : paths.some(isMeant);
}

/** One rule as `gitwharf explain` tells of it. */
export interface Explanation {
  readonly rule: string;
  readonly verdict:
    | "allows"
    | "denies"
    | "may allow"
    | "may deny"
    | "requires"
    | "does not match"
    | "is code";
}

export interface ExplainedRequest {
  readonly user: string | undefined;
  readonly repository: string;
  readonly operation: PolicyOperation;
  readonly ref?: string;
  readonly action?: RefAction;
}

/**
 * Rule by rule up to the one that decides; what depends on the objects of a push is told as "may".
 * @returns undefined as `outcome` when it depends
 */
export function explain(
  entries: readonly PolicyEntry[],
  asked: ExplainedRequest,
): { readonly outcome: "allowed" | "denied" | undefined; readonly rules: readonly Explanation[] } {
  const request = {
    identity: { user: asked.user },
    repository: asked.repository,
    operation: asked.operation === "read" ? ("fetch" as const) : asked.operation,
  };
  const rules: Explanation[] = [];
  // What stands before the rule that decides and cannot be told from here.
  let mayAllow = false;
  let mayDeny = false;
  for (const [index, entry] of entries.entries()) {
    const tell = (verdict: Explanation["verdict"]): void =>
      void rules.push({ rule: nameOf(entry, index), verdict });
    if (isPolicyFunction(entry)) {
      mayAllow = mayDeny = true;
      tell("is code");
      continue;
    }
    const match = matchExplained(entry, request, asked);
    if (match === "no") tell("does not match");
    else if (entry.effect === "require") {
      mayDeny = true;
      tell("requires");
    } else if (match === "maybe") {
      if (entry.effect === "allow") mayAllow = true;
      else mayDeny = true;
      tell(entry.effect === "allow" ? "may allow" : "may deny");
    } else if (entry.effect === "allow") {
      tell("allows");
      return { outcome: mayDeny ? undefined : "allowed", rules };
    } else {
      tell("denies");
      break;
    }
  }
  return { outcome: mayAllow ? undefined : "denied", rules };
}

function matchExplained(
  rule: PolicyRule,
  request: Parameters<typeof matchesCaller>[1],
  { ref, action }: ExplainedRequest,
): "yes" | "no" | "maybe" {
  if (!matchesCaller(rule, request)) return "no";
  if (request.operation !== "push") {
    if (!isAboutReadableRefs(rule)) return "yes";
    return ref === undefined ? "maybe" : matchesRef(rule, ref, []);
  }
  if (ref === undefined) {
    const isAboutAll = rule.refs === undefined && rule.actions === undefined && rule.paths === undefined;
    return isAboutAll ? "yes" : "maybe";
  }
  const match = matchesRef(
    rule,
    ref,
    action === undefined ? ["create", "update", "force", "delete"] : [action],
  );
  return match === "yes" && rule.paths !== undefined ? "maybe" : match;
}
