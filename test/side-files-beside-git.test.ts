/** `gitwharf maintenance run` makes multi-pack-indexes, bitmaps and commit-graphs while git repacks, writes its own and pushes: all stays well. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { closeWorkerPool } from "../src/base/worker-pool.js";
import { foldPacks } from "../src/engine/maintenance/fold-packs.js";
import { refreshMultiPackIndex } from "../src/engine/maintenance/refresh-multi-pack-index.js";
import {
  bitmapTipsOf,
  refreshBitmap,
  refreshCommitGraph,
} from "../src/engine/maintenance/refresh-side-files.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));
let workspace: GitClient;
let bare: GitClient;
let local: GitClient;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "--bare", "repositories/app.git");
  await workspace.run("init", "-q", "local");
  bare = workspace.in("repositories/app.git");
  local = workspace.in("local");
  await bare.run("config", "receive.unpackLimit", "1");
});
afterEach(() => removeDirectory(workspace));
afterAll(closeWorkerPool);

let serial = 0;
async function push(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    writeFileSync(join(local.directory, `file-${serial % 7}`), `${serial++}\n`);
    await local.run("add", ".");
    await local.run("commit", "-q", "-m", `${serial}`);
  }
  await local.run("push", "-q", bare.directory, "HEAD:refs/heads/main");
}

async function maintain(...args: readonly string[]): Promise<string> {
  const directory = join(workspace.directory, "repositories");
  const child = spawn(process.execPath, [CLI, "maintenance", "run", "app", "-d", directory, ...args]);
  let printed = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
    });
  const [code] = (await once(child, "close")) as [number | null];
  return `${printed}${code}`;
}

const packs = (ending: string): string[] =>
  readdirSync(join(bare.directory, "objects/pack")).filter((name) => name.endsWith(ending));

/** What git has to say of all of it. */
async function expectWell(): Promise<void> {
  await bare.run("fsck", "--full", "--strict");
  await bare.run("commit-graph", "verify", "--no-progress");
  const count = (...args: string[]): Promise<string> =>
    bare.run("rev-list", "--count", "--objects", "--all", ...args);
  expect(await count("--use-bitmap-index")).toBe(await count());
  const left = readdirSync(bare.directory, { recursive: true, encoding: "utf8" });
  expect(left.filter((name) => /\.lock$|tmp_|gc\.pid$/.test(name))).toEqual([]);
}

describe("multi-pack-indexes, bitmaps and commit-graphs beside git", () => {
  it("come with a run of the command, task by task", async () => {
    for (let i = 0; i < 3; i++) await push();
    const objects = await bare.run("rev-list", "--count", "--objects", "--all");
    expect(await maintain()).toMatch(
      new RegExp(
        `^app: packed 1 refs\napp: no loose objects to pack\napp: folded 3 packs into one of ${objects} objects\n` +
          "app: the multi-pack-index stands well as it is, or there are no packs to make one of\n" +
          `app: wrote a bitmap of 9 commits, \\d+ bytes\napp: wrote a commit-graph of 9 commits, \\d+ bytes\n0$`,
      ),
    );
    await bare.run("rev-list", "--test-bitmap", "main");
    await expectWell();
    await push();
    expect(await maintain("--task", "commit-graph")).toMatch(
      /^app: wrote a commit-graph of 3 commits upon 1 layer, \d+ bytes\n0$/,
    );
    expect(await maintain("--task", "multi-pack-index")).toMatch(
      /^app: wrote a multi-pack-index of 2 packs with \d+ objects, \d+ bytes; bitmaps of 12 commits, \d+ bytes\n0$/,
    );
    await bare.run("multi-pack-index", "verify", "--no-progress");
    await bare.run("rev-list", "--test-bitmap", "main");
    expect(await maintain("--task", "bitmap", "--task", "commit-graph")).toBe(
      "app: the bitmap stands well as it is, or there is nothing to make one of\n" +
        "app: the commit-graph stands well as it is, or there is nothing to make one of\n0",
    );
    expect(await maintain("--task", "nonsense")).toContain(
      "It is one of pack-refs, loose-objects, gc, fold, multi-pack-index, bitmap, commit-graph.",
    );
    await expectWell();
  });

  it("lose nothing while git repacks, collects and writes commit-graphs of its own", async () => {
    await push();
    const commands = [
      ["repack", "-adbq"],
      ["commit-graph", "write", "--reachable", "--split"],
      ["gc", "-q"],
      ["repack", "-adq", "--no-write-bitmap-index"],
      ["repack", "-dq", "--geometric=2"],
      ["repack", "-dq", "--geometric=2", "--write-midx", "--write-bitmap-index"],
      ["multi-pack-index", "write", "--bitmap"],
    ];
    const store = createDiskRepositoryStore({
      directory: join(workspace.directory, "repositories"),
      durability: "none",
    });
    try {
      for (const command of commands) {
        await push();
        const repository = await store.open("app");
        if (repository?.packMaintenance === undefined) throw new Error("it has gone");
        const { packMaintenance } = repository;
        const bitmapOf = await bitmapTipsOf(repository);
        const work = async (): Promise<void> => {
          await foldPacks(packMaintenance, { bitmapOf, listed: true });
          await refreshMultiPackIndex(repository);
          await refreshBitmap(repository);
          await refreshCommitGraph(repository);
        };
        // gc ends for a gc.pid of ours, commit-graph for a lock: then the other one has done the work.
        await Promise.all([work(), bare.try(...command), push()]);
        await work();
        await repository.close();
        await expectWell();
      }
    } finally {
      await store.close();
    }
    for (const beginning of ["pack-", "multi-pack-index-"])
      expect(packs(".bitmap").filter((name) => name.startsWith(beginning)).length).toBeLessThanOrEqual(1);
    expect(await bare.run("rev-parse", "main")).toBe(await local.run("rev-parse", "HEAD"));
  });
});
