/** Commit-graph and bitmap of a repository on disk, kept beside git; and folding what has a bitmap. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { closeWorkerPool } from "../../base/worker-pool.js";
import type { Repository } from "../../storage/contracts/repository.js";
import { openDiskRepositoryAt } from "../../storage/disk/disk-repository-store.js";
import { foldPacks } from "./fold-packs.js";
import { bitmapTipsOf, refreshBitmap, refreshCommitGraph } from "./refresh-side-files.js";
import { importHistory, type MadeRepository, makeRepository } from "./side-files.test.support.js";

let made: MadeRepository;
let repository: Repository;
beforeEach(async () => {
  made = makeRepository("sha1");
  importHistory(made, "sha1", 120);
  made.git("", "repack", "-adq", "--no-write-bitmap-index");
  repository = await openDiskRepositoryAt(made.directory, { durability: "none" });
});
afterEach(async () => {
  await repository.close();
  execFileSync("rm", ["-rf", made.directory]);
});
afterAll(closeWorkerPool);

const packs = (ending: string): string[] =>
  readdirSync(join(made.directory, "objects/pack")).filter((name) => name.endsWith(ending));
const commits = (): number => Number(made.git("", "rev-list", "--count", "--all"));
const chain = (): string[] =>
  readFileSync(info("commit-graphs/commit-graph-chain"), "utf8").trim().split("\n");
const info = (name: string): string => join(made.directory, "objects/info", name);
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
const leftovers = (): string[] =>
  readdirSync(made.directory, { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.lock$|tmp_|gc\.pid/.test(name),
  );

describe("side files of a repository on disk", () => {
  it("are written once, read by git and by us, and left alone then", async () => {
    expect(await refreshBitmap(repository)).toMatchObject({ kind: "written" });
    expect(await refreshCommitGraph(repository)).toMatchObject({ kind: "written", commitCount: commits() });
    made.git("", "commit-graph", "verify", "--no-progress");
    made.git("", "rev-list", "--test-bitmap", "HEAD");
    made.git("", "fsck", "--strict", "--connectivity-only");
    for (const path of [made.pathOf(".bitmap"), info("commit-graph")])
      expect(statSync(path).mode & 0o777).toBe(0o444);
    const snapshot = await repository.snapshot();
    expect(snapshot.objects.commitGraph?.commitCount).toBe(commits());
    expect(await snapshot.objects.packs[0]?.openBitmap()).toBeDefined();
    snapshot.release();
    expect(await refreshBitmap(repository)).toEqual({ kind: "nothing to do" });
    expect(await refreshCommitGraph(repository)).toEqual({ kind: "nothing to do" });
    addCommits(3);
    expect(await refreshBitmap(repository)).toEqual({ kind: "nothing to do" });
    expect(await refreshCommitGraph(repository)).toMatchObject({ kind: "written", commitCount: 3 });
    made.git("", "commit-graph", "verify", "--no-progress");
    expect(leftovers()).toEqual([]);
    // git takes over what it finds.
    made.git("", "gc", "-q");
    made.git("", "commit-graph", "verify", "--no-progress");
    expect(packs(".bitmap")).toHaveLength(1);
  });

  it("become a chain of layers, with the bytes of git's", async () => {
    await refreshCommitGraph(repository);
    const all = commits();
    addCommits(3);
    expect(await refreshCommitGraph(repository)).toMatchObject({ kind: "written", commitCount: 3 });
    // The single file has become a layer.
    expect(existsSync(info("commit-graph"))).toBe(false);
    const layer = (): Buffer => readFileSync(info(`commit-graphs/graph-${chain().at(-1)}.graph`));
    expect(statSync(info("commit-graphs/commit-graph-chain")).mode & 0o777).toBe(0o444);
    // As git makes it of the same: none larger than twice what comes upon it stays.
    const [ours, base] = [chain(), chain()[0]];
    const theirs = (): string[] => {
      writeFileSync(info("commit-graph"), readFileSync(info(`commit-graphs/graph-${base}.graph`)));
      execFileSync("rm", ["-rf", info("commit-graphs")]);
      made.git("", "commit-graph", "write", "--reachable", "--split", "--no-progress");
      return chain();
    };
    const bytes = layer();
    expect(theirs()).toEqual(ours);
    expect(layer().equals(bytes)).toBe(true);
    addCommits(1);
    addCommits(2);
    // Three more upon three: these go into one with them, the base stays.
    expect(await refreshCommitGraph(repository)).toMatchObject({ kind: "written", commitCount: 6 });
    expect(chain()).toHaveLength(2);
    expect(readdirSync(info("commit-graphs"))).toHaveLength(3);
    made.git("", "commit-graph", "verify", "--no-progress");
    addCommits(1);
    expect(await refreshCommitGraph(repository)).toMatchObject({ kind: "written", commitCount: 1 });
    expect(chain()).toHaveLength(3);
    made.git("", "commit-graph", "verify", "--no-progress");
    expect(made.git("", "rev-list", "--count", "--all")).toBe(String(all + 7));
    const snapshot = await repository.snapshot();
    expect(snapshot.objects.commitGraph?.layerCount).toBe(3);
    expect(snapshot.objects.commitGraph?.commitCount).toBe(all + 7);
    snapshot.release();
    // As much as all below: the whole becomes one file again.
    addCommits(all);
    expect(await refreshCommitGraph(repository)).toMatchObject({ kind: "written", commitCount: commits() });
    expect(readdirSync(info("commit-graphs"))).toEqual([]);
    made.git("", "commit-graph", "verify", "--no-progress");
    expect(leftovers()).toEqual([]);
  });

  it("come upon layers of git's, and git's upon ours", async () => {
    made.git("", "commit-graph", "write", "--reachable", "--split=no-merge", "--no-progress");
    addCommits(7);
    made.git(
      "",
      "commit-graph",
      "write",
      "--reachable",
      "--split=no-merge",
      "--changed-paths",
      "--no-progress",
    );
    addCommits(2);
    const old = chain();
    expect(await refreshCommitGraph(repository)).toMatchObject({ kind: "written", commitCount: 2 });
    expect(chain().slice(0, 2)).toEqual(old);
    made.git("", "commit-graph", "verify", "--no-progress");
    addCommits(1);
    made.git("", "commit-graph", "write", "--reachable", "--split=no-merge", "--no-progress");
    expect(chain()).toHaveLength(4);
    made.git("", "commit-graph", "verify", "--no-progress");
  });

  it("come upon no layer that is damaged or without corrected dates", async () => {
    const config = ["-c", "commitGraph.generationVersion=1"];
    made.git("", ...config, "commit-graph", "write", "--reachable", "--no-progress");
    addCommits(1);
    expect(await refreshCommitGraph(repository)).toMatchObject({ kind: "written", commitCount: commits() });
    expect(existsSync(info("commit-graphs"))).toBe(false);
    addCommits(1);
    await refreshCommitGraph(repository);
    const [base] = chain();
    const path = info(`commit-graphs/graph-${base}.graph`);
    const bytes = readFileSync(path);
    // A tree: nothing else would tell.
    const at = Number(bytes.readBigUInt64BE(8 + 2 * 12 + 4));
    bytes[at] = (bytes[at] as number) ^ 1;
    execFileSync("rm", ["-f", path]);
    writeFileSync(path, bytes);
    addCommits(1);
    await repository.close();
    repository = await openDiskRepositoryAt(made.directory, { durability: "none" });
    expect(await refreshCommitGraph(repository)).toMatchObject({ kind: "written", commitCount: commits() });
    made.git("", "commit-graph", "verify", "--no-progress");
  });

  it("are no layer where others have come to stand meanwhile", async () => {
    await refreshCommitGraph(repository);
    addCommits(1);
    const files = await repository.sideFiles?.begin();
    if (files === undefined) throw new Error("somebody is at work");
    const [upon] = files.graphLayers;
    expect(files.graphLayers).toHaveLength(1);
    made.git("", "commit-graph", "write", "--reachable", "--no-progress");
    const layer = { bytes: new SharedArrayBuffer(8), checksum: "1".repeat(40), upon: [upon as string] };
    expect(await files.writeCommitGraphLayer(layer)).toBe(false);
    await files.release();
    made.git("", "commit-graph", "verify", "--no-progress");
    expect(leftovers()).toEqual([]);
  });

  it.each([
    [
      "is shallow",
      (): void => writeFileSync(join(made.directory, "shallow"), `${made.git("", "rev-parse", "b0")}\n`),
    ],
    ["has replace refs", (): void => void made.git("", "replace", "b1", "b2")],
    ["says no", (): void => void made.git("", "config", "gc.writeCommitGraph", "false")],
  ])("are no commit-graph where the repository %s", async (_, prepare) => {
    prepare();
    expect(await refreshCommitGraph(repository)).toMatchObject({ kind: "impossible" });
    expect(existsSync(info("commit-graph"))).toBe(false);
  });

  it("are no bitmap where one is not wanted, or the largest pack does not hold all that it needs", async () => {
    made.git("", "config", "core.bare", "false");
    expect(await refreshBitmap(repository)).toMatchObject({ kind: "impossible" });
    made.git("", "config", "repack.writeBitmaps", "true");
    // A pack of everything but some blobs.
    const listed = made.git("", "rev-list", "--objects", "--no-object-names", "--all").split("\n");
    const blobs = made.git("", "rev-parse", "b0:dir1/sub1/file-of-sub-directory-1");
    const kept = listed.filter((oid) => oid !== blobs);
    made.git("", "repack", "-adq");
    made.git(`${blobs}\n`, "pack-objects", "-q", join(made.directory, "objects/pack/pack"));
    made.git(`${kept.join("\n")}\n`, "pack-objects", "-q", join(made.directory, "objects/pack/pack"));
    const whole = made.pathOf(".bitmap");
    for (const ending of [".bitmap", ".pack", ".idx", ".rev"])
      execFileSync("rm", ["-f", whole.replace(".bitmap", ending)]);
    expect(await refreshBitmap(repository)).toMatchObject({
      kind: "impossible",
      why: expect.stringContaining("not in the pack") as string,
    });
    expect(packs(".bitmap")).toEqual([]);
    expect(leftovers()).toEqual([]);
  });

  it("are left to others who are at work", async () => {
    const lock = info("commit-graph.lock");
    execFileSync("mkdir", ["-p", info("")]);
    writeFileSync(lock, "");
    expect(await refreshCommitGraph(repository)).toEqual({ kind: "left to others" });
    expect(existsSync(lock)).toBe(true);
    execFileSync("rm", [lock]);
    const files = await repository.sideFiles?.begin();
    expect(await refreshCommitGraph(repository)).toEqual({ kind: "left to others" });
    expect(await refreshBitmap(repository)).toEqual({ kind: "left to others" });
    await files?.release();
    const leaving = new AbortController();
    const work = refreshBitmap(repository, { signal: leaving.signal });
    leaving.abort();
    await expect(work).rejects.toMatchObject({ code: "base/aborted" });
    expect(leftovers()).toEqual([]);
  });

  it("belong to no pack that git removes meanwhile", async () => {
    const files = await repository.sideFiles?.begin();
    const pack = files?.packWithoutBitmap;
    if (files === undefined || pack === undefined) throw new Error("there is nothing to do");
    addCommits(1);
    made.git("", "repack", "-adq", "--no-write-bitmap-index");
    expect(await files.writeBitmap(pack, new Uint8Array(10))).toBe(false);
    await files.release();
    expect(packs(".bitmap")).toEqual([]);
    expect(leftovers()).toEqual([]);
  });

  it("go over to the pack that takes a pack with a bitmap in", async () => {
    made.git("", "repack", "-adbq");
    const old = packs(".pack");
    // Fewer objects than half of it: it stands.
    addCommits(2);
    addCommits(2);
    const { packMaintenance } = repository;
    if (packMaintenance === undefined) throw new Error("it has no packs");
    const fold = async (bitmapped: boolean): Promise<string> => {
      const bitmapOf = bitmapped ? await bitmapTipsOf(repository) : undefined;
      return (await foldPacks(packMaintenance, { bitmapOf })).kind;
    };
    expect(await fold(true)).toBe("folded");
    expect(packs(".pack")).toEqual(expect.arrayContaining(old));
    addCommits(400);
    // Who makes no bitmap does not touch it.
    await fold(false);
    expect(packs(".bitmap")).toEqual(old.map((name) => name.replace(".pack", ".bitmap")));
    expect(await fold(true)).toBe("folded");
    expect(packs(".pack")).toHaveLength(1);
    expect(packs(".pack")).not.toEqual(old);
    expect(packs(".bitmap")).toEqual(packs(".pack").map((name) => name.replace(".pack", ".bitmap")));
    made.git("", "rev-list", "--test-bitmap", "HEAD");
    const count = (...args: string[]): string =>
      made.git("", "rev-list", "--count", "--objects", "--all", ...args);
    expect(count("--use-bitmap-index")).toBe(count());
    made.git("", "fsck", "--strict", "--connectivity-only");
    expect(leftovers()).toEqual([]);
  });

  it("keep a pack with a bitmap where the new one could have none", async () => {
    made.git("", "repack", "-adbq");
    const old = packs(".pack");
    addCommits(400);
    addCommits(400);
    // A commit in a pack, and its tree loose.
    const tree = made.git(`100644 blob ${made.git("x", "hash-object", "-w", "--stdin")}\tf\n`, "mktree");
    const person = "A <a@b> 1700000000 +0000";
    const commit = made.git(
      `tree ${tree}\nparent ${made.git("", "rev-parse", "b0")}\nauthor ${person}\ncommitter ${person}\n\nm\n`,
      "hash-object",
      "-t",
      "commit",
      "-w",
      "--stdin",
    );
    made.git(`${commit}\n`, "pack-objects", "-q", join(made.directory, "objects/pack/pack"));
    made.git("", "prune-packed");
    made.git("", "update-ref", "refs/heads/b0", commit);
    const outcome = await foldPacks(repository.packMaintenance as never, {
      bitmapOf: await bitmapTipsOf(repository),
    });
    expect(outcome.kind).toBe("folded");
    expect(packs(".pack")).toEqual(expect.arrayContaining(old));
    expect(packs(".bitmap")).toEqual(old.map((name) => name.replace(".pack", ".bitmap")));
    made.git("", "fsck", "--strict", "--connectivity-only");
  });
});
