/**
 * Servers whose clocks are a day and more apart from each other, from the database's and from the bucket's: pushes go on, nothing that is
 * in use goes, leases are nobody else's for as long as they were taken and no longer.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { collectGarbage, type CollectionOutcome } from "../src/engine/maintenance/collect-garbage.js";
import { sampleCommit, sampleObject } from "../src/storage/contracts/suites/sample-objects.js";
import type { ObjectStore } from "../src/storage/object-store/object-store.js";
import { CEPH_START_MS } from "./support/ceph-bucket.js";
import {
  keysIn,
  objectStorePlaces,
  pushObjects,
  SKIP_CEPH_AND_POSTGRES,
  type StoreServer,
  StoreServers,
} from "./support/object-stores.js";

const HOUR_MS = 60 * 60 * 1000;
const SKEWS = { right: 0, ahead: 30 * HOUR_MS, behind: -30 * HOUR_MS };
type Name = keyof typeof SKEWS;

/** What is done, and begun, in it has another time. */
const skew = new AsyncLocalStorage<number>();
const rightNow = Date.now;

const places = objectStorePlaces(inject("cephSocket"));
beforeAll(() => {
  Date.now = () => rightNow() + (skew.getStore() ?? 0);
});
afterAll(async () => {
  Date.now = rightNow;
  await places.stop();
});

const BACKENDS = [
  { name: "a directory and SQLite", isSkipped: false, place: places.onDisk },
  { name: "Ceph and PostgreSQL", isSkipped: SKIP_CEPH_AND_POSTGRES, place: places.onCeph },
];

describe.each(BACKENDS)("clocks that differ: $name", ({ isSkipped, place }) => {
  let opened: StoreServers;
  const servers = new Map<Name, StoreServer>();

  beforeAll(async () => {
    if (isSkipped) return;
    opened = new StoreServers(await place());
    for (const [name, ms] of Object.entries(SKEWS))
      servers.set(name as Name, await skew.run(ms, () => opened.open()));
  }, CEPH_START_MS);
  afterAll(async () => {
    if (!isSkipped) await opened.close();
  });

  const on = <T>(
    name: Name,
    body: (server: StoreServer & { readonly store: ObjectStore }) => Promise<T>,
  ): Promise<T> =>
    skew.run(SKEWS[name], () => body(servers.get(name) as StoreServer & { readonly store: ObjectStore }));
  const push = (name: Name, to: string, ref: string, bytes = 1000): Promise<void> =>
    on(name, async ({ store }) => {
      const repository = (await store.open(to)) ?? (await store.create(to));
      const objects = [
        ...sampleCommit("sha1", ref).objects,
        sampleObject("sha1", "blob", randomBytes(bytes)),
      ];
      expect(await pushObjects(repository, objects, `refs/heads/${ref}`)).toBe(true);
      await repository.close();
    });

  it.skipIf(isSkipped)("keeps the history in order, and its times by the database's clock", async () => {
    const order: Name[] = ["ahead", "behind", "right", "behind", "ahead"];
    for (const [i, name] of order.entries()) await push(name, "app", `${i}`);
    await on("behind", async ({ store }) => (await store.fork("app", "fork")).close());
    await on("ahead", ({ store }) => store.restore("app", { generation: 2 }));
    const history = await on("behind", ({ store }) => store.history("app"));
    expect(history.map(({ generation }) => generation)).toEqual([6, 5, 4, 3, 2, 1, 0]);
    const times = history.map(({ timeMs }) => timeMs);
    expect(times).toEqual(times.toSorted((a, b) => b - a));
    for (const time of times) expect(Math.abs(time - rightNow())).toBeLessThan(HOUR_MS);
    const at = { timeMs: times[2] as number };
    const past = await on("ahead", ({ store }) => store.openAt("app", at));
    expect((await past.snapshot()).refs.all.length).toBeGreaterThan(2);
    await past.close();
  });

  it.skipIf(isSkipped)("leaves to its janitors nothing that is in use, or kept", async () => {
    await push("behind", "kept", "first");
    const { id: repositoryId, networkId } = await on("right", async ({ metadata }) => {
      const record = await metadata.find("kept");
      if (record === undefined) throw new Error("it is not there");
      return record;
    });
    const uploading = await on("behind", async ({ bucket, metadata }) => {
      const keys = [`p/00/${randomUUID()}.pack`, `p/00/${randomUUID()}.pack`] as const;
      const id = await metadata.beginUpload({ repositoryId, networkId, keys, owner: "test" });
      await bucket.put(keys[0], [Buffer.from("x")]);
      const upload = await bucket.createUpload(keys[1]);
      await upload.append(randomBytes(9_000_000));
      return { id, keys, upload };
    });
    await push("right", "gone", "first");
    await on("behind", ({ store }) => store.delete("gone"));
    await on("behind", async ({ store }) => {
      const { repository } = await store.prepare("prepared");
      await repository.close();
    });
    const before = await on("right", ({ store }) => store.history("app"));
    const keys = await on("right", ({ bucket }) => keysIn(bucket));
    for (const name of ["ahead", "behind", "right"] as const)
      expect(await on(name, ({ store }) => store.clean()), name).toMatchObject({
        failures: [],
        uploadsTaken: 0,
        keysDeleted: 0,
        preparedPurged: 0,
        deletedPurged: 0,
        generationsForgotten: 0,
        packsDropped: 0,
      });
    expect(await on("right", ({ bucket }) => keysIn(bucket))).toEqual(keys);
    expect(await uploading.upload.finish()).toEqual({ sizeBytes: 9_000_000 });
    expect(await on("right", ({ metadata }) => metadata.touchUpload(uploading.id))).toBe(true);
    expect(await on("ahead", ({ store }) => store.history("app"))).toEqual(before);
    await on("ahead", ({ store }) => store.undelete("gone"));
    for (const repository of ["app", "fork", "kept", "gone"])
      expect(await on("behind", ({ store }) => store.verify(repository))).toMatchObject({ findings: [] });
    // What was marked by one is as old for another.
    await push("right", "fork", "own");
    await on("ahead", ({ store }) => store.delete("fork"));
    const limits = { retentionMs: -1000, graceMs: HOUR_MS };
    const [marked, seen] = [
      await on("behind", ({ store }) => store.clean(limits)),
      await on("ahead", ({ store }) => store.clean(limits)),
    ];
    expect(marked).toMatchObject({ deletedPurged: 1, packsMarked: 1, packsDropped: 0, failures: [] });
    expect(seen).toMatchObject({ packsMarked: 0, packsDropped: 0, failures: [] });
  });

  it.skipIf(isSkipped)("keeps garbage for its time, whoever found it and whoever looks", async () => {
    await push("right", "garbage", "kept");
    await push("right", "garbage", "gone");
    await on("right", async ({ store }) => {
      const repository = await store.open("garbage");
      const update = { name: "refs/heads/gone", oldOid: undefined, newOid: null };
      expect(await repository?.refs.transact({ updates: [update], atomic: true })).toMatchObject([
        { ok: true },
      ]);
      await repository?.close();
    });
    const collect = (name: Name): Promise<CollectionOutcome | undefined> =>
      on(name, async ({ store }) => {
        const repository = await store.open("garbage");
        const garbage = repository?.packMaintenance?.garbage;
        const outcome =
          garbage === undefined ? undefined : await collectGarbage(garbage, { graceMs: 24 * HOUR_MS });
        const survey = await garbage?.survey();
        expect(survey?.unreachableForMs).toBeGreaterThanOrEqual(0);
        expect(survey?.unreachableForMs).toBeLessThan(HOUR_MS);
        await repository?.close();
        return outcome;
      });
    const found = await collect("behind");
    expect(found).toMatchObject({ kind: "collected", dropped: 0 });
    expect(found?.kind === "collected" && found.unreachable).toBeGreaterThan(0);
    const seen = await collect("ahead");
    expect(seen?.kind === "collected" ? seen.dropped : 0).toBe(0);
  });

  it.skipIf(isSkipped)("keeps bundles that are asked for", async () => {
    await push("right", "bundled", "first");
    await on("behind", async ({ store, metadata, database }) => {
      const repository = await store.open("bundled");
      const { id = "" } = (await metadata.find("bundled")) ?? {};
      const bytes = (async function* () {
        yield Buffer.from("bundle");
      })();
      expect(await repository?.bundles?.make(async () => ({ refs: [], packsBytes: 1, bytes }))).toBe(true);
      const touched = { touched_at: rightNow() - 2 * HOUR_MS };
      await database.db.updateTable("uploads").set(touched).where("bundle", "is not", null).execute();
      expect((await metadata.listBundles(id))[0]?.untouchedMs).toBeGreaterThan(HOUR_MS);
      expect(await (await repository?.bundles?.find())?.hold()).toBe(true);
      expect((await metadata.listBundles(id))[0]?.untouchedMs).toBeLessThan(HOUR_MS);
      await repository?.close();
    });
  });

  it.skipIf(isSkipped)("keeps leases for as long as they were taken, and no longer", async () => {
    const lease = (name: Name) => ({ name: "work", owner: name });
    const take = (name: Name, forMs: number): Promise<boolean> =>
      on(name, async ({ metadata }) => (await metadata.takeLease(lease(name), forMs)) !== undefined);
    expect(await take("behind", HOUR_MS)).toBe(true);
    expect([await take("ahead", HOUR_MS), await take("right", HOUR_MS)]).toEqual([false, false]);
    await on("behind", ({ metadata }) => metadata.releaseLease(lease("behind"), { restMs: 20, note: "" }));
    const takenWithin = async (name: Name, forMs: number): Promise<boolean> => {
      for (let tries = 0; tries < 2000; tries++) {
        if (await take(name, forMs)) return true;
        await delay(10);
      }
      return false;
    };
    // The one ahead is killed with it.
    expect(await takenWithin("ahead", 50)).toBe(true);
    expect(await takenWithin("behind", HOUR_MS)).toBe(true);
    await on("ahead", ({ metadata }) => metadata.forgetLeases(24 * HOUR_MS));
    expect(await take("ahead", HOUR_MS)).toBe(false);
  });
});
