/** Kept packs are opened again as they are: of what their push was held to, nothing is asked a second time. With the real client: test/deploy-dyno.test.ts. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "../../base/limits.js";
import { closeWorkerPool } from "../../base/worker-pool.js";
import { type HandMadeEntry, makeDelta, makePack } from "../../engine/ingest/ingest.test.support.js";
import { hashObject } from "../../object/object-id.js";
import type { RepositoryStore } from "../../storage/contracts/repository.js";
import { createMemoryRepositoryStore } from "../../storage/memory/memory-repository-store.js";
import { type KeptObjects, openKeptObjects } from "./kept-objects.js";

let directory: string;
let repositories: RepositoryStore;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  repositories = createMemoryRepositoryStore();
});
afterEach(async () => {
  await repositories.close();
  rmSync(directory, { recursive: true, force: true });
});
afterAll(closeWorkerPool);

const open = (): Promise<KeptObjects> =>
  openKeptObjects(
    repositories,
    { name: "shop", directory, objectFormat: "sha1" },
    new AbortController().signal,
  );

describe("kept packs", () => {
  it("may be more than servers take by default", async () => {
    const deltas = DEFAULT_LIMITS.deltaDepthMax + 1;
    const chain: HandMadeEntry[] = [{ type: "blob", data: "one blob\n" }];
    for (let i = 0; i < deltas; i++) chain.push({ base: i, delta: makeDelta(9 + i, [[0, 9 + i], "x"]) });
    writeFileSync(join(directory, "pack-0"), makePack("sha1", chain));
    const kept = await open();
    const last = hashObject("sha1", "blob", Buffer.from(`one blob\n${"x".repeat(deltas)}`));
    expect(await kept.snapshot.objects.has(last)).toBe(true);
    await kept.close();
    await kept.close();
  });

  it("are none where nothing was pushed", async () => {
    rmSync(directory, { recursive: true });
    const kept = await open();
    expect([...kept.snapshot.shallow]).toEqual([]);
    await kept.close();
    // No repository has come of it.
    expect(await repositories.open("shop")).toBeUndefined();
  });

  it("that are broken are said to be, and leave nothing", async () => {
    writeFileSync(join(directory, "pack-0"), makePack("sha1", [{ type: "blob", data: "x" }]).subarray(0, -1));
    await expect(open()).rejects.toMatchObject({ code: expect.stringMatching(/^(?:pack|base)\//) as string });
    expect(await repositories.open("shop")).toBeUndefined();
  });
});
