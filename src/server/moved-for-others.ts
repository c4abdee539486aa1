/**
 * Refs that proc-receive has moved in place of the one that was pushed. Rules are about what a person asks for
 * (`refs/for/main`); where that goes is for the operator's hook to say, and it has happened by the time that we hear of it.
 * What the rules would have refused to the person is told to the operator.
 */
import type { Policy } from "../access/policies/policy.js";
import type { ChangedRef, Push } from "../engine/push.js";
import type { ServiceLogEntry } from "../transport/service-host.js";

/** To judge one may take a walk through history. */
const JUDGED_MAX = 100;

export async function tellOfMovedForOthers(
  { push, changed }: { readonly push: Push; readonly changed: readonly ChangedRef[] },
  judgeMoved: Policy["judgeMoved"],
  log: (entry: ServiceLogEntry) => void,
): Promise<void> {
  const moved = changed.filter(({ pushedAs }) => pushedAs !== undefined).slice(0, JUDGED_MAX);
  if (moved.length === 0) return;
  const { repository, identity } = push;
  // The hook may have made objects of its own.
  const snapshot = await repository.snapshot();
  try {
    const now: Push = { ...push, objects: snapshot.objects };
    for (const ref of moved) {
      const why = await judgeMoved(now, ref).catch(() => "it could not be judged");
      if (why === undefined) continue;
      const message =
        `proc-receive moved ${ref.name} for a push of ${ref.pushedAs} by ${identity.user ?? "anonymous"}, ` +
        `who may not do that: ${why}`;
      log({ level: "warn", message, fields: { repository: repository.name, user: identity.user } });
    }
  } finally {
    snapshot.release();
  }
}
