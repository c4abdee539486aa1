/**
 * Limits how often an address, and a user at an address, may be wrong. Only a few attempts of an address are under way at
 * once: else a crowd of guesses would all be let through before the first of them has been counted.
 *
 * Who is right is not locked out by others who are wrong at the same address, as far as that helps nobody to guess:
 * secrets that were right there a while ago are checked as ever, and so are tokens that are too long to be guessed.
 */
import { createHash, createHmac, randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { Identity } from "../../engine/identity.js";
import type { AuthenticationAttempt } from "../authenticator.js";
import { addressKey } from "./address-key.js";
import type { RateCounter } from "./rate-counter.js";

export interface GuessLimitsOptions {
  readonly failuresPerAddress: RateCounter;
  readonly failuresPerAddressAndUser: RateCounter;
  readonly identify: (attempt: AuthenticationAttempt) => Promise<Identity>;
  /** Are these long random texts, or signed, and cheap to check? */
  readonly isUnguessable: (credentials: AuthenticationAttempt["credentials"]) => boolean;
}

/** Attempts of one address that are under way; others wait. Tokens do not wait for passwords. */
const AT_ONCE_MAX = 8;
const WAITING_MAX = 64;
const TOKENS_WAITING_MAX = 1024;
const KNOWN_MAX = 50_000;
const KNOWN_MS = 3_600_000;
/** Ways to sign in that do not look at the secret which came along. */
const OTHER_PROOFS = new Set(["client-certificate", "proxy-header"]);
/** Seconds until one who found no room to wait may come again. */
const CROWDED_SECONDS = 5;

/** @returns signs in with a secret: @throws access/too-many-requests, and as `identify` */
export function createGuessLimits(
  options: GuessLimitsOptions,
): (attempt: AuthenticationAttempt) => Promise<Identity> {
  const { failuresPerAddress, failuresPerAddressAndUser, identify, isUnguessable } = options;
  const turns = createTurns();
  const known = new LRUCache<string, true>({ max: KNOWN_MAX, ttl: KNOWN_MS });
  // Of this process only: what is known says nothing about a secret.
  const key = randomBytes(32);
  const fingerprintOf = ({ address, credentials }: AuthenticationAttempt): string =>
    createHmac("sha256", key)
      .update(JSON.stringify([addressKey(address), credentials]))
      .digest("base64");

  const scopesOf = (attempt: AuthenticationAttempt): readonly (readonly [RateCounter, string])[] => {
    const address = addressKey(attempt.address);
    return [
      [failuresPerAddress, address],
      [failuresPerAddressAndUser, `${address} ${hashOfUser(attempt)}`],
    ];
  };
  const ask = async (attempt: AuthenticationAttempt, fingerprint: string): Promise<Identity> => {
    try {
      const identity = await identify(attempt);
      if (!OTHER_PROOFS.has(identity.method ?? "")) known.set(fingerprint, true);
      return identity;
    } catch (error) {
      if (isGitwharfError(error, "access/unauthenticated")) {
        known.delete(fingerprint);
        for (const [counter, name] of scopesOf(attempt)) await counter.take(name);
      }
      throw error;
    }
  };

  return async (attempt) => {
    const fingerprint = fingerprintOf(attempt);
    if (known.get(fingerprint) === true) return ask(attempt, fingerprint);
    const isToken = isUnguessable(attempt.credentials);
    const address = addressKey(attempt.address);
    const leave = isToken
      ? await turns.take(`${address} token`, TOKENS_WAITING_MAX)
      : await turns.take(address, WAITING_MAX);
    try {
      // Somebody with the same was let in meanwhile.
      if (known.get(fingerprint) === true) return await ask(attempt, fingerprint);
      const wait = await waitOf(scopesOf(attempt));
      if (wait === undefined) return await ask(attempt, fingerprint);
      if (!isToken) throw tooManyFailures(wait);
      return await ask(attempt, fingerprint).catch((error: unknown) => {
        throw isGitwharfError(error, "access/unauthenticated") ? tooManyFailures(wait) : error;
      });
    } finally {
      leave();
    }
  };
}

async function waitOf(scopes: readonly (readonly [RateCounter, string])[]): Promise<number | undefined> {
  for (const [counter, name] of scopes) {
    const wait = await counter.look(name);
    if (wait !== undefined) return wait;
  }
  return undefined;
}

/** What stands for a user's name may be a secret in the wrong place, and counters may be in a database. */
function hashOfUser({ credentials }: AuthenticationAttempt): string {
  const user = typeof credentials === "object" && "user" in credentials ? credentials.user : "";
  return createHash("sha256").update(user).digest("base64url");
}

interface Turns {
  /** @throws access/too-many-requests */
  take(name: string, waitingMax: number): Promise<() => void>;
}

function createTurns(): Turns {
  const busy = new Map<string, { count: number; readonly waiting: (() => void)[] }>();
  return {
    async take(name, waitingMax) {
      let turn = busy.get(name);
      if (turn === undefined) busy.set(name, (turn = { count: 0, waiting: [] }));
      const { waiting } = turn;
      const ours = turn;
      if (ours.count < AT_ONCE_MAX) ours.count++;
      else {
        if (waiting.length >= waitingMax) throw tooManyFailures(CROWDED_SECONDS);
        // Whoever leaves hands his place on.
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
      return () => {
        const next = waiting.shift();
        if (next !== undefined) next();
        else if (--ours.count === 0) busy.delete(name);
      };
    },
  };
}

export function tooManyRequests(what: string, seconds: number): GitwharfError {
  return new GitwharfError("access/too-many-requests", `${what}; try again in ${seconds} seconds`, {
    details: { retryAfterSeconds: seconds },
  });
}

function tooManyFailures(seconds: number): GitwharfError {
  return tooManyRequests("too many failed attempts to sign in", seconds);
}
