/** Trees made from trees: whatever the delta, the outline is that of the tree, and copies are copies. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { createFsckState, checkObject } from "../../object/fsck/object-fsck.js";
import type { FsckPolicy } from "../../object/fsck/fsck-message.js";
import { hashObject } from "../../object/object-id.js";
import { applyDelta } from "../../pack/delta.js";
import { createDeltaIndex, encodeDelta } from "../../pack/delta-encode.js";
import { makeDelta } from "./ingest.test.support.js";
import { TreeChecker } from "./tree-check.js";
import { OutlineDeriver, outlineTree } from "./tree-outline.js";

interface Entry {
  readonly mode: string;
  readonly name: string;
  readonly id: number;
}

const names = fc.oneof(
  fc.stringMatching(/^[a-c]{1,3}(\.[a-c])?$/),
  fc.constantFrom(
    "a",
    "a.b",
    "a-b",
    "ab",
    ".git",
    ".gitmodules",
    ".gitattributes",
    ".gitignore",
    "GIT~1",
    ".",
    "..",
    "a\\b",
    "ä",
    ".GIT",
    "x:y",
  ),
);
const modes = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom("100644", "40000", "100755", "120000", "160000") },
  { weight: 1, arbitrary: fc.constantFrom("040000", "100664", "100600", "0", "777") },
);
const entry: fc.Arbitrary<Entry> = fc.record({ mode: modes, name: names, id: fc.nat(40) });

function format(entries: readonly Entry[]): Buffer {
  return Buffer.concat(
    entries.map(({ mode, name, id }) => {
      const oid = Buffer.alloc(20, id === 0 ? 0 : 200);
      if (id > 0) oid[5] = id;
      return Buffer.concat([Buffer.from(`${mode} ${name}\0`), oid]);
    }),
  );
}

/** In git's order, without duplicates. */
function inOrder(entries: readonly Entry[]): Entry[] {
  const key = ({ mode, name }: Entry): Buffer => Buffer.from(mode === "40000" ? `${name}/` : name);
  const byName = new Map(entries.map((e) => [e.name, e]));
  return [...byName.values()].sort((a, b) => Buffer.compare(key(a), key(b)));
}

const trees = fc.oneof(fc.array(entry, { maxLength: 30 }).map(inOrder), fc.array(entry, { maxLength: 12 }));

const POLICY: FsckPolicy = { severities: new Map(), skipList: new Set(), strict: true };

function deltaOf(base: Buffer, target: Buffer): Buffer {
  const index = createDeltaIndex(base);
  const delta = index === undefined ? undefined : encodeDelta(index, target, 1 << 20);
  return delta ?? makeDelta(base.length, inserts(target));
}

function inserts(bytes: Buffer): string[] {
  return Array.from({ length: Math.ceil(bytes.length / 100) }, (_, i) =>
    bytes.toString("latin1", i * 100, (i + 1) * 100),
  );
}

test("outline and verdict of a derived tree are those of the tree itself", () => {
  const deriver = new OutlineDeriver("sha1");
  let copies = 0;
  fc.assert(
    fc.property(trees, trees, fc.array(fc.tuple(fc.nat(30), fc.nat(30))), (baseEntries, more, splices) => {
      const base = format(baseEntries);
      // Mostly the base's own entries, cut and joined anew, with some others between.
      const mixed = splices
        .flatMap(([from, length]) => baseEntries.slice(from, from + length))
        .concat(more.slice(0, 3));
      for (const targetEntries of [mixed, inOrder(mixed), more]) {
        const target = format(targetEntries);
        if (base.length === 0) continue;
        const delta = deltaOf(base, target);
        expect(applyDelta(base, delta)).toEqual(target);
        const baseStarts = outlineTree(base, "sha1");
        deriver.derive(baseStarts, delta, target);
        expect([...deriver.starts]).toEqual([...outlineTree(target, "sha1")]);
        // What is not fresh is an entry of the base.
        const own = new Set(baseEntries.map((e) => format([e]).toString("latin1")));
        const fresh = new Set(deriver.fresh);
        copies += targetEntries.length - fresh.size;
        targetEntries.forEach((e, i) => {
          if (!fresh.has(i)) expect(own.has(format([e]).toString("latin1"))).toBe(true);
        });
        compareVerdicts(base, target, deriver);
      }
    }),
    { numRuns: 400 },
  );
  expect(copies).toBeGreaterThan(1000);
});

test("a derived outline is that of the tree, or none, whatever bytes a delta joins", () => {
  const deriver = new OutlineDeriver("sha1");
  const part = fc.oneof(
    { weight: 3, arbitrary: fc.tuple(fc.nat(), fc.nat()) },
    { weight: 1, arbitrary: entry.map((e) => format([e])) },
    {
      weight: 1,
      arbitrary: fc.uint8Array({ minLength: 1, maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
    },
  );
  const aligned = fc.tuple(fc.nat(30), fc.nat(30));
  let derived = 0;
  fc.assert(
    fc.property(
      trees,
      fc.array(
        fc.oneof(
          part,
          aligned.map((range) => ({ range })),
        ),
        { maxLength: 8 },
      ),
      (entries, parts) => {
        const base = format(entries);
        if (base.length === 0) return;
        const starts = outlineTree(base, "sha1");
        const pieces = parts.flatMap((p): (string | readonly [number, number])[] => {
          if (Buffer.isBuffer(p)) return inserts(p);
          if ("range" in p) {
            const from = starts[p.range[0] % starts.length] ?? 0;
            const to = starts[p.range[1] % starts.length] ?? 0;
            return from < to ? [[from, to - from]] : [];
          }
          const from = p[0] % base.length;
          return [[from, 1 + (p[1] % (base.length - from))]];
        });
        const delta = makeDelta(base.length, pieces);
        const target = applyDelta(base, delta);
        let expected: readonly number[] | undefined;
        try {
          expected = [...outlineTree(target, "sha1")];
        } catch {
          expect(() => deriver.derive(starts, delta, target)).toThrow(/a tree's entry/);
          return;
        }
        deriver.derive(starts, delta, target);
        expect([...deriver.starts]).toEqual(expected);
        derived++;
      },
    ),
    { numRuns: 3000 },
  );
  expect(derived).toBeGreaterThan(300);
});

function compareVerdicts(base: Buffer, target: Buffer, deriver: OutlineDeriver): void {
  const baseState = createFsckState();
  const checker = new TreeChecker("sha1", POLICY, baseState);
  const oidOf = (data: Buffer) => () => hashObject("sha1", "tree", data);
  const baseVerdict = checker.checkWhole({ data: base, starts: outlineTree(base, "sha1"), oid: oidOf(base) });
  expect(baseVerdict.findings).toEqual(check(base).findings);
  const facts = { data: target, starts: deriver.starts, oid: oidOf(target) };
  const expected = check(target);
  const whole = checker.checkWhole(facts);
  expect(whole.findings).toEqual(expected.findings);
  expect(whole.clean).toBe(expected.findings.length === 0);
  if (!baseVerdict.clean) return;
  const state = createFsckState();
  const derived = new TreeChecker("sha1", POLICY, state).checkDerived(facts, deriver.fresh, deriver.runs);
  expect(derived.findings).toEqual(expected.findings);
  expect(derived.clean).toBe(expected.findings.length === 0);
  // Blobs to look at: those of the base, and those that came anew.
  for (const oid of expected.state.gitmodules)
    expect(state.gitmodules.has(oid) || baseState.gitmodules.has(oid)).toBe(true);
  for (const oid of expected.state.gitattributes)
    expect(state.gitattributes.has(oid) || baseState.gitattributes.has(oid)).toBe(true);
}

function check(data: Buffer) {
  const state = createFsckState();
  const oid = hashObject("sha1", "tree", data);
  return {
    state,
    findings: checkObject({ type: "tree", oid, data, objectFormat: "sha1", policy: POLICY, state }),
  };
}

test("a delta that shifts bytes makes no false copies", () => {
  // The name of the second entry holds what looks like an entry of the base.
  const base = format([
    { mode: "100644", name: "a", id: 1 },
    { mode: "100644", name: "b", id: 2 },
  ]);
  const oid = Buffer.alloc(20, 3);
  const target = Buffer.concat([Buffer.from("100644 x"), Buffer.from("100644 a\0"), oid]);
  const made = makeDelta(base.length, ["100644 x", [0, 9], oid.toString("latin1")]);
  expect(applyDelta(base, made)).toEqual(target);
  const deriver = new OutlineDeriver("sha1");
  deriver.derive(outlineTree(base, "sha1"), made, target);
  expect([...deriver.starts]).toEqual([0, target.length]);
  expect(deriver.fresh).toEqual([0]);
});

test.each([
  ["a mode that is not octal", "10x644 a\0"],
  ["no mode", " a\0"],
  ["an endless mode", "000000000100644 a\0"],
  ["no name", "100644 \0"],
])("%s is malformed", (_, head) => {
  const data = Buffer.concat([Buffer.from(head), Buffer.alloc(20, 1)]);
  expect(() => outlineTree(data, "sha1")).toThrow(/tree's entry/);
  expect(() => outlineTree(Buffer.from("100644 abc"), "sha1")).toThrow(/not whole/);
});
