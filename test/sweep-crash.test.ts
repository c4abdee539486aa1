/** A sweep that is killed at each of its steps: git finds every object that is needed or waits, and the next sweep goes on. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { closeWorkerPool } from "../src/base/worker-pool.js";
import { sweepGarbage } from "../src/engine/maintenance/sweep-garbage.js";
import { finishPack, sampleCommit } from "../src/storage/contracts/suites/sample-objects.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

const script = fileURLToPath(new URL("./support/sweep-until-killed.js", import.meta.url));
const GRACE_MS = 14 * 24 * 60 * 60 * 1000;
/** More than a sweep of so few packs can need. */
const STEPS_MAX = 120;
const STILL_MS = 60_000;
let workspace: GitClient;
let app: string;
const needed: string[] = [];
const waiting: string[] = [];

beforeAll(async () => {
  workspace = createWorkspace();
  app = join(workspace.directory, "app.git");
  const store = createDiskRepositoryStore({ directory: workspace.directory, durability: "none" });
  const repository = await store.create("made");
  for (const label of ["needed", "waits"]) {
    const { commit, objects } = sampleCommit("sha1", label);
    const quarantine = await repository.openQuarantine();
    await finishPack(await quarantine.createPack(), "sha1", objects);
    await quarantine.publish();
    (label === "needed" ? needed : waiting).push(...objects.map(({ oid }) => oid));
    if (label === "needed") {
      const update = { name: "refs/heads/main", oldOid: null, newOid: commit.oid };
      await repository.refs.transact({ updates: [update], atomic: true });
    }
    await quarantine.discard();
  }
  await repository.close();
  await store.close();
  const { stdout } = await workspace
    .in("made.git")
    .tryWith({ input: "loose" }, "hash-object", "-w", "--stdin");
  waiting.push(stdout.trim());
});
afterAll(async () => {
  await closeWorkerPool();
  removeDirectory(workspace);
});

/**
 * Once more where a process stood still: glibc before 2.41 may lose the signal that wakes a thread of libuv's pool
 * (sourceware bug 25847), and a process that waits for nothing else then waits for ever.
 * @returns the exit code; null when it was killed
 */
async function sweepUntil(step: number): Promise<number | null> {
  for (let attempt = 1; ; attempt++) {
    cpSync(join(workspace.directory, "made.git"), app, { recursive: true });
    const child = spawn(process.execPath, [script, workspace.directory, "app", String(step)], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    let isStill = false;
    const timer = setTimeout(() => {
      isStill = true;
      child.kill("SIGKILL");
    }, STILL_MS);
    const [code] = (await once(child, "close")) as [number | null];
    clearTimeout(timer);
    if (!isStill) return code;
    if (attempt === 2) throw new Error(`twice a sweep stood still before step ${step}`);
    rmSync(app, { recursive: true });
  }
}

async function sweepOnce(): Promise<string> {
  const store = createDiskRepositoryStore({ directory: workspace.directory, durability: "none" });
  const repository = await store.open("app");
  if (repository?.upkeep === undefined) throw new Error("there is no repository");
  try {
    return (await sweepGarbage(repository.upkeep, { graceMs: GRACE_MS })).kind;
  } finally {
    await repository.close();
    await store.close();
  }
}

describe("a sweep that is killed", () => {
  it("loses nothing at any step, and the next one finishes the work", async () => {
    const bare = workspace.in("app.git");
    const mustHold = async (step: number): Promise<void> => {
      const { status, stdout } = await bare.try(
        "fsck",
        "--full",
        "--strict",
        "--unreachable",
        "--no-progress",
      );
      expect(status, `step ${step}`).toBe(0);
      const unreachable = stdout.split("\n").map((line) => line.split(" ")[2]);
      expect(
        waiting.filter((oid) => !unreachable.includes(oid)),
        `step ${step}`,
      ).toEqual([]);
      expect(await bare.run("rev-parse", "main"), `step ${step}`).toBe(needed[0]);
    };
    let step = 1;
    for (; step <= STEPS_MAX; step++) {
      const code = await sweepUntil(step);
      await mustHold(step);
      if (code !== null) {
        expect(code).toBe(0);
        break;
      }
      // What was left by one who died while writing it, an hour later.
      rmSync(join(bare.directory, "gc.pid.lock"), { force: true });
      for (const name of readdirSync(join(bare.directory, "objects/pack")))
        if (name.endsWith(".keep")) rmSync(join(bare.directory, "objects/pack", name));
      await sweepOnce();
      await mustHold(step);
      const names = readdirSync(join(bare.directory, "objects/pack"));
      const count = (ending: string): number => names.filter((name) => name.endsWith(ending)).length;
      expect([count(".pack"), count(".idx"), count(".mtimes")], `step ${step}`).toEqual([2, 2, 1]);
      expect(
        names.filter((name) => name.startsWith("tmp_gone") || name.startsWith("tmp_fold")),
        `step ${step}`,
      ).toEqual([]);
      expect(readdirSync(bare.directory)).not.toContain("gc.pid");
      rmSync(bare.directory, { recursive: true });
    }
    expect(step).toBeGreaterThan(15);
    expect(step).toBeLessThan(STEPS_MAX);
  }, 300_000);
});
