/** `gitwharf maintenance run NAME`: what a server does for a repository in the background, now and whatever its size. */
import { resolve } from "node:path";
import { Command } from "commander";
import { GitwharfError } from "../base/errors.js";
import type { FoldOutcome } from "../engine/maintenance/fold-packs.js";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";

export function maintenanceCommand(): Command {
  const run = new Command("run")
    .exitOverride()
    .showHelpAfterError("(gitwharf maintenance run --help explains)")
    .description("Fold the small packs of a repository into one. Safe while it is served.")
    .argument("<name>", "the repository's name")
    .option("-d, --directory <directory>", "where the repositories are", "./repositories")
    .action(async (text: string, flags: { readonly directory: string }) => {
      const name = parseRepositoryName(text);
      const { closeWorkerPool } = await import("../base/worker-pool.js");
      const { foldPacks } = await import("../engine/maintenance/fold-packs.js");
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
        try {
          const { packMaintenance } = repository;
          if (packMaintenance === undefined) return;
          const outcome = await foldPacks(packMaintenance);
          console.log(`${name}: ${describe(outcome)}`);
          if (outcome.kind !== "folded" || outcome.damage.length === 0) return;
          for (const { message } of outcome.damage) console.error(`gitwharf: ${message}`);
          process.exitCode = 1;
        } finally {
          await repository.close();
        }
      } finally {
        await store.close();
        await closeWorkerPool();
      }
    });
  return new Command("maintenance").description("Look after a repository.").addCommand(run);
}

function describe(outcome: FoldOutcome): string {
  switch (outcome.kind) {
    case "folded":
      return `folded ${outcome.packCount} packs into one of ${outcome.objectCount} objects`;
    case "nothing to do":
      return "nothing to do";
    case "left to others":
      return "another process is at work on the packs (gc.pid), or they are not to be touched; nothing was done";
  }
}
