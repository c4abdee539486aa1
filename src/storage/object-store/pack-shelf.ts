/**
 * Open packs, shared by all snapshots of a process: the index in memory, the bytes by way of the cache. One that nobody
 * uses stays for a while, as long as the indexes of those are not too large together.
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { Pack } from "../../pack/pack.js";
import { PackIndex } from "../../pack/pack-index.js";
import type { ObjectCache } from "./cache/object-cache.js";
import { type PackLeaf, packObjectBytes, packPart, sideObjectBytes } from "./tree/pack-leaves.js";

export interface PackShelfOptions {
  readonly cache: ObjectCache;
  /** Of packs that nobody uses. @default 256 MiB */
  readonly idleBytesMax?: number;
}

/** A pack that stays open until it is released. */
export interface LentPack {
  readonly pack: Pack;
  /** Idempotent. */
  release(): void;
}

interface OpenPack {
  readonly pack: Pack;
  readonly residentBytes: number;
  users: number;
  isClosed: boolean;
  readonly close: () => void;
}

export class PackShelf {
  readonly #cache: ObjectCache;
  readonly #idleBytesMax: number;
  /** Used longest ago first. */
  readonly #packs = new Map<string, OpenPack>();
  readonly #opening = new Map<string, Promise<OpenPack>>();
  #idleBytes = 0;

  constructor(options: PackShelfOptions) {
    this.#cache = options.cache;
    this.#idleBytesMax = options.idleBytesMax ?? 256 * 1024 * 1024;
  }

  /** All or none. @throws storage/io, storage/not-found, pack/bad-index */
  async openAll(leaves: readonly PackLeaf[], objectFormat: ObjectFormat): Promise<readonly LentPack[]> {
    const results = await Promise.allSettled(leaves.map((leaf) => this.open(leaf, objectFormat)));
    const lent = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    const failed = results.find((result) => result.status === "rejected");
    if (failed === undefined) return lent;
    for (const { release } of lent) release();
    throw failed.reason;
  }

  async open(leaf: PackLeaf, objectFormat: ObjectFormat): Promise<LentPack> {
    let open = this.#packs.get(leaf.key);
    // One that was just opened may have had to go already.
    while (open === undefined || open.isClosed) open = await this.#openOnce(leaf, objectFormat);
    if (open.users++ === 0) this.#idleBytes -= open.residentBytes;
    let released = false;
    return {
      pack: open.pack,
      release: () => {
        if (released) return;
        released = true;
        if (--open.users > 0) return;
        this.#idleBytes += open.residentBytes;
        this.#packs.delete(leaf.key);
        this.#packs.set(leaf.key, open);
        this.#trim();
      },
    };
  }

  close(): void {
    for (const open of this.#packs.values()) open.close();
    this.#packs.clear();
  }

  #openOnce(leaf: PackLeaf, objectFormat: ObjectFormat): Promise<OpenPack> {
    let opening = this.#opening.get(leaf.key);
    if (opening === undefined) {
      opening = this.#read(leaf, objectFormat).finally(() => this.#opening.delete(leaf.key));
      this.#opening.set(leaf.key, opening);
    }
    return opening;
  }

  async #read(leaf: PackLeaf, objectFormat: ObjectFormat): Promise<OpenPack> {
    const { key, packBytes } = leaf;
    const index = packPart(leaf, "index");
    if (index === undefined) throw new GitwharfError("base/invariant", "a pack without an index was read");
    const bytes = await this.#cache.open(key, packObjectBytes(leaf));
    try {
      const side = index.key === key ? bytes : await this.#cache.open(index.key, sideObjectBytes(leaf) ?? 0);
      const shared = new SharedArrayBuffer(index.end - index.start);
      try {
        await side.readInto(new Uint8Array(shared), index.start);
      } finally {
        if (side !== bytes) side.release();
      }
      const open: OpenPack = {
        pack: new Pack({ key, index: PackIndex.parse(shared, objectFormat), bytes: bytes.prefix(packBytes) }),
        residentBytes: shared.byteLength,
        users: 0,
        isClosed: false,
        close: () => {
          open.isClosed = true;
          bytes.release();
        },
      };
      this.#idleBytes += open.residentBytes;
      this.#packs.set(key, open);
      return open;
    } catch (error) {
      bytes.release();
      throw error;
    }
  }

  #trim(): void {
    if (this.#idleBytes <= this.#idleBytesMax) return;
    for (const [key, open] of this.#packs) {
      if (open.users > 0) continue;
      this.#packs.delete(key);
      this.#idleBytes -= open.residentBytes;
      open.close();
      if (this.#idleBytes <= this.#idleBytesMax) return;
    }
  }
}
