/** `gitwharf fsck NAME`: checks every object, index and ref of a repository. */
import { resolve } from "node:path";
import { Command } from "commander";
import { GitwharfError } from "../base/errors.js";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";

export function fsckCommand(): Command {
  return new Command("fsck")
    .description("Check a repository: every object, pack, index and ref. Exits with 1 when there are errors.")
    .argument("<name>", "the repository's name")
    .option("-d, --directory <directory>", "where the repositories are", "./repositories")
    .option("--strict", "take warnings for errors")
    .action(async (text: string, flags: { readonly directory: string; readonly strict?: boolean }) => {
      const name = parseRepositoryName(text);
      const { closeWorkerPool } = await import("../base/worker-pool.js");
      const { fsckRepository } = await import("../engine/repository-fsck.js");
      const { createDiskRepositoryStore } = await import("../storage/disk/disk-repository-store.js");
      const store = createDiskRepositoryStore({ directory: resolve(flags.directory) });
      try {
        const repository = await store.open(name);
        if (repository === undefined) {
          throw new GitwharfError(
            "storage/not-found",
            `there is no repository '${name}' in ${resolve(flags.directory)}`,
          );
        }
        let errors = 0;
        const summary = await fsckRepository(repository, {
          onFinding: (finding) => {
            if (finding.severity === "error" || (flags.strict === true && finding.severity === "warn"))
              errors++;
            console.log(`${finding.severity} ${finding.message}`);
          },
        });
        console.log(`${name}: checked ${summary.objectCount} objects, ${errors} errors`);
        await repository.close();
        if (errors > 0) process.exitCode = 1;
      } finally {
        await store.close();
        await closeWorkerPool();
      }
    });
}
