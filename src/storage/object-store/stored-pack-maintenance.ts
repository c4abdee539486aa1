/**
 * Folding the packs of a repository whose packs are in a bucket: the new pack is uploaded like a push and committed in the place
 * of the old ones, if the root of that moment names all of them still.
 *
 *     lease ──► new pack spooled ──► intent, upload ──► commit (old packs retired) ──► lease given up
 *                                                  └──► somebody was quicker: the upload is taken back
 *
 * The old packs stay in the bucket for as long as a kept generation or a fork names them; the janitor removes them then. Left
 * alone: what garbage collection made, and in a fork what it shares with its parent, so that many forks do not
 * each make a copy of the same objects.
 */
import { GitwharfError } from "../../base/errors.js";
import type { Pack } from "../../pack/pack.js";
import type { PackMaintenance, PackReplacement } from "../contracts/pack-maintenance.js";
import type { PackSink } from "../contracts/quarantine.js";
import {
  areNamed,
  COLLECTED,
  givesBack,
  lastSharedPack,
  putInPlace,
  type StoredPackMaintenanceOptions,
  takeWorkLease,
} from "./packs-at-work.js";
import type { LentPack } from "./pack-shelf.js";
import type { SpooledPack } from "./pack-upload.js";
import type { RepositoryState } from "./repository-state.js";
import { createStoredCollection } from "./stored-collection.js";
import { StoredQuarantine } from "./stored-quarantine.js";
import type { PackLeaf } from "./tree/pack-leaves.js";
import type { UploadPlace } from "./upload-packs.js";

const LEVEL_MAX = 63;

export function createStoredPackMaintenance(options: StoredPackMaintenanceOptions): PackMaintenance {
  const { core, shelf, spoolDirectory, cache } = options;
  return {
    garbage: createStoredCollection(options),
    async countFoldable() {
      return (await foldableOf(options)).leaves.length;
    },
    async begin() {
      const lease = await takeWorkLease(options);
      if (lease === undefined) return undefined;
      const packs: LentPack[] = [];
      const giveUp = async (): Promise<void> => {
        for (const pack of packs) pack.release();
        // One that cannot be given up runs out.
        await lease.release().catch(() => undefined);
      };
      try {
        const { state, leaves } = await foldableOf(options);
        packs.push(...(await shelf.openAll(leaves, core.objectFormat)));
        const view = await core.view(state);
        return new StoredPackReplacement({
          place: options,
          held: new Map(packs.map(({ pack }, i) => [pack, leaves[i] as PackLeaf])),
          makeQuarantine: (publish) =>
            new StoredQuarantine({ view, spoolDirectory, makeRoom: () => cache.makeRoom(), publish }),
          giveUp,
        });
      } catch (error) {
        await giveUp();
        throw error;
      }
    },
  };
}

async function foldableOf({ core, metadata }: Pick<UploadPlace, "core" | "metadata">): Promise<{
  readonly state: RepositoryState;
  /** Most recently written first. */
  readonly leaves: readonly PackLeaf[];
}> {
  const { record, state } = await core.current();
  const shared = await lastSharedPack(core, metadata, record);
  const leaves = state.packs.filter(({ source, sequence }) => !COLLECTED.has(source) && sequence > shared);
  return { state, leaves };
}

type Publish = ConstructorParameters<typeof StoredQuarantine>[0]["publish"];

class StoredPackReplacement implements PackReplacement {
  readonly packs: readonly Pack[];
  readonly #place: UploadPlace;
  readonly #held: ReadonlyMap<Pack, PackLeaf>;
  readonly #quarantine: StoredQuarantine;
  readonly release: () => Promise<void>;
  /** Those that the pack which is being published takes the place of. */
  #replaced: readonly PackLeaf[] = [];
  #hasReplaced = false;

  constructor(parts: {
    readonly place: UploadPlace;
    readonly held: ReadonlyMap<Pack, PackLeaf>;
    readonly makeQuarantine: (publish: Publish) => StoredQuarantine;
    readonly giveUp: () => Promise<void>;
  }) {
    this.#place = parts.place;
    this.#held = parts.held;
    this.packs = [...parts.held.keys()];
    this.#quarantine = parts.makeQuarantine(async (spooled) => {
      this.#hasReplaced = await this.#put(spooled);
      return { settle: async () => undefined };
    });
    this.release = givesBack(this.#quarantine, parts.giveUp);
  }

  createPack(): Promise<PackSink> {
    return this.#quarantine.createPack();
  }

  async replace(packs: readonly Pack[]): Promise<boolean> {
    const leaves = packs.map((pack) => {
      const leaf = this.#held.get(pack);
      if (leaf === undefined)
        throw new GitwharfError(
          "base/invariant",
          `${pack.name} is not one of the packs that may be replaced`,
        );
      return leaf;
    });
    const { state } = await this.#place.core.current();
    if (!areNamed(state, leaves)) return false;
    this.#replaced = leaves;
    await this.#quarantine.publish();
    return this.#hasReplaced;
  }

  /** @returns false when one of the packs has gone meanwhile: then nothing is left in the bucket */
  #put(spooled: readonly SpooledPack[]): Promise<boolean> {
    const leaves = this.#replaced;
    const { core } = this.#place;
    const level = Math.min(LEVEL_MAX, 1 + Math.max(0, ...leaves.map((leaf) => leaf.level)));
    return putInPlace(this.#place, spooled, { source: "compact", level }, async (uploaded) => {
      const outcome = await core.commit({
        kind: "compact",
        draft: (state) =>
          areNamed(state, leaves)
            ? {
                change: {},
                packs: uploaded?.packs ?? [],
                uploads: uploaded === undefined ? [] : [uploaded.id],
                retired: leaves.map(({ key }) => key),
              }
            : undefined,
      });
      return outcome.kind === "committed";
    });
  }
}
