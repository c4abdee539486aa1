/**
 * A repository in memory. Everything is resident, so readers answer at once; nothing survives the process.
 */
import { randomUUID } from "node:crypto";
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { PackSink, Quarantine } from "../contracts/quarantine.js";
import type { RefStore } from "../contracts/ref-store.js";
import type { Repository, RepositoryFile, Snapshot, WorkTreeUse } from "../contracts/repository.js";
import type { RepositorySettings } from "../contracts/repository-settings.js";
import { createObjectDatabase, type ObjectDatabase } from "../composed-objects.js";
import { OverlayReader } from "../overlay-reader.js";
import { openServedFile } from "../served-file.js";
import { changeShallow, isNoChange, type ShallowChange, ShallowEdits } from "../shallow-change.js";
import { MemoryPackSink } from "./memory-pack-sink.js";
import { createMemoryRefStore } from "./memory-ref-store.js";

const NO_WORK_TREES: ReadonlyMap<string, WorkTreeUse> = new Map();

export interface MemoryRepositoryOptions {
  readonly name: string;
  readonly objectFormat: ObjectFormat;
  readonly defaultBranch: string;
  readonly settings: (name: string) => RepositorySettings;
}

export class MemoryRepository implements Repository {
  name: string;
  readonly objectFormat: ObjectFormat;
  readonly id = `memory-${randomUUID()}`;
  readonly refs: RefStore;
  readonly #settings: (name: string) => RepositorySettings;
  #objects: ObjectDatabase;
  #shallow: ReadonlySet<ObjectId> = new Set();
  #generation = 0;
  #deleted = false;

  constructor(options: MemoryRepositoryOptions) {
    const { name, objectFormat, defaultBranch } = options;
    this.name = name;
    this.objectFormat = objectFormat;
    this.#settings = options.settings;
    this.refs = createMemoryRefStore({ objectFormat, defaultBranch });
    this.#objects = createObjectDatabase({ objectFormat, packs: [] });
  }

  async settings(): Promise<RepositorySettings> {
    return this.#settings(this.name);
  }

  async snapshot(): Promise<Snapshot> {
    this.#mustExist();
    const refs = await this.refs.snapshot();
    // What the refs name was published before they moved: it is there now.
    return {
      version: `${refs.version}/${this.#generation}`,
      head: refs.head,
      refs,
      objects: this.#objects,
      shallow: this.#shallow,
      alternateTips: [],
      release: () => undefined,
    };
  }

  async openQuarantine(): Promise<Quarantine> {
    this.#mustExist();
    return new MemoryQuarantine(this.#objects, (packs, shallow) => this.#publish(packs, shallow));
  }

  async checkedOutBranches(): Promise<ReadonlyMap<string, WorkTreeUse>> {
    return NO_WORK_TREES;
  }

  async openFile(path: string): Promise<RepositoryFile | undefined> {
    return openServedFile(path, await this.snapshot());
  }

  async close(): Promise<void> {}

  /** Whoever still has it open is told that it has gone. */
  delete(): void {
    this.#deleted = true;
  }

  #publish(packs: readonly Pack[], shallow: ShallowChange): void {
    this.#mustExist();
    const known = new Set(this.#objects.packs.map(({ name }) => name));
    const fresh = packs.filter(({ name }) => !known.has(name));
    this.#shallow = changeShallow(this.#shallow, shallow);
    if (fresh.length > 0) {
      this.#objects = createObjectDatabase({
        objectFormat: this.objectFormat,
        packs: [...fresh, ...this.#objects.packs],
        previousLookup: this.#objects.lookup,
      });
    }
    if (fresh.length > 0 || !isNoChange(shallow)) this.#generation++;
  }

  #mustExist(): void {
    if (this.#deleted) throw new GitwharfError("storage/not-found", `repository '${this.name}' was deleted`);
  }
}

class MemoryQuarantine implements Quarantine {
  readonly objects: OverlayReader;
  readonly #publish: (packs: readonly Pack[], shallow: ShallowChange) => void;
  readonly #sinks = new Set<PackSink>();
  readonly #shallow = new ShallowEdits();
  #state: "open" | "published" | "discarded" = "open";

  constructor(base: ObjectDatabase, publish: (packs: readonly Pack[], shallow: ShallowChange) => void) {
    this.objects = new OverlayReader(base);
    this.#publish = publish;
  }

  get packs(): readonly Pack[] {
    return this.objects.ownPacks;
  }

  async createPack(): Promise<PackSink> {
    this.#mustBeOpen();
    const sink = new MemoryPackSink(this.objects.objectFormat, (pack) => this.objects.add(pack));
    this.#sinks.add(sink);
    return sink;
  }

  addShallow(oids: readonly ObjectId[]): void {
    this.#mustBeOpen();
    this.#shallow.add(oids);
  }

  removeShallow(oids: readonly ObjectId[]): void {
    this.#mustBeOpen();
    this.#shallow.remove(oids);
  }

  async publish(): Promise<void> {
    this.#mustBeOpen();
    this.#publish(this.packs, this.#shallow);
    this.#state = "published";
  }

  async discard(): Promise<void> {
    if (this.#state === "open") this.#state = "discarded";
    for (const sink of this.#sinks) await sink.abort();
    this.#sinks.clear();
  }

  #mustBeOpen(): void {
    if (this.#state !== "open")
      throw new GitwharfError("base/invariant", `a quarantine was used after it was ${this.#state}`);
  }
}
