/**
 * Is all there that a generation needs? Its nodes, each against its name, and the objects of the bucket that they name, by their sizes, or deeply
 * by their hashes. Generations of one network share nearly all of it, so that each thing is looked at once.
 */
import { isGitwharfError, throwIfAborted } from "../../../base/errors.js";
import { isPromise } from "../../../base/maybe-promise.js";
import type { Bucket } from "../bucket/bucket.js";
import { readRecipe } from "../chunks/recipe.js";
import type { GenerationRecord, MetadataStore, NewPack } from "../metadata/metadata-store.js";
import { corrupt } from "../tree/canonical-bytes.js";
import { checkNode, type NodeId, type NodeReader } from "../tree/node.js";
import { packObjectBytes, packSequenceOf, parsePackLeaf, sideObjectBytes } from "../tree/pack-leaves.js";
import { walkNodes } from "../tree/prolly-tree.js";
import { parseRootNode, type RootNode } from "../tree/root-node.js";
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

const TREES = ["refs", "packs", "chunks", "shallow"] as const;

export class WitnessedStates {
  readonly #options: WitnessedStateOptions;
  readonly #nodes: NodeReader;
  /** Those with all that is below them. */
  readonly #whole = new Set<NodeId>();
  /** Of what generations that are whole need: by key. */
  readonly packs = new Map<string, NewPack>();
  readonly #objects = new Map<string, string | undefined>();

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
    try {
      const [bytes] = await this.#nodes.read([id]);
      const root = parseRootNode(bytes as Buffer);
      if (root.generation !== generation)
        throw corrupt(`a ROOT (${id})`, `it is of generation ${root.generation}`);
      seen.add(id);
      for (const tree of TREES) await this.#look(root, tree, seen, packs);
    } catch (error) {
      if (isGitwharfError(error, "storage/corrupt")) return error.message;
      throw error;
    }
    // Only now: what is below one that was seen must be whole.
    for (const one of seen) this.#whole.add(one);
    for (const [key, pack] of packs) this.packs.set(key, pack);
    return undefined;
  }

  async #look(
    root: RootNode,
    tree: (typeof TREES)[number],
    seen: Set<NodeId>,
    packs: Map<string, NewPack>,
  ): Promise<void> {
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
    for (const { key, value } of entries)
      if (tree === "packs") {
        const leaf = parsePackLeaf(packSequenceOf(key), value, root.objectFormat);
        for (const object of objectsOf(leaf)) await this.#mustBeThere(object);
        const sizeBytes = packObjectBytes(leaf) + (sideObjectBytes(leaf) ?? 0);
        const { key: id, sideKey, source: kind } = leaf;
        packs.set(id, { id, key: id, ...(sideKey === undefined ? {} : { sideKey }), kind, sizeBytes });
      } else {
        const read = readRecipe(this.#nodes, value);
        const { chunks } = isPromise(read) ? await read : read;
        for (const { containerKey: id, offset, storedBytes } of chunks) {
          const sizeBytes = this.#options.inBucket.get(id);
          if (sizeBytes === undefined || sizeBytes < offset + storedBytes)
            throw corrupt(
              id,
              sizeBytes === undefined ? "it is not in the bucket" : `it has only ${sizeBytes} bytes`,
            );
          packs.set(id, { id, key: id, kind: "chunks", sizeBytes });
        }
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
