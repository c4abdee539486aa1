/**
 * A signal that fires with either of two, of which one lives much longer. `AbortSignal.any` would leave an entry in that one for
 * as long as it lives, which of a server's own is one for every request there ever was.
 */
export interface LinkedSignal {
  readonly signal: AbortSignal;
  /** The long-lived one is no longer listened to. */
  release(): void;
}

export function linkSignals(own: AbortSignal, longLived: AbortSignal): LinkedSignal {
  const linked = new AbortController();
  const onOwn = (): void => linked.abort(own.reason);
  const onLongLived = (): void => linked.abort(longLived.reason);
  if (longLived.aborted) onLongLived();
  else longLived.addEventListener("abort", onLongLived, { once: true });
  if (own.aborted) onOwn();
  else own.addEventListener("abort", onOwn, { once: true });
  return {
    signal: linked.signal,
    release: () => longLived.removeEventListener("abort", onLongLived),
  };
}
