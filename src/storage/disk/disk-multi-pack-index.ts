/**
 * The multi-pack-index of a repository on disk, and its bitmaps. `gc.pid` keeps git's own garbage collection and other servers
 * away while they are made, git's lock of the file itself those who write one at the same time.
 */
import type {
  MultiPackIndexStore,
  MultiPackIndexWork,
  PackToIndex,
} from "../contracts/multi-pack-index-store.js";
import { lockMaintenance } from "./maintenance-lock.js";
import { multiPackBitmapName } from "./multi-pack-bitmap-file.js";
import { LAYERED_MULTI_PACK_INDEX } from "./multi-pack-index-file.js";
import type { PackDirectory } from "./pack-directory.js";
import type { PackFile } from "./pack-file.js";
import type { SharedRepository } from "./shared-mode.js";
import {
  removeMultiPackIndex,
  removeOutdatedBitmaps,
  writeMultiPackIndex,
} from "./write-multi-pack-index.js";

export interface DiskMultiPackIndexOptions {
  readonly commonDirectory: string;
  readonly packs: PackDirectory;
  readonly sync: boolean;
  readonly shared: () => Promise<SharedRepository>;
  /** @throws storage/not-found */
  readonly mustExist: () => Promise<void>;
}

/** Those that are read in one. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

export function createDiskMultiPackIndex(options: DiskMultiPackIndexOptions): MultiPackIndexStore {
  const { commonDirectory, packs } = options;
  return {
    async begin() {
      const shared = await options.shared();
      const unlock = await lockMaintenance(commonDirectory, { shared });
      if (unlock === undefined) return undefined;
      try {
        await packs.refresh();
        if (packs.names.size > 0) await removeOutdatedBitmaps(packs.path, packs.covered?.index.bitmapKey);
        return new DiskMultiPackIndexWork(options, { shared, unlock });
      } catch (error) {
        await unlock();
        throw error;
      }
    },
  };
}

class DiskMultiPackIndexWork implements MultiPackIndexWork {
  readonly hindrance: string | undefined;
  readonly bitmapHindrance: string | undefined;
  readonly packs: readonly PackToIndex[];
  readonly current: MultiPackIndexWork["current"];
  readonly #options: DiskMultiPackIndexOptions;
  readonly #shared: SharedRepository;
  readonly #unlock: () => Promise<void>;
  readonly #held: ReadonlyMap<string, PackFile>;
  #releasing: Promise<void> | undefined;

  constructor(
    options: DiskMultiPackIndexOptions,
    /** Taken over. */
    parts: { readonly shared: SharedRepository; readonly unlock: () => Promise<void> },
  ) {
    const directory = options.packs;
    const { names, covered } = directory;
    this.#options = options;
    this.#shared = parts.shared;
    this.#unlock = parts.unlock;
    this.#held = new Map([...directory.filesByName()].filter(([name]) => NAME.test(name)));
    for (const file of this.#held.values()) file.retain();
    this.packs = [...this.#held.values()].map(({ pack, modifiedMs }) => ({
      pack,
      modifiedSeconds: Math.floor(modifiedMs / 1000),
    }));
    this.hindrance = names.has(LAYERED_MULTI_PACK_INDEX)
      ? "the repository has one in layers, which is git's to look after"
      : undefined;
    this.bitmapHindrance = [...names].some((name) => name.endsWith(".promisor"))
      ? "objects are missing that somebody else keeps (.promisor)"
      : undefined;
    if (covered === undefined) return;
    const listed = new Set(covered.index.packNames);
    this.current = {
      listsAll: listed.size === this.#held.size && [...this.#held.keys()].every((name) => listed.has(name)),
      hasBitmap: covered.index.hasBitOrder && names.has(multiPackBitmapName(covered.index.bitmapKey)),
    };
  }

  async write(made: {
    readonly bytes: SharedArrayBuffer;
    readonly checksum: string;
    readonly bitmap: Uint8Array | undefined;
  }): Promise<boolean> {
    const { packs, sync, mustExist } = this.#options;
    await mustExist();
    const { checksum, bitmap } = made;
    const files = { bytes: Buffer.from(made.bytes), checksum, bitmap, packNames: [...this.#held.keys()] };
    const done = await writeMultiPackIndex(packs.path, files, { sync, shared: this.#shared });
    await packs.refresh();
    return done;
  }

  async remove(): Promise<boolean> {
    const { packs } = this.#options;
    const done = await removeMultiPackIndex(packs.path);
    await packs.refresh();
    return done;
  }

  release(): Promise<void> {
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  async #release(): Promise<void> {
    for (const file of this.#held.values()) file.release();
    await this.#unlock();
  }
}
