/**
 * Is all there that a generation needs? Its nodes, each against its name, and the objects of the bucket that they name, by their sizes, or deeply
 * by their hashes. Generations of one network share nearly all of it, so that each thing is looked at once. Chunks of those that are whole are
 * written down, so that pushes find them.
 */
import { hash } from "node:crypto";
import { isGitwharfError, throwIfAborted } from "../../../base/errors.js";
import type { Bucket } from "../bucket/bucket.js";
import { type Recipe, type RecipeChunk, readRecipe } from "../chunks/recipe.js";
import type { GenerationRecord, MetadataStore, NewPack } from "../metadata/metadata-store.js";
import { corrupt } from "../tree/canonical-bytes.js";
import { checkNode, type NodeId, type NodeReader } from "../tree/node.js";
import { packObjectBytes, packSequenceOf, parsePackLeaf, sideObjectBytes } from "../tree/pack-leaves.js";
import { walkNodes } from "../tree/prolly-tree.js";
import { parseRootNode, type RootNode } from "../tree/root-node.js";
import { checkContainer } from "../verify-chunks.js";
import { checkBucketObject, type ExpectedObject, objectsOf } from "../verify-state.js";

export interface WitnessedStateOptions {
  readonly bucket: Bucket;
  readonly metadata: MetadataStore;
  readonly networkId: string;
  /** What is in the bucket: key → bytes. */
  readonly inBucket: ReadonlyMap<string, number>;
  readonly deep: boolean;
  readonly signal: AbortSignal | undefined;
}

/** In one generation, and in none before. */
interface Seen {
  readonly seen: Set<NodeId>;
  readonly packs: Map<string, NewPack>;
  /** By their hashes. */
  readonly recipes: Map<string, Buffer>;
}

const TREES = ["refs", "packs", "chunks", "shallow"] as const;

export class WitnessedStates {
  readonly #options: WitnessedStateOptions;
  readonly #nodes: NodeReader;
  /** Those with all that is below them. */
  readonly #whole = new Set<NodeId>();
  /** Of what generations that are whole need: by key. */
  readonly packs = new Map<string, NewPack>();
  readonly #objects = new Map<string, string | undefined>();
  /** Hashes of the recipes that whole generations have. */
  readonly #recipes = new Set<string>();
  /** Deeply: chunks that were read and are as they were, by container and offset. */
  readonly #right = new Map<string, Set<number>>();
  /** What is wrong with containers when chunks at these places of them are needed. */
  readonly #wrong = new Map<string, { readonly message: string; readonly offsets: readonly number[] }>();

  constructor(options: WitnessedStateOptions) {
    const { metadata, networkId } = options;
    this.#options = options;
    this.#nodes = {
      async read(ids) {
        const found = await metadata.readNodes(networkId, ids);
        return ids.map((id) => checkNode(id, found.get(id)));
      },
    };
  }

  get nodeCount(): number {
    return this.#whole.size;
  }

  /** @returns undefined when it is whole, else what is missing. @throws storage/io, base/aborted */
  async whatIsMissing({
    generation,
    root: id,
  }: Pick<GenerationRecord, "generation" | "root">): Promise<string | undefined> {
    throwIfAborted(this.#options.signal);
    const seen = new Set<NodeId>();
    const packs = new Map<string, NewPack>();
    const recipes = new Map<string, Buffer>();
    try {
      const [bytes] = await this.#nodes.read([id]);
      const root = parseRootNode(bytes as Buffer);
      if (root.generation !== generation)
        throw corrupt(`a ROOT (${id})`, `it is of generation ${root.generation}`);
      seen.add(id);
      for (const tree of TREES) await this.#look(root, tree, { seen, packs, recipes });
    } catch (error) {
      if (isGitwharfError(error, "storage/corrupt")) return error.message;
      throw error;
    }
    // Only now: what is below one that was seen must be whole.
    for (const one of seen) this.#whole.add(one);
    for (const [key, pack] of packs) this.packs.set(key, pack);
    for (const [name, value] of recipes) {
      const { metadata, networkId } = this.#options;
      await metadata.writeRebuiltChunks(networkId, (await this.#recipe(value)).chunks);
      this.#recipes.add(name);
    }
    return undefined;
  }

  async #recipe(value: Buffer): Promise<Recipe> {
    return readRecipe(this.#nodes, value);
  }

  async #look(root: RootNode, tree: (typeof TREES)[number], { seen, packs, recipes }: Seen): Promise<void> {
    const entries: { readonly key: Buffer; readonly value: Buffer }[] = [];
    await walkNodes(this.#nodes, root[`${tree}Root`], {
      readsLeaves: true,
      seen: (id) => this.#whole.has(id) || seen.has(id),
      visit: (id, level, node) => {
        seen.add(id);
        if (level > 0 || node === undefined || (tree !== "packs" && tree !== "chunks")) return;
        node.keys.forEach((key, i) => entries.push({ key, value: node.values[i] as Buffer }));
      },
    });
    /** By container, each of which is read once for all that is needed of it. */
    const unread = new Map<string, Map<number, RecipeChunk>>();
    for (const { key, value } of entries)
      if (tree === "packs") {
        const leaf = parsePackLeaf(packSequenceOf(key), value, root.objectFormat);
        for (const object of objectsOf(leaf)) await this.#mustBeThere(object);
        const sizeBytes = packObjectBytes(leaf) + (sideObjectBytes(leaf) ?? 0);
        const { key: id, sideKey, source: kind } = leaf;
        packs.set(id, { id, key: id, ...(sideKey === undefined ? {} : { sideKey }), kind, sizeBytes });
      } else {
        const name = hash("sha256", value, "hex");
        if (this.#recipes.has(name) || recipes.has(name)) continue;
        recipes.set(name, value);
        const { chunks } = await this.#recipe(value);
        for (const chunk of chunks) {
          const { containerKey: id, offset, storedBytes } = chunk;
          const sizeBytes = this.#options.inBucket.get(id);
          if (sizeBytes === undefined || sizeBytes < offset + storedBytes)
            throw corrupt(
              id,
              sizeBytes === undefined ? "it is not in the bucket" : `it has only ${sizeBytes} bytes`,
            );
          packs.set(id, { id, key: id, kind: "chunks", sizeBytes });
          if (!this.#options.deep || this.#right.get(id)?.has(offset) === true) continue;
          const others = unread.get(id);
          if (others === undefined) unread.set(id, new Map([[offset, chunk]]));
          else others.set(offset, chunk);
        }
      }
    await this.#mustBeRight(unread);
  }

  /** Chunks by container and offset. @throws storage/corrupt */
  async #mustBeRight(named: ReadonlyMap<string, ReadonlyMap<number, RecipeChunk>>): Promise<void> {
    const { bucket, signal } = this.#options;
    for (const [key, chunks] of named) {
      const before = this.#wrong.get(key);
      // Older generations need most of what the newer ones do.
      if (before?.offsets.every((offset) => chunks.has(offset)) === true) throw corrupt(key, before.message);
      const { message, failure } = await checkContainer(bucket, key, chunks, signal);
      // Nothing is given up for a bucket that is away.
      if (failure !== undefined) throw failure;
      if (message !== undefined) {
        this.#wrong.set(key, { message, offsets: [...chunks.keys()] });
        throw corrupt(key, message);
      }
      const right = this.#right.get(key) ?? new Set();
      for (const offset of chunks.keys()) right.add(offset);
      this.#right.set(key, right);
    }
  }

  /** @throws storage/corrupt */
  async #mustBeThere(object: ExpectedObject): Promise<void> {
    const { key, sizeBytes } = object;
    const { bucket, inBucket, deep, signal } = this.#options;
    if (!this.#objects.has(key)) {
      const bytes = inBucket.get(key);
      let wrong: string | undefined;
      if (bytes === undefined) wrong = "it is not in the bucket";
      else if (bytes !== sizeBytes) wrong = `it has ${bytes} bytes instead of ${sizeBytes}`;
      else if (deep) {
        const { message, failure } = await checkBucketObject(bucket, object, signal);
        // Nothing is given up for a bucket that is away.
        if (failure !== undefined) throw failure;
        wrong = message;
      }
      this.#objects.set(key, wrong);
    }
    const wrong = this.#objects.get(key);
    if (wrong !== undefined) throw corrupt(key, wrong);
  }
}
