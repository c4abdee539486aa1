/** `gitwharf fsck NAME`: checks every object, index and ref of a repository. */
import { Command } from "commander";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";
import { type AnyStorageFlags, mustOpen, withAnyStorage, withAnyStorageOptions } from "./any-storage.js";

interface FsckFlags extends AnyStorageFlags {
  readonly strict?: boolean;
}

export function fsckCommand(): Command {
  return withAnyStorageOptions(new Command("fsck"))
    .description("Check a repository: every object, pack, index and ref. Exits with 1 when there are errors.")
    .argument("<name>", "the repository's name")
    .option("--strict", "take warnings for errors")
    .action(async (text: string, flags: FsckFlags) => {
      const name = parseRepositoryName(text);
      const { fsckRepository } = await import("../engine/repository-fsck.js");
      await withAnyStorage(flags, async (store) => {
        const repository = await mustOpen(store, name, flags);
        let errors = 0;
        const summary = await fsckRepository(repository, {
          onFinding: (finding) => {
            if (finding.severity === "error" || (flags.strict === true && finding.severity === "warn"))
              errors++;
            console.log(`${finding.severity} ${finding.message}`);
          },
          // A fork keeps packs for the sake of others.
          mayLackUnreachable: repository.packMaintenance?.garbage !== undefined,
        });
        console.log(`${name}: checked ${summary.objectCount} objects, ${errors} errors`);
        await repository.close();
        if (errors > 0) process.exitCode = 1;
      });
    });
}
