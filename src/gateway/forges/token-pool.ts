/**
 * The accounts that a forge is asked by: in turn, and not those that the forge has told to wait. A forge is believed for
 * an hour at most.
 */
import { GitwharfError } from "../../base/errors.js";

export interface TokenPool {
  /** How many there are. */
  readonly size: number;
  /**
   * @returns undefined: there are none at all
   * @throws forge/exhausted (`details.untilMs`): all of them are to wait
   */
  take(): string | undefined;
  /** @throws forge/exhausted when it is to wait */
  check(token: string): void;
  /** @param untilMs as the forge says; without it, a minute from now */
  coolDown(token: string | undefined, untilMs?: number): void;
  /** Which account a token is of, once it is known. */
  accountOf(token: string): string | undefined;
  knowAccount(token: string, account: string): void;
  readonly tokens: readonly string[];
}

export const COOL_DOWN_MS = 60_000;
const COOL_DOWN_MS_MIN = 1000;
const COOL_DOWN_MS_MAX = 3_600_000;

/** @param host for people */
export function createTokenPool(
  tokens: readonly string[],
  host: string,
  now: () => number = Date.now,
): TokenPool {
  const each = [...new Set(tokens)];
  const waiting = new Map<string, number>();
  const accounts = new Map<string, string>();
  /** Who asks without a token is told to wait like the others. */
  const NOBODY = "";
  let next = 0;

  const untilOf = (token: string): number => {
    const until = waiting.get(token) ?? 0;
    if (until > now()) return until;
    waiting.delete(token);
    return 0;
  };
  const exhausted = (untilMs: number): GitwharfError =>
    new GitwharfError(
      "forge/exhausted",
      `${host} takes no more requests from this service before ${new Date(untilMs).toISOString().slice(0, 19)}Z; try again then`,
      { details: { untilMs } },
    );
  const check = (token: string): void => {
    const until = untilOf(token);
    if (until > 0) throw exhausted(until);
  };

  return {
    size: each.length,
    tokens: each,
    take() {
      if (each.length === 0) {
        check(NOBODY);
        return undefined;
      }
      for (let i = 0; i < each.length; i++) {
        const token = each[(next + i) % each.length];
        if (token === undefined || untilOf(token) > 0) continue;
        next = (next + i + 1) % each.length;
        return token;
      }
      throw exhausted(Math.min(...each.map(untilOf)));
    },
    check,
    coolDown(token = NOBODY, untilMs = now() + COOL_DOWN_MS) {
      const until = Math.min(Math.max(untilMs, now() + COOL_DOWN_MS_MIN), now() + COOL_DOWN_MS_MAX);
      waiting.set(token, Math.max(until, untilOf(token)));
    },
    accountOf: (token) => accounts.get(token),
    knowAccount: (token, account) => void accounts.set(token, account),
  };
}

/**
 * Of what somebody has sent for a token.
 * @throws forge/refused it is none
 */
export function createOwnTokenPool(token: string, host: string): TokenPool {
  if (!isToken(token)) throw new GitwharfError("forge/refused", `what was given is no token of ${host}`);
  return createTokenPool([token], host);
}

/** What goes into a header, and no more. */
export function isToken(text: string): boolean {
  return /^[\x21-\x7e]{1,1024}$/.test(text);
}
