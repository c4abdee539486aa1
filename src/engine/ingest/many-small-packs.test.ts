/** Many small packs at once of which the end does not come: what they hold together is bounded. */
import { createHash } from "node:crypto";
import { afterAll, expect, it, vi } from "vitest";
import { DEFAULT_LIMITS } from "../../base/limits.js";
import { closeWorkerPool } from "../../base/worker-pool.js";
import { formatEntry, formatPackHeader } from "../../pack/pack-writer.js";
import { createMemoryRepositoryStore } from "../../storage/memory/memory-repository-store.js";
import { ingestPack } from "./ingest-pack.js";
import { smallPackBudget } from "./small-pack.js";

const MIB = 1024 * 1024;
const BLOBS = 7;
/** More than fit. */
const PUSHES = 12;
const ROOM = 64 * MIB;

afterAll(closeWorkerPool);

it("go to the workers when there is no room, and give theirs back", async () => {
  const store = createMemoryRepositoryStore();
  const repository = await store.create("app");
  const snapshot = await repository.snapshot();
  const blobs = Array.from({ length: BLOBS }, (_, i) => formatEntry("blob", Buffer.alloc(MIB - 1000, i)));
  const body = Buffer.concat([formatPackHeader(BLOBS), ...blobs]);
  const trailer = createHash("sha1").update(body).digest();
  let letGo = (): void => undefined;
  const released = new Promise<void>((resolve) => (letGo = resolve));
  const push = async (end: Buffer): Promise<number> => {
    const quarantine = await repository.openQuarantine();
    try {
      const { objectCount } = await ingestPack({
        quarantine,
        objects: snapshot.objects,
        source: (async function* () {
          yield body;
          await released;
          yield end;
        })(),
        objectFormat: "sha1",
        limits: DEFAULT_LIMITS,
        collisionDetection: false,
        maxInputSizeBytes: Infinity,
      });
      return objectCount;
    } finally {
      await quarantine.discard();
    }
  };
  const pushes = Array.from({ length: PUSHES }, () => push(trailer));
  const broken = push(Buffer.alloc(20)).catch(() => "refused");
  await vi.waitFor(() => expect(smallPackBudget.held).toBeGreaterThan(ROOM - 8 * MIB), { timeout: 20_000 });
  expect(smallPackBudget.held).toBeLessThanOrEqual(ROOM);
  letGo();
  expect(await Promise.all(pushes)).toEqual(Array.from({ length: PUSHES }, () => BLOBS));
  expect(await broken).toBe("refused");
  expect(smallPackBudget.held).toBe(0);
  snapshot.release();
  await repository.close();
  await store.close();
});
