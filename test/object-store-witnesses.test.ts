/** Witnesses in the bucket: what is written of what changed, what a rebuild makes of damaged ones, and of being stopped at any call. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { GitwharfError } from "../src/base/errors.js";
import { type Database, openDatabase } from "../src/database/open-database.js";
import type { Bucket } from "../src/storage/object-store/bucket/bucket.js";
import { createMemoryBucket } from "../src/storage/object-store/bucket/memory-bucket.js";
import { createMetadataStore } from "../src/storage/object-store/metadata/create-metadata-store.js";
import type { MetadataStore } from "../src/storage/object-store/metadata/metadata-store.js";
import { type ObjectStore, openObjectStore } from "../src/storage/object-store/object-store.js";
import { rebuild, type RebuildReport } from "../src/storage/object-store/witnesses/rebuild.js";
import { writeWitnesses } from "../src/storage/object-store/witnesses/write-witnesses.js";
import { createFaultyBucket, type Fault, NEVER } from "./support/faulty-bucket.js";
import { createFaultyMetadata } from "./support/faulty-metadata.js";
import { checkKeys } from "./support/listed-keys.js";
import { makeCommit, pushCommit, readRefs, type Refs } from "./support/stored-history.js";

const FIRST = makeCommit("first");
const SECOND = makeCommit("second", [FIRST.oid]);
const THIRD = makeCommit("third", [SECOND.oid]);
const OTHER = makeCommit("other");
const DAY_MS = 24 * 60 * 60 * 1000;

let directory: string;
const closing: (() => Promise<void>)[] = [];
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "gitwharf-witnesses-"));
});
afterAll(async () => {
  for (const close of closing.toReversed()) await close();
  await rm(directory, { recursive: true, force: true });
});

let made = 0;
async function newDatabase(): Promise<{ readonly database: Database; readonly metadata: MetadataStore }> {
  const path = join(directory, `${++made}`, "db.sqlite");
  const database = await openDatabase({ engine: "sqlite", path });
  closing.push(() => database.close());
  await database.sql`pragma synchronous = off`.execute(database.db);
  return { database, metadata: createMetadataStore(database) };
}

async function openStore(bucket: Bucket, metadata: MetadataStore): Promise<ObjectStore> {
  const store = await openObjectStore({
    bucket: { ...bucket, close: async () => undefined },
    metadata,
    localDirectory: join(directory, "local"),
    janitor: false,
  });
  closing.push(() => store.close());
  return store;
}

interface Place {
  readonly bucket: Bucket;
  readonly database: Database;
  readonly metadata: MetadataStore;
  readonly store: ObjectStore;
}

async function newPlace(): Promise<Place> {
  const bucket = createMemoryBucket();
  const { database, metadata } = await newDatabase();
  return { bucket, database, metadata, store: await openStore(bucket, metadata) };
}

async function push(
  store: ObjectStore,
  name: string,
  commit: typeof FIRST,
  ...refs: readonly string[]
): Promise<void> {
  const repository = (await store.open(name)) ?? (await store.create(name));
  const updates = refs.map((ref) => ({ name: ref, oldOid: undefined, newOid: commit.oid }));
  expect(await pushCommit(repository, commit, updates)).toBe(true);
  await repository.close();
}

async function refsOf(store: ObjectStore, name: string): Promise<Refs | undefined> {
  const repository = await store.open(name);
  if (repository === undefined) return undefined;
  const refs = await readRefs(repository);
  await repository.close();
  return refs;
}

async function rebuilt(bucket: Bucket): Promise<Place & { readonly report: RebuildReport }> {
  const { database, metadata } = await newDatabase();
  const report = await rebuild({ bucket, metadata });
  return { bucket, database, metadata, report, store: await openStore(bucket, metadata) };
}

async function witnessKeys(bucket: Bucket): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const { key } of bucket.list("r/")) keys.push(key);
  return keys;
}

/** A repository with a whole witness and two parts, one generation each. */
async function threeWitnesses(): Promise<Place & { readonly keys: readonly string[] }> {
  const place = await newPlace();
  for (const commit of [FIRST, SECOND, THIRD]) {
    await push(place.store, "app", commit, "refs/heads/main");
    expect(await place.store.writeWitnesses()).toMatchObject({ witnessesWritten: 1, failures: [] });
  }
  const keys = await witnessKeys(place.bucket);
  expect(keys.map((key) => /-([wp])-/.exec(key)?.[1])).toEqual(["w", "p", "p"]);
  return { ...place, keys };
}

function withDamage(bucket: Bucket, damaged: string, change: (bytes: Buffer) => Buffer): Bucket {
  return {
    ...bucket,
    async *stream(key, range, options) {
      if (key !== damaged) yield* bucket.stream(key, range, options);
      else yield change(Buffer.from(await bucket.get(key)));
    },
  };
}

function flip(bytes: Buffer): Buffer {
  const at = bytes.length >> 1;
  bytes[at] = (bytes[at] as number) ^ 1;
  return bytes;
}

it("tells only what is new, and all of it again when parts have become many", async () => {
  const { bucket, store } = await newPlace();
  await push(store, "app", FIRST, "refs/heads/main");
  await store.writeWitnesses();
  for (let i = 0; i < 70; i++) {
    await push(store, "app", FIRST, `refs/heads/topic-${i}`);
    await store.writeWitnesses();
  }
  const kinds = (await witnessKeys(bucket)).map((key) => /-([wp])-/.exec(key)?.[1]).join("");
  expect(kinds).toMatch(/^wp{20,63}wp+$/);
  const { report, store: again } = await rebuilt(bucket);
  expect(report).toMatchObject({ generations: 72, findings: [], otherObjects: 0 });
  expect(await refsOf(again, "app")).toEqual(await refsOf(store, "app"));
});

it.each<[string, (bytes: Buffer) => Buffer]>([
  ["changed", flip],
  ["cut", (bytes) => bytes.subarray(0, -1)],
  ["longer", (bytes) => Buffer.concat([bytes, Buffer.from("!")])],
  ["empty", () => Buffer.alloc(0)],
])("goes back to what is before a witness that is %s, and says so", async (_, change) => {
  const { bucket, keys } = await threeWitnesses();
  for (const [i, key] of keys.entries()) {
    const { report, store } = await rebuilt(withDamage(bucket, key, change));
    expect(report.findings).toEqual([
      { kind: "loss", repository: expect.any(String), message: expect.stringContaining(key) },
    ]);
    const main = [undefined, FIRST.oid, SECOND.oid][i];
    expect(await refsOf(store, "app")).toEqual(main === undefined ? undefined : { "refs/heads/main": main });
    // Packs of what was not restored are told of, and stay.
    expect(report.otherObjects).toBeGreaterThan(0);
    if (main === undefined) continue;
    await push(store, "app", SECOND, "refs/heads/next");
    expect(await store.writeWitnesses()).toMatchObject({ witnessesWritten: 1, failures: [] });
    const next = await rebuilt(bucket);
    expect(next.report.findings).toEqual([]);
    expect(await refsOf(next.store, "app")).toEqual({
      "refs/heads/main": main,
      "refs/heads/next": SECOND.oid,
    });
    await bucket.delete((await witnessKeys(bucket)).filter((written) => !keys.includes(written)));
  }
});

it("witnesses the others where some repositories are damaged", async () => {
  const { bucket, database, metadata, store } = await newPlace();
  const made: { readonly id: string; readonly networkId: string }[] = [];
  for (let i = 0; i < 12; i++) {
    await push(store, `app-${i}`, FIRST, "refs/heads/main");
    const record = await metadata.find(`app-${i}`);
    if (record !== undefined) made.push(record);
  }
  // The one whose turn comes last.
  const well = made.toSorted((a, b) => (a.id < b.id ? 1 : -1))[0];
  const damaged = made.filter(({ id }) => id !== well?.id).map(({ networkId }) => networkId);
  await database.db.deleteFrom("nodes").where("network_id", "in", damaged).execute();
  const { witnessesWritten, failures } = await store.writeWitnesses();
  expect(failures).toHaveLength(11);
  expect(failures[0]?.error).toMatchObject({ code: "storage/corrupt" });
  expect(witnessesWritten).toBe(1);
  expect((await witnessKeys(bucket)).map((key) => key.split("/")[1])).toEqual([well?.id]);
});

it("goes back to a generation whose packs are all there", async () => {
  const { bucket, metadata } = await threeWitnesses();
  const [network = ""] = await metadata.listNetworks({ limit: 1 });
  const packs = await metadata.listPacks(network, { limit: 10 });
  const newest = packs.toSorted((a, b) => a.createdAtMs - b.createdAtMs).map(({ key }) => key);
  const lost = await lastPack(bucket, newest);
  await bucket.delete([lost]);
  const { report, store } = await rebuilt(bucket);
  expect(report.findings).toEqual([
    {
      kind: "loss",
      repository: "app",
      message: expect.stringMatching(`generation 2.*generation 3.*${lost}`),
    },
  ]);
  expect(await refsOf(store, "app")).toEqual({ "refs/heads/main": SECOND.oid });
  expect(await store.verify("app")).toMatchObject({ generation: 2, findings: [] });
});

it("gives nothing up for a bucket that cannot be read just now, and goes on when it can", async () => {
  const { bucket, metadata } = await threeWitnesses();
  const [network = ""] = await metadata.listNetworks({ limit: 1 });
  const packs = await metadata.listPacks(network, { limit: 10 });
  const unread = await lastPack(
    bucket,
    packs.map(({ key }) => key),
  );
  const away: Bucket = {
    ...bucket,
    async *stream(key, range, options) {
      if (key === unread) throw new GitwharfError("storage/io", "the bucket does not answer");
      yield* bucket.stream(key, range, options);
    },
  };
  const begun = await newDatabase();
  await expect(rebuild({ bucket: away, metadata: begun.metadata, deep: true })).rejects.toMatchObject({
    code: "storage/io",
    message: "the bucket does not answer",
  });
  expect(await begun.metadata.list({ limit: 10 })).toEqual([]);
  expect(await rebuild({ bucket, metadata: begun.metadata, deep: true })).toMatchObject({
    repositories: 1,
    generations: 4,
    findings: [],
  });
});

/** That with the third commit. */
async function lastPack(bucket: Bucket, keys: readonly string[]): Promise<string> {
  for (const key of keys) if ((await bucket.get(key)).includes(THIRD.pack.bytes)) return key;
  throw new Error("there is no such pack");
}

it.each([
  ["", 8],
  [", though a third has the name that one of them would get", 36],
])("keeps both of two repositories that are called the same%s", async (_, idLength) => {
  const { bucket, store } = await newPlace();
  await push(store, "app", FIRST, "refs/heads/main");
  await store.writeWitnesses();
  // The database is lost before this is told.
  await store.rename("app", "old");
  await push(store, "app", OTHER, "refs/heads/main");
  const [own] = await witnessKeys(bucket);
  const id = own?.split("/")[1];
  const others = idLength > 8 ? [`app-${id?.slice(0, 8)}`] : [];
  for (const name of others) await push(store, name, FIRST, "refs/heads/main");
  expect(await store.writeWitnesses()).toMatchObject({ witnessesWritten: 2 + others.length });
  // Without the one that tells the new name.
  await bucket.delete((await witnessKeys(bucket)).filter((key) => key.includes(`${id}`) && key !== own));
  const { report, store: again } = await rebuilt(bucket);
  expect(report).toMatchObject({
    repositories: 2 + others.length,
    findings: [{ kind: "note", repository: "app" }],
  });
  const names: string[] = [];
  for await (const name of again.list()) names.push(name);
  expect(names).toEqual(["app", ...others, `app-${id?.slice(0, idLength)}`]);
  expect(await refsOf(again, "app")).toEqual({ "refs/heads/main": OTHER.oid });
});

it("removes witnesses of what was forgotten, and those of a purged repository", async () => {
  const { bucket, database, metadata, store, keys } = await threeWitnesses();
  const age = async (): Promise<void> => {
    const { db, sql } = database;
    await db.updateTable("generations").set({ time: 1 }).execute();
    await db.updateTable("witnesses").set({ created_at: 1 }).where(sql<boolean>`true`).execute();
  };
  await age();
  // What is told was forgotten: it is told anew, without that.
  expect(await store.clean()).toMatchObject({ generationsForgotten: 3, witnessesDropped: 0, failures: [] });
  expect(await store.writeWitnesses()).toMatchObject({ witnessesWritten: 1 });
  expect(await store.writeWitnesses()).toMatchObject({ witnessesWritten: 0 });
  await age();
  expect(await store.clean()).toMatchObject({ witnessesDropped: 3, failures: [] });
  const left = await witnessKeys(bucket);
  expect(left).toHaveLength(1);
  expect(keys).not.toContain(left[0]);
  expect((await rebuilt(bucket)).report).toMatchObject({ generations: 1, findings: [] });
  await store.delete("app");
  await store.writeWitnesses();
  expect((await rebuilt(bucket)).report).toMatchObject({ repositories: 1, deleted: 1, findings: [] });
  await database.db.updateTable("repositories").set({ hidden_at: 1 }).execute();
  await store.clean({ retentionMs: DAY_MS, graceMs: 0 });
  await store.clean({ retentionMs: DAY_MS, graceMs: 0 });
  expect(await witnessKeys(bucket)).toEqual([]);
  expect(await checkKeys(bucket, metadata)).toEqual({ unlisted: [], missing: [], uncommitted: [] });
});

it("looks anew where what a witness was to go on from is forgotten meanwhile", async () => {
  const { bucket, metadata, store } = await threeWitnesses();
  await push(store, "app", OTHER, "refs/heads/other");
  let forgotten = 0;
  const meanwhile: MetadataStore = {
    ...metadata,
    async listGenerations(id, options) {
      const listed = await metadata.listGenerations(id, options);
      forgotten += (await store.clean({ retentionMs: 0, graceMs: 0 })).generationsForgotten;
      return listed;
    },
  };
  expect(await writeWitnesses({ bucket, metadata: meanwhile })).toMatchObject({
    witnessesWritten: 0,
    failures: [],
  });
  expect(forgotten).toBe(4);
  expect(await store.writeWitnesses()).toMatchObject({ witnessesWritten: 1, failures: [] });
  const { report, store: again } = await rebuilt(bucket);
  expect(report).toMatchObject({ generations: 1, findings: [] });
  expect(await refsOf(again, "app")).toEqual(await refsOf(store, "app"));
});

it("tells anew, without it, what was forgotten while its witness was young", async () => {
  const { bucket, database, store } = await threeWitnesses();
  const { db } = database;
  const nowMs = Date.now();
  await db
    .updateTable("generations")
    .set({ time: nowMs - 7.5 * DAY_MS })
    .execute();
  expect(await store.clean()).toMatchObject({ generationsForgotten: 3, failures: [] });
  expect(await store.writeWitnesses()).toMatchObject({ witnessesWritten: 0 });
  await db
    .updateTable("witnesses")
    .set({ created_at: nowMs - 2 * DAY_MS })
    .execute();
  expect(await store.clean()).toMatchObject({ generationsForgotten: 0, failures: [] });
  expect(await store.writeWitnesses()).toMatchObject({ witnessesWritten: 1 });
  expect((await witnessKeys(bucket)).at(-1)).toMatch(/-w-/);
  await store.clean();
  expect(await store.writeWitnesses()).toMatchObject({ witnessesWritten: 0 });
  expect((await rebuilt(bucket)).report).toMatchObject({ generations: 1, findings: [] });
});

/** The call at which the process is stopped, or fails; undefined: none was left. */
async function runTo(
  point: number,
  fault: "stopped" | "before" | "lost",
  stores: Pick<Place, "bucket" | "metadata">,
  run: (stores: Pick<Place, "bucket" | "metadata">) => Promise<unknown>,
): Promise<string | undefined> {
  let calls = 0;
  let where: string | undefined;
  let stop = (): void => undefined;
  const stopped = new Promise<void>((resolve) => (stop = resolve));
  const decide = (call: string): Fault | undefined => {
    if (++calls < point) return undefined;
    if (calls > point) return fault === "stopped" ? { slow: NEVER } : undefined;
    where = call;
    return fault === "stopped" ? { unanswered: stop } : fault;
  };
  const running = run({
    bucket: createFaultyBucket(stores.bucket, ({ operation }) => decide(operation)),
    metadata: createFaultyMetadata(stores.metadata, decide),
  });
  await Promise.race([stopped, running.catch(() => undefined)]);
  return where;
}

it.each(["stopped", "before", "lost"] as const)(
  "writes witnesses though a call is met by: %s",
  async (fault) => {
    const { bucket, metadata, store } = await newPlace();
    let point = 1;
    for (let isOver = false; !isOver; point++) {
      expect(point).toBeLessThan(40);
      await push(store, `app-${point}`, FIRST, "refs/heads/main");
      const where = await runTo(point, fault, { bucket, metadata }, (stores) => writeWitnesses(stores));
      isOver = where === undefined;
      const { failures } = await store.writeWitnesses();
      expect(failures, where).toEqual([]);
      expect(await checkKeys(bucket, metadata), where).toMatchObject({ unlisted: [], missing: [] });
    }
    expect(point).toBeGreaterThan(5);
    const { report } = await rebuilt(bucket);
    expect(report).toMatchObject({ repositories: point - 1, findings: [] });
  },
  30_000,
);

it.each(["stopped", "before", "lost"] as const)(
  "rebuilds though any call before was met by: %s",
  async (fault) => {
    const { bucket, store } = await threeWitnesses();
    await (await store.fork("app", "fork")).close();
    await push(store, "other", FIRST, "refs/heads/main");
    await store.writeWitnesses();
    const { database, metadata } = await newDatabase();
    let point = 1;
    for (let isOver = false; !isOver; point++) {
      expect(point).toBeLessThan(100);
      // To make one takes longer than all the rest.
      for (const table of ["repositories", "networks", "nodes", "packs", "witnesses", "leases"] as const)
        await database.db.deleteFrom(table).execute();
      const where = await runTo(point, fault, { bucket, metadata }, (stores) => rebuild(stores));
      isOver = where === undefined;
      if (isOver) break;
      if (where !== "endRebuild" || fault === "before") {
        // Nobody is served from what is half there.
        if (point > 2) expect(await metadata.rebuiltFrom(), where).toBe("memory");
        expect(await rebuild({ bucket, metadata }), where).toMatchObject({ repositories: 3, findings: [] });
      }
      expect(await metadata.rebuiltFrom(), where).toBe(undefined);
      const names = (await metadata.list({ limit: 10 })).map(({ name }) => name);
      expect(names, where).toEqual(["app", "fork", "other"]);
    }
    expect(point).toBeGreaterThan(10);
  },
  30_000,
);

it("rebuilds into an empty database only, and goes on from the same bucket only", async () => {
  const { bucket, metadata } = await threeWitnesses();
  await expect(rebuild({ bucket, metadata })).rejects.toMatchObject({ code: "storage/exists" });
  const begun = await newDatabase();
  await begun.metadata.beginRebuild("another");
  await expect(rebuild({ bucket, metadata: begun.metadata })).rejects.toMatchObject({
    code: "storage/exists",
    message: expect.stringContaining("another"),
  });
});
