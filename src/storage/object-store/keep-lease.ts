/** A lease that is kept for as long as the work takes. */
import type { Lease, LeaseRest, LeaseStore } from "./metadata/lease-store.js";

export interface KeptLease {
  /** That was left with it. */
  readonly note: string;
  /** Idempotent; the first call counts. @throws storage/io */
  release(after?: LeaseRest): Promise<void>;
}

/** @returns undefined: somebody else has it. @throws storage/io */
export async function keepLease(
  leases: LeaseStore,
  lease: Lease,
  forMs: number,
): Promise<KeptLease | undefined> {
  const taken = await leases.takeLease(lease, forMs);
  if (taken === undefined) return undefined;
  // One that cannot be kept is lost: then somebody may do the same work, no more.
  let keeping: Promise<unknown> = Promise.resolve();
  const timer = setInterval(() => {
    keeping = leases.takeLease(lease, forMs).catch(() => undefined);
  }, forMs / 3);
  timer.unref();
  let releasing: Promise<void> | undefined;
  return {
    note: taken.note,
    release(after) {
      clearInterval(timer);
      releasing ??= keeping.then(() => leases.releaseLease(lease, after));
      return releasing;
    },
  };
}
