/**
 * The janitor of the object store: what nobody needs goes, what somebody needs stays, wherever a pass is stopped and whatever
 * others do at the same time.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, inject, it } from "vitest";
import { GitwharfError, isGitwharfError } from "../src/base/errors.js";
import { foldPacks } from "../src/engine/maintenance/fold-packs.js";
import type { Repository } from "../src/storage/contracts/repository.js";
import {
  type SampleObject,
  sampleCommit,
  sampleObject,
} from "../src/storage/contracts/suites/sample-objects.js";
import { startJanitor } from "../src/storage/object-store/background-janitor.js";
import { ObjectCache } from "../src/storage/object-store/cache/object-cache.js";
import { type JanitorReport, runJanitor } from "../src/storage/object-store/janitor.js";
import { markKept } from "../src/storage/object-store/mark-kept.js";
import type { MetadataStore } from "../src/storage/object-store/metadata/metadata-store.js";
import { NodeCache } from "../src/storage/object-store/node-cache.js";
import { openObjectStore } from "../src/storage/object-store/object-store.js";
import { PackShelf } from "../src/storage/object-store/pack-shelf.js";
import { StoredCore } from "../src/storage/object-store/stored-core.js";
import { CEPH_START_MS } from "./support/ceph-bucket.js";
import { createFaultyBucket, type Fault } from "./support/faulty-bucket.js";
import {
  keysIn,
  missingObjects,
  objectStorePlaces,
  pushObjects,
  SKIP_CEPH_AND_POSTGRES,
  type StorePlace,
  type StoreServer,
  StoreServers,
} from "./support/object-stores.js";

const places = objectStorePlaces(inject("cephSocket"));
afterAll(() => places.stop());

const BACKENDS = [
  { name: "a directory and SQLite", isSkipped: false, place: places.onDisk },
  { name: "Ceph and PostgreSQL", isSkipped: SKIP_CEPH_AND_POSTGRES, place: places.onCeph },
];

/** Whatever is garbage goes at once. */
const AT_ONCE = { uploadAgeMsMax: 0, preparedAgeMsMax: 0, retentionMs: 0, graceMs: 0 };

function someObjects(label: string, blobBytes = 1000): readonly SampleObject[] {
  return [...sampleCommit("sha1", label).objects, sampleObject("sha1", "blob", randomBytes(blobBytes))];
}

async function idOf(metadata: MetadataStore, name: string): Promise<string> {
  const record = await metadata.find(name);
  if (record === undefined) throw new Error(`${name} has gone`);
  return record.id;
}

/** What repositories have, by name. */
type Contents = ReadonlyMap<string, readonly SampleObject[]>;

/**
 * A store with everything that a janitor has to do: a repository that was folded and its fork, one that was deleted, one that was
 * never placed, an upload that nobody ended, one that a janitor had taken.
 */
async function makeMess(
  { store, metadata, bucket, database }: StoreServer,
  largeBytes = 5_000_000,
): Promise<Contents> {
  const contents = new Map<string, SampleObject[]>();
  const pushTo = async (repository: Repository, label: string, blobBytes?: number): Promise<void> => {
    const objects = someObjects(`${repository.name} ${label}`, blobBytes);
    await pushObjects(repository, objects, `refs/heads/${label}`);
    const known = contents.get(repository.name) ?? [];
    known.push(...objects);
    contents.set(repository.name, known);
  };
  const app = await store.create("app");
  for (let i = 0; i < 3; i++) await pushTo(app, `${i}`, i === 2 ? largeBytes : 1000);
  await metadata.fork(await idOf(metadata, "app"), "fork");
  contents.set("fork", [...(contents.get("app") ?? [])]);
  const fork = await store.open("fork");
  if (fork === undefined || app.packMaintenance === undefined) throw new Error("it is not there");
  await pushTo(fork, "own");
  await pushTo(app, "late");
  await app.refs.transact({
    updates: [{ name: "refs/heads/0", oldOid: undefined, newOid: null }],
    atomic: true,
  });
  expect(await foldPacks(app.packMaintenance)).toMatchObject({ kind: "folded", packCount: 4 });
  const gone = await store.create("gone");
  await pushTo(gone, "it", largeBytes);
  await store.delete("gone");
  contents.delete("gone");
  const { repository: prepared } = await store.prepare("prepared");
  await pushTo(prepared, "first");
  contents.delete("prepared");
  for (const isTaken of [false, true]) {
    const keys = [0, 1].map(() => `l/00/${randomUUID()}.l0`);
    const { id: repositoryId, networkId } = (await metadata.find("app")) ?? { id: "", networkId: "" };
    const upload = await metadata.beginUpload({ repositoryId, networkId, keys, owner: "test" });
    for (const key of keys) await bucket.put(key, [Buffer.from(key)]);
    if (isTaken) await metadata.takeUpload(upload);
  }
  await metadata.takeLease({ name: "fold/of-a-server-that-was-killed", owner: "somebody" }, 1);
  for (const repository of [app, fork, gone, prepared]) await repository.close();
  // Hidden ones are listed when they are older than now.
  await delay(5);
  await database.db.updateTable("leases").set({ expires_at: 1 }).execute();
  return contents;
}

/** What is needed is there, and nothing else. */
async function expectClean({ metadata, bucket, database }: StoreServer): Promise<void> {
  const needed = new Set<string>();
  const listed: string[] = [];
  let nodes = 0;
  const cache = new NodeCache(metadata);
  for (const networkId of await metadata.listNetworks({ limit: 1000 })) {
    const roots = await metadata.listKeptRoots(networkId);
    expect(roots.length, "a network without repositories is left").toBeGreaterThan(0);
    const marked = await markKept({
      nodes: cache.of(networkId),
      roots,
      nodesMax: 100_000,
      onKey: (key) => needed.add(key),
      check: () => undefined,
    });
    nodes += marked.size;
    for (const { key, sideKey } of await metadata.listPacks(networkId, { limit: 1000 })) {
      expect(needed, "a pack is listed that nothing names").toContain(key);
      listed.push(key, ...(sideKey === undefined ? [] : [sideKey]));
    }
  }
  expect(await keysIn(bucket)).toEqual(listed.toSorted());
  for (const key of needed) expect(listed).toContain(key);
  expect(await metadata.listUploads({ olderThanMs: -1000, limit: 100 })).toEqual([]);
  const rows = await database.db.selectFrom("nodes").select("hash").execute();
  expect(rows).toHaveLength(nodes);
  expect(await metadata.listHidden({ state: "prepared", beforeMs: Date.now() + 1, limit: 1 })).toEqual([]);
}

async function expectReadable({ store }: Pick<StoreServer, "store">, contents: Contents): Promise<void> {
  for (const [name, objects] of contents) {
    const repository = await store.open(name);
    if (repository === undefined) throw new Error(`${name} has gone`);
    expect(await missingObjects(repository, objects)).toEqual([]);
    await repository.close();
  }
}

/** Its every call counts, with those of the bucket; from one on all fail. */
function stoppedAt(
  { metadata, bucket }: StoreServer,
  at: number,
  how: "before" | "lost",
): {
  readonly metadata: MetadataStore;
  readonly bucket: StoreServer["bucket"];
  readonly calls: () => number;
} {
  let calls = 0;
  const fault = (): "before" | "lost" | undefined => {
    const call = ++calls;
    return call < at ? undefined : call === at ? how : "before";
  };
  const failure = (name: string): GitwharfError =>
    new GitwharfError("storage/io", `${name}: stopped by the test`);
  const wrapped = new Proxy(metadata, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== "function" || typeof name !== "string") return method;
      return async (...args: readonly unknown[]): Promise<unknown> => {
        const decided = fault();
        if (decided === "before") throw failure(name);
        const answer: unknown = await Reflect.apply(method, target, args);
        if (decided === "lost") throw failure(name);
        return answer;
      };
    },
  });
  return {
    metadata: wrapped,
    bucket: createFaultyBucket(bucket, (): Fault | undefined => fault()),
    calls: () => calls,
  };
}

function total({ failures: _failures, next: _next, networksSeen: _seen, ...counts }: JanitorReport): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

async function withServers(place: StorePlace, body: (servers: StoreServers) => Promise<void>): Promise<void> {
  const servers = new StoreServers(place);
  try {
    await body(servers);
  } finally {
    await servers.close();
  }
}

describe.each(BACKENDS)("the janitor in $name", ({ isSkipped, place }) => {
  it.skipIf(isSkipped)(
    "removes what nobody needs, and nothing else",
    async () => {
      await withServers(await place(), async (servers) => {
        const server = await servers.open();
        const contents = await makeMess(server);
        const before = await keysIn(server.bucket);
        const report = await runJanitor({ ...server, ...AT_ONCE });
        expect(report.failures).toEqual([]);
        expect(report).toMatchObject({
          uploadsTaken: 1,
          preparedPurged: 1,
          deletedPurged: 1,
          // Of the four packs that were folded the fork has three still.
          packsDropped: 1,
          packsMarked: 0,
          leasesForgotten: 1,
        });
        expect(report.next).toBeUndefined();
        for (const what of ["generationsForgotten", "nodesRemoved", "keysDeleted", "uploadsEnded"] as const)
          expect(report[what], what).toBeGreaterThan(0);
        await expectClean(server);
        expect((await keysIn(server.bucket)).length).toBeLessThan(before.length);
        await expectReadable(server, contents);
        await expectReadable(await servers.open(), contents);
        expect(total(await runJanitor({ ...server, ...AT_ONCE }))).toBe(0);
        // The fork goes, and with it what it alone has named.
        await server.store.delete("fork");
        await delay(5);
        expect(await runJanitor({ ...server, ...AT_ONCE })).toMatchObject({
          deletedPurged: 1,
          packsDropped: 4,
        });
        await expectClean(server);
        await expectReadable(server, new Map([["app", contents.get("app") ?? []]]));
        await server.store.delete("app");
        await delay(5);
        await runJanitor({ ...server, ...AT_ONCE });
        expect(await keysIn(server.bucket)).toEqual([]);
        for (const table of ["networks", "repositories", "generations", "nodes", "packs", "uploads"] as const)
          expect(await server.database.db.selectFrom(table).selectAll().execute(), table).toEqual([]);
      });
    },
    CEPH_START_MS,
  );

  it.skipIf(isSkipped)(
    "leaves what may be needed still: by requests, for bringing it back, for looking at it",
    async () => {
      await withServers(await place(), async (servers) => {
        const server = await servers.open();
        const { metadata, bucket, database, store } = server;
        const contents = await makeMess(server);
        const keys = await keysIn(bucket);
        const first = await runJanitor(server);
        expect(first.failures).toEqual([]);
        expect(total(first)).toBe(first.leasesForgotten);
        expect(await keysIn(bucket)).toEqual(keys);
        const [deleted] = await metadata.listHidden({ state: "deleted", beforeMs: Date.now() + 1, limit: 1 });
        await metadata.undelete(deleted?.id ?? "", "back");
        expect((await store.open("back"))?.name).toBe("back");

        // Eight days later.
        const days = 8 * 24 * 60 * 60 * 1000;
        await database.db
          .updateTable("generations")
          .set((row) => ({ time: row("time", "-", days) }))
          .execute();
        const second = await runJanitor(server);
        expect(second).toMatchObject({ failures: [], packsMarked: 1, packsDropped: 0, keysDeleted: 0 });
        expect(second.generationsForgotten).toBeGreaterThan(0);
        expect(second.nodesRemoved).toBeGreaterThan(0);
        expect(await keysIn(bucket)).toEqual(keys);
        const third = await runJanitor(server);
        expect(total(third)).toBe(0);
        const hour = 60 * 60 * 1000;
        await database.db
          .updateTable("packs")
          .set((row) => ({ unnamed_at: row("unnamed_at", "-", hour) }))
          .execute();
        expect(await runJanitor(server)).toMatchObject({ packsMarked: 0, packsDropped: 1 });
        expect((await keysIn(bucket)).length).toBeLessThan(keys.length);
        await expectReadable(server, contents);
      });
    },
    CEPH_START_MS,
  );

  it.skipIf(isSkipped)(
    "serves on from a state that was forgotten since it was read",
    async () => {
      await withServers(await place(), async (servers) => {
        const server = await servers.open();
        const { store, metadata, bucket } = server;
        const repository = await store.create("app");
        await pushObjects(repository, someObjects("first"), "refs/heads/main");
        const record = await metadata.find("app");
        if (record === undefined) throw new Error("it has gone");
        // That it keeps no nodes in memory is as if it had not been asked for a long time.
        const nodes = new NodeCache(metadata, { bytesMax: 1 });
        const cache = new ObjectCache({ bucket, directory: tmpdir() });
        const core = new StoredCore({ record, metadata, nodes, shelf: new PackShelf({ cache, bucket }) });
        expect((await core.current()).state.snapshot.all).toHaveLength(1);
        for (let i = 0; i < 3; i++) await pushObjects(repository, someObjects(`${i}`), `refs/heads/${i}`);
        expect((await runJanitor({ ...server, ...AT_ONCE })).nodesRemoved).toBeGreaterThan(0);
        expect((await core.current()).state.snapshot.all).toHaveLength(4);
        await cache.close();
      });
    },
    CEPH_START_MS,
  );

  it.skipIf(isSkipped)(
    "goes on where a pass was stopped, whatever the call",
    async () => {
      await withServers(await place(), async (servers) => {
        const server = await servers.open();
        const contents = await makeMess(server);
        let stops = 0;
        for (let at = 1; ; at++) {
          const stopped = stoppedAt(server, at, at % 2 === 0 ? "lost" : "before");
          const { failures } = await runJanitor({ ...stopped, ...AT_ONCE });
          if (stopped.calls() < at) {
            expect(failures).toEqual([]);
            break;
          }
          stops++;
          expect(failures).not.toEqual([]);
        }
        expect(stops).toBeGreaterThan(12);
        await expectClean(server);
        await expectReadable(await servers.open(), contents);
      });
    },
    CEPH_START_MS,
  );

  it.skipIf(isSkipped)(
    "runs beside pushes, forks, folds and deletions of other servers",
    async () => {
      await withServers(await place(), async (servers) => {
        const [one, other, sweeper] = [await servers.open(), await servers.open(), await servers.open()];
        const acknowledged = new Map<string, SampleObject[]>();
        const remember = (name: string, objects: readonly SampleObject[]): void => {
          acknowledged.set(name, [...(acknowledged.get(name) ?? []), ...objects]);
        };
        await one.store.create("app");
        /** Who is overtaken, because nothing is kept for a while, is told so; what is told to have been done is done. */
        const tried = async (body: () => Promise<void>): Promise<boolean> => {
          try {
            await body();
            return true;
          } catch (error) {
            if (
              isGitwharfError(error, "storage/io", "storage/not-found", "storage/corrupt", "object/corrupt")
            )
              return false;
            throw error;
          }
        };
        const push = (server: StoreServer, name: string, label: string): Promise<boolean> =>
          tried(async () => {
            const repository = await server.store.open(name);
            if (repository === undefined) throw new Error(`${name} has gone`);
            try {
              const objects = someObjects(`${name} ${label}`);
              if (await pushObjects(repository, objects, `refs/heads/${label}`)) remember(name, objects);
            } finally {
              await repository.close();
            }
          });
        let done = 0;
        const ROUNDS = 12;
        const pushing = async (server: StoreServer, who: string): Promise<void> => {
          for (let i = 0; i < ROUNDS; i++) if (await push(server, "app", `${who}-${i}`)) done++;
        };
        const forking = async (): Promise<void> => {
          for (let i = 0; i < ROUNDS; i++) {
            const name = `fork-${i}`;
            const parts = acknowledged.get("app") ?? [];
            await other.metadata.fork(await idOf(other.metadata, "app"), name);
            remember(name, parts);
            await push(one, name, "own");
            if (i % 3 !== 0) continue;
            await one.store.delete(name);
            acknowledged.delete(name);
          }
        };
        const folding = async (): Promise<void> => {
          for (let i = 0; i < ROUNDS; i++) {
            await tried(async () => {
              const repository = await other.store.open("app");
              if (repository?.packMaintenance !== undefined) await foldPacks(repository.packMaintenance);
              await repository?.close();
            });
            await delay(5);
          }
        };
        let isOver = false;
        let passes = 0;
        // What writes an upload that was taken may come later than a pass that knows no grace: its row is looked at once more then.
        const metadata: MetadataStore = {
          ...sweeper.metadata,
          listUploads: async (which) =>
            which.state === "taken" && !isOver ? [] : sweeper.metadata.listUploads(which),
        };
        const cleaning = async (): Promise<void> => {
          while (!isOver) {
            // Uploads that are under way are taken now and then.
            const uploadAgeMsMax = passes++ % 4 === 0 ? 0 : 60_000;
            const { failures } = await runJanitor({ ...sweeper, metadata, ...AT_ONCE, uploadAgeMsMax });
            expect(failures).toEqual([]);
            await delay(5);
          }
        };
        const janitors = Promise.all([cleaning(), cleaning()]);
        await Promise.all([pushing(one, "one"), pushing(other, "other"), forking(), folding()]).finally(
          () => {
            isOver = true;
          },
        );
        await janitors;
        expect(passes).toBeGreaterThan(4);
        expect(done).toBeGreaterThan(0);
        await delay(5);
        expect((await runJanitor({ ...sweeper, ...AT_ONCE })).failures).toEqual([]);
        await expectClean(sweeper);
        await expectReadable(await servers.open(), acknowledged);
        await expectReadable(one, acknowledged);
      });
    },
    CEPH_START_MS,
  );

  it.skipIf(isSkipped)(
    "is one of all servers', which goes on where the last one ended",
    async () => {
      await withServers(await place(), async (servers) => {
        const all = [await servers.open(), await servers.open(), await servers.open()];
        const [first] = all as [StoreServer];
        for (let i = 0; i < 5; i++) await (await first.store.create(`app-${i}`)).close();
        const networks = await first.metadata.listNetworks({ limit: 10 });
        let atWork = 0;
        let most = 0;
        const ends: (string | undefined)[] = [];
        const failures: unknown[] = [];
        let enough = (): void => undefined;
        const seenEnough = new Promise<void>((resolve) => {
          enough = resolve;
        });
        const janitors = all.map((server) => {
          const bucket: StoreServer["bucket"] = {
            ...createFaultyBucket(server.bucket, () => undefined),
            // The first thing that a pass does.
            async sweep() {
              most = Math.max(most, ++atWork);
              await delay(5);
            },
          };
          return startJanitor(
            { bucket, metadata: server.metadata, owner: randomUUID() },
            {
              everyMs: 20,
              networksMax: 2,
              onFailure: (_what, error) => failures.push(error),
              onPass({ next }) {
                atWork--;
                ends.push(next);
                if (ends.length >= 6) enough();
              },
            },
          );
        });
        await seenEnough;
        for (const janitor of janitors) await janitor.close();
        expect(failures).toEqual([]);
        expect(most).toBe(1);
        expect(ends.slice(0, 6)).toEqual([
          networks[1],
          networks[3],
          undefined,
          networks[1],
          networks[3],
          undefined,
        ]);
      });
    },
    CEPH_START_MS,
  );
});

describe("a pass of the janitor", () => {
  it("leaves a network alone of whose states it cannot read one, and looks after the others", async () => {
    await withServers(await places.onDisk(), async (servers) => {
      const server = await servers.open();
      const { store, metadata, bucket, database } = server;
      for (const name of ["damaged", "whole"]) {
        const repository = await store.create(name);
        for (let i = 0; i < 3; i++) await pushObjects(repository, someObjects(`${i}`), `refs/heads/${i}`);
        if (repository.packMaintenance !== undefined) await foldPacks(repository.packMaintenance);
        await repository.close();
      }
      const damaged = await metadata.find("damaged");
      const networkId = damaged?.networkId ?? "";
      await database.db
        .deleteFrom("nodes")
        .where("network_id", "=", networkId)
        .where("hash", "=", Buffer.from(damaged?.root ?? "", "hex"))
        .execute();
      const keys = await keysIn(bucket);
      const report = await runJanitor({ ...server, ...AT_ONCE });
      expect(report.failures).toMatchObject([
        { what: `looking after the network ${networkId}`, error: { code: "storage/corrupt" } },
      ]);
      expect(report).toMatchObject({ networksSeen: 2, packsDropped: 3 });
      expect(keys.length - (await keysIn(bucket)).length).toBe(3);
      expect((await metadata.listPacks(networkId, { limit: 10 })).map(({ key }) => key)).toHaveLength(4);
    });
  });

  it("finishes with a network whose last repository was purged by a process that was killed then", async () => {
    await withServers(await places.onDisk(), async (servers) => {
      const server = await servers.open();
      const { store, metadata, bucket, database } = server;
      const contents = await makeMess(server, 1000);
      const { networkId = "" } = (await metadata.find("app")) ?? {};
      const other = await store.create("other");
      const objects = someObjects("other");
      await pushObjects(other, objects, "refs/heads/main");
      await database.db.deleteFrom("repositories").where("network_id", "=", networkId).execute();
      expect(contents.size).toBe(2);
      expect((await runJanitor({ ...server, ...AT_ONCE })).failures).toEqual([]);
      await expectClean(server);
      await expectReadable(server, new Map([["other", objects]]));
      expect(await metadata.listNetworks({ limit: 10 })).toHaveLength(1);
      expect(await keysIn(bucket)).toHaveLength(1);
    });
  });

  it("is begun and ended with its store, which refuses options that say nothing", async () => {
    await withServers(await places.onDisk(), async (servers) => {
      const { metadata, bucket, database } = await servers.open();
      const opening = openObjectStore({ bucket, metadata, janitor: { retentionMs: -1 } });
      await expect(opening).rejects.toMatchObject({ code: "server/bad-configuration" });
      const failures: unknown[] = [];
      let passed = (): void => undefined;
      const hasPassed = new Promise<void>((resolve) => {
        passed = resolve;
      });
      const janitor = {
        everyMs: 1,
        onPass: () => passed(),
        onFailure: (_what: string, error: unknown) => failures.push(error),
      };
      const store = await openObjectStore({ bucket, metadata, janitor });
      await (await store.create("app")).close();
      await hasPassed;
      await store.close();
      expect(failures).toEqual([]);
      // Nobody has it any more.
      expect(await database.db.selectFrom("leases").select(["name", "owner"]).execute()).toEqual([
        { name: "janitor", owner: "" },
      ]);
    });
  });

  it("ends when it is told to", async () => {
    await withServers(await places.onDisk(), async (servers) => {
      const server = await servers.open();
      const contents = await makeMess(server);
      const stop = new AbortController();
      const bucket = createFaultyBucket(server.bucket, ({ operation }) => {
        if (operation === "delete") stop.abort();
        return undefined;
      });
      const pass = runJanitor({ ...server, bucket, ...AT_ONCE, signal: stop.signal });
      await expect(pass).rejects.toMatchObject({ code: "base/aborted" });
      await expectReadable(server, contents);
      await runJanitor({ ...server, ...AT_ONCE });
      await expectClean(server);
    });
  });
});
