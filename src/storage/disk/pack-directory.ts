/**
 * The packs of one `objects/pack` directory, opened once and kept while the files stand there, and the
 * multi-pack-index over them, if there is one.
 */
import type { ObjectFormat } from "../../object/object-format.js";
import { isGitwharfError } from "../../base/errors.js";
import type { CoveredPacks } from "../pack-lookup.js";
import { DirectoryListing } from "./directory-listing.js";
import { multiPackBitmapOf } from "./multi-pack-bitmap-file.js";
import { MULTI_PACK_INDEX, MultiPackIndexFile } from "./multi-pack-index-file.js";
import { oneAtATime } from "./one-at-a-time.js";
import { openPackFile, type PackFile, RESIDENT_PACK_BYTES_MAX } from "./pack-file.js";

/** Small packs of one directory that are kept in memory whole. */
const RESIDENT_BYTES_MAX = 32 * 1024 * 1024;
const OPENED_AT_ONCE = 8;
const RETRY_MS = 1000;
/** A repack that outruns us this often does so on purpose. */
const ATTEMPTS_MAX = 10;

interface Entry {
  readonly file: PackFile;
  readonly hasBitmap: boolean;
}

export class PackDirectory {
  readonly path: string;
  /** Opens what is new and lets go of what has gone. Those who ask at the same time share the work. @throws storage/io */
  readonly refresh: () => Promise<void>;
  readonly objectFormat: ObjectFormat;
  readonly #listing: DirectoryListing;
  readonly #multiPackIndex: MultiPackIndexFile;
  readonly #entries = new Map<string, Entry>();
  /** Packs that could not be opened, and why. */
  #broken = new Map<string, string>();
  #files: readonly PackFile[] = [];
  #covered: CoveredPacks | undefined;
  #listingGeneration = 0;
  #openedAt = 0;
  #validatedAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(path: string, objectFormat: ObjectFormat) {
    this.path = path;
    this.objectFormat = objectFormat;
    this.#listing = new DirectoryListing(path);
    this.#multiPackIndex = new MultiPackIndexFile(`${path}/${MULTI_PACK_INDEX}`, objectFormat);
    this.refresh = oneAtATime(() => this.#refresh());
  }

  /** Most recently written first; another array whenever it changes. */
  get files(): readonly PackFile[] {
    return this.#files;
  }

  /** Goes with `files`. */
  get covered(): CoveredPacks | undefined {
    return this.#covered;
  }

  /** Why the multi-pack-index that stands in the directory is not used. */
  get brokenMultiPackIndex(): string | undefined {
    return this.#multiPackIndex.broken;
  }

  /** On the clock of `performance.now()`: `files` are those of this moment or a later one. */
  get validatedAt(): number {
    return this.#validatedAt;
  }

  /** Names in the directory, bitmaps and the rest included. */
  get names(): ReadonlySet<string> {
    return this.#listing.names;
  }

  /** Why packs that stand in the directory are not used, by name. */
  get broken(): ReadonlyMap<string, string> {
    return this.#broken;
  }

  /** By their names in the directory, in no order. */
  *filesByName(): IterableIterator<readonly [string, PackFile]> {
    for (const [name, { file }] of this.#entries) yield [name, file];
  }

  /** Takes over a pack that was just published here: it needs not be opened again, unless it takes too much memory. */
  adopt(name: string, file: PackFile): void {
    const tooLarge =
      file.isResident &&
      (file.pack.bytes.sizeBytes > RESIDENT_PACK_BYTES_MAX || this.#residentBytes() > RESIDENT_BYTES_MAX);
    if (this.#closed || tooLarge || this.#entries.has(name)) {
      file.release();
      return;
    }
    this.#entries.set(name, { file, hasBitmap: false });
    this.#sort();
  }

  close(): void {
    this.#closed = true;
    for (const { file } of this.#entries.values()) file.release();
    this.#entries.clear();
    this.#files = [];
    this.#covered = undefined;
  }

  async #refresh(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      await this.#listing.refresh();
      if (this.#listing.generation === this.#listingGeneration && !this.#isRetryDue()) break;
      const complete = await this.#open();
      if (complete || attempt >= ATTEMPTS_MAX) {
        this.#listingGeneration = this.#listing.generation;
        break;
      }
    }
    await this.#readMultiPackIndex();
    this.#validatedAt = this.#listing.validatedAt;
  }

  /** After the packs: one that it names and that is not open is one that has gone. */
  async #readMultiPackIndex(): Promise<void> {
    if (this.#listing.names.has(MULTI_PACK_INDEX)) await this.#multiPackIndex.refresh();
    else this.#multiPackIndex.forget();
    if (this.#multiPackIndex.current !== this.#covered?.index) this.#cover([...this.#files]);
  }

  /** False when a pack vanished under our hands: the listing is no longer right. */
  async #open(): Promise<boolean> {
    const names = this.#listing.names;
    const wanted: string[] = [];
    for (const name of names) {
      if (!name.endsWith(".idx")) continue;
      const stem = name.slice(0, -4);
      if (!names.has(`${stem}.pack`)) continue;
      const entry = this.#entries.get(stem);
      if (entry === undefined || (names.has(`${stem}.bitmap`) && !entry.hasBitmap)) wanted.push(stem);
    }
    let resident = this.#residentBytes();
    let complete = true;
    this.#broken = new Map();
    this.#openedAt = performance.now();
    const openNext = async (): Promise<void> => {
      for (let stem = wanted.pop(); stem !== undefined; stem = wanted.pop()) {
        const hasBitmap = names.has(`${stem}.bitmap`);
        const file = await this.#openOne(stem, hasBitmap, resident < RESIDENT_BYTES_MAX);
        if (file === "gone") complete = false;
        else if (file !== "broken") {
          if (file.isResident) resident += file.pack.bytes.sizeBytes;
          this.#replace(stem, { file, hasBitmap });
        }
      }
    };
    await Promise.all(Array.from({ length: OPENED_AT_ONCE }, openNext));
    for (const [stem, { file }] of this.#entries) {
      if (names.has(`${stem}.idx`) && names.has(`${stem}.pack`)) continue;
      this.#entries.delete(stem);
      file.release();
    }
    this.#sort();
    return complete;
  }

  async #openOne(stem: string, hasBitmap: boolean, resident: boolean): Promise<PackFile | "gone" | "broken"> {
    try {
      const path = `${this.path}/${stem}`;
      return (await openPackFile({ path, objectFormat: this.objectFormat, hasBitmap, resident })) ?? "gone";
    } catch (error) {
      // As git does: a pack that cannot be used is passed by, and what only it holds is missing.
      if (!isGitwharfError(error, "pack/bad-index", "storage/unsupported")) throw error;
      this.#broken.set(stem, error.message);
      return "broken";
    }
  }

  /** A pack that could not be used may have been put right in place, which changes no name. */
  #isRetryDue(): boolean {
    return this.#broken.size > 0 && performance.now() - this.#openedAt > RETRY_MS;
  }

  /** Of packs that are in memory whole; the indexes of all packs come to it. */
  #residentBytes(): number {
    let sum = 0;
    for (const { file } of this.#entries.values()) if (file.isResident) sum += file.pack.bytes.sizeBytes;
    return sum;
  }

  #replace(stem: string, entry: Entry): void {
    if (this.#closed) {
      entry.file.release();
      return;
    }
    this.#entries.get(stem)?.file.release();
    this.#entries.set(stem, entry);
  }

  #sort(): void {
    const files = [...this.#entries.values()].map(({ file }) => file);
    files.sort((a, b) => b.modifiedMs - a.modifiedMs || (a.path < b.path ? -1 : 1));
    if (files.length !== this.#files.length || files.some((file, i) => file !== this.#files[i]))
      this.#cover(files);
  }

  /** A list of its own each time: views tell by it that something is new. */
  #cover(files: readonly PackFile[]): void {
    this.#files = files;
    const index = this.#closed ? undefined : this.#multiPackIndex.current;
    const packs = index?.packNames.map((name) => this.#entries.get(name)?.file.pack);
    this.#covered =
      index === undefined || packs === undefined
        ? undefined
        : { index, packs, ...multiPackBitmapOf(this.path, index) };
  }
}
