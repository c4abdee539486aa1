import { afterAll, describe, expect, test } from "vitest";
import { deflateSync } from "node:zlib";
import { createHash } from "node:crypto";
import { DeltaBuilder } from "../../pack/delta-encode.js";
import { formatEntryHeader } from "../../pack/entry-header.js";
import { collectClosure } from "./closure.js";
import { openGitDirectory } from "./git-directory.test.support.js";
import { growSeed } from "./grow-seed.js";
import { createCommitReader } from "./commit-reader.js";
import {
  createRandom,
  createTestRepository,
  importHistory,
  revList,
  type TestDirectory,
} from "./history.test.support.js";
import { ObjectSpace } from "./object-space.js";
import { type ReachableSet, toReachableSet } from "./reachable-set.js";
import { unlimitedBudget } from "./work-budget.js";

const removals: (() => void)[] = [];
afterAll(() => {
  for (const remove of removals) remove();
});

async function closureOf(
  source: TestDirectory,
  roots: readonly string[],
  surveyFrom = 1,
): Promise<Set<string>> {
  const snapshot = openGitDirectory(source.path, { blocking: true });
  try {
    const space = new ObjectSpace(snapshot.objects);
    const { reached } = await collectClosure({
      space,
      roots,
      cutAt: new Set(),
      budget: unlimitedBudget(),
      surveyFrom,
    });
    const oids = new Set<string>();
    reached.forEach((ordinal) => oids.add(space.oidOf(ordinal)));
    expect(oids.size).toBe(reached.size);
    return oids;
  } finally {
    snapshot.release();
  }
}

describe.each(["sha1", "sha256"] as const)(
  "%s: a closure over surveyed packs is git's rev-list",
  (format) => {
    test.each([1, 2, 4])("seed %i", async (seed) => {
      const source = createTestRepository(format);
      removals.push(source.remove);
      const commits = importHistory(source, { seed: seed + 50, commits: 80 });
      const random = createRandom(seed);
      // One pack with long chains; two that overlap; some objects loose.
      source.git(["repack", "-a", "-d", "-f", "-q", "--depth=40", "--window=30"]);
      if (seed % 2 === 0) {
        const more = importHistory(source, { seed: seed + 90, commits: 30 });
        source.git(["repack", "-d", "-q", "-f"]);
        source.git(
          ["pack-objects", "-q", "--revs", `${source.path}/objects/pack/pack`],
          `${more.at(-1)}\n${commits.at(5)}\n`,
        );
      }
      if (seed === 3) source.git(["commit-graph", "write", "--reachable"]);
      const tags = source.git(["for-each-ref", "--format=%(objectname)", "refs/tags"]).trim().split("\n");
      for (let round = 0; round < 4; round++) {
        const roots = Array.from({ length: 1 + random(3) }, () => commits[random(commits.length)] as string);
        if (round % 2 === 1) roots.push(tags[random(tags.length)] as string);
        const expected = [...revList(source, roots)].sort();
        expect([...(await closureOf(source, roots))].sort()).toEqual(expected);
        expect([...(await closureOf(source, roots, 200))].sort()).toEqual(expected);
      }
    });
  },
);

test("a set grows by what was pushed, and only when all of it is still wanted", async () => {
  const source = createTestRepository();
  removals.push(source.remove);
  const commits = importHistory(source, { seed: 7, commits: 60 });
  source.git(["repack", "-a", "-d", "-q"]);
  const old = commits[40] as string;
  const grow = async (seed: ReachableSet, wants: readonly string[]): ReturnType<typeof growSeed> => {
    const snapshot = openGitDirectory(source.path, { blocking: true });
    removals.push(snapshot.release);
    const space = new ObjectSpace(snapshot.objects);
    return growSeed({
      space,
      seed,
      wants,
      commits: wants,
      reader: createCommitReader(snapshot.objects),
      budget: unlimitedBudget(),
    });
  };
  const snapshot = openGitDirectory(source.path, { blocking: true });
  removals.push(snapshot.release);
  const space = new ObjectSpace(snapshot.objects);
  const { reached, heads } = await collectClosure({
    space,
    roots: [old],
    cutAt: new Set(),
    budget: unlimitedBudget(),
  });
  const seed = toReachableSet(space, reached, heads);
  const tree = source.git(["rev-parse", `${old}^{tree}`]).trim();
  const child = source.git(["commit-tree", tree, "-p", old, "-m", "pushed"]).trim();
  const grown = await grow(seed, [child]);
  expect(grown?.commits.map((c) => c.oid)).toEqual([child]);
  expect(grown?.reached.size).toBe(reached.size);
  expect((await grow(seed, [old]))?.commits).toEqual([]);
  // A parent of what the set was made from does not lead to all of it.
  expect(await grow(seed, [source.git(["rev-parse", `${old}^`]).trim()])).toBeUndefined();
  // A larger pack may come in front, or the set's pack may go.
  source.git(["repack", "-a", "-d", "-q", "-f"]);
  importHistory(source, { seed: 8, commits: 90 });
  expect(await grow(seed, [child])).toBeUndefined();
});

/** A pack with entries as they are given, stored and indexed by git. */
function storePack(
  target: TestDirectory,
  entries: readonly { type: number; data: Buffer; base?: number }[],
): void {
  const parts: Buffer[] = [Buffer.from("PACK\0\0\0\x02\0\0\0\0", "latin1")];
  (parts[0] as Buffer).writeUInt32BE(entries.length, 8);
  const offsets: number[] = [];
  let at = 12;
  for (const { type, data, base } of entries) {
    const head =
      base === undefined
        ? formatEntryHeader(type as 1 | 2 | 3, data.length)
        : formatEntryHeader(6, data.length, at - (offsets[base] as number));
    const packed = Buffer.concat([head, deflateSync(data)]);
    offsets.push(at);
    at += packed.length;
    parts.push(packed);
  }
  const body = Buffer.concat(parts);
  target.git(["index-pack", "--stdin"], Buffer.concat([body, createHash("sha1").update(body).digest()]));
}

const oidOf = (type: string, data: Buffer): string =>
  createHash("sha1").update(`${type} ${data.length}\0`).update(data).digest("hex");

test("a delta that makes a reference out of the bytes of a name is seen through", async () => {
  const source = createTestRepository();
  removals.push(source.remove);
  // The id must hold no NUL and no slash to stand in a name.
  let hidden: Buffer = Buffer.alloc(0);
  let hiddenId = "00";
  for (let i = 0; Buffer.from(hiddenId, "hex").some((byte) => byte === 0 || byte === 0x2f); i++) {
    hidden = Buffer.from(`hidden ${i}`);
    hiddenId = oidOf("blob", hidden);
  }
  const shown = Buffer.from("shown");
  const shownRaw = Buffer.from(oidOf("blob", shown), "hex");
  const hiddenRaw = Buffer.from(hiddenId, "hex");
  // The base: a name that spells the hidden id. It does not refer to it.
  const base = Buffer.concat([
    Buffer.from("100644 a\0"),
    shownRaw,
    Buffer.from("100644 b"),
    hiddenRaw,
    Buffer.from("\0"),
    shownRaw,
  ]);
  // The delta's tree: `100644 a\0` and the id, both copied from the base, and nothing put in.
  const target = Buffer.concat([Buffer.from("100644 a\0"), hiddenRaw]);
  const delta = new DeltaBuilder(64);
  delta.size(base.length);
  delta.size(target.length);
  delta.copy(0, 9);
  delta.copy(9 + 20 + 8, 20);
  const commit = (tree: Buffer): Buffer =>
    Buffer.from(
      `tree ${oidOf("tree", tree)}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\n${tree.length}\n`,
    );
  storePack(source, [
    { type: 1, data: commit(base) },
    { type: 1, data: commit(target) },
    { type: 3, data: hidden },
    { type: 3, data: shown },
    { type: 2, data: base },
    { type: 2, data: delta.finish(), base: 4 },
  ]);
  const ofBase = oidOf("commit", commit(base));
  const ofTarget = oidOf("commit", commit(target));
  expect((await closureOf(source, [ofBase])).has(hiddenId), "a name is no reference").toBe(false);
  expect((await closureOf(source, [ofTarget])).has(hiddenId), "the base is not reached").toBe(true);
  expect((await closureOf(source, [ofBase, ofTarget])).has(hiddenId), "the base is reached").toBe(true);
});
