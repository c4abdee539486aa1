/**
 * Rules about who may do what, as an operator writes them: plain data, so that they may stand in a JSON file. In order;
 * the first rule that matches and allows or denies decides. What no rule decides is denied.
 */
import { GitwharfError } from "../../base/errors.js";
import type { MaybePromise } from "../../base/maybe-promise.js";
import type { AuthorizationAnswer, AuthorizationRequest } from "../../engine/authorization.js";
import type { RefAction } from "../../engine/identity.js";
import { REF_ACTIONS } from "../ref-rules.js";

export const POLICY_OPERATIONS = ["read", "push", "create", "rename", "delete"] as const;

export type PolicyOperation = (typeof POLICY_OPERATIONS)[number];

/** All that is given must match; what is left out matches everything. */
export interface PolicyRule {
  /** For `gitwharf explain` and logs. @default its place in the list */
  readonly name?: string;
  /** "require" decides nothing by itself: what does not meet `require` is denied. */
  readonly effect: "allow" | "deny" | "require";
  /** Patterns of users' names; `@anonymous`: who has not signed in; `@users`: who has. */
  readonly users?: readonly string[];
  readonly repositories?: readonly string[];
  /** "read" is fetch and archive. */
  readonly operations?: readonly PolicyOperation[];
  /**
   * Patterns of full ref names. The rule is then for pushes; with `operations: ["read"]` it is about which refs a reader
   * sees.
   */
  readonly refs?: readonly string[];
  /** What a push does to a ref. The rule is then for pushes only. */
  readonly actions?: readonly RefAction[];
  /**
   * Patterns of changed paths. "deny" and "require" match when one of the changed paths does, "allow" when all do. The
   * rule is then for pushes only.
   */
  readonly paths?: readonly string[];
  readonly require?: PolicyRequirements;
  /** Shown to the person. */
  readonly reason?: string;
}

export interface PolicyRequirements {
  /**
   * Every commit that is new to the ref is signed. "user-keys": with an SSH key that a user of the database has. true: in
   * any way, and `verifyCommit` says whether the signature is good.
   */
  readonly signedCommits?: boolean | "user-keys";
  /** Bytes of the pack of one push. */
  readonly pushBytesMax?: number;
  /** Bytes of one file that a new commit adds or changes. */
  readonly fileBytesMax?: number;
}

/** Code in the place of a rule: undefined leaves the decision to the rules behind it. */
export interface PolicyFunction {
  readonly name?: string;
  readonly decide: (request: AuthorizationRequest) => MaybePromise<AuthorizationAnswer | undefined>;
}

export type PolicyEntry = PolicyRule | PolicyFunction;

const KEYS: ReadonlySet<string> = new Set(
  Object.keys({
    name: true,
    effect: true,
    users: true,
    repositories: true,
    operations: true,
    refs: true,
    actions: true,
    paths: true,
    require: true,
    reason: true,
  } satisfies Record<keyof PolicyRule, true>),
);
const REQUIREMENTS: ReadonlySet<string> = new Set(
  Object.keys({
    signedCommits: true,
    pushBytesMax: true,
    fileBytesMax: true,
  } satisfies Record<keyof PolicyRequirements, true>),
);

export function isPolicyFunction(entry: PolicyEntry): entry is PolicyFunction {
  return "decide" in entry && typeof entry.decide === "function";
}

export function nameOf(entry: PolicyEntry, index: number): string {
  return entry.name ?? `rule ${index + 1}`;
}

/**
 * Looks at every key: a condition that is misspelt would be one that always holds.
 * @throws server/bad-configuration
 */
export function checkPolicies(policies: unknown): asserts policies is readonly PolicyEntry[] {
  if (!Array.isArray(policies)) throw wrong("policies is a list of rules");
  for (const [index, entry] of policies.entries()) {
    const where = `policies, rule ${index + 1}`;
    if (!isRecord(entry)) throw wrong(`${where}: a rule is an object`);
    if (!("decide" in entry)) checkRule(entry, where);
    else if (typeof entry["decide"] !== "function") throw wrong(`${where}: decide is a function`);
  }
}

function checkRule(rule: Record<string, unknown>, where: string): void {
  for (const key of Object.keys(rule))
    if (!KEYS.has(key)) throw wrong(`${where}: there is no '${key}'; known are ${[...KEYS].join(", ")}`);
  const { effect, require, operations, actions } = rule;
  if (typeof effect !== "string" || !["allow", "deny", "require"].includes(effect))
    throw wrong(`${where}: the effect is "allow", "deny" or "require"`);
  if ((effect === "require") !== (require !== undefined))
    throw wrong(`${where}: the effect "require" and the key 'require' go together`);
  for (const key of ["users", "repositories", "refs", "paths"]) {
    const patterns = rule[key];
    if (patterns !== undefined && !isListOf(patterns, (each) => each !== ""))
      throw wrong(`${where}: ${key} is a list of patterns`);
  }
  for (const key of ["name", "reason"])
    if (rule[key] !== undefined && typeof rule[key] !== "string") throw wrong(`${where}: ${key} is a text`);
  const known: readonly string[] = POLICY_OPERATIONS;
  if (operations !== undefined && !isListOf(operations, (each) => known.includes(each)))
    throw wrong(`${where}: the operations are ${known.join(", ")}`);
  if (actions !== undefined && !isListOf(actions, (each) => REF_ACTIONS.some((one) => one === each)))
    throw wrong(`${where}: the actions are ${REF_ACTIONS.join(", ")}`);
  if (require !== undefined) checkRequirements(require, where);
}

function checkRequirements(require: unknown, where: string): void {
  if (!isRecord(require)) throw wrong(`${where}: require is an object`);
  for (const [key, value] of Object.entries(require)) {
    if (!REQUIREMENTS.has(key)) throw wrong(`${where}: nothing called '${key}' can be required`);
    const isGood =
      key === "signedCommits"
        ? typeof value === "boolean" || value === "user-keys"
        : typeof value === "number" && value >= 0;
    if (!isGood) throw wrong(`${where}: ${key} has a wrong value`);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isListOf(value: unknown, isGood: (each: string) => boolean): boolean {
  return Array.isArray(value) && value.every((each) => typeof each === "string" && isGood(each));
}

function wrong(message: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", message);
}
