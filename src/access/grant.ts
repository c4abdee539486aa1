/**
 * Grants: read from outside with every key looked at (what is not understood must not be taken for what is not there),
 * and enforced.
 */
import { GitwharfError } from "../base/errors.js";
import { type AuthorizationAnswer, type AuthorizationRequest, isReading } from "../engine/authorization.js";
import type { Grant, RefAction, RefRule } from "../engine/identity.js";
import { decideByRefRules, possibleActions, REF_ACTIONS } from "./ref-rules.js";
import { compilePatterns } from "./name-pattern.js";

/**
 * @param json undefined: nothing is narrowed
 * @param whose for the message
 * @throws server/bad-configuration
 */
export function parseGrant(json: string | undefined, whose: string): Grant {
  if (json === undefined) return {};
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw bad(whose, "it is not JSON");
  }
  return checkGrant(value, whose);
}

/** @throws server/bad-configuration */
export function checkGrant(value: unknown, whose: string): Grant {
  if (!isRecord(value)) throw bad(whose, "it is no object");
  for (const key of Object.keys(value))
    if (!["operations", "repositories", "refs", "expiresAt"].includes(key))
      throw bad(whose, `'${key}' is not known`);
  const { operations, repositories, refs, expiresAt } = value;
  if (operations !== undefined && !isListOf(operations, ["read", "write"]))
    throw bad(whose, 'operations is a list of "read" and "write"');
  if (repositories !== undefined && !isTexts(repositories))
    throw bad(whose, "repositories is a list of patterns");
  if (expiresAt !== undefined && !Number.isFinite(expiresAt)) throw bad(whose, "expiresAt is a number");
  return {
    ...(operations === undefined ? {} : { operations }),
    ...(repositories === undefined ? {} : { repositories }),
    ...(refs === undefined ? {} : { refs: checkRefRules(refs, whose) }),
    ...(expiresAt === undefined ? {} : { expiresAt: expiresAt as number }),
  };
}

function checkRefRules(value: unknown, whose: string): readonly RefRule[] {
  if (!Array.isArray(value)) throw bad(whose, "refs is a list of rules");
  return value.map((rule: unknown) => {
    if (!isRecord(rule)) throw bad(whose, "a ref rule is an object");
    const { effect, refs, actions, ...rest } = rule;
    if (Object.keys(rest).length > 0)
      throw bad(whose, `'${Object.keys(rest)[0]}' is not known in a ref rule`);
    if (effect !== "allow" && effect !== "deny")
      throw bad(whose, 'the effect of a ref rule is "allow" or "deny"');
    if (!isTexts(refs)) throw bad(whose, "a ref rule has a list of patterns in 'refs'");
    if (actions !== undefined && !isListOf(actions, REF_ACTIONS))
      throw bad(whose, `the actions of a ref rule are ${REF_ACTIONS.join(", ")}`);
    return { effect, refs, ...(actions === undefined ? {} : { actions }) };
  });
}

/** What a grant says about a request: undefined when it agrees. Asked on every request, after everything else. */
export function checkAgainstGrant(
  request: AuthorizationRequest,
  nowMs = Date.now(),
): AuthorizationAnswer | undefined {
  const { identity, repository, operation, commands } = request;
  const { grant } = identity;
  if (grant === undefined) return undefined;
  const what = identity.method === undefined ? "these credentials" : `this ${identity.method}`;
  if (grant.expiresAt !== undefined && grant.expiresAt <= nowMs)
    return { allowed: false, reason: `${what} has expired`, answer: "challenge" };
  if (grant.repositories !== undefined && !compilePatterns(grant.repositories)(repository))
    return { allowed: false, reason: `${what} is not for this repository`, answer: "hide" };
  const needed = isReading(operation) ? "read" : "write";
  if (grant.operations !== undefined && !grant.operations.includes(needed))
    return { allowed: false, reason: `${what} does not allow to ${needed}` };
  if (grant.refs === undefined) return undefined;
  for (const command of commands ?? []) {
    const refused = possibleActions(command).every((action) => !isAllowed(grant.refs, command.name, action));
    if (refused)
      return { allowed: false, reason: refusalOf(what, possibleActions(command)[0], command.name) };
  }
  return undefined;
}

/** The same once it is known what the push does to the ref. @returns why not */
export function checkRefAgainstGrant(
  identity: AuthorizationRequest["identity"],
  ref: string,
  action: RefAction,
): string | undefined {
  const refs = identity.grant?.refs;
  if (refs === undefined || isAllowed(refs, ref, action)) return undefined;
  return refusalOf(
    identity.method === undefined ? "these credentials" : `this ${identity.method}`,
    action,
    ref,
  );
}

function isAllowed(rules: readonly RefRule[] | undefined, ref: string, action: RefAction): boolean {
  return rules === undefined || decideByRefRules(rules, ref, action)?.effect === "allow";
}

function refusalOf(what: string, action: RefAction | undefined, ref: string): string {
  const verb = action === "force" ? "force-update" : (action ?? "update");
  return `${what} does not allow to ${verb} ${ref}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === "string" && each !== "");
}

function isListOf<T extends string>(value: unknown, known: readonly T[]): value is readonly T[] {
  return Array.isArray(value) && value.every((each) => known.some((one) => one === each));
}

function bad(whose: string, why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", `what ${whose} is for cannot be read: ${why}`);
}
