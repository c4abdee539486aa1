/** `gitwharf export NAME DIRECTORY`: a bare repository on disk, which any git reads. */
import { Command } from "commander";
import {
  type ObjectStorageFlags,
  type PointFlags,
  pointOf,
  progressOf,
  stopSignal,
  withObjectStorage,
  withPointOptions,
  withStorageOptions,
} from "./object-storage.js";
import { printDone } from "./print-list.js";

export function exportCommand(): Command {
  return withPointOptions(withStorageOptions(new Command("export")))
    .description("Make a bare repository on disk of one in the object store, as it is or as it was.")
    .argument("<name>", "the repository's name")
    .argument("<directory>", "a new one")
    .action(async (name: string, directory: string, flags: ObjectStorageFlags & PointFlags) => {
      const at = pointOf(flags);
      const summary = await withObjectStorage(flags, (store) =>
        store.exportTo(name, directory, {
          at,
          signal: stopSignal(),
          onProgress: progressOf("Writing packs"),
        }),
      );
      const { refs, packs, packBytes, root } = summary;
      printDone(
        flags,
        { name, directory, ...summary },
        `exported ${name} to ${directory}: ${refs} refs, ${packs} packs with ${packBytes} bytes, root ${root}`,
      );
    });
}
