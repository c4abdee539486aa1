/** ROOT, refs and packs as bytes: golden ones, round trips, damaged ones. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isGitwharfError } from "../../../base/errors.js";
import type { RecordedPush } from "../../../pack/recorded-push.js";
import { compareRefNames } from "../../refs/ref-order.js";
import { changeRefState, type RefState, type RefValue, sameRefState } from "../../refs/ref-state.js";
import { nodeIdOf, nodesInMemory } from "./node.js";
import {
  formatPackLeaf,
  packKey,
  type PackLeaf,
  packObjectBytes,
  packPart,
  packSequenceOf,
  parsePackLeaf,
  sideObjectBytes,
} from "./pack-leaves.js";
import { buildTree, editTree } from "./prolly-tree.js";
import {
  formatRefValue,
  parseRefValue,
  readChangedRefState,
  readRefState,
  refEdits,
  refEntries,
} from "./ref-values.js";
import { formatRootNode, parseRootNode, type RootNode } from "./root-node.js";

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isGitwharfError(error, "storage/corrupt")) return error.message;
    throw error;
  }
  return "taken";
}

/** Every byte gone, one after the other, and one too many. */
function expectWhole(bytes: Buffer, parse: (bytes: Buffer) => unknown): void {
  for (let length = 0; length < bytes.length; length++)
    expect(refusal(() => parse(bytes.subarray(0, length)))).toContain("corrupt");
  expect(refusal(() => parse(Buffer.concat([bytes, Buffer.of(0)])))).toContain("corrupt");
}

const EMPTY_ROOT: RootNode = {
  generation: 0,
  timeMs: 1_700_000_000_000,
  objectFormat: "sha1",
  head: { kind: "symbolic", target: "refs/heads/main" },
  attributes: new Map(),
};
const FULL_ROOT: RootNode = {
  generation: 2 ** 40 + 1,
  timeMs: 1_800_000_000_001,
  objectFormat: "sha256",
  previousRoot: "11".repeat(32),
  packsRoot: "22".repeat(32),
  refsRoot: "33".repeat(32),
  chunksRoot: "44".repeat(32),
  shallowRoot: "55".repeat(32),
  head: { kind: "direct", ref: { name: "HEAD", oid: "66".repeat(32) } },
  attributes: new Map([
    ["description", "größer"],
    ["a", ""],
  ]),
};

describe("ROOT", () => {
  it("is these bytes", () => {
    expect(formatRootNode(EMPTY_ROOT).toString("hex")).toBe(
      `67777231${"00".repeat(6)}018bcfe568000100` +
        `14${Buffer.from("ref: refs/heads/main").toString("hex")}00`,
    );
    expect(formatRootNode(FULL_ROOT).toString("hex")).toBe(
      `67777231${"010000000001"}01a3185c5001021f` +
        ["11", "22", "33", "44", "55"].map((byte) => byte.repeat(32)).join("") +
        `40${Buffer.from("66".repeat(32)).toString("hex")}` +
        `02016100${"0b6465736372697074696f6e"}08${Buffer.from("größer").toString("hex")}`,
    );
    expect(nodeIdOf(formatRootNode(EMPTY_ROOT))).toBe(
      "e71b76a5ede73e55f35a9b26d13e02a8ddcf8cd365cfad48815447a3a1554bca",
    );
  });

  it("is read as it was written", () => {
    for (const root of [EMPTY_ROOT, FULL_ROOT, { ...EMPTY_ROOT, refsRoot: "ab".repeat(32) }]) {
      const bytes = formatRootNode(root);
      expect(parseRootNode(bytes)).toEqual(root);
      expectWhole(bytes, parseRootNode);
    }
  });

  it("is refused when it says what there is not", () => {
    const changed = (at: number, value: number): Buffer => {
      const bytes = formatRootNode(EMPTY_ROOT);
      bytes[at] = value;
      return bytes;
    };
    expect(refusal(() => parseRootNode(changed(3, 0x32)))).toContain("another type");
    expect(refusal(() => parseRootNode(changed(16, 3)))).toContain("object format");
    expect(refusal(() => parseRootNode(changed(17, 32)))).toContain("unknown kind");
    expect(refusal(() => parseRootNode(changed(19, 0x52)))).toContain("HEAD says nothing");
    expect(refusal(() => parseRootNode(changed(25, 0x20)))).toContain("HEAD names no ref");
    const attributes = Buffer.from("02016200016100", "hex");
    const unordered = Buffer.concat([formatRootNode(EMPTY_ROOT).subarray(0, -1), attributes]);
    expect(refusal(() => parseRootNode(unordered))).toContain("not in order");
    expect(() => formatRootNode({ ...EMPTY_ROOT, head: { kind: "broken" } })).toThrow("broken HEAD");
    expect(() => formatRootNode({ ...EMPTY_ROOT, attributes: new Map([["A", ""]]) })).toThrow("named 'A'");
  });
});

const OID = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const NAMES = fc.oneof(
  fc.constantFrom(
    "refs/heads/main",
    "refs/heads/ä",
    "refs/heads/\u{1f600}",
    "refs/heads/\uffee",
    "refs/tags/v1",
  ),
  fc.nat(200).map((n) => `refs/tags/v${n}`),
);
const OIDS = fc.constantFrom(OID, "0123456789".repeat(4), "ab".repeat(20));
const VALUES: fc.Arbitrary<(name: string) => RefValue> = fc.oneof(
  OIDS.map(
    (oid) =>
      (name: string): RefValue => ({ kind: "direct", ref: { name, oid } }),
  ),
  OIDS.map(
    (oid) =>
      (name: string): RefValue => ({ kind: "direct", ref: { name, oid, peelKnown: true } }),
  ),
  OIDS.map(
    (oid) =>
      (name: string): RefValue => ({ kind: "direct", ref: { name, oid, peeled: OID, peelKnown: true } }),
  ),
  NAMES.map((target) => (): RefValue => ({ kind: "symbolic", target })),
);
const CHANGES = fc
  .array(fc.tuple(NAMES, fc.option(VALUES, { nil: undefined })), { maxLength: 60 })
  .map((pairs) => new Map(pairs.map(([name, value]) => [name, value?.(name)])));
const UNBORN: RefState = {
  head: { kind: "symbolic", target: "refs/heads/main" },
  direct: [],
  symbolic: new Map(),
  broken: new Set(),
};

describe("refs", () => {
  it("are these bytes", () => {
    const direct = { name: "refs/tags/v1", oid: OID };
    const bytes = (value: RefValue): string => formatRefValue(value).toString("hex");
    expect(bytes({ kind: "direct", ref: direct })).toBe(`00${OID}`);
    expect(bytes({ kind: "direct", ref: { ...direct, peelKnown: true } })).toBe(`01${OID}`);
    expect(bytes({ kind: "direct", ref: { ...direct, peeled: "ab".repeat(20), peelKnown: true } })).toBe(
      `02${OID}${"ab".repeat(20)}`,
    );
    expect(bytes({ kind: "symbolic", target: "refs/heads/ä" })).toBe("03726566732f68656164732fc3a4");
    expect(() => formatRefValue({ kind: "broken" })).toThrow("broken");
    expect(() => formatRefValue({ kind: "symbolic", target: "a b" })).toThrow("cannot name");
  });

  it("are refused when damaged", () => {
    const parse = (hex: string): string =>
      refusal(() => parseRefValue("refs/heads/a", Buffer.from(hex, "hex"), "sha1"));
    for (const hex of [
      "",
      "00",
      `00${OID}00`,
      `01${OID.slice(2)}`,
      `02${OID}`,
      `04${OID}`,
      "03",
      "0361",
      "03ff2f61",
    ])
      expect(parse(hex)).toContain("the ref 'refs/heads/a'");
    expect(parse(`00${OID}`)).toBe("taken");
  });

  it("come back from their tree, and after changes from what is different", async () => {
    await fc.assert(
      fc.asyncProperty(CHANGES, CHANGES, async (first, second) => {
        const before = changeRefState(UNBORN, first);
        const built = buildTree(refEntries(before));
        const reader = nodesInMemory(built.nodes);
        const root = { refsRoot: built.root, head: before.head, objectFormat: "sha1" } as const;
        const read = await readRefState(reader, root);
        expect(sameRefState(read, before)).toBe(true);
        expect(read.direct).toEqual(before.direct);

        const head: RefValue = { kind: "direct", ref: { name: "HEAD", oid: OID } };
        const changes = new Map([...second, ["HEAD", head] as const]);
        const after = changeRefState(before, changes);
        const edited = await editTree(reader, built.root, refEdits(changes));
        expect(edited.root).toBe(buildTree(refEntries(after)).root);
        const both = nodesInMemory(new Map([...built.nodes, ...edited.nodes]));
        const next = { ...root, refsRoot: edited.root, head };
        const known = { refsRoot: built.root, state: before };
        for (const state of [await readRefState(both, next), await readChangedRefState(both, known, next)]) {
          expect(sameRefState(state, after)).toBe(true);
          expect(state.direct.map(({ name }) => name)).toEqual(
            after.direct.map(({ name }) => name).toSorted(compareRefNames),
          );
        }
      }),
      { numRuns: 100 },
    );
  });
});

const SMALL: PackLeaf = {
  sequence: 7,
  kind: "joined",
  source: "push",
  level: 0,
  key: "l/ab/1.l0",
  sha256: "11".repeat(32),
  objectCount: 3,
  packBytes: 288,
  trailer: "22".repeat(20),
  parts: [{ name: "index", offset: 288, sizeBytes: 1104 }],
};
const BASE: PackLeaf = {
  sequence: 2 ** 40,
  kind: "separate",
  source: "gc",
  level: 9,
  key: "p/ab/2.pack",
  sha256: "33".repeat(32),
  sideKey: "p/ab/2.side",
  sideSha256: "44".repeat(32),
  objectCount: 400_000,
  packBytes: 2 ** 35,
  trailer: "55".repeat(20),
  parts: [
    { name: "commit-graph", offset: 0, sizeBytes: 1000 },
    { name: "index", offset: 1000, sizeBytes: 2 ** 33 },
    { name: "bitmap", offset: 1000 + 2 ** 33, sizeBytes: 0 },
  ],
  closureOf: "66".repeat(32),
};
const RECORDED: PackLeaf = {
  ...SMALL,
  recordedPush: {
    roots: ["77".repeat(20), "88".repeat(20)],
    grounds: ["99".repeat(20)],
    sentCount: 2,
    sentDeltas: 1,
    sentEnd: 260,
  },
};

const UNREACHABLE: PackLeaf = {
  ...SMALL,
  source: "gc-unreachable",
  unreachableSinceMs: 1_795_000_000_000,
};

/** Some of its bytes are chunks. */
const SPLICED: PackLeaf = {
  ...SMALL,
  packBytes: 2_000_000,
  ownBytes: 400,
  parts: [{ name: "index", offset: 400, sizeBytes: 1104 }],
};

describe("pack leaves", () => {
  it("are these bytes", () => {
    expect(formatPackLeaf(SPLICED).toString("hex")).toBe(
      `02010008${"11".repeat(32)}${"22".repeat(20)}0380897a9003096c2f61622f312e6c30` + "0101d008",
    );
    expect(formatPackLeaf(SMALL).toString("hex")).toBe(
      `02010000${"11".repeat(32)}${"22".repeat(20)}03a002096c2f61622f312e6c30` + "0101d008",
    );
    expect(formatPackLeaf(BASE).toString("hex")).toBe(
      `01030901${"33".repeat(32)}${"44".repeat(32)}${"66".repeat(32)}${"55".repeat(20)}80b518808080808001` +
        `0b${Buffer.from(BASE.key).toString("hex")}0b${Buffer.from(BASE.sideKey as string).toString("hex")}` +
        "0304e807018080808020" +
        "0300",
    );
    expect(formatPackLeaf(RECORDED).toString("hex")).toBe(
      `02010002${"11".repeat(32)}${"22".repeat(20)}03a002096c2f61622f312e6c30` +
        `0101d00802${"77".repeat(20)}${"88".repeat(20)}01${"99".repeat(20)}02018402`,
    );
    expect(formatPackLeaf(UNREACHABLE).toString("hex")).toBe(
      `02060004${"11".repeat(32)}${"22".repeat(20)}80bcd9f29e3403a002096c2f61622f312e6c30` + "0101d008",
    );
    expect(packKey(2 ** 40).toString("hex")).toBe("0000010000000000");
  });

  it("are read as they were written", () => {
    for (const leaf of [SMALL, BASE, RECORDED, UNREACHABLE, SPLICED]) {
      const bytes = formatPackLeaf(leaf);
      const parse = (some: Buffer): PackLeaf =>
        parsePackLeaf(packSequenceOf(packKey(leaf.sequence)), some, "sha1");
      expect(parse(bytes)).toEqual(leaf);
      expectWhole(bytes, parse);
    }
    expect(packPart(SMALL, "index")).toEqual({ key: SMALL.key, start: 288, end: 1392 });
    expect(packPart(BASE, "index")).toEqual({ key: BASE.sideKey, start: 1000, end: 1000 + 2 ** 33 });
    expect(packPart(SMALL, "bitmap")).toBeUndefined();
    expect([SMALL, BASE, SPLICED].map(packObjectBytes)).toEqual([1392, 2 ** 35, 1504]);
    expect([SMALL, BASE].map(sideObjectBytes)).toEqual([undefined, 1000 + 2 ** 33]);
  });

  it("are refused when they say what there is not", () => {
    const changed = (at: number, value: number): string => {
      const bytes = formatPackLeaf(SMALL);
      bytes[at < 0 ? bytes.length + at : at] = value;
      return refusal(() => parsePackLeaf(7, bytes, "sha1"));
    };
    expect(changed(0, 3)).toContain("unknown value");
    expect(changed(1, 0)).toContain("unknown value");
    expect(changed(2, 64)).toContain("level is 64");
    expect(changed(3, 16)).toContain("unknown flags");
    const { recordedPush } = RECORDED;
    for (const record of [
      { ...recordedPush, sentCount: 4 },
      { ...recordedPush, sentDeltas: 3 },
      { ...recordedPush, sentEnd: 289 },
      { ...recordedPush, roots: Array.from({ length: 17 }, () => "77".repeat(20)) },
      { ...recordedPush, grounds: Array.from({ length: 33 }, () => "99".repeat(20)) },
    ]) {
      const bytes = formatPackLeaf({ ...SMALL, recordedPush: record as RecordedPush });
      expect(refusal(() => parsePackLeaf(7, bytes, "sha1"))).toContain("pack 7");
    }
    expect(changed(-3, 2)).toContain("no index");
    expect(changed(-4, 0)).toContain("no index");
    expect(refusal(() => packSequenceOf(Buffer.alloc(7)))).toContain("7 bytes");
    expect(refusal(() => packSequenceOf(Buffer.alloc(8, 0xff)))).toContain("too large");
    expect(() => formatPackLeaf({ ...SMALL, sideKey: "x" })).toThrow("does not go with its keys");
    expect(() => formatPackLeaf({ ...SMALL, parts: [{ name: "index", offset: 0, sizeBytes: 1 }] })).toThrow(
      "gaps",
    );
  });
});
