/** Which nodes and keys kept roots need: of every tree that a root has, each looked at once. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { formatRecipe } from "./chunks/recipe.js";
import { markKept } from "./mark-kept.js";
import { type FreshNodes, type NodeId, nodeIdOf } from "./tree/node.js";
import { formatPackLeaf, packKey } from "./tree/pack-leaves.js";
import { buildTree, type NewTree, type TreeEntry } from "./tree/prolly-tree.js";
import { refEdits } from "./tree/ref-values.js";
import { formatRootNode, type RootNode } from "./tree/root-node.js";

const hashOf = (text: string): Buffer => createHash("sha256").update(text).digest();
const oidOf = (text: string): string => hashOf(text).toString("hex").slice(0, 40);

function treeOf(entries: readonly TreeEntry[]): NewTree {
  return buildTree(entries.toSorted((a, b) => Buffer.compare(a.key, b.key)));
}

function refs(count: number, label: string): NewTree {
  const changes = new Map(
    Array.from({ length: count }, (_, i) => {
      const name = `refs/heads/${i}`;
      return [name, { kind: "direct", ref: { name, oid: oidOf(`${label} ${i}`) } } as const];
    }),
  );
  return treeOf(refEdits(changes).map(({ key, value }) => ({ key, value: value as Buffer })));
}

function packs(keys: readonly string[]): NewTree {
  return treeOf(
    keys.map((key, i) => {
      const leaf = {
        sequence: i + 1,
        kind: "joined",
        source: "push",
        level: 0,
        key,
        sha256: hashOf(key).toString("hex"),
        objectCount: 1,
        packBytes: 100,
        trailer: oidOf(key),
        parts: [{ name: "index", offset: 100, sizeBytes: 1000 }],
      } as const;
      return { key: packKey(leaf.sequence), value: formatPackLeaf(leaf) };
    }),
  );
}

/** A blob of so many chunks, in containers of a hundred. */
function recipe(chunks: number, container: string): { readonly value: Buffer; readonly nodes: FreshNodes } {
  const formatted = formatRecipe({
    sizeBytes: chunks * 1000,
    storedBytes: chunks * 900,
    chunks: Array.from({ length: chunks }, (_, i) => ({
      id: hashOf(`${container} ${i}`).toString("hex"),
      containerKey: `c/${container}-${Math.floor(i / 100)}`,
      offset: (i % 100) * 900,
      storedBytes: 900,
      sizeBytes: 1000,
      adler32: i,
    })),
  });
  if (formatted === undefined) throw new Error("too many chunks");
  return formatted;
}

class Nodes {
  readonly all = new Map<NodeId, Buffer>();
  reads = 0;

  add(nodes: FreshNodes): void {
    for (const [id, bytes] of nodes) this.all.set(id, bytes);
  }

  tree({ root, nodes }: NewTree): NodeId | undefined {
    this.add(nodes);
    return root;
  }

  root(parts: Partial<RootNode>): NodeId {
    const bytes = formatRootNode({
      generation: 1,
      timeMs: 1,
      objectFormat: "sha1",
      head: { kind: "symbolic", target: "refs/heads/main" },
      attributes: new Map(),
      ...parts,
    });
    this.all.set(nodeIdOf(bytes), bytes);
    return nodeIdOf(bytes);
  }

  async mark(
    roots: readonly NodeId[],
    nodesMax = 1_000_000,
  ): Promise<{ readonly needed: ReadonlySet<NodeId>; readonly keys: readonly string[] }> {
    const keys = new Set<string>();
    const needed = await markKept({
      nodes: {
        read: (ids) =>
          ids.map((id) => {
            this.reads++;
            const bytes = this.all.get(id);
            if (bytes === undefined) throw new Error(`${id} is not there`);
            return bytes;
          }),
      },
      roots,
      nodesMax,
      onKey: (key) => keys.add(key),
      check: () => undefined,
    });
    return { needed, keys: [...keys].toSorted() };
  }
}

describe("markKept", () => {
  it("finds all nodes of all trees, and the keys that they name", async () => {
    const nodes = new Nodes();
    const [small, large] = [recipe(3, "small"), recipe(1500, "large")];
    nodes.add(large.nodes);
    const chunks = treeOf([
      { key: Buffer.from(oidOf("small"), "hex"), value: small.value },
      { key: Buffer.from(oidOf("large"), "hex"), value: large.value },
    ]);
    const shallow = treeOf([{ key: Buffer.from(oidOf("shallow"), "hex"), value: Buffer.alloc(0) }]);
    const names = Array.from({ length: 300 }, (_, i) => `l/00/${i}`);
    const refsRoot = nodes.tree(refs(3000, "a"));
    const root = nodes.root({
      refsRoot,
      packsRoot: nodes.tree(packs(names)),
      chunksRoot: nodes.tree(chunks),
      shallowRoot: nodes.tree(shallow),
      // Not needed: the generation before is forgotten.
      previousRoot: hashOf("before").toString("hex"),
    });
    const { needed, keys } = await nodes.mark([root]);
    expect(needed).toEqual(new Set(nodes.all.keys()));
    const containers = ["c/small-0", ...Array.from({ length: 15 }, (_, i) => `c/large-${i}`)];
    expect(keys).toEqual([...names, ...containers].toSorted());
    // Leaves of refs are most of all nodes.
    expect(nodes.reads).toBeLessThan(nodes.all.size);
  });

  it("looks once at what many roots share, and leaves out what none leads to", async () => {
    const nodes = new Nodes();
    const packsRoot = nodes.tree(packs(Array.from({ length: 300 }, (_, i) => `l/00/${i}`)));
    const before = nodes.tree(refs(3000, "a"));
    const garbage = new Set(refs(3000, "b").nodes.keys());
    nodes.add(refs(3000, "b").nodes);
    const roots = Array.from({ length: 200 }, (_, i) =>
      nodes.root({ generation: i, refsRoot: before, packsRoot }),
    );
    await nodes.mark(roots.slice(0, 1));
    const { reads } = nodes;
    nodes.reads = 0;
    const { needed } = await nodes.mark(roots);
    expect(nodes.reads).toBe(reads + 199);
    expect([...nodes.all.keys()].filter((id) => !needed.has(id)).toSorted()).toEqual([...garbage].toSorted());
  });

  it("throws when a node is missing or not what its name says, and when there are too many", async () => {
    const nodes = new Nodes();
    const tree = packs(Array.from({ length: 300 }, (_, i) => `l/00/${i}`));
    const root = nodes.root({ packsRoot: nodes.tree(tree) });
    await expect(nodes.mark([root], 2)).rejects.toMatchObject({ code: "base/limit-exceeded" });
    const [some] = [...tree.nodes.keys()].filter((id) => id !== tree.root);
    const bytes = nodes.all.get(some ?? "");
    nodes.all.set(some ?? "", Buffer.from("something else"));
    await expect(nodes.mark([root])).rejects.toMatchObject({ code: "storage/corrupt" });
    nodes.all.delete(some ?? "");
    await expect(nodes.mark([root])).rejects.toThrow("is not there");
    nodes.all.set(some ?? "", bytes ?? Buffer.alloc(0));
    expect((await nodes.mark([root])).keys).toHaveLength(300);
    expect((await nodes.mark([])).needed.size).toBe(0);
  });
});
