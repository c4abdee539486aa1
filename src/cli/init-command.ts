/** `gitwharf init NAME`: makes a repository, in a directory or in an object store. */
import { Command, Option } from "commander";
import { GitwharfError } from "../base/errors.js";
import type { ObjectFormat } from "../object/object-format.js";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";
import type { RefFormat, RepositoryStore } from "../storage/contracts/repository.js";
import { type AnyStorageFlags, isOnDisk, withAnyStorage, withAnyStorageOptions } from "./any-storage.js";

interface InitFlags extends AnyStorageFlags {
  readonly objectFormat: ObjectFormat;
  readonly refFormat: RefFormat;
  readonly defaultBranch: string;
}

export function initCommand(): Command {
  return withAnyStorageOptions(new Command("init"))
    .description("Make an empty repository.")
    .argument("<name>", "its name below the directory of repositories, for instance group/app")
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
      const { objectFormat, refFormat, defaultBranch } = flags;
      if (!isOnDisk(flags) && refFormat !== "files")
        throw new GitwharfError(
          "server/bad-configuration",
          "an object store keeps refs in its own way: --ref-format goes with --storage disk",
        );
      const make = async (store: RepositoryStore): Promise<void> => {
        const repository = await store.create(name, { objectFormat, refFormat, defaultBranch });
        console.log(`made ${repository.gitDirectory ?? name}`);
        await repository.close();
      };
      await withAnyStorage(flags, make, { makes: true });
    });
}
