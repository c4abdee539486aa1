/**
 * The objects of one push on disk until it is accepted: `objects/tmp_objdir-incoming-XXXXXX/pack/`, the name under
 * which git keeps them too, so that its `gc` removes what a crash leaves behind.
 *
 *     createPack ──► finish (files written, syncing begins) ──► publish (synced, linked, directory synced) ──► refs ──► discard
 *                                                        └────────────────────────────────────────────────────────► discard
 */
import { mkdir, mkdtemp, rm, rmdir, unlink } from "node:fs/promises";
import { GitwharfError } from "../../base/errors.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { PackSink, Quarantine } from "../contracts/quarantine.js";
import { OverlayReader } from "../overlay-reader.js";
import { isNoChange, type ShallowChange, ShallowEdits } from "../shallow-change.js";
import { DiskPackSink, type FinishedPack } from "./disk-pack-sink.js";
import { ioError, isAbsent } from "./file-errors.js";
import type { ObjectsView } from "./objects-view.js";
import { publishPacks, type PublishedPack, removeKeepFiles } from "./publish-packs.js";
import type { PackDirectory } from "./pack-directory.js";
import type { SharedRepository } from "./shared-mode.js";

export const QUARANTINE_PREFIX = "tmp_objdir-incoming-";

export interface DiskQuarantineOptions {
  readonly objectsDirectory: string;
  /** Taken over: the quarantine releases it. */
  readonly view: ObjectsView;
  readonly packs: PackDirectory;
  readonly sync: boolean;
  readonly shared: SharedRepository;
  /** @throws storage/not-found when the repository has gone or is another one now */
  readonly mustExist: () => Promise<void>;
  readonly changeShallow: (change: ShallowChange) => Promise<void>;
  /** Tells the directories in use from those that a crash left behind. */
  readonly onDirectory: (path: string, inUse: boolean) => void;
}

export class DiskQuarantine implements Quarantine {
  readonly objects: OverlayReader;
  readonly #options: DiskQuarantineOptions;
  readonly #sinks = new Set<PackSink>();
  readonly #finished: FinishedPack[] = [];
  readonly #published: PublishedPack[] = [];
  readonly #shallow = new ShallowEdits();
  #directory: string | undefined;
  #making: Promise<string> | undefined;
  #state: "open" | "published" | "discarded" = "open";
  #discarding: Promise<void> | undefined;

  constructor(options: DiskQuarantineOptions) {
    this.#options = options;
    this.objects = new OverlayReader(options.view.reader);
  }

  get packs(): readonly Pack[] {
    return this.objects.ownPacks;
  }

  /** Made with the first pack: undefined before, and after publishing. */
  get directory(): string | undefined {
    return this.#directory;
  }

  /** Under which names its packs stand in the repository. Empty before publishing. */
  get publishedNames(): ReadonlySet<string> {
    return new Set(this.#published.map(({ name }) => name));
  }

  async createPack(): Promise<PackSink> {
    this.#mustBeOpen();
    const sink = new DiskPackSink({
      directory: () => this.#packDirectory(),
      objectFormat: this.objects.objectFormat,
      sync: this.#options.sync,
      onFinish: (finished) => {
        this.#finished.push(finished);
        this.objects.add(finished.file.pack);
      },
    });
    this.#sinks.add(sink);
    // It will be needed: making it while the pack is on its way saves the pusher the wait. Failures show when it is.
    this.#packDirectory().catch(() => undefined);
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
    this.#state = "published";
    const { objectsDirectory, sync, shared, packs, mustExist, changeShallow } = this.#options;
    await Promise.all([mustExist(), ...this.#finished.map(({ synced }) => synced)]);
    const published = await publishPacks({
      finished: this.#finished,
      directory: `${objectsDirectory}/pack`,
      objectFormat: this.objects.objectFormat,
      sync,
      shared,
      // The links stand: these names may go while the directory is synced.
      onLinked: () => this.#removeDirectory(),
    });
    this.#published.push(...published);
    // Of a push without objects it has not gone with them.
    await this.#making?.catch(() => undefined);
    await this.#removeDirectory();
    if (!isNoChange(this.#shallow)) await changeShallow(this.#shallow);
    for (const { name, file, isNew } of published) {
      if (!isNew) continue;
      file.retain();
      packs.adopt(name, file);
    }
  }

  /** The view is given back as well: nothing may be read through `objects` any more. */
  discard(): Promise<void> {
    this.#discarding ??= this.#discard();
    return this.#discarding;
  }

  async #discard(): Promise<void> {
    if (this.#state === "open") this.#state = "discarded";
    await removeKeepFiles(this.#published);
    for (const sink of this.#sinks) await sink.abort();
    this.#sinks.clear();
    for (const { file, synced } of this.#finished) {
      await synced.catch(() => undefined);
      file.release();
    }
    this.#options.view.release();
    await this.#making?.catch(() => undefined);
    await this.#removeDirectory();
  }

  /** Idempotent. Quick for what was finished; whatever else stands there goes too. */
  async #removeDirectory(): Promise<void> {
    const directory = this.#directory;
    if (directory === undefined) return;
    this.#directory = undefined;
    const files = this.#finished.flatMap(({ file, endings }) => endings.map((ending) => file.path + ending));
    try {
      await Promise.all(files.map((path) => unlink(path)));
      await rmdir(`${directory}/pack`);
      await rmdir(directory);
    } catch {
      await rm(directory, { recursive: true, force: true }).catch((cause: unknown) => {
        throw ioError("removing", directory, cause);
      });
    } finally {
      this.#options.onDirectory(directory, false);
    }
  }

  #packDirectory(): Promise<string> {
    this.#making ??= this.#makeDirectory();
    return this.#making;
  }

  async #makeDirectory(): Promise<string> {
    const { objectsDirectory, mustExist, onDirectory } = this.#options;
    try {
      await mustExist();
      const directory = await mkdtemp(`${objectsDirectory}/${QUARANTINE_PREFIX}`);
      this.#directory = directory;
      onDirectory(directory, true);
      await mkdir(`${directory}/pack`);
      return `${directory}/pack`;
    } catch (cause) {
      if (isAbsent(cause))
        throw new GitwharfError("storage/not-found", `the repository of ${objectsDirectory} was deleted`);
      throw ioError("making a quarantine in", objectsDirectory, cause);
    }
  }

  #mustBeOpen(): void {
    if (this.#state !== "open")
      throw new GitwharfError("base/invariant", `a quarantine was used after it was ${this.#state}`);
  }
}
