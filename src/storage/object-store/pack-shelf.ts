/**
 * Open packs, shared by all snapshots of a process: the index in memory, the bytes by way of the cache. One that nobody
 * uses stays for a while, as long as the indexes of those are not too large together.
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { Pack } from "../../pack/pack.js";
import { PackIndex } from "../../pack/pack-index.js";
import type { Bucket } from "./bucket/bucket.js";
import type { CachedObject, ObjectCache } from "./cache/object-cache.js";
import { SplicedPack, splicedPackKey } from "./spliced-pack.js";
import type { OpenLeaf } from "./stored-pack.js";
import { packObjectBytes, packPart, type PackPartName, sideObjectBytes } from "./tree/pack-leaves.js";

export interface PackShelfOptions {
  readonly cache: ObjectCache;
  readonly bucket: Bucket;
  /** Of packs that nobody uses. @default 256 MiB */
  readonly idleBytesMax?: number;
}

/** A pack that stays open until it is released. */
export interface LentPack {
  readonly pack: Pack;
  /** Of what it holds; undefined: none was made. */
  readonly commitGraph: SharedArrayBuffer | undefined;
  /** Lends it once more, to be released by itself. Not after the release of this one. */
  retain(): LentPack;
  /** Idempotent. */
  release(): void;
}

interface OpenPack {
  readonly pack: Pack;
  readonly commitGraph: SharedArrayBuffer | undefined;
  readonly residentBytes: number;
  users: number;
  isClosed: boolean;
  readonly close: () => void;
}

interface Opening {
  /** Those who wait for it are its first users: it cannot be closed before they have it. */
  readonly waiting: { users: number };
  readonly pack: Promise<OpenPack>;
}

export class PackShelf {
  readonly #cache: ObjectCache;
  readonly #bucket: Bucket;
  readonly #idleBytesMax: number;
  readonly #packs = new Map<string, OpenPack>();
  readonly #alone = new WeakSet<Pack>();
  readonly #opening = new Map<string, Opening>();
  /** Used longest ago first. */
  readonly #idle = new Set<OpenPack>();
  #idleBytes = 0;
  #isClosed = false;

  constructor(options: PackShelfOptions) {
    this.#cache = options.cache;
    this.#bucket = options.bucket;
    this.#idleBytesMax = options.idleBytesMax ?? 256 * 1024 * 1024;
  }

  /** All or none. @throws storage/io, storage/not-found, pack/bad-index */
  async openAll(leaves: readonly OpenLeaf[], objectFormat: ObjectFormat): Promise<readonly LentPack[]> {
    const results = await Promise.allSettled(leaves.map((leaf) => this.open(leaf, objectFormat)));
    const lent = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    const failed = results.find((result) => result.status === "rejected");
    if (failed === undefined) return lent;
    for (const { release } of lent) release();
    throw failed.reason;
  }

  async open(leaf: OpenLeaf, objectFormat: ObjectFormat): Promise<LentPack> {
    const known = this.#packs.get(leaf.key);
    if (known !== undefined) {
      known.users++;
      return this.#lent(known);
    }
    let opening = this.#opening.get(leaf.key);
    if (opening === undefined) {
      const waiting = { users: 0 };
      const pack = this.#read(leaf, objectFormat, waiting).finally(() => this.#opening.delete(leaf.key));
      opening = { waiting, pack };
      this.#opening.set(leaf.key, opening);
    }
    opening.waiting.users++;
    return this.#lent(await opening.pack);
  }

  /** Whether a pack that is lent is an object of the bucket by itself, under its key. */
  isAlone(pack: Pack): boolean {
    return this.#alone.has(pack);
  }

  /** Closes the one that nobody has used for the longest time. @returns false when all are in use */
  closeIdle(): boolean {
    const [open] = this.#idle;
    if (open === undefined) return false;
    this.#idle.delete(open);
    this.#idleBytes -= open.residentBytes;
    open.close();
    return true;
  }

  /** Whoever still reads gets storage/io. */
  close(): void {
    this.#isClosed = true;
    this.#idle.clear();
    this.#idleBytes = 0;
    for (const open of this.#packs.values()) open.close();
  }

  /** The caller has counted the use. */
  #lent(open: OpenPack): LentPack {
    if (this.#idle.delete(open)) this.#idleBytes -= open.residentBytes;
    let isReleased = false;
    return {
      pack: open.pack,
      commitGraph: open.commitGraph,
      retain: () => {
        if (isReleased) throw new GitwharfError("base/invariant", "a pack is lent on after its release");
        open.users++;
        return this.#lent(open);
      },
      release: () => {
        if (isReleased) return;
        isReleased = true;
        if (--open.users > 0 || open.isClosed) return;
        this.#idle.add(open);
        this.#idleBytes += open.residentBytes;
        while (this.#idleBytes > this.#idleBytesMax && this.closeIdle());
      },
    };
  }

  async #read(leaf: OpenLeaf, objectFormat: ObjectFormat, waiting: { users: number }): Promise<OpenPack> {
    const { key, packBytes } = leaf;
    const sideKey = leaf.sideKey ?? key;
    const bytes = await this.#openBytes(leaf);
    try {
      // Commits come first, the newest ones before the others: whatever is asked for begins there.
      const isBeside = sideKey !== key || leaf.ownBytes !== undefined;
      if (isBeside) bytes.prefetch();
      const sideBytes = sideKey === key ? packObjectBytes(leaf) : (sideObjectBytes(leaf) ?? 0);
      const side = isBeside ? await this.#cache.open(sideKey, sideBytes) : bytes;
      let parts: Map<PackPartName, SharedArrayBuffer>;
      try {
        parts = await readParts(leaf, side);
      } finally {
        if (side !== bytes) side.release();
      }
      const index = parts.get("index");
      if (index === undefined) throw new GitwharfError("base/invariant", "a pack without an index was read");
      const reverseIndex = parts.get("reverse-index");
      const bitmap = parts.get("bitmap");
      const pack = new Pack({
        key,
        index: PackIndex.parse(index, objectFormat),
        bytes: bytes.prefix(packBytes),
        recordedPush: leaf.recordedPush,
        beside: {
          ...(reverseIndex === undefined ? {} : { reverseIndex }),
          ...(bitmap === undefined ? {} : { bitmap }),
        },
      });
      if (leaf.kind === "separate" && leaf.ownBytes === undefined) this.#alone.add(pack);
      if (this.#isClosed) throw new GitwharfError("storage/io", "the store is closed");
      const open: OpenPack = {
        pack,
        commitGraph: parts.get("commit-graph"),
        residentBytes: [...parts.values()].reduce((sum, { byteLength }) => sum + byteLength, 0),
        users: waiting.users,
        isClosed: false,
        close: () => {
          open.isClosed = true;
          this.#packs.delete(key);
          bytes.release();
        },
      };
      this.#opening.delete(key);
      this.#packs.set(key, open);
      return open;
    } catch (error) {
      bytes.release();
      throw error;
    }
  }

  /** The pack, and what stands behind it in its object where all of it is there. */
  async #openBytes(leaf: OpenLeaf): Promise<CachedObject> {
    const { key, packBytes, ownBytes, splices } = leaf;
    if (ownBytes === undefined) return this.#cache.open(key, packObjectBytes(leaf));
    if (splices === undefined)
      throw new GitwharfError("base/invariant", "a pack was opened without the chunks that it needs");
    const source = new SplicedPack({
      bucket: this.#bucket,
      key,
      ownBytes,
      packBytes,
      splices: await splices(),
    });
    return this.#cache.open(splicedPackKey(key), packBytes, source);
  }
}

/** Of a pack that a push has left its index alone: to sort that takes less than to read how it is sorted. */
const PARTS: readonly PackPartName[] = ["index", "reverse-index", "bitmap", "commit-graph"];
const SORTED_OBJECTS_MAX = 10_000;

async function readParts(
  leaf: OpenLeaf,
  side: Pick<CachedObject, "readInto">,
): Promise<Map<PackPartName, SharedArrayBuffer>> {
  const parts = new Map<PackPartName, SharedArrayBuffer>();
  const reads = PARTS.map(async (name) => {
    const part = packPart(leaf, name);
    if (part === undefined || (name === "reverse-index" && leaf.objectCount <= SORTED_OBJECTS_MAX)) return;
    const shared = new SharedArrayBuffer(part.end - part.start);
    await side.readInto(new Uint8Array(shared), part.start);
    parts.set(name, shared);
  });
  await Promise.all(reads);
  return parts;
}
