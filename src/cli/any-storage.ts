/** Commands that work on plain directories as well as on an object store, as `--storage` says. */
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { GitwharfError } from "../base/errors.js";
import type { Repository, RepositoryStore } from "../storage/contracts/repository.js";
import { STORAGES, type StorageFlags } from "./serve-storage.js";

export interface AnyStorageFlags extends StorageFlags {
  readonly directory: string;
  readonly database?: string;
}

export function withAnyStorageOptions(command: Command): Command {
  return command
    .option("-d, --directory <directory>", "where the repositories are", "./repositories")
    .addOption(
      new Option("--storage <kind>", "what they are kept in, as for serve  [default: disk]").choices(
        STORAGES,
      ),
    )
    .option("--bucket <location>", "s3://NAME/PREFIX, or a directory  [default: bucket in the directory]")
    .option("--s3-endpoint <url>", "of a store that is not AWS  [default: AWS_ENDPOINT_URL_S3]")
    .addOption(
      new Option(
        "--database <location>",
        "of an object store: sqlite:PATH or postgres://…  [default: .gitwharf/access.sqlite in the directory]",
      ).env("GITWHARF_DATABASE"),
    );
}

export function isOnDisk({ storage }: AnyStorageFlags): boolean {
  return storage === undefined || storage === "disk";
}

/**
 * @param options.makes the command may begin an object store
 * @throws server/bad-configuration, database/unavailable, storage/io
 */
export async function withAnyStorage<Result>(
  flags: AnyStorageFlags,
  use: (store: RepositoryStore) => Promise<Result>,
  options: { readonly makes?: boolean } = {},
): Promise<Result> {
  if (!isOnDisk(flags)) {
    const { withObjectStorage } = await import("./object-storage.js");
    return withObjectStorage(flags, use, options);
  }
  if (flags.bucket !== undefined || flags.s3Endpoint !== undefined)
    throw new GitwharfError(
      "server/bad-configuration",
      "--bucket and --s3-endpoint go with --storage s3, or --storage object-store",
    );
  const { closeWorkerPool } = await import("../base/worker-pool.js");
  const { createDiskRepositoryStore } = await import("../storage/disk/disk-repository-store.js");
  const store = createDiskRepositoryStore({ directory: resolve(flags.directory) });
  try {
    return await use(store);
  } finally {
    await store.close();
    await closeWorkerPool();
  }
}

/** @throws storage/not-found */
export async function mustOpen(
  store: RepositoryStore,
  name: string,
  flags: AnyStorageFlags,
): Promise<Repository> {
  const repository = await store.open(name);
  if (repository !== undefined) return repository;
  const where = isOnDisk(flags) ? resolve(flags.directory) : "the object store";
  throw new GitwharfError("storage/not-found", `there is no repository '${name}' in ${where}`);
}
