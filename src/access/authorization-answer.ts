/**
 * What a callback answers, every member looked at: one written in JavaScript may answer anything, and only
 * `allowed: true` opens.
 */
import { withinTime } from "../base/within-time.js";
import type { AuthorizationAnswer, AuthorizationRequest } from "../engine/authorization.js";
import type { MaybePromise } from "../base/maybe-promise.js";

const ANSWERS = ["forbid", "hide", "challenge"] as const;

/** Why is in the log. */
export const UNDECIDED: Extract<AuthorizationAnswer, { readonly allowed: false }> = {
  allowed: false,
  reason: "the server could not decide on authorization; try again later",
};

export function readAuthorization(value: unknown): AuthorizationAnswer {
  const { allowed, reason, answer } = (typeof value === "object" && value !== null ? value : {}) as Readonly<
    Record<string, unknown>
  >;
  if (allowed === true) return { allowed };
  if (allowed !== false) return { allowed: false, reason: "the server's authorization gave no answer" };
  const known = ANSWERS.find((each) => each === answer);
  return {
    allowed,
    reason: typeof reason === "string" && reason !== "" ? reason : "You are not allowed to do this",
    ...(known === undefined ? {} : { answer: known }),
  };
}

/** A question that is answered in time and as above; undefined stays what it is: nothing was decided. */
export function guardDecision(
  decide: (request: AuthorizationRequest) => MaybePromise<AuthorizationAnswer | undefined>,
  { timeoutMs, what }: { readonly timeoutMs: number; readonly what: string },
): (request: AuthorizationRequest) => Promise<AuthorizationAnswer | undefined> {
  return async (request) => {
    const answer: unknown = await withinTime(timeoutMs, what, () => decide(request));
    return answer === undefined ? undefined : readAuthorization(answer);
  };
}
