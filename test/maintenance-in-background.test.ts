/** What a server does by itself for repositories on a disk: what is due after a push, and what waits where nobody pushes. */
import { renameSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { closeWorkerPool } from "../src/base/worker-pool.js";
import {
  type BackgroundMaintenance,
  createBackgroundMaintenance,
} from "../src/engine/maintenance/background-maintenance.js";
import { runUpkeepTask } from "../src/engine/maintenance/run-upkeep.js";
import { sweepGarbage } from "../src/engine/maintenance/sweep-garbage.js";
import { hashObject } from "../src/object/object-id.js";
import { PackIndex } from "../src/pack/pack-index.js";
import { formatPackMtimes } from "../src/pack/pack-mtimes.js";
import type { RefFormat, Repository, RepositoryStore } from "../src/storage/contracts/repository.js";
import { finishPack, sampleCommit } from "../src/storage/contracts/suites/sample-objects.js";
import type { Upkeep } from "../src/storage/contracts/upkeep.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

const GRACE_MS = 14 * 24 * 60 * 60 * 1000;
let workspace: GitClient;
let store: RepositoryStore;
let maintenance: BackgroundMaintenance | undefined;
let done: string[];
let failures: unknown[];

beforeEach(() => {
  workspace = createWorkspace();
  store = createDiskRepositoryStore({ directory: workspace.directory, durability: "none" });
  done = [];
  failures = [];
});
afterEach(async () => {
  await maintenance?.close();
  maintenance = undefined;
  await store.close();
  removeDirectory(workspace);
});
afterAll(closeWorkerPool);

function begin(everyMs?: number, onDone?: () => void): BackgroundMaintenance {
  return (maintenance = createBackgroundMaintenance({
    store,
    settingsOf: (repository) => repository.settings(),
    onUpkeep: ({ name, task, text }) => {
      done.push(`${name} ${task}: ${text}`);
      onDone?.();
    },
    onFolded: ({ name, packCount }) => done.push(`${name} fold: ${packCount}`),
    onFailure: (name, error) => failures.push(error),
    surveyEveryMs: 0,
    ...(everyMs === undefined ? {} : { everyMs }),
  }));
}

async function look(m: BackgroundMaintenance): Promise<readonly string[]> {
  done = [];
  m.afterPush("app");
  await m.settled();
  expect(failures).toEqual([]);
  return done;
}

/** Its objects in a pack of their own. @returns the commit */
async function push(repository: Repository, branch: string | undefined, label: string): Promise<string> {
  const { commit, objects } = sampleCommit("sha1", label);
  const quarantine = await repository.openQuarantine();
  await finishPack(await quarantine.createPack(), "sha1", objects);
  await quarantine.publish();
  if (branch !== undefined) {
    const update = { name: `refs/heads/${branch}`, oldOid: undefined, newOid: commit.oid };
    const [result] = await repository.refs.transact({ updates: [update], atomic: true });
    expect(result).toMatchObject({ ok: true });
  }
  await quarantine.discard();
  return commit.oid;
}

/** As if what nothing leads to had been found so long ago. */
function age(days: number): void {
  const directory = join(workspace.directory, "app.git/objects/pack");
  const [file = ""] = readdirSync(directory).filter((name) => name.endsWith(".mtimes"));
  const bytes = readFileSync(join(directory, file.replace(".mtimes", ".idx")));
  const shared = new SharedArrayBuffer(bytes.length);
  bytes.copy(Buffer.from(shared));
  const index = PackIndex.parse(shared, "sha1");
  const then = Math.floor(Date.now() / 1000) - days * 24 * 60 * 60;
  const path = join(directory, file);
  writeFileSync(`${path}.new`, formatPackMtimes(index, new Uint32Array(index.objectCount).fill(then)));
  renameSync(`${path}.new`, path);
  // As if all that had been done then.
  rmSync(join(workspace.directory, "app.git/gitwharf-maintenance"), { force: true });
}

describe("a server on a disk", () => {
  it("does what is due after a push, and nothing else", async () => {
    const repository = await store.create("app");
    const commit = await push(repository, "main", "one");
    const m = begin();
    expect(await look(m)).toEqual([]);
    const updates = Array.from({ length: 31 }, (_, i) => ({
      name: `refs/tags/t${i}`,
      oldOid: null,
      newOid: commit,
    }));
    // Few enough at once to be files.
    await repository.refs.transact({ updates, atomic: true });
    await repository.refs.transact({
      updates: updates.map((update) => ({ ...update, name: update.name.replace("t", "u") })),
      atomic: true,
    });
    await repository.refs.transact({
      updates: updates.map((update) => ({ ...update, name: update.name.replace("tags", "more") })),
      atomic: true,
    });
    expect(await look(m)).toEqual(["app pack-refs: packed 94 refs"]);
    expect(await look(m)).toEqual([]);
    await push(repository, undefined, "nobody's");
    await sweepGarbage(repository.upkeep as Upkeep, { graceMs: GRACE_MS });
    age(13);
    expect(await look(m)).toEqual([]);
    age(15);
    expect(await look(m)).toEqual([
      "app gc: 3 objects are reachable, 0 are not and wait, 3 have gone; 1 packs and 0 loose objects were taken together",
    ]);
    expect(await look(m)).toEqual([]);
    const bare = workspace.in("app.git");
    await bare.run("config", "gc.auto", "1");
    // One in the directory that stands for all of them.
    let input = "";
    while (!hashObject("sha1", "blob", Buffer.from(input)).startsWith("17")) input += "x";
    await bare.tryWith({ input }, "hash-object", "-w", "--stdin");
    expect(await look(m)).toEqual(["app loose-objects: packed 1 loose objects, 1 of which stood in no pack"]);
    await bare.run("fsck", "--full", "--strict");
    await repository.close();
  });

  it("lets what was just found wait an hour by itself, whatever gc.pruneExpire says", async () => {
    const repository = await store.create("app");
    await push(repository, "main", "one");
    await push(repository, undefined, "nobody's");
    await sweepGarbage(repository.upkeep as Upkeep, { graceMs: GRACE_MS });
    await workspace.in("app.git").run("config", "gc.pruneExpire", "now");
    const m = begin();
    expect(await look(m)).toEqual([]);
    expect((await repository.upkeep?.survey())?.packs.cruft.objects).toBe(3);
    age(1);
    expect(await look(m)).toEqual([
      "app gc: 3 objects are reachable, 0 are not and wait, 3 have gone; 1 packs and 0 loose objects were taken together",
    ]);
    await repository.close();
  });

  it("does the rest where garbage cannot be collected, and tells why", async () => {
    const repository = await store.create("app");
    await push(repository, "main", "one");
    await push(repository, undefined, "nobody's");
    await sweepGarbage(repository.upkeep as Upkeep, { graceMs: GRACE_MS });
    age(15);
    for (const label of ["two", "three"]) await push(repository, "main", label);
    await workspace.in("app.git").run("config", "gc.autoPackLimit", "1");
    writeFileSync(join(workspace.directory, "app.git/refs/heads/gone"), `${"1".repeat(40)}\n`);
    const m = begin();
    m.afterPush("app");
    await m.settled();
    expect(failures).toMatchObject([{ code: "object/corrupt" }]);
    expect(done).toEqual(["app fold: 3"]);
    await repository.close();
  });

  it("looks after repositories in which something has waited long enough, though nobody pushes", async () => {
    const repository = await store.create("app");
    await push(repository, "main", "one");
    await push(repository, undefined, "nobody's");
    await (await store.create("other")).close();
    const names = async (): Promise<string[]> => {
      const found: string[] = [];
      for await (const name of store.unattended?.() ?? []) found.push(name);
      return found;
    };
    await runUpkeepTask("gc", repository);
    expect(await names()).toEqual([]);
    age(15);
    // It is noted when a sweep ends; this one is left to others.
    await repository.upkeep?.noteRun("gc", { atMs: 0, outcome: "long ago" });
    expect(await names()).toEqual(["app"]);
    const m = await new Promise<BackgroundMaintenance>((resolve) => {
      const begun = begin(1, () => resolve(begun));
    });
    await m.settled();
    expect(done[0]).toMatch(/^app gc: 3 objects are reachable, 0 are not and wait, 3 have gone/);
    expect(await names()).toEqual([]);
    await repository.close();
  });

  it.each<RefFormat>(["files", "reftable"])(
    "keeps what reflogs name where refs are %s",
    async (refFormat) => {
      const repository = await store.create("app", { refFormat });
      const config = join(workspace.directory, "app.git/config");
      writeFileSync(config, `${readFileSync(config, "utf8")}[core]\n\tlogAllRefUpdates = always\n`);
      const before = await push(repository, "main", "one");
      const after = await push(repository, "main", "two");
      const lost = await push(repository, undefined, "three");
      expect(await repository.refs.readReflog("refs/heads/main")).toHaveLength(2);
      expect(await sweepGarbage(repository.upkeep as Upkeep, { graceMs: 0 })).toMatchObject({
        kind: "swept",
        reachable: 6,
        dropped: 3,
      });
      const snapshot = await repository.snapshot();
      expect(await snapshot.objects.has(before)).toBe(true);
      expect(await snapshot.objects.has(after)).toBe(true);
      expect(await snapshot.objects.has(lost)).toBe(false);
      snapshot.release();
      expect((await runUpkeepTask("pack-refs", repository)).text).toBe(
        refFormat === "files" ? "packed 1 refs" : "no refs to pack",
      );
      expect(await repository.refs.counts?.()).toMatchObject({ loose: 0, packed: 1 });
      await repository.close();
    },
  );
});
