/** What the contract suites do not reach: several pushes through one handle, lost answers, races between processes, what is left. */
import { randomBytes } from "node:crypto";
import { lstat, mkdir, mkdtemp, readdir, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GitwharfError } from "../../base/errors.js";
import { type Database, openDatabase } from "../../database/open-database.js";
import type { Quarantine } from "../contracts/quarantine.js";
import type { RefUpdate } from "../contracts/ref-store.js";
import type { Repository, RepositoryStore } from "../contracts/repository.js";
import {
  finishPack,
  sampleCommit,
  sampleObject,
  type SampleObject,
} from "../contracts/suites/sample-objects.js";
import type { Bucket } from "./bucket/bucket.js";
import { createCountedBucket } from "./bucket/counted-bucket.js";
import { createMemoryBucket } from "./bucket/memory-bucket.js";
import { createMetadataStore } from "./metadata/create-metadata-store.js";
import type { MetadataCommit, MetadataStore } from "./metadata/metadata-store.js";
import { openObjectStore } from "./object-store.js";

const MAIN = "refs/heads/main";
const TOPIC = "refs/heads/topic";

let directory: string;
let database: Database;
let metadata: MetadataStore;
let bucket: Bucket;
let stores: RepositoryStore[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "gitwharf-stored-"));
  database = await openDatabase({ engine: "sqlite", path: join(directory, "state.sqlite") });
  metadata = createMetadataStore(database);
  bucket = createMemoryBucket();
  stores = [];
});
afterEach(async () => {
  for (const store of stores) await store.close();
  await database.close();
  expect(await readdir(join(directory, "local")).catch(() => [])).toEqual([]);
  await rm(directory, { recursive: true, force: true });
});

/** Another process, as it were. */
async function openStore(
  parts: { metadata?: MetadataStore; bucket?: Bucket; cacheBytesMax?: number } = {},
): Promise<RepositoryStore> {
  const store = await openObjectStore({
    metadata,
    bucket,
    ...parts,
    localDirectory: join(directory, "local"),
  });
  stores.push(store);
  return store;
}

async function openApp(store: RepositoryStore): Promise<Repository> {
  const repository = await store.open("app");
  if (repository === undefined) throw new Error("it has gone");
  return repository;
}

async function quarantineWith(repository: Repository, objects: readonly SampleObject[]): Promise<Quarantine> {
  const quarantine = await repository.openQuarantine();
  await finishPack(await quarantine.createPack(), "sha1", objects);
  return quarantine;
}

async function push(repository: Repository, name: string, label: string): Promise<string> {
  const { commit, objects } = sampleCommit("sha1", label);
  const quarantine = await quarantineWith(repository, objects);
  await quarantine.publish();
  const results = await repository.refs.transact({ updates: [create(name, commit.oid)], atomic: true });
  expect(results).toEqual([{ name, ok: true }]);
  await quarantine.discard();
  return commit.oid;
}

const create = (name: string, oid: string): RefUpdate => ({ name, oldOid: null, newOid: oid });

async function typeOf(repository: Repository, oid: string): Promise<string | undefined> {
  const snapshot = await repository.snapshot();
  try {
    return (await snapshot.objects.read(oid))?.type;
  } finally {
    snapshot.release();
  }
}

function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

describe("a repository in an object store", () => {
  it("loses nothing of a push that is published while another of the same handle is committed", async () => {
    const [reached, may] = [gate(), gate()];
    const slow: MetadataStore = {
      ...metadata,
      async commit(change) {
        reached.open();
        await may.opened;
        return metadata.commit(change);
      },
    };
    const repository = await (await openStore({ metadata: slow })).create("app");
    const [one, other] = [sampleCommit("sha1", "one"), sampleCommit("sha1", "other")];
    const first = await quarantineWith(repository, one.objects);
    await first.publish();
    const moving = repository.refs.transact({ updates: [create(MAIN, one.commit.oid)], atomic: true });
    await reached.opened;
    const second = await quarantineWith(repository, other.objects);
    await second.publish();
    may.open();
    await moving;
    await first.discard();
    await repository.refs.transact({ updates: [create(TOPIC, other.commit.oid)], atomic: true });
    await second.discard();
    await repository.close();
    const elsewhere = await openApp(await openStore());
    expect(await typeOf(elsewhere, one.commit.oid)).toBe("commit");
    expect(await typeOf(elsewhere, other.commit.oid)).toBe("commit");
    await elsewhere.close();
  });

  it("reads through a snapshot what was published, when it is committed since", async () => {
    const store = await openStore();
    const repository = await store.create("app");
    const { commit, objects } = sampleCommit("sha1", "one");
    const quarantine = await quarantineWith(repository, objects);
    await quarantine.publish();
    const snapshot = await repository.snapshot();
    await repository.refs.transact({ updates: [create(MAIN, commit.oid)], atomic: true });
    await quarantine.discard();
    expect((await snapshot.objects.read(commit.oid))?.type).toBe("commit");
    snapshot.release();
    await repository.close();
  });

  it("asks for a commit again whose answer was lost, and makes it once", async () => {
    const asked: MetadataCommit[] = [];
    const lossy: MetadataStore = {
      ...metadata,
      async commit(change) {
        asked.push(change);
        const outcome = await metadata.commit(change);
        if (asked.length === 1)
          throw new GitwharfError("storage/io", "the answer is lost", { details: { outcome: "unknown" } });
        return outcome;
      },
    };
    const repository = await (await openStore({ metadata: lossy })).create("app");
    const oid = await push(repository, MAIN, "one");
    expect(asked.map(({ commitId }) => commitId)).toEqual([asked[0]?.commitId, asked[0]?.commitId]);
    const record = await metadata.find("app");
    expect(record?.generation).toBe(1);
    expect(await typeOf(repository, oid)).toBe("commit");
    await repository.close();
  });

  it("makes no generation of refs that are where they are to be", async () => {
    const repository = await (await openStore()).create("app");
    const oid = await push(repository, MAIN, "one");
    const updates = [{ name: MAIN, oldOid: oid, newOid: oid }];
    expect(await repository.refs.transact({ updates, atomic: true })).toEqual([{ name: MAIN, ok: true }]);
    expect((await metadata.find("app"))?.generation).toBe(1);
    await repository.close();
  });

  it("tells who agreed to a transaction that another process was faster", async () => {
    const mine = await (await openStore()).create("app");
    const theirs = await openApp(await openStore());
    const states: string[] = [];
    const { commit, objects } = sampleCommit("sha1", "mine");
    const quarantine = await quarantineWith(mine, objects);
    await quarantine.publish();
    let other = "";
    const results = await mine.refs.transact({
      updates: [create(MAIN, commit.oid), create(TOPIC, commit.oid)],
      atomic: true,
      async onState(state) {
        states.push(state);
        if (state === "prepared") other = await push(theirs, MAIN, "theirs");
        return true;
      },
    });
    expect(results.map((result) => (result.ok ? "ok" : result.code))).toEqual(["exists", "aborted"]);
    expect(states).toEqual(["prepared", "aborted"]);
    await quarantine.discard();
    const refs = await mine.refs.snapshot();
    expect(refs.all.map(({ name, oid }) => [name, oid])).toEqual([[MAIN, other]]);
    await mine.close();
    await theirs.close();
  });

  it("has transactions about one ref take turns, from before they are prepared", async () => {
    const store = await openStore();
    const one = await store.create("app");
    const other = await openApp(store);
    const { commit, objects } = sampleCommit("sha1", "one");
    const quarantine = await quarantineWith(one, objects);
    await quarantine.publish();
    const [prepared, may] = [gate(), gate()];
    const states: string[] = [];
    const first = one.refs.transact({
      updates: [create(MAIN, commit.oid)],
      atomic: true,
      async onState(state) {
        states.push(`first ${state}`);
        prepared.open();
        await may.opened;
        return true;
      },
    });
    await prepared.opened;
    // What is to be told of an event that is under way asks so.
    const second = other.refs.transact({
      updates: [{ name: MAIN, oldOid: null, newOid: commit.oid }],
      atomic: true,
      onState: (state) => states.push(`second ${state}`) === 0,
    });
    // Another ref waits for nobody.
    await push(other, TOPIC, "topic");
    may.open();
    expect(await first).toEqual([{ name: MAIN, ok: true }]);
    expect(await second).toMatchObject([{ ok: false, code: "exists" }]);
    expect(states).toEqual(["first prepared", "first committed"]);
    await quarantine.discard();
    await one.close();
    await other.close();
  });

  it("asks the database once for a request that reads, and knows what this process has committed since", async () => {
    const calls: string[] = [];
    const counted: MetadataStore = {
      ...metadata,
      find: (name) => (calls.push("find"), metadata.find(name)),
      get: (id) => (calls.push("get"), metadata.get(id)),
    };
    const store = await openStore({ metadata: counted });
    const repository = await store.create("app");
    await push(repository, MAIN, "one");
    calls.length = 0;
    const request = await store.open("app", { forRequest: true });
    const refs = async (): Promise<readonly string[]> => {
      const snapshot = await request?.snapshot();
      snapshot?.release();
      return snapshot?.refs.all.map(({ name }) => name) ?? [];
    };
    expect(await refs()).toEqual([MAIN]);
    await (await request?.openQuarantine())?.discard();
    expect(calls).toEqual(["find"]);
    await request?.close();
    const late = await store.open("app", { forRequest: true });
    await push(repository, TOPIC, "two");
    const snapshot = await late?.snapshot();
    expect(snapshot?.refs.all.map(({ name }) => name)).toEqual([MAIN, TOPIC]);
    snapshot?.release();
    await late?.close();
    await repository.close();
  });

  it("lets go of what idle repositories keep at hand when the local disk has its fill", async () => {
    const writer = await openStore();
    const blobs = new Map<string, string>();
    for (const name of ["a", "b", "c"]) {
      const repository = await writer.create(name);
      const blob = sampleObject("sha1", "blob", randomBytes(1_500_000));
      const quarantine = await quarantineWith(repository, [blob]);
      await quarantine.publish();
      await quarantine.discard();
      await repository.close();
      blobs.set(name, blob.oid);
    }
    const counted = createCountedBucket(bucket);
    const reader = await openStore({ bucket: counted, cacheBytesMax: 2_000_000 });
    const read = async (name: string): Promise<void> => {
      const repository = await reader.open(name);
      if (repository === undefined) throw new Error("it has gone");
      expect(await typeOf(repository, blobs.get(name) ?? "")).toBe("blob");
      await repository.close();
    };
    for (const name of blobs.keys()) await read(name);
    const { calls } = counted.counts().stream;
    await read("c");
    expect(counted.counts().stream.calls).toBe(calls);
    await read("a");
    expect(counted.counts().stream.calls).toBeGreaterThan(calls);
  });

  describe("a large pack", () => {
    const large = (): readonly SampleObject[] => [sampleObject("sha1", "blob", randomBytes(9_000_000))];
    const keysIn = async (): Promise<readonly string[]> => {
      const keys: string[] = [];
      for await (const { key } of bucket.list("")) keys.push(key);
      return keys;
    };
    const openUploads = async (): Promise<number> =>
      (await metadata.listUploads({ olderThanMs: -60_000, limit: 10, state: "open" })).length;
    /** Resolves once so many bytes were sent. */
    const watched = (bytes: number): { readonly bucket: Bucket; readonly sent: Promise<void> } => {
      const { opened, open } = gate();
      let left = bytes;
      return {
        sent: opened,
        bucket: {
          ...bucket,
          async createUpload(key, options) {
            const upload = await bucket.createUpload(key, options);
            return {
              ...upload,
              async append(piece) {
                await upload.append(piece);
                if ((left -= piece.length) <= 0) open();
              },
            };
          },
        },
      };
    };

    it("is sent while it is checked, and seen by nobody before it is published", async () => {
      const { bucket: observed, sent } = watched(9_000_000);
      const repository = await (await openStore({ bucket: observed })).create("app");
      const [blob] = large();
      const quarantine = await quarantineWith(repository, blob === undefined ? [] : [blob]);
      await sent;
      expect(await keysIn()).toEqual([]);
      await quarantine.publish();
      expect(await keysIn()).toHaveLength(2);
      await quarantine.discard();
      expect(await openUploads()).toBe(0);
      const elsewhere = await openApp(await openStore());
      expect(await typeOf(elsewhere, blob?.oid ?? "")).toBe("blob");
      await elsewhere.close();
      await repository.close();
    });

    it("leaves nothing when its push is refused", async () => {
      const { bucket: observed, sent } = watched(9_000_000);
      const repository = await (await openStore({ bucket: observed })).create("app");
      const quarantine = await quarantineWith(repository, large());
      await sent;
      await quarantine.discard();
      expect(await keysIn()).toEqual([]);
      expect(await openUploads()).toBe(0);
      await repository.close();
    });

    it("is taken back once nothing of it is being sent any more", async () => {
      const ended: string[] = [];
      const failing: Bucket = {
        ...bucket,
        put: async () => {
          throw new GitwharfError("storage/io", "no room");
        },
        async createUpload(key, options) {
          const upload = await bucket.createUpload(key, options);
          return {
            ...upload,
            async finish() {
              // So late that the other has failed by then.
              await new Promise((resolve) => setImmediate(resolve));
              return upload.finish().finally(() => ended.push("upload"));
            },
            abort: () => upload.abort().finally(() => ended.push("upload")),
          };
        },
      };
      const repository = await (await openStore({ bucket: failing })).create("app");
      const quarantine = await quarantineWith(repository, large());
      await expect(quarantine.publish()).rejects.toThrow("no room");
      expect(ended).toContain("upload");
      await quarantine.discard();
      expect(await keysIn()).toEqual([]);
      await repository.close();
    });
  });

  it("removes what a process that was killed has left on this machine, and not what is at work", async () => {
    const local = join(directory, "local");
    const [left, busy, foreign] = [
      "gitwharf-object-store-aaaaaa",
      "gitwharf-object-store-bbbbbb",
      "mine",
    ].map((name) => join(local, name)) as [string, string, string];
    for (const path of [left, busy, foreign]) await mkdir(join(path, "spool"), { recursive: true });
    const longAgo = new Date(Date.now() - 25 * 60 * 60 * 1000);
    for (const path of [left, foreign]) await utimes(path, longAgo, longAgo);
    await openStore();
    await expect(lstat(left)).rejects.toThrow("ENOENT");
    expect((await lstat(busy)).isDirectory()).toBe(true);
    expect((await lstat(foreign)).isDirectory()).toBe(true);
    for (const path of [busy, foreign]) await rm(path, { recursive: true });
  });
});
