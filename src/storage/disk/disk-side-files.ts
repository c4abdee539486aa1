/**
 * Commit-graph and bitmaps of a repository on disk. `gc.pid` keeps git's own garbage collection and other servers away while
 * they are made; `git repack` and `git commit-graph write` do not ask for it, and lose nothing.
 *
 * A bitmap is for the largest pack, where readers look for one, and only when no pack has one: git reads one of a repository,
 * and warns of more.
 */
import { GitwharfError } from "../../base/errors.js";
import type { Pack } from "../../pack/pack.js";
import type { SideFileStore, SideFileWork } from "../contracts/side-file-store.js";
import { readStamp } from "./file-stamp.js";
import { lockMaintenance } from "./maintenance-lock.js";
import type { PackDirectory } from "./pack-directory.js";
import type { PackFile } from "./pack-file.js";
import type { SharedRepository } from "./shared-mode.js";
import {
  type CommitGraphLayerFile,
  readGraphLayers,
  writeCommitGraphLayer,
} from "./write-commit-graph-layer.js";
import { writeBitmapFile, writeCommitGraphFile } from "./write-side-file.js";

export interface DiskSideFilesOptions {
  readonly commonDirectory: string;
  readonly packs: PackDirectory;
  readonly sync: boolean;
  readonly shared: () => Promise<SharedRepository>;
  /** @throws storage/not-found */
  readonly mustExist: () => Promise<void>;
}

/** Packs of unreachable objects, and packs whose objects may refer to what somebody else keeps. */
const UNFIT = [".mtimes", ".promisor"];

export function createDiskSideFiles(options: DiskSideFilesOptions): SideFileStore {
  const { commonDirectory, packs } = options;
  return {
    async begin() {
      const shared = await options.shared();
      const unlock = await lockMaintenance(commonDirectory, { shared });
      if (unlock === undefined) return undefined;
      try {
        await packs.refresh();
        return new DiskSideFileWork(options, {
          shared,
          unlock,
          graphHindrance: await findHindrance(commonDirectory),
          graphLayers: await readGraphLayers(`${commonDirectory}/objects`),
        });
      } catch (error) {
        await unlock();
        throw error;
      }
    },
  };
}

/** Where git does not use a commit-graph either. Replace refs are for who knows the refs to say. */
async function findHindrance(commonDirectory: string): Promise<string | undefined> {
  if ((await readStamp(`${commonDirectory}/shallow`)) !== undefined) return "the repository is shallow";
  if ((await readStamp(`${commonDirectory}/info/grafts`)) !== undefined)
    return "grafts change what commits say";
  return undefined;
}

class DiskSideFileWork implements SideFileWork {
  readonly graphHindrance: string | undefined;
  readonly graphLayers: readonly string[];
  readonly packWithoutBitmap: Pack | undefined;
  readonly #options: DiskSideFilesOptions;
  readonly #shared: SharedRepository;
  readonly #unlock: () => Promise<void>;
  readonly #held: { readonly name: string; readonly file: PackFile } | undefined;
  #releasing: Promise<void> | undefined;

  constructor(
    options: DiskSideFilesOptions,
    parts: {
      readonly shared: SharedRepository;
      /** Taken over. */
      readonly unlock: () => Promise<void>;
      readonly graphHindrance: string | undefined;
      readonly graphLayers: readonly string[];
    },
  ) {
    this.#options = options;
    this.#shared = parts.shared;
    this.#unlock = parts.unlock;
    this.graphHindrance = parts.graphHindrance;
    this.graphLayers = parts.graphLayers;
    this.#held = findPack(options.packs);
    this.#held?.file.retain();
    this.packWithoutBitmap = this.#held?.file.pack;
  }

  async writeCommitGraph(bytes: SharedArrayBuffer): Promise<boolean> {
    const { commonDirectory, sync, mustExist } = this.#options;
    await mustExist();
    return writeCommitGraphFile(`${commonDirectory}/objects`, bytes, { sync, shared: this.#shared });
  }

  async writeCommitGraphLayer(layer: CommitGraphLayerFile): Promise<boolean> {
    const { commonDirectory, sync, mustExist } = this.#options;
    await mustExist();
    return writeCommitGraphLayer(`${commonDirectory}/objects`, layer, { sync, shared: this.#shared });
  }

  async writeBitmap(pack: Pack, bytes: Uint8Array): Promise<boolean> {
    const { packs, sync } = this.#options;
    if (this.#held === undefined || pack !== this.#held.file.pack)
      throw new GitwharfError("base/invariant", `${pack.name} is not the pack that wants a bitmap`);
    const done = await writeBitmapFile(`${packs.path}/${this.#held.name}`, bytes, {
      sync,
      shared: this.#shared,
    });
    await packs.refresh();
    return done;
  }

  release(): Promise<void> {
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  async #release(): Promise<void> {
    this.#held?.file.release();
    await this.#unlock();
  }
}

function findPack(directory: PackDirectory): { readonly name: string; readonly file: PackFile } | undefined {
  const { names } = directory;
  for (const name of names) if (name.endsWith(".bitmap")) return undefined;
  let largest: { readonly name: string; readonly file: PackFile } | undefined;
  for (const [name, file] of directory.filesByName())
    if (file.pack.objectCount > (largest?.file.pack.objectCount ?? 0)) largest = { name, file };
  if (largest === undefined) return undefined;
  const { name } = largest;
  return UNFIT.some((ending) => names.has(name + ending)) ? undefined : largest;
}
