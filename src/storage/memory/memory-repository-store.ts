/**
 * Repositories in memory: an equal of the store on disk, for tests and for what need not last.
 */
import { GitwharfError } from "../../base/errors.js";
import { parseRepositoryName } from "../contracts/repository-name.js";
import type {
  CreateRepositoryOptions,
  PreparedRepository,
  RepositoryStore,
} from "../contracts/repository.js";
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
  const prepare = (text: string, creation: CreateRepositoryOptions = {}): PreparedRepository => {
    const name = parseRepositoryName(text);
    const { objectFormat = "sha1", defaultBranch = "main" } = creation;
    const mustBeFree = (): void => {
      if (repositories.has(name))
        throw new GitwharfError("storage/exists", `repository '${name}' exists already`);
    };
    mustBeFree();
    const repository = new MemoryRepository({ name, objectFormat, defaultBranch, settings });
    let placed = false;
    return {
      repository,
      async place() {
        mustBeFree();
        repositories.set(name, repository);
        placed = true;
      },
      async discard() {
        if (!placed) repository.delete();
      },
    };
  };
  return {
    async open(name) {
      return repositories.get(parseRepositoryName(name));
    },
    async create(name, creation) {
      const prepared = prepare(name, creation);
      await prepared.place();
      return prepared.repository;
    },
    async prepare(name, creation) {
      return prepare(name, creation);
    },
    async delete(text) {
      const name = parseRepositoryName(text);
      const repository = repositories.get(name);
      if (repository === undefined)
        throw new GitwharfError("storage/not-found", `repository '${name}' does not exist`);
      repositories.delete(name);
      repository.delete();
    },
    async rename(text, to) {
      const name = parseRepositoryName(text);
      const next = parseRepositoryName(to);
      const repository = repositories.get(name);
      if (repository === undefined)
        throw new GitwharfError("storage/not-found", `repository '${name}' does not exist`);
      if (name === next) return;
      if (repositories.has(next))
        throw new GitwharfError("storage/exists", `repository '${next}' exists already`);
      repositories.delete(name);
      repositories.set(next, repository);
      repository.name = next;
    },
    async *list() {
      yield* [...repositories.keys()].sort();
    },
    async close() {
      repositories.clear();
    },
  };
}
