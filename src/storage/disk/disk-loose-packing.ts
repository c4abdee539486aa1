/**
 * Loose objects of a repository on disk on their way into a pack, under `gc.pid`. A copy in a pack of unreachable objects does not
 * count: that somebody has written the object again is told by its file.
 */
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { Snapshot } from "../contracts/repository.js";
import type { LoosePacking } from "../contracts/upkeep.js";
import type { DiskQuarantine } from "./disk-quarantine.js";
import { listLooseFiles, removeLooseFiles } from "./loose-files.js";
import { lockMaintenance } from "./maintenance-lock.js";
import type { PackDirectory } from "./pack-directory.js";
import type { SharedRepository } from "./shared-mode.js";

export interface DiskLoosePackingOptions {
  readonly commonDirectory: string;
  readonly packs: PackDirectory;
  readonly shared: () => Promise<SharedRepository>;
  readonly snapshot: () => Promise<Snapshot>;
  readonly openQuarantine: () => Promise<DiskQuarantine>;
}

/** undefined: another process is at work. @throws storage/io, storage/not-found */
export async function beginDiskLoosePacking(
  options: DiskLoosePackingOptions,
): Promise<LoosePacking | undefined> {
  const { commonDirectory, packs: directory } = options;
  const objectsDirectory = `${commonDirectory}/objects`;
  const unlock = await lockMaintenance(commonDirectory, { shared: await options.shared() });
  if (unlock === undefined) return undefined;
  let snapshot: Snapshot | undefined;
  try {
    const loose = await listLooseFiles(objectsDirectory, directory.objectFormat);
    const taken = await options.snapshot();
    snapshot = taken;
    const quarantine = await options.openQuarantine();
    let releasing: Promise<void> | undefined;
    return {
      snapshot: taken,
      loose,
      packs: plainPacks(directory, taken),
      createPack: () => quarantine.createPack(),
      async finish(packed: readonly ObjectId[]) {
        await quarantine.publish();
        await removeLooseFiles(objectsDirectory, packed);
      },
      release() {
        releasing ??= (async () => {
          try {
            await quarantine.discard();
          } finally {
            taken.release();
            await unlock();
          }
        })();
        return releasing;
      },
    };
  } catch (error) {
    snapshot?.release();
    await unlock();
    throw error;
  }
}

function plainPacks(directory: PackDirectory, { objects }: Snapshot): Pack[] {
  const open = new Set(objects.packs);
  const plain: Pack[] = [];
  for (const [name, { pack }] of directory.filesByName())
    if (open.has(pack) && !directory.names.has(`${name}.mtimes`)) plain.push(pack);
  return plain;
}
