/**
 * Folding the packs of a repository on disk: which of them may go, and how they go.
 *
 *     gc.pid ──► new pack written and synced ──► visible, with a .keep ──► old indexes and packs removed ──► .keep, gc.pid removed
 *
 * Never touched: packs with a `.keep`, `.promisor` or `.mtimes` (unreachable objects), or with a `.bitmap` when the new pack is
 * to have none; packs that a multi-pack-index names, unless who folds makes another one afterwards; packs of alternates; a name that is not its pack's checksum (a file of another name could
 * have been exchanged); anything in a repository whose objects are precious or whose multi-pack-index is not
 * understood. Readers of ours hold the old packs open; git looks for packs again when one has gone.
 */
import { GitwharfError } from "../../base/errors.js";
import type { Pack } from "../../pack/pack.js";
import type { PackMaintenance, PackReplacement } from "../contracts/pack-maintenance.js";
import type { PackSink } from "../contracts/quarantine.js";
import type { DiskQuarantine } from "./disk-quarantine.js";
import { readStamp } from "./file-stamp.js";
import { lockMaintenance } from "./maintenance-lock.js";
import { LAYERED_MULTI_PACK_INDEX } from "./multi-pack-index-file.js";
import type { PackDirectory } from "./pack-directory.js";
import type { PackFile } from "./pack-file.js";
import { finishRemovals, removePacks } from "./remove-packs.js";
import type { SharedRepository } from "./shared-mode.js";
import { isMultiPackIndexBeingWritten } from "./write-multi-pack-index.js";
import { type SideFileOptions, writeBitmapFile } from "./write-side-file.js";

const KEEPERS = [".keep", ".promisor", ".mtimes"];
const BITMAP = ".bitmap";

export interface DiskPackMaintenanceOptions {
  readonly commonDirectory: string;
  readonly packs: PackDirectory;
  readonly sync: boolean;
  readonly shared: () => Promise<SharedRepository>;
  /** `extensions.preciousObjects`: nothing may be removed. */
  readonly isPrecious: () => Promise<boolean>;
  readonly openQuarantine: () => Promise<DiskQuarantine>;
}

export function createDiskPackMaintenance(options: DiskPackMaintenanceOptions): PackMaintenance {
  const { commonDirectory, packs } = options;
  return {
    async countFoldable() {
      if (await options.isPrecious()) return 0;
      await packs.refresh();
      return foldablePacks(packs, { bitmapped: false, listed: false }).size;
    },
    async begin({ bitmapped = false, listed = false } = {}) {
      if ((await options.isPrecious()) || (await isMultiPackIndexBeingWritten(packs.path))) return undefined;
      const shared = await options.shared();
      const unlock = await lockMaintenance(commonDirectory, { shared });
      if (unlock === undefined) return undefined;
      try {
        await finishRemovals(packs.path, { olderThanMs: 0 });
        const quarantine = await options.openQuarantine();
        return new DiskPackReplacement({
          packs,
          quarantine,
          unlock,
          bitmapped,
          listed,
          files: { shared, sync: options.sync },
        });
      } catch (error) {
        await unlock();
        throw error;
      }
    },
  };
}

/** By their names in the directory. */
function foldablePacks(
  directory: PackDirectory,
  { bitmapped, listed }: { readonly bitmapped: boolean; readonly listed: boolean },
): ReadonlyMap<string, PackFile> {
  const { names, covered } = directory;
  const foldable = new Map<string, PackFile>();
  if (directory.brokenMultiPackIndex !== undefined || names.has(LAYERED_MULTI_PACK_INDEX)) return foldable;
  const named = new Set(covered?.index.packNames);
  for (const [name, file] of directory.filesByName()) {
    const { index } = file.pack;
    if (name !== `pack-${index.packTrailer}` || index.version !== 2) continue;
    if ((named.has(name) && !listed) || KEEPERS.some((ending) => names.has(name + ending))) continue;
    if (!bitmapped && names.has(name + BITMAP)) continue;
    foldable.set(name, file);
  }
  return foldable;
}

class DiskPackReplacement implements PackReplacement {
  readonly packs: readonly Pack[];
  readonly #directory: PackDirectory;
  readonly #quarantine: DiskQuarantine;
  readonly #unlock: () => Promise<void>;
  readonly #listed: boolean;
  readonly #files: SideFileOptions;
  readonly #held: ReadonlyMap<Pack, { readonly name: string; readonly file: PackFile }>;
  readonly #bitmapped: ReadonlySet<Pack>;
  #releasing: Promise<void> | undefined;

  constructor(parts: {
    readonly packs: PackDirectory;
    /** Taken over, as is the lock. */
    readonly quarantine: DiskQuarantine;
    readonly unlock: () => Promise<void>;
    readonly bitmapped: boolean;
    readonly listed: boolean;
    readonly files: SideFileOptions;
  }) {
    this.#directory = parts.packs;
    this.#quarantine = parts.quarantine;
    this.#unlock = parts.unlock;
    this.#listed = parts.listed;
    this.#files = parts.files;
    const foldable = [...foldablePacks(parts.packs, parts)].map(([name, file]) => ({ name, file }));
    foldable.sort((a, b) => b.file.modifiedMs - a.file.modifiedMs || (a.name < b.name ? -1 : 1));
    for (const { file } of foldable) file.retain();
    this.#held = new Map(foldable.map((each) => [each.file.pack, each]));
    this.packs = [...this.#held.keys()];
    const { names } = parts.packs;
    this.#bitmapped = new Set(
      foldable.filter(({ name }) => names.has(name + BITMAP)).map(({ file }) => file.pack),
    );
  }

  hasBitmap(pack: Pack): boolean {
    return this.#bitmapped.has(pack);
  }

  createPack(): Promise<PackSink> {
    return this.#quarantine.createPack();
  }

  async replace(
    packs: readonly Pack[],
    { bitmap }: { readonly bitmap?: Uint8Array | undefined } = {},
  ): Promise<boolean> {
    const names = packs.map((pack) => {
      const held = this.#held.get(pack);
      if (held === undefined)
        throw new GitwharfError(
          "base/invariant",
          `${pack.name} is not one of the packs that may be replaced`,
        );
      return held.name;
    });
    if (!(await this.#areThere(names))) return false;
    await this.#quarantine.publish();
    const directory = this.#directory;
    await directory.refresh();
    const foldable = foldablePacks(directory, { bitmapped: bitmap !== undefined, listed: this.#listed });
    // When all objects stood in one of them, the new pack may be that one.
    const own = this.#quarantine.publishedNames;
    const going = names.filter((name) => foldable.has(name) && !own.has(name));
    await removePacks(directory.path, going);
    // Not before: git warns of a second bitmap in a repository.
    const [name] = own;
    if (bitmap !== undefined && name !== undefined)
      await writeBitmapFile(`${directory.path}/${name}`, bitmap, this.#files);
    await directory.refresh();
    return true;
  }

  release(): Promise<void> {
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  async #release(): Promise<void> {
    try {
      await this.#quarantine.discard();
    } finally {
      for (const { file } of this.#held.values()) file.release();
      await this.#unlock();
    }
  }

  async #areThere(names: readonly string[]): Promise<boolean> {
    for (const name of names) {
      for (const ending of [".pack", ".idx"])
        if ((await readStamp(`${this.#directory.path}/${name}${ending}`)) === undefined) return false;
    }
    return true;
  }
}
