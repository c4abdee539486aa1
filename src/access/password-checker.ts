/**
 * Checks passwords a few at a time. A check costs half a second of a core by design, so that who guesses must not be
 * able to order many: the queue is bounded, every address has a share of it and is served in its turn, and a newcomer
 * takes the place of the address that waits with the most. Who has signed in before is known for a while and costs
 * nothing.
 */
import { createHmac, randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import { GitwharfError } from "../base/errors.js";
import { createFairTurns } from "../base/fair-turns.js";
import { addressKey } from "./rates/address-key.js";
import { impossibleHash, PASSWORD_BYTES_MAX, type ScryptCost, verifyPassword } from "./password-hash.js";

export interface PasswordCheckerOptions {
  /** Checks at work at once; each takes a thread of Node's pool, which has four. @default 2 */
  readonly concurrencyMax?: number;
  /** Checks that wait. @default 64 */
  readonly queueMax?: number;
  /** Of them, of one address. @default 8 */
  readonly perAddressMax?: number;
  /** How long a password that was right is remembered. @default 300,000 */
  readonly rememberedMs?: number;
  /** What an unknown user costs. */
  readonly cost?: ScryptCost;
}

export interface PasswordAttempt {
  readonly user: string;
  readonly password: string;
  /** undefined: there is no such user, or one without a password. It takes as long. */
  readonly stored: string | undefined;
  readonly address: string | undefined;
}

export interface PasswordChecker {
  /** @throws access/too-many-attempts, server/bad-configuration */
  check(attempt: PasswordAttempt): Promise<boolean>;
}

const REMEMBERED_MAX = 10_000;

export function createPasswordChecker(options: PasswordCheckerOptions = {}): PasswordChecker {
  const { concurrencyMax = 2, queueMax = 64, perAddressMax = 8, rememberedMs = 300_000, cost } = options;
  const impossible = impossibleHash(cost);
  const remembered = new LRUCache<string, true>({ max: REMEMBERED_MAX, ttl: Math.max(1, rememberedMs) });
  // Of this process only: what is remembered says nothing about a password.
  const secret = randomBytes(32);
  const turns = createFairTurns({ concurrencyMax, queueMax, perAskerMax: perAddressMax, tooMany });

  return {
    async check({ user, password, stored, address }) {
      if (Buffer.byteLength(password) > PASSWORD_BYTES_MAX) return false;
      const key = createHmac("sha256", secret)
        .update(JSON.stringify([user, password, stored ?? ""]))
        .digest("base64");
      if (stored !== undefined && remembered.get(key) === true) return true;
      const isRight = await turns.run(addressKey(address), () =>
        verifyPassword(password, stored ?? impossible),
      );
      if (!isRight || stored === undefined) return false;
      if (rememberedMs > 0) remembered.set(key, true);
      return true;
    },
  };
}

function tooMany(): GitwharfError {
  return new GitwharfError(
    "access/too-many-attempts",
    "too many passwords wait to be checked; try again later, or use a token or a key",
  );
}
