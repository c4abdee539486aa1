/**
 * Is the server ready for requests? Each part that it cannot do without is looked at, not longer than a few seconds, and
 * what was found is good for one more, so that asking often costs nothing.
 */
import { setTimeout as setTimeoutPromise } from "node:timers/promises";

export type PartState = "ok" | "unavailable";

export interface Readiness {
  readonly ready: boolean;
  /** Why a part is unavailable stands in the log, not here: anyone may ask. */
  readonly parts: Readonly<Record<string, PartState>>;
}

export interface ReadinessOptions {
  /** Rejects when the part does not do what the server needs of it. */
  readonly checks: Readonly<Record<string, () => Promise<void>>>;
  readonly isDraining: () => boolean;
  readonly onUnavailable: (part: string, error: unknown) => void;
  /** @default 5,000 */
  readonly timeoutMs?: number;
}

const GOOD_FOR_MS = 1000;
const TIMEOUT_MS = 5000;

export function createReadiness(options: ReadinessOptions): () => Promise<Readiness> {
  const { checks, timeoutMs = TIMEOUT_MS } = options;
  let last: { readonly at: number; readonly parts: Promise<Record<string, PartState>> } | undefined;

  const look = async (): Promise<Record<string, PartState>> => {
    const looked = Object.entries(checks).map(async ([part, check]): Promise<[string, PartState]> => {
      const ended = new AbortController();
      try {
        await Promise.race([check(), late(part, timeoutMs, ended.signal)]);
        return [part, "ok"];
      } catch (error) {
        options.onUnavailable(part, error);
        return [part, "unavailable"];
      } finally {
        ended.abort();
      }
    });
    return Object.fromEntries(await Promise.all(looked));
  };

  return async () => {
    const now = performance.now();
    if (last === undefined || now - last.at >= GOOD_FOR_MS) last = { at: now, parts: look() };
    const parts = await last.parts;
    // Never what was found a while ago: it must be off at once.
    const accepting: PartState = options.isDraining() ? "unavailable" : "ok";
    const all = { accepting, ...parts };
    return { ready: Object.values(all).every((state) => state === "ok"), parts: all };
  };
}

async function late(part: string, timeoutMs: number, ended: AbortSignal): Promise<never> {
  try {
    await setTimeoutPromise(timeoutMs, undefined, { signal: ended, ref: false });
  } catch {
    // Nobody listens any more.
  }
  throw new Error(`${part} did not answer in ${timeoutMs / 1000} s`);
}
