/**
 * Which refs of a repository a caller may not see: rules about reading that name refs. Callers to whom the same rules
 * apply share one function, by whose identity replies are cached.
 */
import { LRUCache } from "lru-cache";
import type { AuthorizationAnswer, AuthorizationRequest } from "../../engine/authorization.js";
import { compilePatterns, type MatchesName } from "../name-pattern.js";
import { matchesCaller } from "./match-rule.js";
import { isPolicyFunction, type PolicyEntry } from "./policy-rule.js";

/** In order; what no pattern matches is as the last one, which has none. */
type ReadRule = readonly [effect: "allow" | "deny", refs: readonly string[] | undefined];

const FUNCTIONS_MAX = 1000;
const functions = new LRUCache<string, MatchesName>({ max: FUNCTIONS_MAX });

/** @returns undefined: all that there are */
export async function hiddenRefsOf(
  entries: readonly PolicyEntry[],
  otherwise: ((request: AuthorizationRequest) => Promise<AuthorizationAnswer | undefined>) | undefined,
  asked: AuthorizationRequest,
): Promise<MatchesName | undefined> {
  const request: AuthorizationRequest = { ...asked, operation: "fetch" };
  const rules: ReadRule[] = [];
  const end = (isAllowed: boolean): MatchesName | undefined =>
    hidingFunction([...rules, [isAllowed ? "allow" : "deny", undefined]]);
  for (const entry of entries) {
    if (isPolicyFunction(entry)) {
      const answer = await entry.decide(request);
      if (answer !== undefined) return end(answer.allowed);
    } else if (entry.effect !== "require" && matchesCaller(entry, request)) {
      if (entry.refs === undefined) return end(entry.effect === "allow");
      rules.push([entry.effect, entry.refs]);
    }
  }
  return end(rules.length === 0 || (await otherwise?.(request))?.allowed === true);
}

function hidingFunction(rules: readonly ReadRule[]): MatchesName | undefined {
  // Whoever may read nothing at all has been refused before.
  if (rules.length === 1) return undefined;
  const key = JSON.stringify(rules);
  let hides = functions.get(key);
  if (hides === undefined) {
    const compiled = rules.map(([effect, refs]) => ({
      hides: effect === "deny",
      matches: refs === undefined ? () => true : compilePatterns(refs),
    }));
    hides = (name) => compiled.find(({ matches }) => matches(name))?.hides ?? true;
    functions.set(key, hides);
  }
  return hides;
}
