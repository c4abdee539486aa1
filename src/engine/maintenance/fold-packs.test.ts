/** What a folded pack is made of, from packs as git writes them; git reads the outcome. */
import { randomBytes } from "node:crypto";
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "../../../test/support/git-client.js";
import type { PackReplacement } from "../../storage/contracts/pack-maintenance.js";
import { createMemoryRepositoryStore } from "../../storage/memory/memory-repository-store.js";
import { openDiskRepositoryAt } from "../../storage/disk/disk-repository-store.js";
import { foldPacks } from "./fold-packs.js";

let workspace: GitClient;
let repository: GitClient;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "--bare", "app.git");
  repository = workspace.in("app.git");
});
afterEach(() => removeDirectory(workspace));

async function fold(signal?: AbortSignal): Promise<string> {
  const opened = await openDiskRepositoryAt(repository.directory, { durability: "none" });
  try {
    if (opened.packMaintenance === undefined) throw new Error("it has no packs");
    return (await foldPacks(opened.packMaintenance, { signal })).kind;
  } finally {
    await opened.close();
  }
}

const packsPath = (): string => join(repository.directory, "objects/pack");

function packs(): string[] {
  return readdirSync(packsPath()).filter((name) => name.endsWith(".pack"));
}

async function addBlob(content: Buffer): Promise<string> {
  return (await repository.tryWith({ input: content }, "hash-object", "-w", "--stdin")).stdout.trim();
}

/** What `git pack-objects` makes of these ids, as a pack of its own. */
async function pack(oids: readonly string[], ...options: readonly string[]): Promise<void> {
  const made = await repository.tryWith(
    { input: `${oids.join("\n")}\n` },
    "pack-objects",
    "-q",
    ...options,
    "objects/pack/pack",
  );
  expect(made.status, made.stderr).toBe(0);
}

async function listing(): Promise<string> {
  const [name = ""] = packs();
  return repository.run("verify-pack", "-v", join(packsPath(), name));
}

/** The index and the reverse index are those of git. */
async function expectGitsIndex(): Promise<void> {
  const [name = ""] = packs();
  const bytes = readFileSync(join(packsPath(), name));
  const copy = join(workspace.directory, "copy.pack");
  writeFileSync(copy, bytes);
  await repository.run("index-pack", "--strict", "--rev-index", copy);
  for (const ending of [".idx", ".rev"]) {
    const ours = readFileSync(join(packsPath(), name.replace(".pack", ending)));
    expect(ours.equals(readFileSync(copy.replace(".pack", ending))), ending).toBe(true);
  }
}

describe("folding packs", () => {
  it("holds each object once, whichever packs it stands in", async () => {
    const oids: string[] = [];
    for (let i = 0; i < 6; i++) oids.push(await addBlob(Buffer.from(`blob ${i}\n`)));
    await pack(oids.slice(0, 4));
    await pack(oids.slice(2, 6));
    await pack(oids.slice(1, 5));
    await repository.run("prune-packed");
    expect(await fold()).toBe("folded");
    expect(packs()).toHaveLength(1);
    await expectGitsIndex();
    for (const oid of oids) expect(await repository.run("cat-file", "-t", oid)).toBe("blob");
    expect(await listing()).toMatch(/^non delta: 6 objects/m);
    expect(await fold()).toBe("nothing to do");
  });

  it("keeps deltas, by distance and by id, over bases that stand in several packs", async () => {
    const base = randomBytes(3000);
    const versions: string[] = [];
    for (let i = 0; i < 12; i++)
      versions.push(await addBlob(Buffer.concat([base, Buffer.from(`version ${i} ${"x".repeat(i)}\n`)])));
    await pack(versions.slice(0, 6), "--delta-base-offset");
    await pack(versions.slice(3, 9));
    await pack(versions.slice(5, 12), "--delta-base-offset");
    await repository.run("prune-packed");
    expect(await fold()).toBe("folded");
    await expectGitsIndex();
    const lines = (await listing()).split("\n").filter((line) => / blob /.test(line));
    expect(lines).toHaveLength(12);
    // At least one of each pack was whole; all others are deltas as before.
    expect(lines.filter((line) => line.split(/ +/).length > 5).length).toBeGreaterThanOrEqual(9);
    for (const [i, oid] of versions.entries())
      expect(await repository.run("cat-file", "-p", oid)).toContain(`version ${i}`);
  });

  it("takes whole copies where a chain over many packs would become too long", async () => {
    const content = randomBytes(2000);
    const versions: string[] = [];
    // Each is shorter than the last: git makes the shorter one a delta upon the longer.
    for (let i = 0; i < 130; i++)
      versions.push(await addBlob(Buffer.concat([content.subarray(2 * i), Buffer.from(`version ${i}\n`)])));
    // As completed thin packs are: the new version as a delta upon the last, and the last one whole.
    for (let i = 1; i < versions.length; i++)
      await pack([versions[i - 1] as string, versions[i] as string], "--depth=1", "--window=10");
    await repository.run("prune-packed");
    expect(await fold()).toBe("folded");
    await expectGitsIndex();
    const lengths = [...(await listing()).matchAll(/^chain length = (\d+)/gm)].map(([, n]) => Number(n));
    expect(Math.max(...lengths)).toBe(50);
    expect(await listing()).toMatch(/^non delta: 3 objects/m);
    expect((await repository.try("fsck", "--strict")).stderr).not.toContain("error");
    for (const oid of versions) expect(await repository.run("cat-file", "-t", oid)).toBe("blob");
  }, 60_000);

  it("copies entries that are larger than what is copied at once", async () => {
    const large = randomBytes(9 * 1024 * 1024);
    const oids = [await addBlob(large), await addBlob(Buffer.from("small\n"))];
    const changed = await addBlob(Buffer.concat([large, randomBytes(5 * 1024 * 1024)]));
    await pack(oids);
    await pack([changed, oids[0] as string], "--window=2", "--delta-base-offset");
    await repository.run("prune-packed");
    expect(await fold()).toBe("folded");
    await expectGitsIndex();
    await repository.run("fsck", "--strict");
    expect(await repository.run("cat-file", "-s", changed)).toBe(String(14 * 1024 * 1024));
  }, 60_000);

  /** Changes one byte of what stands in a pack. */
  function damage(name: string): void {
    const path = join(packsPath(), name);
    const bytes = readFileSync(path);
    bytes[200] = (bytes[200] as number) ^ 1;
    chmodSync(path, 0o644);
    writeFileSync(path, bytes);
  }

  it("changes nothing when an entry is damaged and nothing is left to fold", async () => {
    const oids = [await addBlob(randomBytes(500)), await addBlob(randomBytes(500))];
    for (const oid of oids) await pack([oid]);
    const before = packs();
    damage(before[0] as string);
    await expect(fold()).rejects.toMatchObject({ code: "object/corrupt" });
    expect(packs()).toEqual(before);
    expect(
      readdirSync(join(repository.directory, "objects")).filter((name) => name.startsWith("tmp_")),
    ).toEqual([]);
    expect(readdirSync(repository.directory)).not.toContain("gc.pid");
  });

  it("leaves damaged packs as they are and folds the others", async () => {
    for (let i = 0; i < 6; i++) await pack([await addBlob(randomBytes(500))]);
    const bad = packs().slice(2, 4);
    for (const name of bad) damage(name);
    expect(await fold()).toBe("folded");
    expect(packs()).toHaveLength(3);
    expect(packs()).toEqual(expect.arrayContaining(bad));
    const opened = await openDiskRepositoryAt(repository.directory);
    const snapshot = await opened.snapshot();
    expect(snapshot.objects.packs.map(({ objectCount }) => objectCount).sort((a, b) => a - b)).toEqual([
      1, 1, 4,
    ]);
    snapshot.release();
    await opened.close();
  });

  it("stops when it is told to, and leaves nothing", async () => {
    for (let i = 0; i < 3; i++) await pack([await addBlob(Buffer.from(`${i}`))]);
    const controller = new AbortController();
    const folding = fold(controller.signal);
    controller.abort();
    await expect(folding).rejects.toMatchObject({ code: "base/aborted" });
    expect(packs()).toHaveLength(3);
    expect(readdirSync(packsPath())).toHaveLength(6);
  });

  it("stops in the middle of its work, and leaves nothing", async () => {
    for (let i = 0; i < 3; i++) await pack([await addBlob(Buffer.from(`${i}`))]);
    const opened = await openDiskRepositoryAt(repository.directory, { durability: "none" });
    const { packMaintenance } = opened;
    if (packMaintenance === undefined) throw new Error("it has no packs");
    const controller = new AbortController();
    const begin = async (): Promise<PackReplacement | undefined> => {
      const begun = await packMaintenance.begin();
      if (begun === undefined) return undefined;
      return {
        packs: begun.packs,
        replace: (packs) => begun.replace(packs),
        release: () => begun.release(),
        async createPack() {
          controller.abort();
          return begun.createPack();
        },
      };
    };
    const { signal } = controller;
    await expect(foldPacks({ ...packMaintenance, begin }, { signal })).rejects.toMatchObject({
      code: "base/aborted",
    });
    await opened.close();
    expect(packs()).toHaveLength(3);
    expect(
      readdirSync(join(repository.directory, "objects")).filter((name) => name.startsWith("tmp_")),
    ).toEqual([]);
    expect(readdirSync(repository.directory)).not.toContain("gc.pid");
  });

  it("gives way when a pack has gone meanwhile", async () => {
    const oids: string[] = [];
    for (let i = 0; i < 4; i++) {
      oids.push(await addBlob(Buffer.from(`${i}`)));
      await pack([oids[i] as string]);
    }
    await repository.run("prune-packed");
    const opened = await openDiskRepositoryAt(repository.directory, { durability: "none" });
    const { packMaintenance } = opened;
    if (packMaintenance === undefined) throw new Error("it has no packs");
    const outcome = await foldPacks({
      ...packMaintenance,
      async begin() {
        const begun = await packMaintenance.begin();
        // git is quicker: what unreachable objects there are it makes loose.
        await repository.run("repack", "-q", "-A", "-d");
        return begun;
      },
    });
    expect(outcome).toEqual({ kind: "left to others" });
    await opened.close();
    expect(packs()).toEqual([]);
    for (const oid of oids) expect(await repository.run("cat-file", "-t", oid)).toBe("blob");
  });

  it("gives new packs the modes of a shared repository", async () => {
    await repository.run("config", "core.sharedRepository", "0640");
    for (let i = 0; i < 3; i++) await pack([await addBlob(Buffer.from(`${i}`))]);
    expect(await fold()).toBe("folded");
    for (const name of readdirSync(packsPath()))
      expect(statSync(join(packsPath(), name)).mode & 0o777, name).toBe(0o440);
  });

  it("has nothing to look after in memory", async () => {
    const store = createMemoryRepositoryStore();
    expect((await store.create("app")).packMaintenance).toBeUndefined();
    await store.close();
  });
});
