/**
 * The one authorization point: wraps the application's callback so that it fails closed and is logged once.
 */
import type { MaybePromise } from "../base/maybe-promise.js";
import type { Authorize } from "../engine/authorization.js";
import type { Identity } from "../engine/identity.js";
import { checkAgainstGrant } from "./grant.js";
import { openAccess } from "./open-access.js";

export interface AuthorizationPointOptions {
  /** @default as long as the server is open everyone, then everyone who has signed in */
  readonly authorize: Authorize | undefined;
  /** False as soon as someone can sign in: anonymous callers are then challenged unless `authorize` lets them in. */
  readonly isOpen: () => MaybePromise<boolean>;
  /** False for who would not be let in any more, on a connection that stands since. @default true */
  readonly isCurrent?: (identity: Identity) => MaybePromise<boolean>;
  readonly onFailure: (error: unknown) => void;
}

/** An answer for every request: an error in the callback denies. */
export function createAuthorizationPoint(options: AuthorizationPointOptions): Authorize {
  const closed = options.authorize ?? signedInOnly;
  const decide: Authorize = async (request) =>
    (await options.isOpen()) ? openAccess(request) : closed(request);
  return async (request) => {
    try {
      if (request.transport === "ssh" && (await options.isCurrent?.(request.identity)) === false)
        return { allowed: false, reason: "what you signed in with is not valid any more" };
      const answer = await decide(request);
      // A callback written in JavaScript may answer anything: only `allowed: true` opens.
      if (answer?.allowed === true) return checkAgainstGrant(request) ?? answer;
      if (answer?.allowed === false) return answer;
      return { allowed: false, reason: "the server's authorization gave no answer" };
    } catch (error) {
      options.onFailure(error);
      return { allowed: false, reason: "the server could not decide on authorization; try again later" };
    }
  };
}

const signedInOnly: Authorize = ({ identity }) =>
  identity.user === undefined
    ? { allowed: false, reason: "authentication required", answer: "challenge" }
    : { allowed: true };
