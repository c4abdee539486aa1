/**
 * The one authorization point: wraps the application's callback so that it fails closed and is logged once.
 */
import type { MaybePromise } from "../base/maybe-promise.js";
import { withinTime } from "../base/within-time.js";
import type { AuthorizationAnswer, AuthorizationRequest, Authorize } from "../engine/authorization.js";
import type { Identity } from "../engine/identity.js";
import { readAuthorization, UNDECIDED } from "./authorization-answer.js";
import { checkAgainstGrant } from "./grant.js";
import { openAccess } from "./open-access.js";

export interface AuthorizationPointOptions {
  /** @default as long as the server is open everyone, then everyone who has signed in */
  readonly authorize: Authorize | undefined;
  /** False as soon as someone can sign in: anonymous callers are then challenged unless `authorize` lets them in. */
  readonly isOpen: () => MaybePromise<boolean>;
  /** False for who would not be let in any more, on a connection that stands since. @default true */
  readonly isCurrent?: (identity: Identity) => MaybePromise<boolean>;
  /** For everything that is asked about one request. @default Infinity */
  readonly timeoutMs?: number;
  readonly onFailure: (error: unknown) => void;
}

/** An answer for every request: an error in the callback denies, and so does one that does not come in time. */
export function createAuthorizationPoint(options: AuthorizationPointOptions): Authorize {
  const closed = options.authorize ?? signedInOnly;
  const decide: Authorize = async (request) =>
    (await options.isOpen()) ? openAccess(request) : closed(request);
  const { timeoutMs = Infinity, isCurrent } = options;
  const ask = async (request: AuthorizationRequest): Promise<AuthorizationAnswer> => {
    if (request.transport === "ssh" && (await isCurrent?.(request.identity)) === false)
      return { allowed: false, reason: "what you signed in with is not valid any more" };
    const answer = readAuthorization(await decide(request));
    return answer.allowed ? (checkAgainstGrant(request) ?? answer) : answer;
  };
  return async (request) => {
    try {
      return await withinTime(timeoutMs, "authorization", () => ask(request));
    } catch (error) {
      options.onFailure(error);
      return UNDECIDED;
    }
  };
}

const signedInOnly: Authorize = ({ identity }) =>
  identity.user === undefined
    ? { allowed: false, reason: "authentication required", answer: "challenge" }
    : { allowed: true };
