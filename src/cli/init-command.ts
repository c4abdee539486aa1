/** `gitwharf init NAME`: makes a repository on disk. */
import { resolve } from "node:path";
import { Command, Option } from "commander";
import type { ObjectFormat } from "../object/object-format.js";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";
import type { RefFormat } from "../storage/contracts/repository.js";

interface InitFlags {
  readonly directory: string;
  readonly objectFormat: ObjectFormat;
  readonly refFormat: RefFormat;
  readonly defaultBranch: string;
}

export function initCommand(): Command {
  return new Command("init")
    .description("Make an empty repository.")
    .argument("<name>", "its name below the directory of repositories, for instance group/app")
    .option("-d, --directory <directory>", "where the repositories are", "./repositories")
    .addOption(
      new Option("--object-format <format>", "hash function").choices(["sha1", "sha256"]).default("sha1"),
    )
    .addOption(
      new Option("--ref-format <format>", "how refs are kept; git reads reftable from 2.45 on")
        .choices(["files", "reftable"])
        .default("files"),
    )
    .option("-b, --default-branch <name>", "the branch HEAD names", "main")
    .action(async (text: string, flags: InitFlags) => {
      const name = parseRepositoryName(text);
      const { createDiskRepositoryStore } = await import("../storage/disk/disk-repository-store.js");
      const store = createDiskRepositoryStore({ directory: resolve(flags.directory) });
      try {
        const repository = await store.create(name, {
          objectFormat: flags.objectFormat,
          refFormat: flags.refFormat,
          defaultBranch: flags.defaultBranch,
        });
        console.log(`made ${repository.gitDirectory ?? name}`);
        await repository.close();
      } finally {
        await store.close();
      }
    });
}
