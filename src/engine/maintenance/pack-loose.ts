/**
 * Putting the loose objects that other programs leave into one pack, needed or not: which of them are is for a sweep to find out.
 * Specification: git-maintenance ("loose-objects").
 */
import { GitwharfError, throwIfAborted } from "../../base/errors.js";
import { runInWorker } from "../../base/worker-pool.js";
import type { Upkeep } from "../../storage/contracts/upkeep.js";
import type { LoosePlan } from "./loose-plan.js";
import type { LooseTask } from "./loose-worker.js";
import { writePlannedPack } from "./write-planned-pack.js";

export type PackLooseOutcome =
  /** packed: objects that have no file of their own any more. written: those of them that stood in no pack. */
  | { readonly kind: "packed"; readonly packed: number; readonly written: number }
  | { readonly kind: "nothing to do" }
  | { readonly kind: "left to others" };

const WORKER = new URL("./loose-worker.js", import.meta.url);

/** @throws storage/io, storage/not-found, base/aborted */
export async function packLooseObjects(
  upkeep: Upkeep,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<PackLooseOutcome> {
  throwIfAborted(signal);
  const work = await upkeep.beginPackingLoose();
  if (work === undefined) return { kind: "left to others" };
  try {
    if (work.loose.length === 0) return { kind: "nothing to do" };
    const { objects } = work.snapshot;
    const request = { loose: work.loose, packs: new Set(work.packs.map(({ key }) => key)) };
    const { plan, packed } = await runInWorker<LooseTask, LoosePlan>(
      WORKER,
      { objects: objects.describe(), request },
      { signal, isBackground: true },
    );
    if (packed.length === 0) return { kind: "nothing to do" };
    if (plan !== undefined) {
      const { index } = await writePlannedPack(plan, {
        objects,
        createPack: () => work.createPack(),
        signal,
      });
      const isSafe = (oid: string): boolean =>
        index.find(oid) >= 0 || work.packs.some((pack) => pack.index.find(oid) >= 0);
      if (!packed.every(isSafe))
        throw new GitwharfError("base/invariant", "a pack of loose objects does not hold what was planned");
    }
    throwIfAborted(signal);
    await work.finish(packed);
    return { kind: "packed", packed: packed.length, written: plan?.objectCount ?? 0 };
  } finally {
    await work.release();
  }
}
