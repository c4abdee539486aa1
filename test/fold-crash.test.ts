/** A fold that is killed at each of its steps: git finds every object, and the next fold goes on. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { finishPack, sampleCommit } from "../src/storage/contracts/suites/sample-objects.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import { foldPacks } from "../src/engine/maintenance/fold-packs.js";

const script = fileURLToPath(new URL("./support/fold-until-killed.js", import.meta.url));
const PACKS = 3;
/** More than a fold of so few packs can need. */
const STEPS_MAX = 100;
let workspace: GitClient;

beforeAll(async () => {
  workspace = createWorkspace();
  const store = createDiskRepositoryStore({ directory: workspace.directory, durability: "none" });
  const repository = await store.create("made");
  let parent: string | null = null;
  for (let i = 0; i < PACKS; i++) {
    const { commit, objects } = sampleCommit("sha1", `commit ${i}`, parent === null ? [] : [parent]);
    const quarantine = await repository.openQuarantine();
    await finishPack(await quarantine.createPack(), "sha1", objects);
    await quarantine.publish();
    const update = { name: "refs/heads/main", oldOid: parent, newOid: commit.oid };
    await repository.refs.transact({ updates: [update], atomic: true });
    await quarantine.discard();
    parent = commit.oid;
  }
  await repository.close();
  await store.close();
});
afterAll(() => removeDirectory(workspace));

/** @returns the exit code; null when it was killed */
async function foldUntil(step: number): Promise<number | null> {
  const child = spawn(process.execPath, [script, workspace.directory, "app", String(step)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [code] = (await once(child, "close")) as [number | null];
  return code;
}

async function foldOnce(): Promise<string> {
  const store = createDiskRepositoryStore({ directory: workspace.directory, durability: "none" });
  const repository = await store.open("app");
  if (repository?.packMaintenance === undefined) throw new Error("there is no repository");
  try {
    return (await foldPacks(repository.packMaintenance)).kind;
  } finally {
    await repository.close();
    await store.close();
  }
}

describe("a fold that is killed", () => {
  it("loses nothing at any step, and the next one finishes the work", async () => {
    const bare = workspace.in("app.git");
    const kinds = new Set<string>();
    let step = 1;
    for (; step <= STEPS_MAX; step++) {
      cpSync(join(workspace.directory, "made.git"), bare.directory, { recursive: true });
      const code = await foldUntil(step);
      expect(await bare.run("fsck", "--full", "--strict"), `step ${step}`).not.toContain("missing");
      expect(await bare.run("rev-list", "--count", "main"), `step ${step}`).toBe(String(PACKS));
      if (code !== null) {
        expect(code).toBe(0);
        break;
      }
      // What was left by one who died while writing it, an hour later.
      rmSync(join(bare.directory, "gc.pid.lock"), { force: true });
      kinds.add(await foldOnce());
      expect(await bare.run("rev-list", "--count", "main"), `step ${step}`).toBe(String(PACKS));
      await bare.run("fsck", "--full", "--strict");
      const names = readdirSync(join(bare.directory, "objects/pack"));
      const stems = (ending: string): string[] =>
        names.filter((name) => name.endsWith(ending)).map((name) => name.slice(0, -ending.length));
      expect(stems(".pack"), `step ${step}`).toEqual(stems(".idx"));
      expect(
        names.filter((name) => name.startsWith("tmp_")),
        `step ${step}`,
      ).toEqual([]);
      expect(readdirSync(bare.directory)).not.toContain("gc.pid");
      rmSync(bare.directory, { recursive: true });
    }
    expect(step).toBeGreaterThan(15);
    expect(step).toBeLessThan(STEPS_MAX);
    expect(kinds).toEqual(new Set(["folded", "nothing to do"]));
    expect(readdirSync(join(bare.directory, "objects/pack"))).toHaveLength(3);
  }, 120_000);
});
