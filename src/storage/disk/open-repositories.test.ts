import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Repository, RepositoryStore } from "../contracts/repository.js";
import { finishPack, sampleObject } from "../contracts/suites/sample-objects.js";
import { openDiskRepository } from "./disk-repository.js";
import { findGitDirectory } from "./git-directory.js";
import { ObjectDirectoryPool } from "./object-directory.js";
import { createDiskRepositoryStore, openDiskRepositoryAt } from "./disk-repository-store.js";

let directory: string;
let store: RepositoryStore;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-open-"));
  store = createDiskRepositoryStore({ directory, durability: "none" });
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

const descriptors = (): number => readdirSync("/proc/self/fd").length;

async function pushLarge(repository: Repository, seed: number): Promise<void> {
  const bytes = Buffer.alloc(1_200_000);
  let state = seed;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  const quarantine = await repository.openQuarantine();
  await finishPack(await quarantine.createPack(), "sha1", [sampleObject("sha1", "blob", bytes)], {
    chunkBytes: 50_000,
  });
  await quarantine.publish();
  await quarantine.discard();
}

async function listed(): Promise<string[]> {
  const names: string[] = [];
  for await (const name of store.list()) names.push(name);
  return names;
}

describe("what a crash leaves in the directory", () => {
  it("is never listed or opened, and goes after a day", async () => {
    await (await store.create("group/app")).close();
    const young = join(directory, "group/.gitwharf-new-young");
    const old = [join(directory, "group/.gitwharf-new-old"), join(directory, ".gitwharf-deleted-old")];
    for (const path of [young, ...old]) cpSync(join(directory, "group/app.git"), path, { recursive: true });
    const longAgo = new Date(Date.now() - 25 * 60 * 60 * 1000);
    for (const path of old) {
      for (const name of ["", ...readdirSync(path, { recursive: true, encoding: "utf8" })])
        utimesSync(join(path, name), longAgo, longAgo);
    }
    expect(await listed()).toEqual(["group/app"]);
    expect(existsSync(young)).toBe(true);
    for (const path of old) expect(existsSync(path)).toBe(false);
    await expect(store.open("group/.gitwharf-new-young")).rejects.toMatchObject({ code: "storage/bad-name" });
  });

  it("goes when another repository is made beside it, unless something is being written to it", async () => {
    const [dead, alive] = [join(directory, ".gitwharf-new-dead"), join(directory, ".gitwharf-new-alive")];
    await (await store.create("app")).close();
    const longAgo = new Date(Date.now() - 25 * 60 * 60 * 1000);
    for (const path of [dead, alive]) {
      cpSync(join(directory, "app.git"), path, { recursive: true });
      for (const name of ["", ...readdirSync(path, { recursive: true, encoding: "utf8" })])
        utimesSync(join(path, name), longAgo, longAgo);
    }
    utimesSync(join(alive, "objects/pack"), new Date(), new Date());
    await (await store.prepare("group/other")).discard();
    expect(readdirSync(directory).sort()).toEqual([".gitwharf-new-alive", "app.git"]);
  });
});

describe("packs that cannot be used", () => {
  const packs = (): string => join(directory, "app.git/objects/pack");

  it("are passed by until they are put right", async () => {
    const repository = await store.create("app");
    await pushLarge(repository, 3);
    await pushLarge(repository, 4);
    const [name = ""] = readdirSync(packs()).filter((each) => each.endsWith(".idx"));
    const good = readFileSync(join(packs(), name));
    rmSync(join(packs(), name));
    writeFileSync(join(packs(), name), "not an index");
    const other = createDiskRepositoryStore({ directory });
    const opened = await other.open("app");
    const before = await opened?.snapshot();
    expect(before?.objects.packs).toHaveLength(1);
    before?.release();
    rmSync(join(packs(), name));
    const without = await opened?.snapshot();
    expect(without?.objects.packs).toHaveLength(1);
    without?.release();
    writeFileSync(join(packs(), name), good);
    const after = await opened?.snapshot();
    expect(after?.objects.packs).toHaveLength(2);
    after?.release();
    await opened?.close();
    await other.close();
    await repository.close();
  });

  it("are those whose index is of another pack, or missing", async () => {
    const repository = await store.create("app");
    await pushLarge(repository, 3);
    await pushLarge(repository, 4);
    await repository.close();
    const [first = "", second = ""] = readdirSync(packs()).filter((each) => each.endsWith(".idx"));
    rmSync(join(packs(), first));
    cpSync(join(packs(), second), join(packs(), first));
    const opened = await openDiskRepositoryAt(join(directory, "app.git"));
    const snapshot = await opened.snapshot();
    expect(snapshot.objects.packs.map(({ name }) => `${name}.idx`)).toEqual([second]);
    snapshot.release();
    rmSync(join(packs(), first));
    const again = await opened.snapshot();
    expect(again.objects.packs).toHaveLength(1);
    again.release();
    await opened.close();
  });
});

describe("the open repositories of a store", () => {
  it("share one opening among callers at the same time", async () => {
    await (await store.create("app")).close();
    const opened = await Promise.all(Array.from({ length: 20 }, () => store.open("app")));
    expect(new Set(opened.map((repository) => repository?.refs)).size).toBe(1);
    for (const repository of opened) await repository?.close();
  });

  it("give back every descriptor when the store is closed", async () => {
    const before = descriptors();
    for (const name of ["a", "b", "c"]) {
      const repository = await store.create(name);
      for (let i = 0; i < 3; i++) await pushLarge(repository, i + 1);
      (await repository.snapshot()).release();
      await repository.close();
    }
    expect(descriptors()).toBeGreaterThan(before);
    await store.close();
    await expect.poll(descriptors).toBe(before);
  });

  it("keep what a snapshot holds after the repository was deleted, until it is released", async () => {
    const before = descriptors();
    const repository = await store.create("app");
    await pushLarge(repository, 7);
    const snapshot = await repository.snapshot();
    const [pack] = snapshot.objects.packs;
    const oid = pack?.index.oidAt(0) ?? "";
    await repository.close();
    await store.delete("app");
    expect(existsSync(join(directory, "app.git"))).toBe(false);
    expect((await snapshot.objects.read(oid))?.data.length).toBe(1_200_000);
    snapshot.release();
    await expect.poll(descriptors).toBe(before);
    expect(() => pack?.bytes.read(0, 100)).toThrow(/released/);
  });

  it("open no more once the store is closed", async () => {
    await (await store.create("app")).close();
    await store.close();
    await expect(store.open("app")).rejects.toMatchObject({ code: "base/shutting-down" });
  });

  it("leak nothing through quarantines that are dropped at any point", async () => {
    const repository = await store.create("app");
    await pushLarge(repository, 1);
    (await repository.snapshot()).release();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = descriptors();
    const large = Buffer.alloc(1_500_000, 1);
    for (let i = 0; i < 5; i++) {
      const quarantine = await repository.openQuarantine();
      const sink = await quarantine.createPack();
      if (i > 0) await sink.append(large);
      if (i > 1) sink.range();
      if (i > 2) void sink.append(large).catch(() => undefined);
      if (i > 3) await sink.abort();
      await quarantine.discard();
    }
    await expect.poll(descriptors).toBe(before);
    expect(readdirSync(join(directory, "app.git/objects")).filter((name) => name.startsWith("tmp_"))).toEqual(
      [],
    );
    await repository.close();
  });

  it("let go of packs that have gone although nobody asks", async () => {
    const repository = await store.create("app");
    await pushLarge(repository, 5);
    (await repository.snapshot()).release();
    const before = descriptors();
    const location = await findGitDirectory(join(directory, "app.git"));
    if (location === undefined) throw new Error("there is no repository");
    const pool = new ObjectDirectoryPool();
    const own = await openDiskRepository({
      name: "app",
      location,
      durability: "none",
      pool,
      mayBorrowFrom: () => true,
    });
    (await own.snapshot()).release();
    expect(descriptors()).toBe(before + 1);
    await own.releaseVanished();
    expect(descriptors()).toBe(before + 1);
    for (const name of readdirSync(join(directory, "app.git/objects/pack"))) {
      rmSync(join(directory, "app.git/objects/pack", name));
    }
    await own.releaseVanished();
    await expect.poll(descriptors).toBe(before);
    await own.close();
    await repository.close();
  });
});
