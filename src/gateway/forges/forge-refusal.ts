/** What a forge answered instead of what it was asked for, and what follows from it. */
import type { IncomingHttpHeaders } from "node:http";

export class ForgeRefusal extends Error {
  override readonly name = "ForgeRefusal";
  /** 0: it broke its own rules. */
  readonly status: number;
  /** Its own sentence. May repeat what it was sent. */
  readonly said: string;
  /** undefined: no limit was reached. NaN: one was, and it does not say for how long. */
  readonly limitedUntilMs: number | undefined;

  constructor(status: number, headers: IncomingHttpHeaders, said: string, now: () => number = Date.now) {
    super(`the forge answered ${status}`);
    this.status = status;
    this.said = said;
    this.limitedUntilMs = limitedUntil(status, headers, said, now());
  }
}

/** SDKs wrap what `fetch` has thrown. */
export function refusalIn(error: unknown): ForgeRefusal | undefined {
  let each = error;
  for (let depth = 0; each instanceof Error && depth < 5; depth++) {
    if (each instanceof ForgeRefusal) return each;
    each = each.cause;
  }
  return undefined;
}

/**
 * GitHub answers 403 or 429, with `retry-after` (seconds) or `x-ratelimit-remaining: 0` and `x-ratelimit-reset` (seconds since
 * 1970), or says "secondary rate limit" without either. GitLab answers 429 with `retry-after` or `ratelimit-reset`, Gitea and what
 * stands before it 429.
 */
function limitedUntil(
  status: number,
  headers: IncomingHttpHeaders,
  said: string,
  nowMs: number,
): number | undefined {
  if (status !== 429 && status !== 403) return undefined;
  const retryAfter = headers["retry-after"];
  if (retryAfter !== undefined) {
    const seconds = Number(retryAfter);
    return Number.isFinite(seconds) ? nowMs + seconds * 1000 : Date.parse(retryAfter);
  }
  const isSpent = [headers["x-ratelimit-remaining"], headers["ratelimit-remaining"]].includes("0");
  if (isSpent || status === 429) {
    const reset = Number(headers["x-ratelimit-reset"] ?? headers["ratelimit-reset"] ?? "");
    return reset > 0 ? reset * 1000 : Number.NaN;
  }
  return /\brate limit/i.test(said) ? Number.NaN : undefined;
}
