/** The multi-pack-index of a repository on disk and its bitmaps: made by us, judged by git, read by our own planning. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { closeWorkerPool } from "../../base/worker-pool.js";
import { PackBitmap } from "../../pack/bitmap.js";
import { MultiPackIndex } from "../../pack/multi-pack-index.js";
import { openObjectReader } from "../../storage/object-database.js";
import type { Repository, Snapshot } from "../../storage/contracts/repository.js";
import { openDiskRepositoryAt } from "../../storage/disk/disk-repository-store.js";
import { ManyPacksBitOrder } from "../fetch/bit-order.js";
import { closeOverBitmap, openBitmap, typesOfBitmap } from "../fetch/bitmap-closure.js";
import { createCommitReader } from "../fetch/commit-reader.js";
import { ObjectSpace } from "../fetch/object-space.js";
import { unlimitedBudget } from "../fetch/work-budget.js";
import { planPack } from "../pack-plan.js";
import { createPlanCache } from "../plan-cache.js";
import { foldPacks } from "./fold-packs.js";
import { refreshMultiPackIndex } from "./refresh-multi-pack-index.js";
import { bitmapTipsOf, refreshBitmap } from "./refresh-side-files.js";
import {
  importHistory,
  type MadeRepository,
  makeRepository,
  sharedBytes,
  tipsOf,
} from "./side-files.test.support.js";

let made: MadeRepository;
let repository: Repository;
const start = async (format: "sha1" | "sha256", commits: number): Promise<void> => {
  made = makeRepository(format);
  importHistory(made, format, commits);
  made.git("", "repack", "-adq", "--no-write-bitmap-index");
  // The first commits once more, as deltas upon each other in another way.
  const early = made.git("", "rev-list", "--objects", "--no-object-names", "b0~12");
  made.git(`${early}\n`, "pack-objects", "-q", "--no-reuse-delta", "--depth=9", pathOf("pack"));
  repository = await openDiskRepositoryAt(made.directory, { durability: "none" });
};
beforeEach(() => start("sha1", 160));
afterEach(async () => {
  await repository.close();
  execFileSync("rm", ["-rf", made.directory]);
});
afterAll(closeWorkerPool);

const pathOf = (name: string): string => join(made.directory, "objects/pack", name);
const files = (pattern: RegExp): string[] => readdirSync(pathOf("")).filter((name) => pattern.test(name));
const packs = (): string[] => files(/\.pack$/);
const bitmaps = (): string[] => files(/^multi-pack-index-.*\.bitmap$/);
const leftovers = (): string[] =>
  readdirSync(made.directory, { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.lock$|tmp_|gc\.pid/.test(name),
  );
let serial = 0;
/** In a pack of their own, upon the first branch. */
const addCommits = (count: number): void => {
  const lines: string[] = [];
  for (let i = 0; i < count; i++) {
    const text = `${serial++}`;
    lines.push(`commit refs/heads/b0\ncommitter A <a@b> ${1_700_000_000 + i} +0000\ndata 1\nm`);
    if (i === 0) lines.push(`from ${made.git("", "rev-parse", "b0")}`);
    lines.push(`M 100644 inline n${i}\ndata ${text.length}\n${text}`);
  }
  made.git(`${lines.join("\n")}\n`, "-c", "fastimport.unpackLimit=1", "fast-import", "--quiet");
};
const expectSound = (): void => {
  made.git("", "multi-pack-index", "verify", "--no-progress");
  const bytes = readFileSync(pathOf("multi-pack-index"));
  const format = bytes[5] === 2 ? "sha256" : "sha1";
  const index = MultiPackIndex.parse(sharedBytes(bytes), format);
  const bitmap = PackBitmap.parse(readFileSync(pathOf(bitmaps()[0] as string)), index);
  const chosen = made
    .git("", "rev-list", "--all")
    .split("\n")
    .filter((oid) => bitmap.has(oid));
  for (const oid of chosen.filter((_, i) => i % 29 === 0)) made.git("", "rev-list", "--test-bitmap", oid);
  made.git("", "rev-list", "--test-bitmap", "HEAD");
  const count = (...args: string[]): string =>
    made.git("", "-c", "core.commitGraph=false", "rev-list", "--count", "--objects", ...args);
  for (const wanted of ["--all", "b1", "b2~30", "three"])
    expect(count("--use-bitmap-index", wanted)).toBe(count(wanted));
  made.git("", "fsck", "--strict");
};
const withSnapshot = async <T>(body: (snapshot: Snapshot) => Promise<T>): Promise<T> => {
  const snapshot = await repository.snapshot();
  try {
    return await body(snapshot);
  } finally {
    snapshot.release();
  }
};
const listed = (...args: string[]): string[] =>
  made
    .git("", "rev-list", "--objects", "--no-object-names", ...args)
    .split("\n")
    .sort();

describe("the multi-pack-index of a repository on disk", () => {
  it.each(["sha1", "sha256"] as const)("is written with bitmaps that git finds right, %s", async (format) => {
    if (format === "sha256") {
      await repository.close();
      rmSync(made.directory, { recursive: true });
      await start(format, 160);
    }
    addCommits(3);
    const outcome = await refreshMultiPackIndex(repository);
    expect(outcome).toMatchObject({ kind: "written", packCount: 3, bitmap: { kind: "made" } });
    expectSound();
    for (const name of ["multi-pack-index", ...bitmaps()])
      expect(statSync(pathOf(name)).mode & 0o777).toBe(0o444);
    // git has nothing to add.
    const ours = readFileSync(pathOf("multi-pack-index"));
    made.git("", "multi-pack-index", "write", "--bitmap");
    expect(ours.equals(readFileSync(pathOf("multi-pack-index")))).toBe(true);
    expect(leftovers()).toEqual([]);
  });

  it("is left alone when it is right, and made anew when packs or its bitmaps are not", async () => {
    await refreshMultiPackIndex(repository);
    expect(await refreshMultiPackIndex(repository)).toEqual({ kind: "nothing to do" });
    const [first] = bitmaps();
    addCommits(2);
    expect(await refreshMultiPackIndex(repository)).toMatchObject({ kind: "written", packCount: 3 });
    expect(bitmaps()).toHaveLength(1);
    expect(bitmaps()).not.toEqual([first]);
    rmSync(pathOf(bitmaps()[0] as string));
    expect(await refreshMultiPackIndex(repository)).toMatchObject({ bitmap: { kind: "made" } });
    expectSound();
    // Where it has bitmaps the largest pack gets none of its own.
    expect(await refreshBitmap(repository)).toEqual({ kind: "nothing to do" });
  });

  it("is read for what commits lead to, here and by a worker's reader", async () => {
    addCommits(3);
    await refreshMultiPackIndex(repository);
    addCommits(2);
    const oids = tipsOf(made);
    await withSnapshot(async ({ objects }) => {
      const readers = [objects, openObjectReader(structuredClone(objects.describe()), { blocking: true })];
      for (const reader of readers) {
        const space = new ObjectSpace(reader);
        const opened = await reader.openMultiPackBitmap?.();
        if (opened === undefined) throw new Error("there are no bitmaps");
        const order = ManyPacksBitOrder.of(space, opened.index, opened.packs);
        if (order === undefined) throw new Error("there is no order");
        const commits = oids.filter((oid) => made.git("", "cat-file", "-t", oid) === "commit");
        const bitmap = { bitmap: opened.bitmap, order };
        const grown = await closeOverBitmap({
          space,
          bitmap,
          commits,
          reader: createCommitReader(reader, undefined),
          budget: unlimitedBudget(),
        });
        // What came later is for others to look into.
        expect(grown?.commits).toHaveLength(2);
        const reached: string[] = [];
        grown?.reached.forEach((ordinal) => reached.push(space.oidOf(ordinal)));
        const covered = commits.map((oid) => (oid === made.git("", "rev-parse", "b0") ? `${oid}~2` : oid));
        expect(reached.sort()).toEqual(listed(...covered));
        const typeOf = typesOfBitmap(bitmap);
        const types = ["", "commit", "tree", "blob", "tag"];
        for (const oid of reached.filter((_, i) => i % 97 === 0))
          expect(types[typeOf(space.find(oid))]).toBe(made.git("", "cat-file", "-t", oid));
      }
    });
  });

  it("is what a clone is planned with, of packs that are sent as they are", async () => {
    const files = Array.from({ length: 1500 }, (_, i) => `M 100644 inline x/${i}\ndata 4\n${i + 1000}\n`);
    const head = `commit refs/heads/b1\ncommitter A <a@b> 1700000000 +0000\ndata 1\nm\nfrom ${made.git("", "rev-parse", "b1")}\n`;
    made.git(head + files.join(""), "-c", "fastimport.unpackLimit=1", "fast-import", "--quiet");
    await refreshMultiPackIndex(repository);
    await withSnapshot(async (snapshot) => {
      const space = new ObjectSpace(snapshot.objects);
      const bitmap = await openBitmap(space, unlimitedBudget());
      expect(bitmap?.order).toBeInstanceOf(ManyPacksBitOrder);
      const wants = tipsOf(made);
      const options = { wants, haves: [], ofsDelta: true, cache: createPlanCache() };
      const plan = await planPack({ ...options, snapshot });
      expect(plan.objectCount).toBe(listed("--all").length);
      expect(plan.data.wholePacks.length).toBeGreaterThan(0);
      plan.release();
    });
  });

  it("goes before packs that it names do, and stays where others do", async () => {
    await refreshMultiPackIndex(repository);
    const { packMaintenance } = repository;
    if (packMaintenance === undefined) throw new Error("it has no packs");
    const before = packs();
    for (let i = 0; i < 3; i++) addCommits(1);
    expect((await foldPacks(packMaintenance)).kind).toBe("folded");
    expect(packs()).toEqual(expect.arrayContaining(before));
    expect(bitmaps()).toHaveLength(1);
    expect(await refreshMultiPackIndex(repository)).toMatchObject({ kind: "written", packCount: 3 });
    addCommits(700);
    const bitmapOf = await bitmapTipsOf(repository);
    const writing = pathOf("multi-pack-index.lock");
    writeFileSync(writing, "");
    // Somebody is about to write one, which may name any of them.
    const all = packs();
    const folding = (): ReturnType<typeof foldPacks> =>
      foldPacks(packMaintenance, { bitmapOf, listed: true });
    expect((await folding()).kind).toBe("left to others");
    // One who was killed half a day ago.
    utimesSync(writing, 1_600_000_000, 1_600_000_000);
    expect((await folding()).kind).toBe("folded");
    expect(existsSync(writing)).toBe(false);
    expect(packs().length).toBeLessThan(all.length);
    expect(files(/^multi-pack-index/)).toEqual([]);
    made.git("", "fsck", "--strict");
    await refreshMultiPackIndex(repository);
    made.git("", "fsck", "--strict");
    expect(leftovers()).toEqual([]);
  });

  it("is git's to take over, and ours to clean up after it", async () => {
    addCommits(2);
    await refreshMultiPackIndex(repository);
    const clone = join(made.directory, "clone.git");
    made.git("", "clone", "-q", "--bare", "--no-local", made.directory, clone);
    made.git("", "-C", clone, "fsck", "--strict");
    rmSync(clone, { recursive: true });
    const stale = readFileSync(pathOf("multi-pack-index"));
    made.git("", "repack", "-adq", "--no-write-bitmap-index");
    expect(files(/^multi-pack-index/)).toEqual([]);
    await withSnapshot(async ({ objects }) => expect(await objects.openMultiPackBitmap?.()).toBeUndefined());
    // One pack needs none; one that names what has gone is in the way.
    expect(await refreshMultiPackIndex(repository)).toEqual({ kind: "nothing to do" });
    writeFileSync(pathOf("multi-pack-index"), stale);
    expect(await refreshMultiPackIndex(repository)).toEqual({ kind: "removed" });
    expect(files(/^multi-pack-index/)).toEqual([]);
    addCommits(2);
    made.git("", "repack", "-dq", "--geometric=2", "--write-midx", "--write-bitmap-index");
    expect((await refreshMultiPackIndex(repository)).kind).toBe("nothing to do");
    addCommits(2);
    expect(await refreshMultiPackIndex(repository)).toMatchObject({ kind: "written" });
    expectSound();
  });

  it("is not left behind by a pack that goes while it is made", async () => {
    const work = await repository.multiPackIndex?.begin();
    if (work === undefined) throw new Error("somebody is at work");
    addCommits(1);
    made.git("", "repack", "-adq", "--no-write-bitmap-index");
    const bytes = new SharedArrayBuffer(10);
    expect(await work.write({ bytes, checksum: "0".repeat(40), bitmap: undefined })).toBe(false);
    await work.release();
    expect(files(/^multi-pack-index/)).toEqual([]);
    expect(leftovers()).toEqual([]);
  });

  it("is left to others who are at work", async () => {
    const lock = pathOf("multi-pack-index.lock");
    writeFileSync(lock, "");
    expect(await refreshMultiPackIndex(repository)).toEqual({ kind: "left to others" });
    expect(existsSync(lock)).toBe(true);
    rmSync(lock);
    const work = await repository.multiPackIndex?.begin();
    expect(await refreshMultiPackIndex(repository)).toEqual({ kind: "left to others" });
    await work?.release();
    const leaving = new AbortController();
    const refreshing = refreshMultiPackIndex(repository, { signal: leaving.signal });
    leaving.abort();
    await expect(refreshing).rejects.toMatchObject({ code: "base/aborted" });
    expect(leftovers()).toEqual([]);
  });

  it("has no bitmaps where they are not wanted or would not hold all that they need", async () => {
    made.git("", "config", "core.bare", "false");
    expect(await refreshMultiPackIndex(repository)).toMatchObject({
      kind: "written",
      bitmap: { kind: "impossible", why: expect.stringContaining("repack.writeBitmaps") as string },
    });
    expect(bitmaps()).toEqual([]);
    made.git("", "multi-pack-index", "verify", "--no-progress");
    made.git("", "config", "repack.writeBitmaps", "true");
    // A blob of a tip that stands loose.
    const blob = made.git("loose", "hash-object", "-w", "--stdin");
    const tree = made.git(`100644 blob ${blob}\tf\n`, "mktree");
    const commit = made.git("m\n", "-c", "user.name=A", "-c", "user.email=a@b", "commit-tree", tree);
    made.git(`${commit}\n${tree}\n`, "pack-objects", "-q", pathOf("pack"));
    made.git("", "prune-packed");
    made.git("", "update-ref", "refs/heads/open", commit);
    expect(await refreshMultiPackIndex(repository)).toMatchObject({
      kind: "written",
      packCount: 3,
      bitmap: { kind: "impossible", why: expect.stringContaining("not in the packs") as string },
    });
    expect(bitmaps()).toEqual([]);
    made.git("", "config", "core.multiPackIndex", "false");
    expect(await refreshMultiPackIndex(repository)).toMatchObject({ kind: "impossible" });
  });

  it("is passed by with bitmaps that are damaged, or of another", async () => {
    await refreshMultiPackIndex(repository);
    const [name] = bitmaps() as [string];
    const bytes = readFileSync(pathOf(name));
    const { index } = await withSnapshot(async ({ objects }) => {
      const opened = await objects.openMultiPackBitmap?.();
      if (opened === undefined) throw new Error("there are no bitmaps");
      return opened;
    });
    const other = Buffer.from(bytes);
    other[12] = (other[12] as number) ^ 1;
    expect(() => PackBitmap.parse(other, index)).toThrow("another pack");
    expect(() => PackBitmap.parse(bytes.subarray(0, 60), index)).toThrow();
    rmSync(pathOf(name));
    addCommits(1);
    utimesSync(pathOf(""), 1_600_000_000, 1_600_000_000);
    await withSnapshot(async (snapshot) => {
      const plan = await planPack({ wants: tipsOf(made), haves: [], snapshot, cache: createPlanCache() });
      expect(plan.objectCount).toBe(listed("--all").length);
      plan.release();
    });
  });
});
