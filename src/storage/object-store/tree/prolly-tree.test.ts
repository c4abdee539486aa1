/** Trees against maps, through many histories; what an edit touches; nodes that are none. */
import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isGitwharfError } from "../../../base/errors.js";
import { checkNode, type NodeId, type NodeReader, nodeIdOf } from "./node.js";
import { keyHash } from "./node-boundary.js";
import {
  buildTree,
  countTreeEntries,
  diffTrees,
  editTree,
  lookUpInTree,
  scanTree,
  type TreeEdit,
  type TreeEntry,
  type TreeRange,
  walkNodes,
} from "./prolly-tree.js";
import { formatChild, formatTreeNode, parseTreeNode } from "./tree-node.js";

/** Keeps nodes and counts what is asked of it. */
class Nodes implements NodeReader {
  readonly kept = new Map<NodeId, Buffer>();
  readonly asynchronous: boolean;
  roundTrips = 0;
  nodesRead = 0;
  largestRead = 0;

  constructor(asynchronous = false) {
    this.asynchronous = asynchronous;
  }

  read(ids: readonly NodeId[]): readonly Buffer[] | Promise<readonly Buffer[]> {
    this.roundTrips++;
    this.nodesRead += ids.length;
    this.largestRead = Math.max(this.largestRead, ids.length);
    const found = ids.map((id) => this.kept.get(id) as Buffer);
    return this.asynchronous ? Promise.resolve(found) : found;
  }

  keep(nodes: ReadonlyMap<NodeId, Buffer>): void {
    for (const [id, bytes] of nodes) this.kept.set(id, bytes);
  }

  reset(): void {
    this.roundTrips = 0;
    this.nodesRead = 0;
    this.largestRead = 0;
  }
}

/** A map of the same, by the latin1 text of the keys: its order is that of the bytes. */
type Model = Map<string, Buffer>;

function entriesOf(model: Model): TreeEntry[] {
  return [...model]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => ({ key: Buffer.from(key, "latin1"), value }));
}

function applyTo(model: Model, edits: readonly TreeEdit[]): void {
  for (const { key, value } of edits) {
    if (value === undefined) model.delete(key.toString("latin1"));
    else model.set(key.toString("latin1"), value);
  }
}

/** Entries and changes as text: matchers compare buffers byte by byte. */
function lines(entries: readonly TreeEntry[]): string[] {
  return entries.map(({ key, value }) => `${key.toString("latin1")} ${asText(value)}`);
}

function asText(value: Buffer | undefined): string {
  return value === undefined ? "none" : nodeIdOf(value);
}

async function scanned(
  nodes: NodeReader,
  root: NodeId | undefined,
  range: TreeRange = {},
): Promise<readonly string[]> {
  const entries: TreeEntry[] = [];
  await scanTree(nodes, root, range, (key, value) => void entries.push({ key, value }));
  return lines(entries);
}

async function changes(
  nodes: NodeReader,
  a: NodeId | undefined,
  b: NodeId | undefined,
): Promise<readonly string[]> {
  const found: string[] = [];
  await diffTrees(nodes, a, b, ({ key, before, after }) => {
    found.push(`${key.toString("latin1")} ${asText(before)} ${asText(after)}`);
  });
  return found;
}

async function reached(nodes: NodeReader, root: NodeId | undefined): Promise<Set<NodeId>> {
  const ids = new Set<NodeId>();
  await walkNodes(nodes, root, { readsLeaves: true, visit: (id) => void ids.add(id) });
  return ids;
}

/** Few keys of one byte and many of some: keys meet, are prefixes of one another, are empty, share long prefixes. */
const KEYS = fc.oneof(
  fc.uint8Array({ maxLength: 2 }).map((bytes) => Buffer.from(bytes)),
  fc.integer({ min: 0, max: 3000 }).map((n) => Buffer.from(`refs/heads/topic-${n}`)),
  fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc.integer({ min: 1, max: 40 }).map((n) => Buffer.alloc(n * 97, "long")),
);
/** Values of any size: large ones make small trees high. */
const VALUES = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc
    .record({ fill: fc.nat(255), length: fc.nat(5000) })
    .map(({ fill, length }) => Buffer.alloc(length, fill)),
);
const EDITS = fc.uniqueArray(
  fc.record({ key: KEYS, value: fc.option(VALUES, { nil: undefined, freq: 3 }) }),
  { maxLength: 150, selector: ({ key }) => key.toString("latin1"), size: "max" },
);

describe("trees", () => {
  it("are the same for the same map, whatever their history", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(EDITS, { maxLength: 8 }), fc.boolean(), async (history, asynchronous) => {
        const nodes = new Nodes(asynchronous);
        const model: Model = new Map();
        let root: NodeId | undefined;
        for (const edits of history) {
          const before = root;
          const had = await reached(nodes, before);
          const old = new Map(model);
          applyTo(model, edits);
          const edited = await editTree(nodes, before, edits);
          nodes.keep(edited.nodes);
          root = edited.root;
          const built = buildTree(entriesOf(model));
          expect(root).toBe(built.root);
          // Neither less than what is missing nor anything else.
          const missing = [...built.nodes.keys()].filter((id) => !had.has(id));
          expect([...edited.nodes.keys()].sort()).toEqual(missing.sort());
          expect(await reached(nodes, root)).toEqual(new Set(built.nodes.keys()));
          const expected = [...new Set([...old.keys(), ...model.keys()])]
            .sort()
            .map((key) => [key, asText(old.get(key)), asText(model.get(key))])
            .filter(([, before, after]) => before !== after)
            .map((change) => change.join(" "));
          expect(await changes(nodes, before, root)).toEqual(expected);
        }
        expect(await scanned(nodes, root)).toEqual(lines(entriesOf(model)));
        expect(await countTreeEntries(nodes, root)).toBe(model.size);
        // And the other way round: every key goes again.
        const gone = await editTree(
          nodes,
          root,
          [...model.keys()].map((key) => ({ key: Buffer.from(key, "latin1"), value: undefined })),
        );
        expect(gone).toEqual({ root: undefined, nodes: new Map() });
      }),
      { numRuns: 60 },
    );
  });

  it("answer for every key and every range as the map does", async () => {
    const nodes = new Nodes();
    await fc.assert(
      fc.asyncProperty(EDITS, KEYS, fc.array(KEYS), async (edits, bound, keys) => {
        const model: Model = new Map();
        applyTo(model, edits);
        const entries = entriesOf(model);
        const { root, nodes: made } = buildTree(entries);
        nodes.keep(made);
        const found = await lookUpInTree(nodes, root, keys);
        expect(found.map(asText)).toEqual(keys.map((key) => asText(model.get(key.toString("latin1")))));
        const from = entries.filter(({ key }) => Buffer.compare(key, bound) >= 0);
        expect(await scanned(nodes, root, { from: bound })).toEqual(lines(from));
        expect(await scanned(nodes, root, { after: bound })).toEqual(
          lines(from.filter(({ key }) => !key.equals(bound))),
        );
        for (const prefix of [
          bound,
          bound.subarray(0, 1),
          Buffer.from([0xff]),
          Buffer.from("refs/heads/topic-1"),
        ]) {
          const so = entries.filter(({ key }) => key.subarray(0, prefix.length).equals(prefix));
          expect(await scanned(nodes, root, { prefix })).toEqual(lines(so));
          expect(await scanned(nodes, root, { prefix, from: bound })).toEqual(
            lines(so.filter(({ key }) => Buffer.compare(key, bound) >= 0)),
          );
        }
      }),
      { numRuns: 80 },
    );
  });

  it("stop a scan where they are told to", async () => {
    const nodes = new Nodes();
    const { root, nodes: made } = buildTree(manyRefs(5000));
    nodes.keep(made);
    nodes.reset();
    const seen: string[] = [];
    await scanTree(nodes, root, { prefix: Buffer.from("refs/heads/") }, (key) => {
      seen.push(key.toString());
      return seen.length < 3;
    });
    expect(seen).toEqual(["refs/heads/topic-000000", "refs/heads/topic-000001", "refs/heads/topic-000002"]);
    expect(nodes.nodesRead).toBeLessThan(20);
  });

  it("refuse entries that are not in order, keys edited twice, and what is too long", async () => {
    const entry = (key: string, length = 0): TreeEntry => ({
      key: Buffer.from(key),
      value: Buffer.alloc(length),
    });
    expect(() => buildTree([entry("b"), entry("a")])).toThrow("not in order");
    expect(() => buildTree([entry("a"), entry("a")])).toThrow("not in order");
    expect(() => editTree(new Nodes(), undefined, [entry("a"), entry("a")])).toThrow("edited twice");
    expect(() => buildTree([entry("a", 65_537)])).toThrow("at most 65536");
    expect(() => buildTree([entry("a".repeat(16_385))])).toThrow("at most 16384");
    expect(buildTree([entry("a".repeat(16_384), 65_536)]).nodes.size).toBe(1);
  });
});

function oidOf(name: string): Buffer {
  return createHash("sha1").update(name).digest();
}

function* manyRefs(count: number): Generator<TreeEntry> {
  for (let i = 0; i < count; i++) {
    const name = `refs/heads/topic-${String(i).padStart(6, "0")}`;
    yield { key: Buffer.from(name), value: Buffer.concat([Buffer.of(1), oidOf(name)]) };
  }
}

describe("what is touched", () => {
  const nodes = new Nodes();
  const big = buildTree(manyRefs(50_000));
  nodes.keep(big.nodes);
  const edit = (number: number, value: string | undefined): TreeEdit => ({
    key: Buffer.from(`refs/heads/topic-${String(number).padStart(6, "0")}`),
    value: value === undefined ? undefined : Buffer.concat([Buffer.of(1), oidOf(value)]),
  });

  it("are nodes of about 4 KiB, few levels", () => {
    const sizes = [...big.nodes.values()].map(({ length }) => length);
    const mean = sizes.reduce((a, b) => a + b) / sizes.length;
    expect(mean).toBeGreaterThan(2000);
    expect(mean).toBeLessThan(5000);
    expect(Math.max(...sizes)).toBeLessThan(32 * 1024);
    expect(parseTreeNode(big.nodes.get(big.root as NodeId) as Buffer).level).toBeLessThanOrEqual(3);
  });

  it("is one path for one edit", async () => {
    for (const change of [edit(25_000, "other"), edit(25_001, undefined), edit(60_000, "new")]) {
      nodes.reset();
      const edited = await editTree(nodes, big.root, [change]);
      expect(edited.root).not.toBe(big.root);
      expect(edited.nodes.size).toBeLessThanOrEqual(6);
      expect(nodes.nodesRead).toBeLessThanOrEqual(8);
    }
  });

  it("is nothing for edits that change nothing", async () => {
    for (const change of [edit(60_000, undefined), edit(7, "refs/heads/topic-000007")])
      expect(await editTree(nodes, big.root, [change])).toEqual({ root: big.root, nodes: new Map() });
    expect(await editTree(nodes, big.root, [])).toEqual({ root: big.root, nodes: new Map() });
  });

  it("is read in few round trips for many edits", async () => {
    const edits = Array.from({ length: 2000 }, (_, i) =>
      edit((i * 7919) % 70_000, i % 3 === 0 ? undefined : `v${i}`),
    );
    nodes.reset();
    const edited = await editTree(nodes, big.root, edits);
    nodes.keep(edited.nodes);
    expect(nodes.roundTrips).toBeLessThan(40);
    expect(nodes.largestRead).toBeLessThanOrEqual(256);
    const model: Model = new Map();
    applyTo(model, [...manyRefs(50_000)]);
    applyTo(model, edits);
    expect(edited.root).toBe(buildTree(entriesOf(model)).root);
  });

  it("is what differs, when two trees are compared", async () => {
    const edited = await editTree(nodes, big.root, [
      edit(100, "a"),
      edit(40_000, undefined),
      edit(99_999, "b"),
    ]);
    nodes.keep(edited.nodes);
    nodes.reset();
    const found = await changes(nodes, big.root, edited.root);
    expect(found.map((change) => change.split(" ")[0])).toEqual(
      [100, 40_000, 99_999].map((n) => edit(n, undefined).key.toString()),
    );
    expect(nodes.nodesRead).toBeLessThan(30);
    expect(await changes(nodes, big.root, big.root)).toEqual([]);
  });

  it("is not what was seen before, when nodes are walked", async () => {
    const edited = await editTree(nodes, big.root, [edit(100, "a")]);
    nodes.keep(edited.nodes);
    const seen = await reached(nodes, big.root);
    expect(seen).toEqual(new Set(big.nodes.keys()));
    nodes.reset();
    const fresh: NodeId[] = [];
    const walk = { seen: (id: NodeId) => seen.has(id), visit: (id: NodeId) => void fresh.push(id) };
    await walkNodes(nodes, edited.root, { ...walk, readsLeaves: false });
    expect(fresh.sort()).toEqual([...edited.nodes.keys()].sort());
    expect(nodes.nodesRead).toBe(fresh.length - 1);
  });
});

describe("names that were chosen so that no node ends", () => {
  /** Those of a plain list whose hash is so high that not even a weak end comes of it. */
  function* chosen(count: number): Generator<TreeEntry> {
    for (let i = 0, found = 0; found < count; i++) {
      const key = Buffer.from(`refs/heads/${String(i).padStart(8, "0")}`);
      if (keyHash(key, 0) < 2 ** 31) continue;
      found++;
      yield { key, value: Buffer.alloc(21) };
    }
  }

  it("make no node that is too large, and the same tree from any side", async () => {
    const entries = [...chosen(20_000)];
    const built = buildTree(entries);
    expect(Math.max(...[...built.nodes.values()].map(({ length }) => length))).toBeLessThan(64 * 1024);
    const nodes = new Nodes();
    nodes.keep(buildTree(entries.slice(1)).nodes);
    const edited = await editTree(nodes, buildTree(entries.slice(1)).root, entries.slice(0, 1));
    expect(edited.root).toBe(built.root);
    // All of it is written again, which is as much as there is; but it is not read one by one.
    expect(nodes.nodesRead).toBeGreaterThan(10);
    expect(nodes.roundTrips).toBeLessThan(10);
  });
});

describe("nodes that are none", () => {
  const leaf = formatTreeNode({ level: 0, keys: [Buffer.from("a")], values: [Buffer.from("b")] });
  const id = nodeIdOf(leaf);

  const refusal = (work: () => unknown): string => {
    try {
      work();
    } catch (error) {
      if (isGitwharfError(error, "storage/corrupt")) return error.message;
      throw error;
    }
    return "taken";
  };

  it("are refused by their name", () => {
    expect(checkNode(id, leaf)).toBe(leaf);
    const other = Buffer.from(leaf);
    other[10] = 0x63;
    expect(refusal(() => checkNode(id, other))).toContain("do not hash to its name");
    expect(refusal(() => checkNode(id, undefined))).toContain("not there");
    expect(refusal(() => checkNode(id, Buffer.alloc(256 * 1024 + 1)))).toContain("bytes");
    const empty = new Nodes();
    expect(refusal(() => void scanTree(empty, id, {}, () => undefined))).toContain("not there");
  });

  it.each([
    ["cut short", "67777431000100056161", "too early"],
    ["of another type", "67777231000100016100", "another type"],
    ["with bytes behind its end", "677774310001000161016200", "follow its end"],
    ["empty", "677774310000", "it is empty"],
    ["that claim many entries", "6777743100ffff03", "the most is"],
    ["with a number that is longer than need be", "67777431008100000161016200", "longer than need be"],
    ["with a first key that shares bytes", "677774310001010161016200", "the most is 0"],
    ["with a key twice", "67777431000200016100010000", "keys are not in order"],
    ["with keys out of order", "6777743100020001620000016100", "keys are not in order"],
    ["with a prefix that is written again", "677774310002000161000002616200", "keys are not in order"],
    ["of a high level", "67777431310100016100", "level is 49"],
    ["of children without names", "67777431010100016100", "another length"],
  ])("are refused when %s", (_, hex, why) => {
    const bytes = Buffer.from(hex, "hex");
    expect(refusal(() => parseTreeNode(bytes))).toContain(why);
  });

  it("are refused before keys that share long prefixes fill the memory", () => {
    const long = Buffer.alloc(16_384, "k");
    const keys = Array.from({ length: 200 }, (_, i) =>
      Buffer.concat([long.subarray(0, 16_383), Buffer.of(i)]),
    );
    const bytes = formatTreeNode({ level: 0, keys, values: keys.map(() => Buffer.alloc(0)) });
    expect(bytes.length).toBeLessThan(20_000);
    expect(refusal(() => parseTreeNode(bytes))).toContain("entries are too large");
  });

  it("are refused when they are not what their parent says", async () => {
    const nodes = new Nodes();
    const child = (change: object): NodeId => {
      const reference = { id, level: 0, lastKey: Buffer.from("a"), entryCount: 1, ...change };
      const parent = formatTreeNode({
        level: reference.level + 1,
        keys: [reference.lastKey],
        values: [formatChild(reference)],
      });
      nodes.kept.set(nodeIdOf(parent), parent);
      return nodeIdOf(parent);
    };
    nodes.kept.set(id, leaf);
    expect(await scanned(nodes, child({}))).toHaveLength(1);
    for (const change of [{ lastKey: Buffer.from("b") }, { entryCount: 2 }, { level: 1 }])
      expect(refusal(() => void scanTree(nodes, child(change), {}, () => undefined))).toContain(
        "its parent says",
      );
  });
});

/** Bytes that must not change: roots that are kept somewhere have been made of them. */
describe("the format", () => {
  it("of a leaf", () => {
    const keys = ["a/b", "a/c"].map((key) => Buffer.from(key));
    const bytes = formatTreeNode({ level: 0, keys, values: [Buffer.from("x"), Buffer.alloc(0)] });
    expect(bytes.toString("hex")).toBe("67777431" + "0002" + "0003612f620178" + "02016300");
    expect(parseTreeNode(bytes)).toEqual({ level: 0, keys, values: [Buffer.from("x"), Buffer.alloc(0)] });
  });

  it("of an inner node", () => {
    const leafBytes = Buffer.from("6777743100010001610162", "hex");
    const bytes = formatTreeNode({
      level: 1,
      keys: [Buffer.from("a")],
      values: [formatChild({ id: nodeIdOf(leafBytes), level: 0, lastKey: Buffer.from("a"), entryCount: 1 })],
    });
    expect(bytes.toString("hex")).toBe(`67777431010100016126${nodeIdOf(leafBytes)}000000000001`);
  });

  it("of whole trees: the rule for the end of a node", () => {
    expect(keyHash(Buffer.alloc(0), 0)).toBe(2_872_998_923);
    expect(keyHash(Buffer.from("refs/heads/main"), 0)).toBe(3_216_369_430);
    expect(keyHash(Buffer.from("refs/heads/main"), 1)).toBe(2_112_503_253);
    expect(buildTree([{ key: Buffer.from("a"), value: Buffer.from("b") }]).root).toBe(
      "71d2b5fb45c8972a50861414a13fb6eb3444c13d182dbd75e4a0a01bc8b909f5",
    );
    expect(buildTree(manyRefs(10_000)).root).toBe(
      "c2977805c3d3e40abeb44681d32224d65002bc2e7f4e5834041704a7e1c5146d",
    );
  });
});
