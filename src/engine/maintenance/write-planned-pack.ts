/**
 * Writing a planned pack of a repository's own objects in the way in which packs are received: each object is unpacked and hashed once
 * more, so that nothing broken is carried on.
 */
import { GitwharfError } from "../../base/errors.js";
import { NO_PACK_LIMITS } from "../../base/limits.js";
import type { Pack } from "../../pack/pack.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { PackSink, Quarantine } from "../../storage/contracts/quarantine.js";
import { createObjectDatabase } from "../../storage/object-database.js";
import type { PlanData } from "../fetch/plan-data.js";
import { ingestPack } from "../ingest/ingest-pack.js";
import { bindPlan, findPacks } from "../pack-plan.js";
import { streamPack } from "../pack-stream.js";

export interface WritePlannedPackOptions {
  /** What the plan was made from. */
  readonly objects: ObjectReader;
  readonly createPack: () => Promise<PackSink>;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/** @throws object/corrupt, pack/bad-pack and the like for what is damaged, storage/io, base/aborted */
export async function writePlannedPack(plan: PlanData, options: WritePlannedPackOptions): Promise<Pack> {
  const { objects, createPack, signal } = options;
  const { objectFormat } = plan;
  const packs = findPacks(plan, objects);
  if (packs === undefined) throw new GitwharfError("base/invariant", "a plan needs a pack that is not open");
  const bytes = streamPack(bindPlan({ data: plan, trailer: plan.trailer }, packs, objects), { signal });
  // Nothing stands behind it: it must be whole by itself.
  const alone = createObjectDatabase({ objectFormat, packs: [] });
  const quarantine: Quarantine = {
    objects: alone,
    packs: [],
    createPack,
    addShallow: () => undefined,
    removeShallow: () => undefined,
    publish: async () => undefined,
    discard: async () => undefined,
  };
  const result = await ingestPack({
    quarantine,
    objects: alone,
    source: counted(bytes, options.onBytes),
    objectFormat,
    limits: NO_PACK_LIMITS,
    collisionDetection: false,
    maxInputSizeBytes: Infinity,
    signal,
  });
  if (result.pack === undefined || result.objectCount !== plan.objectCount)
    throw new GitwharfError("base/invariant", "another number of objects was written than was planned");
  return result.pack;
}

async function* counted(
  source: AsyncIterable<Buffer>,
  onBytes: ((bytes: number) => void) | undefined,
): AsyncGenerator<Buffer, void, void> {
  for await (const bytes of source) {
    onBytes?.(bytes.length);
    yield bytes;
  }
}
