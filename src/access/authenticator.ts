/**
 * Ways to prove who calls, one after the other. Each looks at what came along with a request and says who it is, that
 * this is none of its business, or that it is wrong. What is wrong is refused: it never falls through to anonymous.
 */
import { GitwharfError } from "../base/errors.js";
import type { MaybePromise } from "../base/maybe-promise.js";
import type { Identity } from "../engine/identity.js";
import type { Credentials } from "./credentials.js";

/** What a request brought along. */
export interface AuthenticationAttempt {
  /** "malformed": there was something, and it could not be understood. */
  readonly credentials: Credentials | "malformed" | undefined;
  /** The caller's address; behind a listed proxy the one that the proxy tells. */
  readonly address: string | undefined;
  /** The address at the other end of the connection. */
  readonly peerAddress: string | undefined;
  readonly transport: "http" | "ssh";
  /** Every value of a header of the request, in order; none over SSH. */
  readonly headerValues?: (name: string) => readonly string[];
  /** What the TLS handshake brought along. */
  readonly clientCertificate?: ClientCertificate | undefined;
}

export interface ClientCertificate {
  /** Its chain leads to a certificate authority that this server was told to trust, and it is in its time. */
  readonly isTrusted: boolean;
  /** `CN`, `O`, `OU`, `emailAddress`, … */
  readonly subject: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Entries as `DNS:host`, `email:ada@example.org`, `URI:…`. */
  readonly alternativeNames: readonly string[];
  /** SHA-256 in hex without colons, lower case. */
  readonly fingerprint: string;
}

/** undefined: none of my business. */
export type AuthenticationAnswer =
  | { readonly identity: Identity }
  /** The reason is for the operator's log: the caller reads no more than that it was wrong. */
  | { readonly refused: string }
  | undefined;

export interface Authenticator {
  readonly name: string;
  authenticate(attempt: AuthenticationAttempt): MaybePromise<AuthenticationAnswer>;
  /**
   * For connections that outlive a sign-in: false when an identity that came from here would not be given any more.
   * undefined: it is not from here.
   */
  isCurrent?(identity: Identity): MaybePromise<boolean | undefined>;
  close?(): MaybePromise<void>;
}

export interface AuthenticationChainOptions {
  readonly authenticators: readonly Authenticator[];
  readonly onRefusal?: (authenticator: string, reason: string) => void;
  readonly onFailure: (authenticator: string, error: unknown) => void;
}

/**
 * Asks in order; the first that answers decides.
 * @throws access/unauthenticated for credentials that are wrong or nobody's; access/unavailable when an authenticator
 *   fails; what an authenticator throws on purpose
 */
export function createAuthenticationChain(
  options: AuthenticationChainOptions,
): (attempt: AuthenticationAttempt) => Promise<Identity> {
  return async (attempt) => {
    for (const authenticator of options.authenticators) {
      const answer = await ask(authenticator, attempt, options);
      if (answer === undefined) continue;
      if ("identity" in answer) return answer.identity;
      options.onRefusal?.(authenticator.name, answer.refused);
      throw wrongCredentials({ authenticator: authenticator.name, reason: answer.refused });
    }
    if (attempt.credentials !== undefined) {
      const reason = "no authenticator knows these credentials";
      options.onRefusal?.("none", reason);
      throw wrongCredentials({ authenticator: "none", reason });
    }
    return { user: undefined };
  };
}

async function ask(
  authenticator: Authenticator,
  attempt: AuthenticationAttempt,
  options: AuthenticationChainOptions,
): Promise<AuthenticationAnswer> {
  try {
    return checkAnswer(await authenticator.authenticate(attempt));
  } catch (error) {
    if (error instanceof GitwharfError && error.code.startsWith("access/")) throw error;
    options.onFailure(authenticator.name, error);
    throw new GitwharfError(
      "access/unavailable",
      "the server cannot check credentials at the moment; try again later",
    );
  }
}

/** One that is written in JavaScript may answer anything: what is not understood lets nobody in. */
function checkAnswer(answer: unknown): AuthenticationAnswer {
  if (answer === undefined) return undefined;
  if (typeof answer === "object" && answer !== null) {
    const { identity, refused } = answer as { readonly identity?: unknown; readonly refused?: unknown };
    if (identity === undefined && typeof refused === "string") return { refused };
    if (typeof identity === "object" && identity !== null) {
      const { user } = identity as { readonly user?: unknown };
      if (user === undefined || typeof user === "string") return { identity: identity as Identity };
    }
  }
  throw new TypeError("it answered neither an identity, a refusal nor undefined");
}

/** @param why for the operator */
export function wrongCredentials(why?: {
  readonly authenticator: string;
  readonly reason: string;
}): GitwharfError {
  return new GitwharfError("access/unauthenticated", "these credentials are not valid", {
    details: { ...why },
  });
}
