/** Commit-graphs and bitmaps of ours, judged by git and read by our own readers. */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { isGitwharfError } from "../../base/errors.js";
import { MemoryRange } from "../../base/byte-range.js";
import { closeWorkerPool } from "../../base/worker-pool.js";
import { hashBytes } from "../../object/object-format.js";
import { PackBitmap } from "../../pack/bitmap.js";
import { CommitGraph } from "../../pack/commit-graph.js";
import { formatCommitGraph } from "../../pack/commit-graph-writer.js";
import { Pack } from "../../pack/pack.js";
import { formatReverseIndex } from "../../pack/reverse-index.js";
import { createObjectDatabase } from "../../storage/object-database.js";
import { unlimitedBudget } from "../fetch/work-budget.js";
import { buildPackBitmap } from "./build-pack-bitmap.js";
import { gatherCommits } from "./gather-commits.js";
import { makeCommitGraph, makePackBitmap } from "./make-side-files.js";
import {
  importHistory,
  type MadeRepository,
  makeRepository,
  sharedBytes,
  tipsOf,
} from "./side-files.test.support.js";

afterAll(closeWorkerPool);

describe.each([
  ["sha1", 50, "true"],
  ["sha1", 2, "false"],
  ["sha256", 1000, "true"],
] as const)("side files of a pack, %s, deltas %d deep, by offset: %s", (format, depth, byOffset) => {
  const h = hashBytes(format);
  let made: MadeRepository;
  let bitmapOfGit: Buffer;

  beforeAll(() => {
    made = makeRepository(format);
    importHistory(made, format, 400);
    const config = ["-c", "pack.writeReverseIndex=true", "-c", "pack.writeBitmapLookupTable=true"];
    config.push("-c", `repack.useDeltaBaseOffset=${byOffset}`);
    made.git("", ...config, "repack", "-adfbq", `--depth=${depth}`, "--window=20");
    bitmapOfGit = made.file(".bitmap");
  });
  afterAll(() => rmSync(made.directory, { recursive: true, force: true }));

  const buildBitmap = async (): Promise<Buffer> => {
    const outcome = await buildPackBitmap(made.openPack().objects, tipsOf(made), unlimitedBudget());
    if (outcome.kind !== "made") throw new Error(outcome.why);
    return Buffer.from(outcome.bytes);
  };
  const putBitmap = (bytes: Uint8Array): void => {
    const path = made.pathOf(".bitmap");
    chmodSync(path, 0o644);
    writeFileSync(path, bytes);
  };

  it("are a reverse index of the same bytes as git's", () => {
    const { pack } = made.openPack();
    expect(formatReverseIndex(pack.index, pack.bytes.sizeBytes)).toEqual(made.file(".rev"));
  });

  it("are a commit-graph of the same bytes as git's", async () => {
    made.git("", "commit-graph", "write", "--reachable", "--no-progress");
    const theirs = readFileSync(join(made.directory, "objects/info/commit-graph"));
    const ours = await makeCommitGraph(made.openPack().objects, { tips: tipsOf(made) });
    expect(Buffer.from(ours as SharedArrayBuffer).equals(theirs)).toBe(true);
    expect(theirs.includes("EDGE", 0, "latin1")).toBe(true);
    rmSync(join(made.directory, "objects/info/commit-graph"), { force: true });
  });

  it("are bitmaps of what rev-list reaches, by our reader", async () => {
    const { pack } = made.openPack();
    const bitmap = PackBitmap.parse(await buildBitmap(), pack.index);
    const commits = made.git("", "rev-list", "--all").split("\n");
    const chosen = commits.filter((oid) => bitmap.has(oid));
    expect(chosen.length).toBeGreaterThan(100);
    for (const tip of made.git("", "for-each-ref", "--format=%(objectname)", "refs/heads").split("\n"))
      expect(chosen).toContain(tip);
    for (const oid of chosen.filter((_, i) => i % 13 === 0)) {
      const found = new Set<string>();
      bitmap.bitmapOf(oid)?.forEach((rank) => found.add(pack.index.oidAt(pack.offsets.positionAtRank(rank))));
      const listed = made.git("", "rev-list", "--objects", "--no-object-names", oid).split("\n");
      expect([...found].sort()).toEqual(listed.sort());
    }
    const { types } = bitmap;
    expect(types.commit.count()).toBe(commits.length);
    expect(types.tag.count()).toBe(5);
    expect(types.commit.count() + types.tree.count() + types.blob.count() + types.tag.count()).toBe(
      pack.objectCount,
    );
  });

  it("are bitmaps that git finds right and counts with", async () => {
    const bytes = await buildBitmap();
    putBitmap(bytes);
    const { pack } = made.openPack();
    const bitmap = PackBitmap.parse(bytes, pack.index);
    const chosen = made
      .git("", "rev-list", "--all")
      .split("\n")
      .filter((oid) => bitmap.has(oid));
    for (const oid of [...chosen.filter((_, i) => i % 23 === 0), chosen.at(-1) as string])
      made.git("", "rev-list", "--test-bitmap", oid);
    // Without bitmaps git counts some objects of excluded commits: with exclusions its own bitmaps are the measure.
    const count = (...args: string[]): string =>
      made.git("", "-c", "core.commitGraph=false", "rev-list", "--count", "--objects", ...args);
    const excluding = [
      ["b1", "^b2"],
      ["b3", "^b0~40", "^b4"],
      ["three", "^b5~3"],
    ];
    for (const wanted of ["--all", "b1", "b2~30", "three"])
      expect(count("--use-bitmap-index", wanted)).toBe(count(wanted));
    const ours = excluding.map((wanted) => count("--use-bitmap-index", ...wanted));
    putBitmap(bitmapOfGit);
    expect(ours).toEqual(excluding.map((wanted) => count("--use-bitmap-index", ...wanted)));
    putBitmap(bytes);
    made.git("", "fsck", "--strict");
  });

  it("are bitmaps with git's name hashes", async () => {
    const hashesOf = (bytes: Buffer): number[] => {
      const { objectCount } = made.openPack().pack;
      const start = bytes.length - h - objectCount * 4;
      return Array.from({ length: objectCount }, (_, i) => bytes.readUInt32BE(start + i * 4));
    };
    const theirs = hashesOf(bitmapOfGit);
    const ours = hashesOf(await buildBitmap());
    const { pack } = made.openPack();
    // An object may stand at several paths, and whichever was met first counts. Most stand at one.
    let equal = 0;
    for (const [position, hash] of ours.entries())
      if (Math.abs(hash - (theirs[position] as number)) <= 1) equal++;
    expect(equal / pack.objectCount).toBeGreaterThan(0.9);
    const root = pack.index.find(made.git("", "rev-parse", "b0^{tree}"));
    expect(ours[root]).toBe(0);
  });

  it("are written in the order and with the table that a chain of differences needs", async () => {
    const bytes = await buildBitmap();
    const count = bytes.readUInt32BE(8);
    const table = bytes.length - h - made.openPack().pack.objectCount * 4 - count * 16;
    let differences = 0;
    for (let row = 0; row < count; row++) {
      const at = table + row * 16;
      if (row > 0) expect(bytes.readUInt32BE(at)).toBeGreaterThan(bytes.readUInt32BE(at - 16));
      if (bytes.readUInt32BE(at + 12) !== 0xffffffff) differences++;
    }
    expect(differences).toBeGreaterThan(count / 2);
    // Beside git's, with as many commits or more, it is of the same order.
    expect(bytes.length / count).toBeLessThan((1.5 * bitmapOfGit.length) / bitmapOfGit.readUInt32BE(8));
  });

  it("are made by a worker, and not when nobody wants them any more", async () => {
    const { pack, objects } = made.openPack();
    const tips = tipsOf(made);
    const outcome = await makePackBitmap(pack, { tips });
    expect(outcome.kind === "made" && Buffer.from(outcome.bytes).equals(await buildBitmap())).toBe(true);
    const leaving = new AbortController();
    const work = makePackBitmap(pack, { tips, signal: leaving.signal });
    leaving.abort();
    await expect(work).rejects.toMatchObject({ code: "base/aborted" });
    await expect(makeCommitGraph(objects, { tips, signal: leaving.signal })).rejects.toMatchObject({
      code: "base/aborted",
    });
  });
});

describe.each(["sha1", "sha256"] as const)(
  "side files where little or something odd is there, %s",
  (format) => {
    let made: MadeRepository;
    beforeEach(() => {
      made = makeRepository(format);
    });
    afterEach(() => rmSync(made.directory, { recursive: true, force: true }));

    const graphOf = async (): Promise<Buffer | undefined> => {
      const { objects } = made.openPack();
      const { commits } = await gatherCommits(objects, tipsOf(made), unlimitedBudget());
      const bytes = formatCommitGraph(commits);
      return bytes === undefined ? undefined : Buffer.from(bytes);
    };
    const importDates = (dates: readonly number[]): void => {
      const lines = dates.map(
        (date, i) =>
          `commit refs/heads/main\nmark :${i + 1}\ncommitter A <a@b> ${date} +0000\ndata 1\nm\nM 100644 inline f\ndata ${String(i).length}\n${i}`,
      );
      made.git(`${lines.join("\n")}\n`, "fast-import", "--quiet", "--date-format=raw-permissive");
      made.git("", "repack", "-adq");
    };
    const writeGraph = (bytes: Buffer): void => {
      const info = join(made.directory, "objects/info");
      if (!existsSync(info)) mkdirSync(info);
      writeFileSync(join(info, "commit-graph"), bytes);
    };

    it("are none where there is no commit", async () => {
      made.git("", "update-ref", "refs/tags/blob", made.git("x", "hash-object", "-w", "--stdin"));
      made.git("", "repack", "-adq");
      expect(await graphOf()).toBeUndefined();
      const outcome = await buildPackBitmap(made.openPack().objects, tipsOf(made), unlimitedBudget());
      expect(outcome.kind).toBe("impossible");
    });

    it("hold corrected dates where the clock went back by more than 31 bits", async () => {
      importDates([8_000_000_000, 1000, 999, 1_600_000_000, 0]);
      const ours = (await graphOf()) as Buffer;
      expect(ours.includes("GDO2", 0, "latin1")).toBe(true);
      made.git("", "commit-graph", "write", "--reachable", "--no-progress");
      expect(ours.equals(readFileSync(join(made.directory, "objects/info/commit-graph")))).toBe(true);
      const graph = CommitGraph.parse(
        [new Uint8Array(ours).slice().buffer as unknown as SharedArrayBuffer],
        format,
      );
      expect(graph.generationAt(graph.find(made.git("", "rev-parse", "main")))).toBe(8_000_000_004);
    });

    it("leave out commits whose date a commit-graph cannot hold, and those upon them", async () => {
      importDates([1_600_000_000, 1_600_000_001, 2 ** 34 + 5, 1_600_000_002]);
      const ours = (await graphOf()) as Buffer;
      const graph = CommitGraph.parse(
        [new Uint8Array(ours).slice().buffer as unknown as SharedArrayBuffer],
        format,
      );
      expect(graph.commitCount).toBe(2);
      expect(graph.find(made.git("", "rev-parse", "main~2"))).toBeGreaterThanOrEqual(0);
      writeGraph(ours);
      made.git("", "commit-graph", "verify", "--no-progress");
      expect(made.git("", "rev-list", "--count", "main")).toBe("4");
    });

    it("are no bitmap where what a commit names is in another pack", async () => {
      importDates([1_600_000_000, 1_600_000_001]);
      const first = tipsOf(made);
      made.git(
        `commit refs/heads/main\ncommitter A <a@b> 1600000002 +0000\ndata 1\nm\nfrom ${first[0]}\nM 100644 inline g\ndata 1\ng\n`,
        "fast-import",
        "--quiet",
      );
      const old = made.openPack();
      // The old pack alone is whole for the old tip, and knows nothing of the new one.
      expect((await buildPackBitmap(old.objects, first, unlimitedBudget())).kind).toBe("made");
      expect((await buildPackBitmap(old.objects, tipsOf(made), unlimitedBudget())).kind).toBe("impossible");
      rmSync(old.pack.key.split(" ")[0] as string, { recursive: true, force: true });
    });

    it("are refused, and nothing worse, when the pack is damaged in whatever place", async () => {
      importHistory(made, format, 40);
      made.git("", "repack", "-adfq");
      const tips = tipsOf(made);
      const { pack } = made.openPack();
      const whole = Buffer.from(pack.bytes.read(0, pack.bytes.sizeBytes) as Buffer);
      let refused = 0;
      let state = 11;
      for (let round = 0; round < 60; round++) {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        const damaged = Buffer.from(whole);
        const at = 12 + ((state >>> 4) % (whole.length - 12));
        damaged[at] = (damaged[at] as number) ^ (1 << (state >>> 29));
        const one = new Pack({
          key: `damaged ${format} ${round}`,
          index: pack.index,
          bytes: new MemoryRange(sharedBytes(damaged)),
        });
        const objects = createObjectDatabase({ objectFormat: format, packs: [one] });
        try {
          const { commits } = await gatherCommits(objects, tips, unlimitedBudget());
          formatCommitGraph(commits);
          if ((await buildPackBitmap(objects, tips, unlimitedBudget())).kind === "impossible") refused++;
        } catch (error) {
          if (!isGitwharfError(error, "object/corrupt")) throw error;
          refused++;
        }
      }
      expect(refused).toBeGreaterThan(5);
    });
  },
);
