/**
 * What folding packs and collecting garbage have in common: one lease for both, which packs are left alone, and how what they have made
 * takes the place of what they have read.
 */
import { randomUUID } from "node:crypto";
import { type KeptLease, keepLease } from "./keep-lease.js";
import type { MetadataStore, RepositoryRecord } from "./metadata/metadata-store.js";
import type { PackShelf } from "./pack-shelf.js";
import type { RepositoryState } from "./repository-state.js";
import type { StoredCore } from "./stored-core.js";
import type { PackLeaf, PackSource } from "./tree/pack-leaves.js";
import type { SpooledPack } from "./pack-upload.js";
import type { StoredQuarantine } from "./stored-quarantine.js";
import {
  takeBackUpload,
  type UploadedPacks,
  type UploadKind,
  type UploadPlace,
  uploadPacks,
} from "./upload-packs.js";

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

/**
 * To the bucket, and into the root; what was not committed is taken back.
 * @param commit of what was uploaded, if there was something to upload. @returns what that one does
 */
export async function putInPlace(
  place: UploadPlace,
  spooled: readonly SpooledPack[],
  kinds: UploadKind | readonly UploadKind[],
  commit: (uploaded: UploadedPacks | undefined) => Promise<boolean>,
): Promise<boolean> {
  const uploaded = spooled.length === 0 ? undefined : await uploadPacks(place, spooled, kinds);
  let isDone = false;
  try {
    isDone = await commit(uploaded);
    return isDone;
  } finally {
    // Of one that was committed, though its answer was lost, nothing can be taken back.
    if (!isDone && uploaded !== undefined) await takeBackUpload(place, uploaded.id).catch(() => undefined);
  }
}

/** @param giveUp what work on packs holds besides. @returns gives all of it back, once */
export function givesBack(quarantine: StoredQuarantine, giveUp: () => Promise<void>): () => Promise<void> {
  const giveBack = async (): Promise<void> => {
    try {
      await quarantine.discard();
    } finally {
      await giveUp();
    }
  };
  let given: Promise<void> | undefined;
  return () => (given ??= giveBack());
}
