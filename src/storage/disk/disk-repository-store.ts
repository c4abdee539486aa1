/**
 * Repositories in a directory: `group/app` is `DIRECTORY/group/app.git`, made bare. A bare `DIRECTORY/group/app` or a
 * work tree with `DIRECTORY/group/app/.git` that stands there instead is served too.
 *
 * Names are checked (`parseRepositoryName`) before they become paths, and what a path leads to through symbolic
 * links must lie in the directory. What lies inside another repository or its work tree is never served: pushers
 * decide what stands there.
 */
import { basename, resolve } from "node:path";
import { GitwharfError } from "../../base/errors.js";
import { parseRepositoryName } from "../contracts/repository-name.js";
import type {
  CreateRepositoryOptions,
  RefFormat,
  Repository,
  RepositoryStore,
} from "../contracts/repository.js";
import { findBorrower } from "./borrowers.js";
import { deleteRepositoryAt } from "./delete-repository.js";
import { type DiskRepository, openDiskRepository } from "./disk-repository.js";
import { findGitDirectory, type GitDirectory, isInside } from "./git-directory.js";
import { listRepositories } from "./list-repositories.js";
import { listExpiring } from "./list-expiring.js";
import { ObjectDirectoryPool } from "./object-directory.js";
import { OpenRepositories } from "./open-repositories.js";
import { type PreparedDirectory, prepareRepositoryAt } from "./prepare-repository.js";
import { createDirectoryProbe } from "./probe-directory.js";
import { findRepository } from "./repository-path.js";

export interface DiskRepositoryStoreOptions {
  /** Made when it is missing. */
  readonly directory: string;
  /**
   * "sync": what was acknowledged survives a power cut. "none": the operating system writes when it likes.
   * @default "sync"
   */
  readonly durability?: "sync" | "none";
  /** How new repositories keep their refs, where `create` is not told. @default "files" */
  readonly refFormat?: RefFormat;
  /**
   * Directories whose objects repositories may borrow (`objects/info/alternates`), beside `directory` itself.
   * @default any on this machine: only who may write to the server's disk can name one
   */
  readonly alternateDirectories?: readonly string[];
}

export function createDiskRepositoryStore(options: DiskRepositoryStoreOptions): RepositoryStore {
  const root = resolve(options.directory);
  const durability = options.durability ?? "sync";
  const pool = new ObjectDirectoryPool();
  const allowed = options.alternateDirectories?.map((path) => resolve(path));
  const mayBorrowFrom = (path: string): boolean =>
    allowed === undefined || [root, ...allowed].some((directory) => isInside(path, directory));
  const openAt = (name: string, location: GitDirectory): Promise<DiskRepository> =>
    openDiskRepository({
      name,
      location,
      durability,
      pool,
      mayBorrowFrom,
      findBorrower: (objectsDirectory) => findBorrower(root, objectsDirectory),
    });
  const openings = new OpenRepositories(openAt);
  const prepareDirectory = (name: string, creation: CreateRepositoryOptions): Promise<PreparedDirectory> =>
    prepareRepositoryAt(root, name, {
      objectFormat: creation.objectFormat ?? "sha1",
      refFormat: creation.refFormat ?? options.refFormat ?? "files",
      defaultBranch: creation.defaultBranch ?? "main",
      sync: durability === "sync",
    });

  return {
    async open(text) {
      const name = parseRepositoryName(text);
      const cached = await openings.reuse(name);
      if (cached !== undefined) return cached;
      const location = await findRepository(root, name);
      return location === undefined ? undefined : openings.open(name, location);
    },
    async create(text: string, creation: CreateRepositoryOptions = {}) {
      const name = parseRepositoryName(text);
      const directory = await prepareDirectory(name, creation);
      try {
        await directory.place();
      } finally {
        await directory.discard();
      }
      const location = await findRepository(root, name);
      if (location === undefined)
        throw new GitwharfError("storage/not-found", `repository '${name}' was deleted at once`);
      return openings.open(name, location);
    },
    async prepare(text, creation = {}) {
      const name = parseRepositoryName(text);
      const directory = await prepareDirectory(name, creation);
      try {
        const location = await findGitDirectory(directory.path);
        if (location === undefined)
          throw new GitwharfError("storage/io", `${directory.path} was removed while it was being made`);
        const repository = await openAt(name, location);
        return {
          repository,
          place: () => directory.place(),
          async discard() {
            try {
              await repository.close();
            } finally {
              await directory.discard();
            }
          },
        };
      } catch (error) {
        await directory.discard();
        throw error;
      }
    },
    async delete(text) {
      const name = parseRepositoryName(text);
      await deleteRepositoryAt(root, name, { sync: durability === "sync" });
      await openings.forget(name);
    },
    list: () => listRepositories(root),
    async *entries({ after }) {
      for await (const name of listRepositories(root, after)) yield { name };
    },
    unattended: () => listExpiring(root),
    probe: createDirectoryProbe(root),
    close: () => openings.close(),
  };
}

export interface OpenDiskRepositoryAtOptions {
  /** What it is called. @default the last part of the path */
  readonly name?: string | undefined;
  readonly durability?: "sync" | "none";
}

/**
 * The repository at a path, as `git upload-pack PATH` finds it: `PATH/.git`, `PATH`, `PATH.git/.git`, `PATH.git`.
 * @throws storage/not-found, storage/unsupported, storage/bad-config
 */
export async function openDiskRepositoryAt(
  path: string,
  options: OpenDiskRepositoryAtOptions = {},
): Promise<Repository> {
  const full = resolve(path);
  for (const candidate of [`${full}/.git`, full, `${full}.git/.git`, `${full}.git`]) {
    const location = await findGitDirectory(candidate);
    if (location === undefined) continue;
    return openDiskRepository({
      name: options.name ?? basename(full),
      location,
      durability: options.durability ?? "sync",
      pool: new ObjectDirectoryPool(),
      mayBorrowFrom: () => true,
    });
  }
  throw new GitwharfError("storage/not-found", `'${path}' is not a git repository`);
}
