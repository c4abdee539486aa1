/**
 * What the kept roots of a network lead to: the nodes of their trees, and the packs and containers of chunks that those name.
 * What this does not find, nobody can: it throws rather than leave anything out.
 *
 * Trees share nearly all their nodes, so that each node is looked at once, however many roots there are. Leaves of refs and of
 * shallow commits are named by what is above them and not read.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { readRecipe, recipeHead } from "./chunks/recipe.js";
import { checkNode, type NodeId, type NodeReader } from "./tree/node.js";
import { packSequenceOf, parsePackLeaf } from "./tree/pack-leaves.js";
import { walkNodes } from "./tree/prolly-tree.js";
import { parseRootNode, type RootNode } from "./tree/root-node.js";

export interface MarkKeptOptions {
  readonly nodes: NodeReader;
  readonly roots: readonly NodeId[];
  /** What is held in memory: about 150 bytes a node. */
  readonly nodesMax: number;
  /** Keys of packs and of containers that are needed; some more than once. */
  readonly onKey: (key: string) => void;
  /** Is called every now and then, and throws to end it. */
  readonly check: () => void;
}

/** Roots that are read at once. */
const ROOTS_AT_ONCE = 128;

/** @returns every node that is needed. @throws storage/io, storage/corrupt, base/limit-exceeded */
export async function markKept(options: MarkKeptOptions): Promise<ReadonlySet<NodeId>> {
  const { nodes, roots, check } = options;
  const marks = new Marks(options);
  for (let at = 0; at < roots.length; at += ROOTS_AT_ONCE) {
    check();
    const ids = roots.slice(at, at + ROOTS_AT_ONCE);
    const all = await nodes.read(ids);
    for (const [i, id] of ids.entries()) {
      const root = parseRootNode(checkNode(id, all[i]));
      marks.add(id);
      await marks.packs(root);
      await marks.chunks(root);
      await marks.names(root.refsRoot);
      await marks.names(root.shallowRoot);
    }
  }
  return marks.needed;
}

class Marks {
  readonly needed = new Set<NodeId>();
  /** Those among them whose leaves were read as well. */
  readonly #read = new Set<NodeId>();
  readonly #options: MarkKeptOptions;

  constructor(options: MarkKeptOptions) {
    this.#options = options;
  }

  add(id: NodeId): void {
    this.needed.add(id);
    const { nodesMax } = this.#options;
    if (this.needed.size > nodesMax)
      throw new GitwharfError(
        "base/limit-exceeded",
        `the states that are kept have more than ${nodesMax} nodes together: keep them for a shorter time`,
      );
  }

  async packs({ packsRoot, objectFormat }: RootNode): Promise<void> {
    await this.#readLeaves(packsRoot, (key, value) => {
      const leaf = parsePackLeaf(packSequenceOf(key), value, objectFormat);
      this.#options.onKey(leaf.key);
    });
  }

  async chunks({ chunksRoot }: RootNode): Promise<void> {
    const values: Buffer[] = [];
    await this.#readLeaves(chunksRoot, (_key, value) => {
      values.push(value);
    });
    for (const value of values) {
      const { pieces } = recipeHead(value);
      // Of a recipe all of whose pieces are known, the containers are too.
      if (pieces.length > 0 && pieces.every((id) => this.#read.has(id))) continue;
      const read = readRecipe(this.#options.nodes, value);
      const { chunks } = isPromise(read) ? await read : read;
      for (const { containerKey } of chunks) this.#options.onKey(containerKey);
      for (const id of pieces) {
        this.#read.add(id);
        this.add(id);
      }
    }
  }

  async names(root: NodeId | undefined): Promise<void> {
    await walkNodes(this.#options.nodes, root, {
      readsLeaves: false,
      seen: (id) => this.needed.has(id),
      visit: (id) => this.add(id),
    });
  }

  async #readLeaves(root: NodeId | undefined, visit: (key: Buffer, value: Buffer) => void): Promise<void> {
    await walkNodes(this.#options.nodes, root, {
      readsLeaves: true,
      seen: (id) => this.#read.has(id),
      visit: (id, level, node) => {
        this.#read.add(id);
        this.add(id);
        if (node === undefined) throw new GitwharfError("base/invariant", "a leaf was passed over");
        if (level === 0) node.keys.forEach((key, i) => visit(key, node.values[i] as Buffer));
      },
    });
  }
}
