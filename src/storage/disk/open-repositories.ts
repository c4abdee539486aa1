/**
 * The repositories of a store that are open: who opens one that is open already shares it, and one that nobody uses
 * stays warm for a while.
 */
import { GitwharfError } from "../../base/errors.js";
import type { Repository } from "../contracts/repository.js";
import type { DiskRepository } from "./disk-repository.js";
import type { GitDirectory } from "./git-directory.js";

const IDLE_MAX = 256;
const IDLE_BYTES_MAX = 512 * 1024 * 1024;
const SWEEP_MS = 30_000;

interface Entry {
  readonly name: string;
  readonly path: string;
  readonly repository: Promise<DiskRepository>;
  users: number;
  /** Not to be handed out any more: closed when its last user has gone. */
  retired: boolean;
}

export class OpenRepositories {
  readonly #open: (name: string, location: GitDirectory) => Promise<DiskRepository>;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();
  readonly #closing = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(open: (name: string, location: GitDirectory) => Promise<DiskRepository>) {
    this.#open = open;
  }

  /**
   * One that is open and still stands in `NAME.git`, where it takes precedence over any other place.
   * @throws storage/bad-config, storage/unsupported, storage/io
   */
  async reuse(name: string): Promise<Repository | undefined> {
    const entry = this.#entries.get(name);
    if (entry === undefined || !entry.path.endsWith(`/${name}.git`)) return undefined;
    return this.#shareIfCurrent(entry);
  }

  async open(name: string, location: GitDirectory): Promise<Repository> {
    const known = this.#entries.get(name);
    if (known !== undefined && known.path === location.path) {
      const shared = await this.#shareIfCurrent(known);
      if (shared !== undefined) return shared;
    }
    if (this.#closed) throw new GitwharfError("base/shutting-down", "the repository store is closed");
    // Another caller may have opened it while this one looked.
    const now = this.#entries.get(name);
    if (now !== undefined && now !== known && now.path === location.path) return this.#share(now);
    if (now !== undefined) this.#retire(now);
    const entry: Entry = {
      name,
      path: location.path,
      repository: this.#open(name, location),
      users: 0,
      retired: false,
    };
    this.#entries.set(name, entry);
    this.#startSweeping();
    try {
      return await this.#share(entry);
    } catch (error) {
      if (this.#entries.get(name) === entry) this.#entries.delete(name);
      throw error;
    }
  }

  /** It was deleted: whoever has it open keeps it until they close it. */
  async forget(name: string): Promise<void> {
    const entry = this.#entries.get(name);
    if (entry !== undefined) this.#retire(entry);
    await Promise.all(this.#closing);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const entry of this.#entries.values()) {
      entry.users = 0;
      this.#retire(entry);
    }
    await Promise.all(this.#closing);
  }

  async #shareIfCurrent(entry: Entry): Promise<Repository | undefined> {
    const shared = await this.#share(entry);
    let current = false;
    try {
      current = (await (await entry.repository).isCurrent()) && !entry.retired;
    } finally {
      if (!current) await shared.close();
    }
    if (current) return shared;
    this.#retire(entry);
    return undefined;
  }

  async #share(entry: Entry): Promise<Repository> {
    entry.users++;
    try {
      const repository = await entry.repository;
      return new SharedRepository(repository, () => this.#leave(entry));
    } catch (error) {
      this.#leave(entry);
      throw error;
    }
  }

  #leave(entry: Entry): void {
    entry.users--;
    if (entry.users > 0) return;
    if (entry.retired) {
      this.#finish(entry);
      return;
    }
    if (this.#entries.get(entry.name) === entry) {
      this.#entries.delete(entry.name);
      this.#entries.set(entry.name, entry);
    }
  }

  #retire(entry: Entry): void {
    if (this.#entries.get(entry.name) === entry) this.#entries.delete(entry.name);
    if (entry.retired) return;
    entry.retired = true;
    if (entry.users <= 0) this.#finish(entry);
  }

  #finish(entry: Entry): void {
    const closing = entry.repository
      .then((repository) => repository.close())
      .catch(() => undefined)
      .finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  #startSweeping(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => void this.#sweep(), SWEEP_MS);
    this.#timer.unref();
  }

  /** Closes those that were not used for longest when too many are kept, and lets go of packs that have gone. */
  async #sweep(): Promise<void> {
    const idle = [...this.#entries.values()].filter(({ users }) => users === 0);
    let bytes = 0;
    let kept = 0;
    for (const entry of idle.reverse()) {
      const repository = await entry.repository.catch(() => undefined);
      if (entry.users > 0) continue;
      bytes += repository?.residentBytes ?? 0;
      kept++;
      if (kept > IDLE_MAX || bytes > IDLE_BYTES_MAX) this.#retire(entry);
      else await repository?.releaseVanished().catch(() => this.#retire(entry));
    }
    if (this.#entries.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }
}

/** One user's hold on a repository: closing it does not close it for others. */
class SharedRepository implements Repository {
  readonly #inner: DiskRepository;
  #leave: (() => void) | undefined;

  constructor(inner: DiskRepository, leave: () => void) {
    this.#inner = inner;
    this.#leave = leave;
  }

  get name(): string {
    return this.#inner.name;
  }

  get objectFormat(): Repository["objectFormat"] {
    return this.#inner.objectFormat;
  }

  get id(): string {
    return this.#inner.id;
  }

  get refs(): Repository["refs"] {
    return this.#inner.refs;
  }

  get gitDirectory(): string {
    return this.#inner.gitDirectory;
  }

  get sideFiles(): DiskRepository["sideFiles"] {
    return this.#inner.sideFiles;
  }

  get multiPackIndex(): DiskRepository["multiPackIndex"] {
    return this.#inner.multiPackIndex;
  }

  get upkeep(): DiskRepository["upkeep"] {
    return this.#inner.upkeep;
  }

  get packMaintenance(): DiskRepository["packMaintenance"] {
    return this.#inner.packMaintenance;
  }

  settings(): ReturnType<Repository["settings"]> {
    return this.#inner.settings();
  }

  snapshot(): ReturnType<Repository["snapshot"]> {
    return this.#inner.snapshot();
  }

  openQuarantine(): ReturnType<Repository["openQuarantine"]> {
    return this.#inner.openQuarantine();
  }

  checkedOutBranches(): ReturnType<Repository["checkedOutBranches"]> {
    return this.#inner.checkedOutBranches();
  }

  openFile(path: string): ReturnType<DiskRepository["openFile"]> {
    return this.#inner.openFile(path);
  }

  async close(): Promise<void> {
    this.#leave?.();
    this.#leave = undefined;
  }
}
