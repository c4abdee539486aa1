/** Who is killed at any step of making a multi-pack-index, bitmaps or a layer of a commit-graph leaves a sound repository. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, readdirSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { closeWorkerPool } from "../src/base/worker-pool.js";
import { refreshMultiPackIndex } from "../src/engine/maintenance/refresh-multi-pack-index.js";
import { refreshCommitGraph } from "../src/engine/maintenance/refresh-side-files.js";
import { openDiskRepositoryAt } from "../src/storage/disk/disk-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

const script = fileURLToPath(new URL("./support/make-side-files-until-killed.js", import.meta.url));
const AT_ONCE = 4;
/** Every other step: each takes a process. */
const STRIDE = 2;
/** More than so little work can need. */
const STEPS_MAX = 80;
let workspace: GitClient;

beforeAll(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "--bare", "made.git");
  // Two packs behind a multi-pack-index, a commit-graph in one file, and a third pack.
  for (const commits of [9, 2, 2]) await addPack(commits);
});
afterAll(async () => {
  removeDirectory(workspace);
  await closeWorkerPool();
});

let serial = 0;
async function addPack(commits: number): Promise<void> {
  const made = workspace.in("made.git");
  if (serial > 9) await refresh(made.directory);
  let lines = "";
  for (let i = 0; i < commits; i++) {
    lines += `commit refs/heads/main\ncommitter A <a@b> ${1_600_000_000 + serial} +0000\ndata 1\nm\n`;
    if (i === 0 && serial > 0) lines += `from ${await made.run("rev-parse", "main")}\n`;
    lines += `M 100644 inline file${serial}\ndata 4\n${1000 + serial++}\n`;
  }
  const input = `${lines}\n`;
  const result = await made.tryWith({ input }, "-c", "fastimport.unpackLimit=0", "fast-import", "--quiet");
  expect(result).toMatchObject({ status: 0 });
}

async function refresh(directory: string): Promise<readonly string[]> {
  const repository = await openDiskRepositoryAt(directory, { durability: "none" });
  try {
    return [(await refreshMultiPackIndex(repository)).kind, (await refreshCommitGraph(repository)).kind];
  } finally {
    await repository.close();
  }
}

async function expectSound(bare: GitClient, step: number): Promise<void> {
  await bare.run("fsck", "--full", "--strict");
  await bare.run("commit-graph", "verify", "--no-progress");
  const counted = await bare.run("rev-list", "--count", "--objects", "--all", "--use-bitmap-index");
  expect(counted, `step ${step}`).toBe(String(3 * serial));
  const snapshot = await openDiskRepositoryAt(bare.directory, { durability: "none" });
  const { objects, release } = await snapshot.snapshot();
  expect(await objects.has(await bare.run("rev-parse", "main"))).toBe(true);
  release();
  await snapshot.close();
}

/** @returns false when it was not killed any more */
async function killAt(step: number): Promise<boolean> {
  const bare = workspace.in(`step-${step}.git`);
  cpSync(workspace.in("made.git").directory, bare.directory, { recursive: true });
  const child = spawn(process.execPath, [script, bare.directory, String(step)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [code] = (await once(child, "close")) as [number | null];
  await expectSound(bare, step);
  if (code !== null) {
    expect(code).toBe(0);
    return false;
  }
  // Half a day later.
  for (const name of readdirSync(bare.directory, { recursive: true, encoding: "utf8" }))
    if (/\.lock$|gc\.pid/.test(name)) utimesSync(join(bare.directory, name), 1_600_000_000, 1_600_000_000);
  const kinds = await refresh(bare.directory);
  for (const kind of kinds) expect(["written", "nothing to do"], `step ${step}`).toContain(kind);
  await expectSound(bare, step);
  const left = readdirSync(bare.directory, { recursive: true, encoding: "utf8" });
  // Where all was done but giving back a lock, nobody needs it before there is something to do.
  const locks = left.filter((name) => /\.lock$|gc\.pid/.test(name));
  if (!kinds.includes("nothing to do")) expect(locks, `step ${step}`).toEqual([]);
  expect(left.filter((name) => /^objects\/pack\/multi-pack-index-.*\.bitmap$/.test(name))).toHaveLength(1);
  expect(await refresh(bare.directory)).toEqual(["nothing to do", "nothing to do"]);
  return true;
}

describe("making multi-pack-indexes and layers of commit-graphs", () => {
  it("can be killed at its steps, and is finished by the next", async () => {
    let steps = 0;
    for (let first = 1; first <= STEPS_MAX; first += AT_ONCE * STRIDE) {
      const each = Array.from({ length: AT_ONCE }, (_, i) => killAt(first + i * STRIDE));
      const killed = await Promise.all(each);
      steps += killed.filter(Boolean).length;
      if (killed.includes(false)) break;
    }
    expect(steps).toBeGreaterThan(10);
    expect(steps).toBeLessThan(STEPS_MAX / STRIDE);
  }, 120_000);
});
