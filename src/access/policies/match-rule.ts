/** Does a rule match? Before the objects of a push are there, some conditions cannot be told: then "maybe". */
import type { AuthorizationRequest, Operation } from "../../engine/authorization.js";
import type { RefAction } from "../../engine/identity.js";
import type { PushCommand } from "../../engine/push.js";
import { compilePatterns } from "../name-pattern.js";
import { possibleActions } from "../ref-rules.js";
import type { PolicyOperation, PolicyRule } from "./policy-rule.js";

export type Match = "yes" | "no" | "maybe";

export function policyOperation(operation: Operation): PolicyOperation {
  return operation === "fetch" || operation === "archive" ? "read" : operation;
}

/** Users, repositories and operations: what is known from the beginning. */
export function matchesCaller(
  rule: PolicyRule,
  { identity, repository, operation }: Pick<AuthorizationRequest, "identity" | "repository" | "operation">,
): boolean {
  const asked = policyOperation(operation);
  if (rule.operations !== undefined && !rule.operations.includes(asked)) return false;
  if (asked !== "push" && isAboutPushes(rule) && !(asked === "read" && isAboutReadableRefs(rule)))
    return false;
  if (rule.repositories !== undefined && !compilePatterns(rule.repositories)(repository)) return false;
  return rule.users === undefined || matchesUser(rule.users, identity.user);
}

/** Refs are for pushes, unless the rule says that it is about reading. */
export function isAboutReadableRefs({ refs, actions, paths, effect, operations }: PolicyRule): boolean {
  const isPlain = actions === undefined && paths === undefined && effect !== "require";
  return isPlain && refs !== undefined && operations?.includes("read") === true;
}

function isAboutPushes({ refs, actions, paths, effect }: PolicyRule): boolean {
  return refs !== undefined || actions !== undefined || paths !== undefined || effect === "require";
}

function matchesUser(users: readonly string[], user: string | undefined): boolean {
  if (user === undefined) return users.includes("@anonymous");
  if (users.includes("@users")) return true;
  return compilePatterns(users.filter((pattern) => !pattern.startsWith("@")))(user);
}

/** @param command undefined: they are not known yet */
export function matchBeforeObjects(
  rule: PolicyRule,
  request: AuthorizationRequest,
  command: PushCommand | undefined,
): Match {
  if (!matchesCaller(rule, request)) return "no";
  if (!isAboutPushes(rule)) return "yes";
  if (policyOperation(request.operation) === "read") return "maybe";
  if (command === undefined) return "maybe";
  const ref = matchesRef(rule, command.name, possibleActions(command));
  return ref === "yes" && rule.paths !== undefined ? "maybe" : ref;
}

/** @param actions the one that it is, or those that it may be */
export function matchesRef(rule: PolicyRule, ref: string, actions: readonly RefAction[]): Match {
  if (rule.refs !== undefined && !compilePatterns(rule.refs)(ref)) return "no";
  const { actions: wanted } = rule;
  if (wanted === undefined) return "yes";
  const fitting = actions.filter((action) => wanted.includes(action)).length;
  return fitting === 0 ? "no" : fitting === actions.length ? "yes" : "maybe";
}
