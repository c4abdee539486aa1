/** Repositories whose packs stand behind a multi-pack-index that git writes, replaces, outdates and damages. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "../../../test/support/git-client.js";
import { MultiPackIndex } from "../../pack/multi-pack-index.js";
import { PackIndex } from "../../pack/pack-index.js";
import type { Repository, RepositoryStore, Snapshot } from "../contracts/repository.js";
import { openObjectReader } from "../object-database.js";
import { createDiskRepositoryStore } from "./disk-repository-store.js";
import { PackDirectory } from "./pack-directory.js";

let workspace: GitClient;
let store: RepositoryStore;
let bare: GitClient;
let repository: Repository;
let packDirectory: string;
let midx: string;

beforeEach(async () => {
  workspace = createWorkspace();
  store = createDiskRepositoryStore({ directory: workspace.directory, durability: "none" });
  await (await store.create("app")).close();
  bare = workspace.in("app.git");
  packDirectory = join(bare.directory, "objects/pack");
  midx = join(packDirectory, "multi-pack-index");
  repository = (await store.open("app")) as Repository;
});

afterEach(async () => {
  vi.restoreAllMocks();
  await repository.close();
  await store.close();
  removeDirectory(workspace);
});

let made = 0;
/** So many packs with a few objects each, as a branch of their own; its tip. */
async function addPacks(count: number): Promise<string> {
  const branch = `refs/heads/b${made}`;
  const lines: string[] = [];
  for (let i = 0; i < count; i++) {
    const text = `content ${made++}`;
    lines.push(`commit ${branch}\ncommitter A <a@b> ${1_600_000_000 + made} +0000\ndata 1\nm`);
    lines.push(`M 100644 inline file\ndata ${text.length}\n${text}\ncheckpoint\n`);
  }
  const input = `${lines.join("\n")}\n`;
  const result = await bare.tryWith({ input }, "-c", "fastimport.unpackLimit=0", "fast-import", "--quiet");
  expect(result).toMatchObject({ status: 0 });
  return bare.run("rev-parse", branch);
}

async function allObjects(): Promise<string[]> {
  return (await bare.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname)")).split("\n");
}

async function expectReadable(snapshot: Snapshot, oids: readonly string[]): Promise<void> {
  for (const oid of oids) expect((await snapshot.objects.read(oid))?.type, oid).toBeDefined();
}

async function withSnapshot<T>(body: (snapshot: Snapshot) => Promise<T>): Promise<T> {
  const snapshot = await repository.snapshot();
  try {
    return await body(snapshot);
  } finally {
    snapshot.release();
  }
}

function packFiles(): string[] {
  return readdirSync(packDirectory).filter((name) => name.endsWith(".pack"));
}

describe("packs behind a multi-pack-index", () => {
  it("are found with one lookup in it and one in the pack, two hundred of them", async () => {
    await addPacks(200);
    await bare.run("multi-pack-index", "write");
    expect(packFiles()).toHaveLength(200);
    const oids = await allObjects();
    await withSnapshot(async (snapshot) => {
      const inAll = vi.spyOn(MultiPackIndex.prototype, "findBytes");
      const inPack = vi.spyOn(PackIndex.prototype, "findBytes");
      const byHex = vi.spyOn(PackIndex.prototype, "find");
      for (const oid of oids) {
        const location = snapshot.objects.locate(oid);
        expect(location?.pack.index.oidAt(location.position)).toBe(oid);
      }
      expect(inAll).toHaveBeenCalledTimes(oids.length);
      // In the pack that was named; nothing was searched pack by pack.
      expect(inPack).toHaveBeenCalledTimes(oids.length);
      expect(snapshot.objects.locate("0".repeat(40))).toBeUndefined();
      expect(inPack).toHaveBeenCalledTimes(oids.length);
      expect(byHex).not.toHaveBeenCalled();
      await expectReadable(snapshot, oids.slice(0, 100));
    });
  });

  it("and packs newer than it are found together, here and in a worker's reader", async () => {
    await addPacks(20);
    await bare.run("multi-pack-index", "write");
    const before = await repository.snapshot();
    await addPacks(18);
    const oids = await allObjects();
    await withSnapshot(async (snapshot) => {
      expect(snapshot.objects.packs).toHaveLength(38);
      await expectReadable(snapshot, oids);
      const description = snapshot.objects.describe();
      expect(description.multiPackIndexes).toHaveLength(1);
      const inAll = vi.spyOn(MultiPackIndex.prototype, "findBytes");
      const reader = openObjectReader(structuredClone(description), { blocking: true });
      for (const oid of oids) expect(await reader.read(oid), oid).toBeDefined();
      expect(inAll).toHaveBeenCalled();
    });
    // A snapshot taken before finds the new packs when it needs them.
    await expectReadable(before, oids);
    before.release();
  });

  it("are served while git repacks and rewrites it", async () => {
    await addPacks(6);
    for (let round = 0; round < 3; round++) {
      await bare.run("multi-pack-index", "write");
      const snapshot = await repository.snapshot();
      const oids = await allObjects();
      await addPacks(2);
      await bare.run("multi-pack-index", "write");
      await bare.run("multi-pack-index", "repack");
      await bare.run("multi-pack-index", "expire");
      await withSnapshot(async (later) => expectReadable(later, await allObjects()));
      await bare.run("repack", "-adq");
      expect(packFiles()).toHaveLength(1);
      await expectReadable(snapshot, oids);
      await withSnapshot(async (later) => {
        expect(later.objects.packs).toHaveLength(1);
        await expectReadable(later, await allObjects());
      });
      snapshot.release();
    }
  });

  it("that have gone are passed by: a copy elsewhere is found, and what only they held is missing", async () => {
    await addPacks(4);
    const lost = await addPacks(1);
    await bare.run("multi-pack-index", "write");
    const oids = await allObjects();
    // Everything once more in one pack; then the packs that the multi-pack-index names go, but for the one.
    const spared = await withSnapshot(async ({ objects }) => objects.locate(lost)?.pack.name);
    const kept = readFileSync(midx);
    await bare.run("repack", "-aq");
    writeFileSync(midx, kept);
    for (const name of readdirSync(packDirectory)) {
      const isOld = kept.includes(name.replace(/\.[a-z]+$/, ".idx"), 0, "latin1");
      if (isOld && !name.startsWith(spared ?? "")) rmSync(join(packDirectory, name));
    }
    expect(packFiles()).toHaveLength(2);
    await withSnapshot(async (snapshot) => expectReadable(snapshot, oids));
    for (const name of packFiles()) {
      if (name.startsWith(spared ?? "")) continue;
      for (const ending of [".pack", ".idx", ".rev"])
        rmSync(join(packDirectory, name.replace(".pack", ending)), { force: true });
    }
    await withSnapshot(async ({ objects }) => {
      expect(await objects.has(lost)).toBe(true);
      let found = 0;
      for (const oid of oids) if (await objects.has(oid)) found++;
      expect(found).toBeGreaterThan(0);
      expect(found).toBeLessThan(oids.length);
    });
  });

  it.each<readonly [string, (bytes: Buffer) => Buffer]>([
    ["empty", () => Buffer.alloc(0)],
    ["cut short", (bytes) => bytes.subarray(0, bytes.length >> 1)],
    ["overwritten", (bytes) => Buffer.from(bytes).fill(0xa5, 200)],
    ["of another version", (bytes) => Buffer.from(bytes).fill(9, 4, 5)],
  ])("are found by their own indexes when it is %s", async (_what, damage) => {
    await addPacks(5);
    await bare.run("multi-pack-index", "write");
    const oids = await allObjects();
    const good = readFileSync(midx);
    rmSync(midx);
    writeFileSync(midx, damage(good));
    await withSnapshot(async (snapshot) => {
      expect(snapshot.objects.describe().multiPackIndexes).toEqual([]);
      await expectReadable(snapshot, oids);
    });
    const directory = new PackDirectory(packDirectory, "sha1");
    await directory.refresh();
    expect(directory.covered).toBeUndefined();
    expect(directory.brokenMultiPackIndex).toContain("multi-pack-index");
    // Once it is whole again it is used again, without anybody being told.
    rmSync(midx);
    await bare.run("multi-pack-index", "write");
    await directory.refresh();
    expect(directory.brokenMultiPackIndex).toBeUndefined();
    expect(directory.covered?.packs).toHaveLength(5);
    rmSync(midx);
    await directory.refresh();
    expect(directory.covered).toBeUndefined();
    directory.close();
    expect(existsSync(midx)).toBe(false);
  });

  it("are found when it says less than the truth about where they are", async () => {
    await addPacks(3);
    await bare.run("multi-pack-index", "write");
    const oids = await allObjects();
    const bytes = readFileSync(midx);
    const row = Array.from({ length: bytes[6] as number }, (_, i) => 12 + i * 12).find(
      (at) => bytes.toString("latin1", at, at + 4) === "OOFF",
    ) as number;
    const start = Number(bytes.readBigUInt64BE(row + 4));
    const end = Number(bytes.readBigUInt64BE(row + 16));
    // Every object in the next pack, somewhere.
    for (let at = start; at < end; at += 8) bytes.writeUInt32BE((bytes.readUInt32BE(at) + 1) % 3, at);
    rmSync(midx);
    writeFileSync(midx, bytes);
    await withSnapshot(async (snapshot) => {
      expect(snapshot.objects.describe().multiPackIndexes).toHaveLength(1);
      await expectReadable(snapshot, oids);
    });
  });
});
