/**
 * One question to a forge: by an account that may ask now, asked again by another one where that one may not, and asked again
 * where nothing was done. SDKs bring their own ways to do so; theirs wait without looking at a signal, know one token, and ask
 * again what may have been done already: docs/decisions/gateway-forges.md.
 */
import { setTimeout as delay } from "node:timers/promises";
import { abortedError, GitwharfError, isGitwharfError, throwIfAborted } from "../../base/errors.js";
import { RequestFailed } from "../../base/guarded-request.js";
import { createForgeFetch, type ForgeFetch } from "./forge-fetch.js";
import { type ForgeRefusal, refusalIn } from "./forge-refusal.js";
import type { ForgePlace } from "./forge-settings.js";
import type { TokenPool } from "./token-pool.js";

/** What an SDK is made with, for one question. */
export interface Access {
  readonly token: string | undefined;
  readonly fetch: ForgeFetch;
}

export interface Asked {
  /** For people: "open a pull request". */
  readonly what: string;
  readonly signal?: AbortSignal | undefined;
  /** By this one and no other. */
  readonly token?: string | undefined;
  /** Nothing else happens when it is asked twice. @default false */
  readonly isRepeatable?: boolean;
}

export interface ForgeCaller {
  /** @throws forge/… */
  ask<Answer>(asked: Asked, question: (access: Access) => Promise<Answer>): Promise<Answer>;
  /** As `ask`, and undefined where the forge has none (404, or 410). */
  find<Answer>(asked: Asked, question: (access: Access) => Promise<Answer>): Promise<Answer | undefined>;
  /** As long as a fork may take. @returns undefined: it was never there */
  poll<Answer>(
    signal: AbortSignal | undefined,
    look: () => Promise<Answer | undefined>,
  ): Promise<Answer | undefined>;
  /**
   * One of our accounts, or the one that is named.
   * @throws forge/refused there is none, forge/exhausted
   */
  signIn(
    account: string | undefined,
    signal: AbortSignal | undefined,
    whoAmI: (access: Access) => Promise<string>,
  ): Promise<{ readonly token: string; readonly account: string }>;
}

/** A token that was refused: it is asked again when it may have been mended. */
const REFUSED_TOKEN_MS = 600_000;

export function createForgeCaller(place: ForgePlace, pool: TokenPool): ForgeCaller {
  const { host } = place;

  async function once<Answer>(
    { signal }: Asked,
    token: string | undefined,
    question: (access: Access) => Promise<Answer>,
  ): Promise<Answer> {
    throwIfAborted(signal);
    const answer = question({ token, fetch: createForgeFetch(place, signal) });
    if (signal === undefined) return answer;
    // An SDK may be waiting for its turn.
    let stop: (() => void) | undefined;
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(abortedError(signal));
      signal.addEventListener("abort", stop, { once: true });
    });
    try {
      return await Promise.race([answer, aborted]);
    } finally {
      if (stop !== undefined) signal.removeEventListener("abort", stop);
      answer.catch(() => undefined);
    }
  }

  const caller: ForgeCaller = {
    async ask(asked, question) {
      let retries = 0;
      // Each round without an answer puts a token aside or counts as a retry.
      for (let round = 0; round <= place.retriesMax + pool.size; round++) {
        if (asked.token !== undefined) pool.check(asked.token);
        const token = asked.token ?? pool.take();
        try {
          return await once(asked, token, question);
        } catch (error) {
          if (asked.signal?.aborted) throw abortedError(asked.signal);
          const refusal = refusalIn(error);
          if (refusal?.limitedUntilMs !== undefined) {
            const until = refusal.limitedUntilMs;
            pool.coolDown(token, Number.isNaN(until) ? undefined : until);
            continue;
          }
          if (refusal?.status === 401 && token !== undefined) {
            if (asked.token !== undefined || pool.size === 1) throw unwelcome(host, refusal);
            pool.coolDown(token, Date.now() + REFUSED_TOKEN_MS);
            continue;
          }
          if (!isPassing(error, refusal, asked) || retries >= place.retriesMax)
            throw translate(error, refusal, asked, host);
          await wait(place.retryDelayMs * 2 ** retries++, asked.signal);
        }
      }
      if (asked.token !== undefined) pool.check(asked.token);
      pool.take();
      throw new GitwharfError("forge/unreachable", `${host} gave no answer to any of our accounts`);
    },
    async find(asked, question) {
      try {
        return await caller.ask({ isRepeatable: true, ...asked }, question);
      } catch (error) {
        if (isGitwharfError(error, "forge/not-found")) return undefined;
        throw error;
      }
    },
    async poll(signal, look) {
      const looks = Math.max(1, Math.ceil(place.forkTimeoutMs / Math.max(1, place.forkPollMs)));
      const endMs = Date.now() + place.forkTimeoutMs;
      for (let i = 0; i < looks; i++) {
        const found = await look();
        if (found !== undefined) return found;
        if (Date.now() >= endMs) break;
        await wait(place.forkPollMs, signal);
      }
      return undefined;
    },
    async signIn(account, signal, whoAmI) {
      if (pool.size === 0)
        throw new GitwharfError(
          "forge/refused",
          `this service has no account on ${host}; use one of your own (-o github-token=TOKEN)`,
        );
      const what = "say whose account it is";
      const who = async (pinned: string | undefined): Promise<{ token: string; account: string }> =>
        caller.ask({ what, signal, token: pinned, isRepeatable: true }, async (access) => {
          const token = access.token ?? "";
          const known = pool.accountOf(token) ?? (await whoAmI(access));
          pool.knowAccount(token, known);
          return { token, account: known };
        });
      if (account === undefined) return who(undefined);
      let resting: GitwharfError | undefined;
      for (const token of pool.tokens) {
        try {
          const known = pool.accountOf(token) ?? (await who(token)).account;
          if (known.toLowerCase() !== account.toLowerCase()) continue;
          pool.check(token);
          return { token, account: known };
        } catch (error) {
          // One token that is refused, or rests, does not hide the others.
          if (!isGitwharfError(error, "forge/exhausted", "forge/refused")) throw error;
          if (error.code === "forge/exhausted") resting = error;
        }
      }
      throw (
        resting ??
        new GitwharfError(
          "forge/refused",
          `this service has no account '${account}' on ${host} that may be used`,
        )
      );
    },
  };
  return caller;
}

async function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    throw signal?.aborted ? abortedError(signal) : error;
  }
}

/** Whether it may go better another time, and asking again does no harm. */
function isPassing(
  error: unknown,
  refusal: ForgeRefusal | undefined,
  { isRepeatable = false }: Asked,
): boolean {
  if (refusal !== undefined) return isRepeatable && refusal.status >= 500;
  const failed = failureIn(error);
  if (failed === undefined) return false;
  // Nothing has reached the forge.
  const hasNotArrived = /\((?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)\)/.test(
    failed.message,
  );
  return hasNotArrived || (isRepeatable && !failed.message.includes("may not be called"));
}

function failureIn(error: unknown): RequestFailed | undefined {
  let each = error;
  for (let depth = 0; each instanceof Error && depth < 5; depth++) {
    if (each instanceof RequestFailed) return each;
    each = each.cause;
  }
  return undefined;
}

/** Nothing that an SDK has made, as it may hold what was sent. */
function translate(
  error: unknown,
  refusal: ForgeRefusal | undefined,
  { what }: Asked,
  host: string,
): GitwharfError {
  if (error instanceof GitwharfError) return error;
  if (refusal === undefined) {
    const failed = failureIn(error);
    return failed === undefined
      ? new GitwharfError("forge/bad-answer", `${host} was asked to ${what}, and its answer cannot be read`)
      : new GitwharfError("forge/unreachable", `${host} cannot be reached to ${what}: ${failed.message}`);
  }
  const { status, said } = refusal;
  const details = { status };
  if (status === 0)
    return new GitwharfError("forge/bad-answer", `${host} was asked to ${what}, and ${said}`, { details });
  if (status === 404 || status === 410)
    return new GitwharfError("forge/not-found", `${host} has nothing of that name to ${what}`, { details });
  if (status >= 500 || status === 408)
    return new GitwharfError("forge/unreachable", `${host} failed to ${what} (${status}); try again later`, {
      details,
    });
  if (status === 401) return unwelcome(host, refusal);
  const reason = knownReason(said);
  return new GitwharfError(
    "forge/refused",
    `${host} refuses to ${what} (${status}${reason === "" ? "" : `: ${reason}`})`,
    { details },
  );
}

function unwelcome(host: string, { status }: ForgeRefusal): GitwharfError {
  return new GitwharfError("forge/refused", `${host} does not accept the token (${status})`, {
    details: { status },
  });
}

/** A forge's sentence may repeat a title or worse: what is known of them is said in our words. */
function knownReason(said: string): string {
  const reasons: readonly (readonly [RegExp, string])[] = [
    [/archived/i, "the repository is archived"],
    [/empty repositor|no git content|repository is empty/i, "the repository is empty"],
    [/no commits between|no changes/i, "there is nothing new in it"],
    [
      /resource not accessible|must have (?:push|admin)|insufficient.?scope|does not have|permission/i,
      "the account may not",
    ],
    [/suspended|blocked|banned/i, "the account is blocked"],
    [/disabled|locked/i, "it is switched off there"],
    [/already exists|already been taken|has already/i, "there is one already"],
  ];
  return reasons.find(([pattern]) => pattern.test(said))?.[1] ?? "";
}
