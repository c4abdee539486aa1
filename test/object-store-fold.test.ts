/** Folding packs that are in a bucket: workers read them by way of the cache, from S3 as from a directory. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, inject, it } from "vitest";
import { foldPacks } from "../src/engine/maintenance/fold-packs.js";
import { createGitServer } from "../src/server/git-server.js";
import type { PackMaintenance, PackReplacement } from "../src/storage/contracts/pack-maintenance.js";
import type { Repository, RepositoryStore } from "../src/storage/contracts/repository.js";
import {
  finishPack,
  type SampleObject,
  sampleCommit,
  sampleObject,
} from "../src/storage/contracts/suites/sample-objects.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../src/storage/repository-settings-defaults.js";
import { CEPH_START_MS } from "./support/ceph-bucket.js";
import { createWorkspace, removeDirectory } from "./support/git-client.js";
import {
  keysIn,
  missingObjects,
  objectStorePlaces,
  pushObjects,
  SKIP_CEPH_AND_POSTGRES,
  StoreServers,
} from "./support/object-stores.js";

const places = objectStorePlaces(inject("cephSocket"));
afterAll(() => places.stop());

const BACKENDS = [
  { name: "a directory and SQLite", isSkipped: false, place: places.onDisk },
  { name: "Ceph and PostgreSQL", isSkipped: SKIP_CEPH_AND_POSTGRES, place: places.onCeph },
];

/** So many pushes, the last of them too large for one object with its index. */
async function pushSome(repository: Repository, count: number): Promise<readonly SampleObject[]> {
  const objects: SampleObject[] = [];
  for (let i = 0; i < count; i++) {
    const { objects: some } = sampleCommit("sha1", `${repository.name} ${i}`);
    const noise = sampleObject("sha1", "blob", randomBytes(i === count - 1 ? 5_000_000 : 1000));
    await pushObjects(repository, [...some, noise]);
    objects.push(...some, noise);
  }
  return objects;
}

async function open(
  store: RepositoryStore,
  name: string,
): Promise<Repository & { packMaintenance: PackMaintenance }> {
  const repository = await store.open(name);
  if (repository?.packMaintenance === undefined) throw new Error(`${name} has gone, or is not maintained`);
  return repository as Repository & { packMaintenance: PackMaintenance };
}

async function countPacks(repository: Repository): Promise<number> {
  const snapshot = await repository.snapshot();
  snapshot.release();
  return snapshot.objects.packs.length;
}

async function begin(repository: { readonly packMaintenance: PackMaintenance }): Promise<PackReplacement> {
  const replacement = await repository.packMaintenance.begin();
  if (replacement === undefined) throw new Error("somebody else is at work");
  return replacement;
}

describe.each(BACKENDS)("folding in $name", ({ isSkipped, place }) => {
  it.skipIf(isSkipped)(
    "makes one pack of many, on a server that has read none of them",
    async () => {
      const servers = new StoreServers(await place());
      try {
        const pushing = await servers.open();
        const repository = await pushing.store.create("app");
        const objects = await pushSome(repository, 6);
        const folding = await open((await servers.open()).store, "app");
        expect(await foldPacks(folding.packMaintenance)).toEqual({
          kind: "folded",
          packCount: 6,
          objectCount: objects.length,
          damage: [],
        });
        const reading = await servers.open();
        const other = await open(reading.store, "app");
        for (const each of [repository, folding, other]) {
          expect(await countPacks(each)).toBe(1);
          expect(await missingObjects(each, objects)).toEqual([]);
          await each.close();
        }
        const record = await reading.metadata.find("app");
        const [latest] = await reading.metadata.listGenerations(record?.id ?? "", { limit: 1 });
        expect(latest?.kind).toBe("compact");
        const listed = await reading.metadata.listPacks(record?.networkId ?? "", { limit: 100 });
        const rows = listed.filter(({ kind }) => kind !== "chunks");
        expect(rows.filter(({ retiredAtMs }) => retiredAtMs !== undefined)).toHaveLength(6);
        expect(rows.find(({ retiredAtMs }) => retiredAtMs === undefined)?.kind).toBe("compact");
        expect(await reading.metadata.listUploads({ olderThanMs: 0, limit: 10 })).toEqual([]);
        expect(await foldPacks(other.packMaintenance)).toEqual({ kind: "nothing to do" });
      } finally {
        await servers.close();
      }
    },
    CEPH_START_MS,
  );

  it.skipIf(isSkipped)(
    "is decided by the commit when a lease has run out: one of two wins, and the other leaves nothing",
    async () => {
      const servers = new StoreServers(await place());
      try {
        const one = await servers.open();
        const created = await one.store.create("app");
        const objects = await pushSome(created, 3);
        const other = await servers.open();
        const repositories = [await open(one.store, "app"), await open(other.store, "app")] as const;
        const first = await begin(repositories[0]);
        expect(await repositories[1].packMaintenance.begin()).toBeUndefined();
        await one.database.db.updateTable("leases").set({ expires_at: 0 }).execute();
        const second = await begin(repositories[1]);
        for (const replacement of [first, second])
          await finishPack(await replacement.createPack(), "sha1", objects);
        const replaced = await Promise.all([first, second].map((each) => each.replace(each.packs)));
        expect(replaced.filter((isReplaced) => isReplaced)).toHaveLength(1);
        await first.release();
        await second.release();
        expect(await one.database.db.selectFrom("leases").selectAll().execute()).toEqual([]);
        const { metadata } = one;
        const { networkId = "" } = (await metadata.find("app")) ?? {};
        const rows = await metadata.listPacks(networkId, { limit: 100 });
        const listed = rows.flatMap(({ key, sideKey }) => (sideKey === undefined ? [key] : [key, sideKey]));
        expect(await keysIn(one.bucket)).toEqual(listed.toSorted());
        expect(await metadata.listUploads({ olderThanMs: 0, limit: 10 })).toEqual([]);
        for (const each of repositories) {
          expect(await countPacks(each)).toBe(1);
          expect(await missingObjects(each, objects)).toEqual([]);
        }
      } finally {
        await servers.close();
      }
    },
    CEPH_START_MS,
  );

  it.skipIf(isSkipped)(
    "comes after pushes by the real git, and clients see nothing of it",
    async () => {
      const client = createWorkspace();
      const servers = new StoreServers(await place());
      try {
        const gc = { auto: 6700, autoPackLimit: 3 };
        const { store, metadata } = await servers.open({
          settings: () => ({ ...DEFAULT_REPOSITORY_SETTINGS, gc }),
        });
        const log: unknown[] = [];
        const server = createGitServer({
          repositories: store,
          autoCreate: "push",
          log: (entry) => entry.level === "info" || log.push(entry),
        });
        const { url } = (await server.listen({ http: "127.0.0.1:0" })).http;
        try {
          await client.run("init", "-q", "-b", "main", "tree");
          const tree = client.in("tree");
          // Nearly all of it: once it was collected, what is pushed is little beside it, and folded.
          await writeFile(join(tree.directory, "noise"), randomBytes(50_000));
          await tree.run("add", ".");
          const seen = new Set<string>();
          for (let i = 0; i < 12; i++) {
            await tree.run("commit", "-q", "--allow-empty", "-m", `${i}`);
            await tree.run("push", "-q", `${url}/app.git`, "main");
            await client.run("clone", "-q", "--bare", `${url}/app.git`, `copy-${i}.git`);
          }
          const { id = "" } = (await metadata.find("app")) ?? {};
          for (let looks = 0; !(seen.has("gc") && seen.has("compact")) && looks < 1000; looks++) {
            for (const { kind } of await metadata.listGenerations(id, { limit: 100 })) seen.add(kind);
            await delay(10);
          }
          expect([...seen]).toEqual(expect.arrayContaining(["gc", "compact"]));
          await client.run("clone", "-q", "--bare", `${url}/app.git`, "copy.git");
          await client.in("copy.git").run("fsck", "--strict");
          expect(await client.in("copy.git").run("rev-parse", "main")).toBe(
            await tree.run("rev-parse", "main"),
          );
        } finally {
          await server.close({ graceMs: 0 });
        }
        expect(log).toEqual([]);
      } finally {
        await servers.close();
        removeDirectory(client);
      }
    },
    CEPH_START_MS,
  );

  it.skipIf(isSkipped)(
    "leaves to the parent what a fork shares with it",
    async () => {
      const servers = new StoreServers(await place());
      try {
        const { store, metadata } = await servers.open();
        const parent = await store.create("parent");
        const shared = await pushSome(parent, 3);
        await metadata.fork((await metadata.find("parent"))?.id ?? "", "fork");
        const fork = await open(store, "fork");
        expect(await fork.packMaintenance.countFoldable()).toBe(0);
        const own = await pushSome(fork, 2);
        expect(await fork.packMaintenance.countFoldable()).toBe(2);
        expect(await foldPacks(fork.packMaintenance)).toMatchObject({ kind: "folded", packCount: 2 });
        expect(await countPacks(fork)).toBe(4);
        expect(await missingObjects(fork, [...shared, ...own])).toEqual([]);
        expect(await countPacks(parent)).toBe(3);
        expect(await parent.packMaintenance?.countFoldable()).toBe(3);
        expect(await missingObjects(parent, own)).toHaveLength(own.length);
      } finally {
        await servers.close();
      }
    },
    CEPH_START_MS,
  );
});
