import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Repository, RepositoryStore } from "../contracts/repository.js";
import { finishPack, sampleObject } from "../contracts/suites/sample-objects.js";
import { createDiskRepositoryStore } from "./disk-repository-store.js";

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
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(descriptors()).toBe(before);
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
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(descriptors()).toBe(before);
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
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(descriptors()).toBe(before);
    expect(readdirSync(join(directory, "app.git/objects")).filter((name) => name.startsWith("tmp_"))).toEqual(
      [],
    );
    await repository.close();
  });
});
