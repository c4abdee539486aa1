/** What folding packs and collecting garbage have in common: one lease for both, and which packs are left alone. */
import { randomUUID } from "node:crypto";
import { type KeptLease, keepLease } from "./keep-lease.js";
import type { MetadataStore, RepositoryRecord } from "./metadata/metadata-store.js";
import type { PackShelf } from "./pack-shelf.js";
import type { RepositoryState } from "./repository-state.js";
import type { StoredCore } from "./stored-core.js";
import type { PackLeaf, PackSource } from "./tree/pack-leaves.js";
import type { UploadPlace } from "./upload-packs.js";

export interface StoredPackMaintenanceOptions extends UploadPlace {
  readonly shelf: PackShelf;
  readonly spoolDirectory: string;
  /** What no ref leads to is kept for so long. */
  readonly garbageGraceMs: number;
}

const LEASE_MS = 5 * 60 * 1000;

/** Made by garbage collection. */
export const COLLECTED: ReadonlySet<PackSource> = new Set(["gc", "gc-rest", "gc-unreachable"]);

/** @returns undefined: somebody else is at work on these packs. @throws storage/io */
export function takeWorkLease({
  core,
  metadata,
  owner,
}: Pick<UploadPlace, "core" | "metadata" | "owner">): Promise<KeptLease | undefined> {
  return keepLease(metadata, { name: `fold/${core.id}`, owner: `${owner}/${randomUUID()}` }, LEASE_MS);
}

/** What a fork began with never changes. */
const sharedPacks = new WeakMap<StoredCore, number>();

/** As long as the fork remembers with what it began; after that all packs are its own. */
export async function lastSharedPack(
  core: StoredCore,
  metadata: MetadataStore,
  record: RepositoryRecord,
): Promise<number> {
  if (record.forkedFrom === undefined) return 0;
  const known = sharedPacks.get(core);
  if (known !== undefined) return known;
  const oldest = await metadata.oldestGeneration(core.id);
  const last = oldest?.kind === "fork" ? await core.newestPackOf(oldest.root) : 0;
  sharedPacks.set(core, last);
  return last;
}

export function areNamed({ packs }: RepositoryState, leaves: readonly PackLeaf[]): boolean {
  const named = new Set(packs.map(({ key }) => key));
  return leaves.every(({ key }) => named.has(key));
}
