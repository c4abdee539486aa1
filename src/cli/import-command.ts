/** `gitwharf import FROM NAME`: takes a repository on disk or a bundle into the object store. */
import { Command } from "commander";
import type { AuditFlags } from "./audited-change.js";
import {
  changeStored,
  type ObjectStorageFlags,
  stopSignal,
  withChangingStorageOptions,
} from "./object-storage.js";
import { printDone } from "./print-list.js";

interface ImportFlags extends ObjectStorageFlags, AuditFlags {
  readonly collisionDetection: boolean;
}

export function importCommand(): Command {
  return withChangingStorageOptions(new Command("import"))
    .description("Take a repository on disk, or a bundle, into the object store.")
    .argument("<from>", "a directory with a repository, or a file that `git bundle create` has made")
    .argument("<name>", "what it is to be called")
    .option("--no-collision-detection", "do not look for SHA-1 collision attacks (faster)")
    .action(async (from: string, name: string, { collisionDetection, ...flags }: ImportFlags) => {
      const onProgress = process.stderr.isTTY ? (text: string) => void process.stderr.write(text) : undefined;
      const summary = await changeStored(
        flags,
        { event: "repository-import", repository: name, details: { from } },
        (store) => store.importFrom(from, name, { collisionDetection, onProgress, signal: stopSignal() }),
        { makes: true },
      );
      for (const omitted of summary.omitted) process.stderr.write(`not taken over: ${omitted}\n`);
      const { repository, refs, objects } = summary;
      printDone(flags, summary, `imported ${repository}: ${refs} refs, ${objects} objects`);
    });
}
