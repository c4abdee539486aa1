/**
 * The objects of one push until it is accepted: packs in a directory of this machine. Publishing takes them to the bucket; the
 * commit that moves the refs makes them part of the repository, in the same transaction. Where no ref moves, `discard`
 * has them committed by themselves: what was published stays.
 *
 *     createPack ──► finish (spooled) ──► publish (in the bucket, in this handle) ──► refs.transact (committed) ──► discard
 *                          └──► discard (nothing was sent)                    └─────► discard (committed)
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { GitwharfError } from "../../base/errors.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { RecordedPush } from "../../pack/recorded-push.js";
import type { PackSink, Quarantine } from "../contracts/quarantine.js";
import { DiskPackSink, type FinishedPack } from "../disk/disk-pack-sink.js";
import { ioError } from "../disk/file-errors.js";
import type { MakeRoom } from "../disk/make-room.js";
import { OverlayReader } from "../overlay-reader.js";
import { type ShallowChange, ShallowEdits } from "../shallow-change.js";
import type { EarlyUpload } from "./early-upload.js";
import type { ObjectsView } from "./objects-view.js";
import type { SpooledPack } from "./pack-upload.js";

export interface StoredQuarantineOptions {
  /** Taken over: the quarantine releases it. */
  readonly view: ObjectsView;
  /** Directories of quarantines are made in it. */
  readonly spoolDirectory: string;
  /** On the disk of the spool directory. @default nothing can be removed */
  readonly makeRoom?: MakeRoom;
  /** To the bucket, and into the handle. @param records by trailer. @throws storage/io, storage/not-found */
  readonly publish: (
    packs: readonly SpooledPack[],
    shallow: ShallowChange,
    early: readonly EarlyUpload[],
    records: ReadonlyMap<string, RecordedPush>,
  ) => Promise<PublishedPacks>;
  /** Sends a pack as soon as it is finished, if that is worth it. It is published, or aborted. @default all are sent when they are published */
  readonly beginUpload?: (spooled: SpooledPack) => EarlyUpload | undefined;
}

/** What was published and not committed yet, or was. */
export interface PublishedPacks {
  /** Commits what no ref transaction has committed. Idempotent. @throws storage/io */
  settle(): Promise<void>;
}

export class StoredQuarantine implements Quarantine {
  readonly objects: OverlayReader;
  readonly #options: StoredQuarantineOptions;
  readonly #sinks = new Set<PackSink>();
  readonly #finished: FinishedPack[] = [];
  readonly #early = new Map<FinishedPack, EarlyUpload>();
  readonly #shallow = new ShallowEdits();
  readonly #records = new Map<string, RecordedPush>();
  #making: Promise<string> | undefined;
  #directory: string | undefined;
  #published: PublishedPacks | undefined;
  #state: "open" | "published" | "discarded" = "open";
  #discarding: Promise<void> | undefined;

  constructor(options: StoredQuarantineOptions) {
    this.#options = options;
    this.objects = new OverlayReader(options.view.reader);
  }

  get packs(): readonly Pack[] {
    return this.objects.ownPacks;
  }

  get directory(): string | undefined {
    return this.#state === "open" ? this.#directory : undefined;
  }

  async createPack(): Promise<PackSink> {
    this.#mustBeOpen();
    const { makeRoom } = this.#options;
    const sink = new DiskPackSink({
      directory: () => this.#packDirectory(),
      objectFormat: this.objects.objectFormat,
      sync: false,
      ...(makeRoom === undefined ? {} : { makeRoom }),
      onFinish: (finished) => {
        this.#finished.push(finished);
        this.objects.add(finished.file.pack);
        this.#beginUpload(finished);
      },
    });
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

  recordPush(pack: Pack, record: RecordedPush): void {
    this.#mustBeOpen();
    this.#records.set(pack.index.packTrailer, record);
  }

  async publish(): Promise<void> {
    this.#mustBeOpen();
    this.#state = "published";
    const spooled = this.#finished.filter((finished) => !this.#early.has(finished)).map(spooledOf);
    const early = [...this.#early.values()];
    this.#published = await this.#options.publish(spooled, this.#shallow, early, this.#records);
  }

  #beginUpload(finished: FinishedPack): void {
    const upload = this.#options.beginUpload?.(spooledOf(finished));
    if (upload !== undefined) this.#early.set(finished, upload);
  }

  /** The view is given back as well: nothing may be read through `objects` any more. */
  discard(): Promise<void> {
    this.#discarding ??= this.#discard();
    return this.#discarding;
  }

  async #discard(): Promise<void> {
    if (this.#state === "open") this.#state = "discarded";
    try {
      if (this.#published === undefined) for (const upload of this.#early.values()) await upload.abort();
      await this.#published?.settle();
    } finally {
      for (const sink of this.#sinks) await sink.abort();
      this.#sinks.clear();
      for (const { file } of this.#finished) file.release();
      this.#options.view.release();
      await this.#removeDirectory();
    }
  }

  async #removeDirectory(): Promise<void> {
    await this.#making?.catch(() => undefined);
    const directory = this.#directory;
    if (directory === undefined) return;
    this.#directory = undefined;
    try {
      await rm(directory, { recursive: true, force: true });
    } catch (cause) {
      throw ioError("removing", directory, cause);
    }
  }

  #packDirectory(): Promise<string> {
    this.#making ??= this.#makeDirectory();
    return this.#making;
  }

  async #makeDirectory(): Promise<string> {
    const { spoolDirectory } = this.#options;
    try {
      this.#directory = await mkdtemp(`${spoolDirectory}/incoming-`);
      await mkdir(`${this.#directory}/pack`);
      return `${this.#directory}/pack`;
    } catch (cause) {
      throw ioError("making a quarantine in", spoolDirectory, cause);
    }
  }

  #mustBeOpen(): void {
    if (this.#state !== "open")
      throw new GitwharfError("base/invariant", `a quarantine was used after it was ${this.#state}`);
  }
}

function spooledOf({ file, endings }: FinishedPack): SpooledPack {
  return {
    pack: file.pack,
    path: `${file.path}.pack`,
    reverseIndexPath: endings.includes(".rev") ? `${file.path}.rev` : undefined,
  };
}
