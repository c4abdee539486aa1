/**
 * Repositories in memory: an equal of the store on disk, for tests and for what need not last.
 */
import { GitwharfError } from "../../base/errors.js";
import { parseRepositoryName } from "../contracts/repository-name.js";
import type { CreateRepositoryOptions, RepositoryStore } from "../contracts/repository.js";
import type { RepositorySettings } from "../contracts/repository-settings.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../repository-settings-defaults.js";
import { MemoryRepository } from "./memory-repository.js";

export interface MemoryRepositoryStoreOptions {
  /** The settings of each repository, asked whenever they are needed. @default those of a repository that configures nothing */
  readonly settings?: (name: string) => RepositorySettings;
}

export function createMemoryRepositoryStore(options: MemoryRepositoryStoreOptions = {}): RepositoryStore {
  const repositories = new Map<string, MemoryRepository>();
  const settings = options.settings ?? (() => DEFAULT_REPOSITORY_SETTINGS);
  return {
    async open(name) {
      return repositories.get(parseRepositoryName(name));
    },
    async create(text: string, creation: CreateRepositoryOptions = {}) {
      const name = parseRepositoryName(text);
      if (repositories.has(name))
        throw new GitwharfError("storage/exists", `repository '${name}' exists already`);
      const { objectFormat = "sha1", defaultBranch = "main" } = creation;
      const repository = new MemoryRepository({ name, objectFormat, defaultBranch, settings });
      repositories.set(name, repository);
      return repository;
    },
    async delete(text) {
      const name = parseRepositoryName(text);
      const repository = repositories.get(name);
      if (repository === undefined)
        throw new GitwharfError("storage/not-found", `repository '${name}' does not exist`);
      repositories.delete(name);
      repository.delete();
    },
    async *list() {
      yield* [...repositories.keys()].sort();
    },
    async close() {
      repositories.clear();
    },
  };
}
