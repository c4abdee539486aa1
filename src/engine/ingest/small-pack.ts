/**
 * A small pack, held whole and worked through on the main thread in short slices: for the usual push of some
 * objects, sending them to a worker would cost more than the work. `large-pack.ts` does the rest.
 */
import { crc32 } from "node:zlib";
import { createSharedBudget } from "../../base/shared-budget.js";
import { throwIfAborted } from "../../base/errors.js";
import type { Limits } from "../../base/limits.js";
import { isPromise } from "../../base/maybe-promise.js";
import { hashBytes } from "../../object/object-format.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import { applyDelta } from "../../pack/delta.js";
import { entryTypeOf, OFS_DELTA } from "../../pack/entry-header.js";
import { PACK_HEADER_BYTES } from "../../pack/pack-writer.js";
import type { GitObject, ObjectReader } from "../../storage/contracts/object-reader.js";
import { compareWithExisting } from "./existing-objects.js";
import { limitExceeded } from "./limit-exceeded.js";
import { type Kind, LinkSet } from "./link-set.js";
import { type Examined, type ExamineOptions, type KnownTree, ObjectExaminer } from "./object-examiner.js";
import { noEntryAt, placed, scanEntry, type ScannedEntry } from "./scan-entry.js";
import { outlineTree } from "./tree-outline.js";

/** A pack of more bytes goes to the workers. */
export const SMALL_PACK_BYTES_MAX = 1024 * 1024;
/** So does one that inflates to more, deltas resolved, … */
const INFLATED_BYTES_MAX = 8 * 1024 * 1024;
/** … and one for which there is no room among the small packs of all pushes, of which some may never end. */
export const smallPackBudget = createSharedBudget({ max: 64 * 1024 * 1024, free: 0 });
/** … and one with a single object of more. */
const OBJECT_BYTES_MAX = 1024 * 1024;
/** About what an entry takes besides its content. */
const ENTRY_BYTES = 500;
const SLICE_MS = 4;
const TREE = 2;

export interface SmallPackOptions extends ExamineOptions {
  readonly limits: Limits;
  readonly signal: AbortSignal | undefined;
}

interface SmallEntry extends ScannedEntry {
  readonly number: number;
  readonly offset: number;
  readonly crc32: number;
  /** Set when it is resolved; then `content` and the id are there too. */
  kind: Kind | undefined;
  content: Buffer | undefined;
  depth: number;
  /** Of a tree, once another is made from it. */
  known: KnownTree | undefined;
  clean: boolean;
}

/** A base of the repository that a thin pack needs. */
export interface ExternalBase extends GitObject {
  readonly oid: ObjectId;
}

export class SmallPack {
  readonly #options: SmallPackOptions;
  readonly #hashBytes: number;
  readonly #examiner: ObjectExaminer;
  readonly #entries: SmallEntry[] = [];
  readonly #byOffset = new Map<number, number>();
  /** Numbers of the deltas that wait for an entry, or for an id. */
  readonly #waitForEntry = new Map<number, number[]>();
  readonly #waitForOid = new Map<ObjectId, number[]>();
  readonly #externals: ExternalBase[] = [];
  readonly #share = smallPackBudget.open();
  #oids: Buffer = Buffer.alloc(0);
  #nextOffset = PACK_HEADER_BYTES;
  #inflatedBytes = 0;
  #unresolved = 0;
  #sliceStart = 0;

  constructor(options: SmallPackOptions) {
    this.#options = options;
    this.#hashBytes = hashBytes(options.objectFormat);
    this.#examiner = new ObjectExaminer(options, undefined);
  }

  /** It is done with: others may have its room. */
  release(): void {
    this.#share.release();
  }

  get count(): number {
    return this.#entries.length;
  }

  /** Where the next entry, or the trailer, begins. */
  get nextOffset(): number {
    return this.#nextOffset;
  }

  get deltaCount(): number {
    return this.#entries.filter((entry) => entry.type >= OFS_DELTA).length;
  }

  get inflatedBytes(): number {
    return this.#inflatedBytes;
  }

  get externals(): readonly ExternalBase[] {
    return this.#externals;
  }

  get offsets(): number[] {
    return this.#entries.map((entry) => entry.offset);
  }

  get crc32s(): number[] {
    return this.#entries.map((entry) => entry.crc32);
  }

  /** Raw ids in the order of the pack. */
  get oids(): Buffer {
    return this.#oids;
  }

  kindAt(number: number): Kind {
    return (this.#entries[number] as SmallEntry).kind as Kind;
  }

  contentAt(number: number): Buffer {
    return (this.#entries[number] as SmallEntry).content as Buffer;
  }

  oidAt(number: number): ObjectId {
    return objectIdAt(this.#oids, number * this.#hashBytes, this.#options.objectFormat);
  }

  /**
   * Goes on where it stopped. Memory: the inflated entries.
   * @param window bytes of the pack from `nextOffset` on
   * @returns false when the pack turns out to be too large for this way
   * @throws as `scanEntry`
   */
  async scan(window: Buffer, entriesMax: number): Promise<boolean> {
    const options = { ...this.#options, largeBytes: OBJECT_BYTES_MAX };
    let at = 0;
    this.#sliceStart = performance.now();
    while (this.#entries.length < entriesMax) {
      const offset = this.#nextOffset;
      const entry = scanEntry(window, at, offset, options);
      if (entry === "short") return true;
      if ("large" in entry || entry.resultSizeBytes > OBJECT_BYTES_MAX) return false;
      const heldBytes = entry.sizeBytes + (entry.type >= OFS_DELTA ? entry.resultSizeBytes : 0);
      this.#inflatedBytes += heldBytes;
      if (this.#inflatedBytes > INFLATED_BYTES_MAX || !this.#share.tryTake(heldBytes + ENTRY_BYTES))
        return false;
      this.#add(entry, offset, crc32(window.subarray(at, entry.end)));
      this.#nextOffset = offset + entry.end - at;
      at = entry.end;
      if (performance.now() - this.#sliceStart > SLICE_MS) await this.#pause();
    }
    return true;
  }

  #add(entry: ScannedEntry, offset: number, crc: number): void {
    const number = this.#entries.length;
    this.#byOffset.set(offset, number);
    // Written out: spreading the entry costs microseconds, as much as inflating it.
    this.#entries.push({
      type: entry.type,
      headLength: entry.headLength,
      sizeBytes: entry.sizeBytes,
      resultSizeBytes: entry.resultSizeBytes,
      baseOffset: entry.baseOffset,
      baseOid: entry.baseOid,
      data: entry.data,
      end: entry.end,
      number,
      offset,
      crc32: crc,
      kind: undefined,
      content: undefined,
      depth: 0,
      known: undefined,
      clean: false,
    });
    if (entry.type < OFS_DELTA) return;
    this.#unresolved++;
    if (entry.baseOffset !== undefined) {
      const base = this.#byOffset.get(entry.baseOffset);
      if (base === undefined) throw noEntryAt(entry.baseOffset, offset);
      append(this.#waitForEntry, base, number);
    } else if (entry.baseOid !== undefined) append(this.#waitForOid, entry.baseOid, number);
  }

  /**
   * Gives every entry its id, deltas resolved, bases taken from `objects` where the pack has none.
   * @returns false when a base is too large for this way
   * @throws pack/bad-delta, pack/missing-base, pack/collision, object/malformed, base/limit-exceeded, and what the
   *   reader throws
   */
  async resolve(objects: ObjectReader): Promise<boolean> {
    this.#sliceStart = performance.now();
    this.#oids = Buffer.alloc(this.#entries.length * this.#hashBytes);
    for (const entry of this.#entries) {
      if (entry.type >= OFS_DELTA) continue;
      entry.clean = this.#examiner.examine(entry.type as Kind, entry.data, this.#oids, entry.number);
      await this.#settle(entry, entry.type as Kind, entry.data);
    }
    // As git does: in the order of the pack, each base that is still needed when its delta's turn comes.
    for (const entry of this.#entries) {
      if (entry.kind !== undefined || entry.baseOid === undefined) continue;
      const header = await objects.readHeader(entry.baseOid);
      if (header === undefined) continue;
      this.#inflatedBytes += header.sizeBytes;
      if (header.sizeBytes > OBJECT_BYTES_MAX || this.#inflatedBytes > INFLATED_BYTES_MAX) return false;
      const base = await objects.read(entry.baseOid);
      if (base === undefined) continue;
      this.#externals.push({ ...base, oid: entry.baseOid });
      const waiting = this.#waitForOid.get(entry.baseOid) ?? [];
      this.#waitForOid.delete(entry.baseOid);
      await this.#resolveFrom(
        waiting.map((child) => ({ child, kind: entryTypeOf(base.type), data: base.data, base: undefined })),
      );
    }
    return true;
  }

  /** How many deltas have found no base, and the first id among those that they name. */
  get unresolved(): { readonly count: number; readonly baseOid: ObjectId | undefined } {
    const baseOid = this.#entries.find(
      (entry) => entry.kind === undefined && entry.baseOid !== undefined,
    )?.baseOid;
    return { count: this.#unresolved, baseOid };
  }

  /** With the objects of the same id that the repository holds. @throws pack/collision, and what the reader throws */
  async compareWithExisting(objects: ObjectReader): Promise<void> {
    for (const entry of this.#entries) {
      const oid = this.oidAt(entry.number);
      const has = objects.has(oid);
      if (!(isPromise(has) ? await has : has)) continue;
      const existing = await objects.read(oid);
      if (existing !== undefined)
        compareWithExisting(oid, entry.kind as Kind, entry.content as Buffer, existing);
      if (performance.now() - this.#sliceStart > SLICE_MS) await this.#pause();
    }
  }

  /** What was noted about the objects, bases of the thin pack included. */
  takeExamined(): Examined {
    const examined = this.#examiner.take();
    const links = new LinkSet(this.#hashBytes);
    const { oids, kinds } = examined.links;
    kinds.forEach((kind, i) => links.addKinds(oids, i * this.#hashBytes, kind));
    const raw = Buffer.alloc(this.#hashBytes);
    for (const { oid, type } of this.#externals) {
      raw.write(oid, "hex");
      links.add(raw, 0, entryTypeOf(type));
    }
    return { ...examined, links };
  }

  /** The entry is resolved: whatever waits for it can be, too. */
  async #settle(entry: SmallEntry, kind: Kind, content: Buffer): Promise<void> {
    entry.kind = kind;
    entry.content = content;
    await this.#resolveFrom(this.#childrenOf(entry));
  }

  async #resolveFrom(ready: ReadyDelta[]): Promise<void> {
    for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
      const entry = this.#entries[next.child] as SmallEntry;
      this.#resolveDelta(entry, next);
      for (const child of this.#childrenOf(entry)) ready.push(child);
      if (performance.now() - this.#sliceStart > SLICE_MS) await this.#pause();
    }
  }

  #resolveDelta(entry: SmallEntry, { kind, data, base }: ReadyDelta): void {
    const { limits, objectFormat } = this.#options;
    entry.depth = (base?.depth ?? 0) + 1;
    if (entry.depth > limits.deltaDepthMax) {
      const what = `the object at offset ${entry.offset} of the pack`;
      throw limitExceeded("deltaDepthMax", what, limits.deltaDepthMax, "deltas in a chain");
    }
    try {
      entry.content = applyDelta(data, entry.data);
    } catch (error) {
      throw placed(error, entry.offset);
    }
    if (kind === TREE && base !== undefined) {
      base.known ??= { starts: outlineTree(data, objectFormat), clean: base.clean };
      const known = this.#examiner.examineDerived(
        base.known,
        entry.data,
        entry.content,
        this.#oids,
        entry.number,
      );
      entry.known = { ...known, starts: known.starts.slice() };
    } else entry.clean = this.#examiner.examine(kind, entry.content, this.#oids, entry.number);
    entry.kind = kind;
    this.#unresolved--;
  }

  #childrenOf(entry: SmallEntry): ReadyDelta[] {
    const { kind, content } = entry;
    if (kind === undefined || content === undefined) return [];
    const children = this.#waitForEntry.get(entry.number) ?? [];
    this.#waitForEntry.delete(entry.number);
    if (this.#waitForOid.size > 0) {
      const oid = this.oidAt(entry.number);
      children.push(...(this.#waitForOid.get(oid) ?? []));
      this.#waitForOid.delete(oid);
    }
    return children.map((child) => ({ child, kind, data: content, base: entry }));
  }

  async #pause(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    throwIfAborted(this.#options.signal);
    this.#sliceStart = performance.now();
  }
}

interface ReadyDelta {
  /** Number of the delta's entry. */
  readonly child: number;
  readonly kind: Kind;
  /** Content of the base. */
  readonly data: Buffer;
  /** undefined: a base of the repository, which was not examined. */
  readonly base: SmallEntry | undefined;
}

function append<K>(map: Map<K, number[]>, key: K, value: number): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
