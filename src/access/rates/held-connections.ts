/**
 * How many connections a user and a key hold at once: those that are signed in over SSH, and requests at work over HTTP,
 * where one connection may carry those of many. Counted in the memory of the process.
 */
import type { GitwharfError } from "../../base/errors.js";
import type { Identity } from "../../engine/identity.js";
import { tooManyRequests } from "./guess-limits.js";

export interface HeldConnectionsMax {
  readonly connectionsPerUser: number;
  readonly connectionsPerKey: number;
}

/** @returns gives it back; idempotent. @throws access/too-many-requests */
export type HoldConnection = (identity: Identity) => () => void;

/** When some of them may have ended. */
const RETRY_SECONDS = 5;

export function createHoldConnection({
  connectionsPerUser,
  connectionsPerKey,
}: HeldConnectionsMax): HoldConnection {
  const ofUsers = new Map<string, number>();
  const ofKeys = new Map<string, number>();
  return ({ user, credentialId }) => {
    if (isFull(ofUsers, user, connectionsPerUser)) throw tooMany("you");
    if (isFull(ofKeys, credentialId, connectionsPerKey)) throw tooMany("this key or token");
    add(ofUsers, user, 1);
    add(ofKeys, credentialId, 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      add(ofUsers, user, -1);
      add(ofKeys, credentialId, -1);
    };
  };
}

function isFull(counts: ReadonlyMap<string, number>, key: string | undefined, max: number): boolean {
  return key !== undefined && (counts.get(key) ?? 0) >= max;
}

function add(counts: Map<string, number>, key: string | undefined, step: 1 | -1): void {
  if (key === undefined) return;
  const count = (counts.get(key) ?? 0) + step;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

function tooMany(whose: string): GitwharfError {
  return tooManyRequests(`too many connections from ${whose}`, RETRY_SECONDS);
}
