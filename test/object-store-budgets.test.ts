/**
 * What clones, fetches and pushes ask of the bucket and write into the metadata, counted, with the real git. A server that
 * was just started has nothing but what it is given; a warm one has asked before.
 */
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createEventStore } from "../src/database/event-store.js";
import { type Database, databaseName, openDatabase } from "../src/database/open-database.js";
import { createGitServer } from "../src/server/git-server.js";
import { collectGarbage } from "../src/engine/maintenance/collect-garbage.js";
import { planPack } from "../src/engine/pack-plan.js";
import type { Repository } from "../src/storage/contracts/repository.js";
import type { Bucket } from "../src/storage/object-store/bucket/bucket.js";
import {
  type CountedBucket,
  createCountedBucket,
} from "../src/storage/object-store/bucket/counted-bucket.js";
import { createMemoryBucket } from "../src/storage/object-store/bucket/memory-bucket.js";
import { createMetadataStore } from "../src/storage/object-store/metadata/create-metadata-store.js";
import { type ObjectStore, openObjectStore } from "../src/storage/object-store/object-store.js";
import { createFaultyMetadata, type MetadataOperation } from "./support/faulty-metadata.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createRoundsBucket } from "./support/request-rounds.js";

const KiB = 1024;
/** Of a repository far larger than what is fetched at once, without the bytes. */
const SMALL_BLOCKS = { blockBytes: 64 * KiB, wholeBytesMax: 128 * KiB, aheadBytesMax: 256 * KiB };

interface CountedServer {
  readonly url: string;
  readonly store: ObjectStore;
  readonly bucket: CountedBucket;
  readonly rounds: () => readonly (readonly string[])[];
  /** Calls that change rows, in order. */
  writes(): readonly MetadataOperation[];
  /** Of the object store's own connection, of several statements each. */
  transactions(): number;
  /** From here on it counts from nothing. */
  reset(): void;
  /** Reading requests. */
  reads(): number;
}

const READS: ReadonlySet<MetadataOperation> = new Set(["find", "get", "list", "readNodes"] as const);

let client: GitClient;
let database: Database;
let location: string;
let memory: Bucket;
let closing: (() => Promise<void>)[] = [];

beforeAll(async () => {
  client = createWorkspace();
  const path = join(client.directory, "state", "db.sqlite");
  location = `sqlite:${path}`;
  database = await openDatabase({ engine: "sqlite", path });
  memory = createMemoryBucket();
});
afterEach(async () => {
  for (const close of closing.toReversed()) await close();
  closing = [];
});
afterAll(async () => {
  await database.close();
  removeDirectory(client);
});

/** With an empty cache. @param options.isFull events are written, too, and witnesses, as soon as they are asked for */
async function startServer(
  options: { readonly inRounds?: boolean; readonly isFull?: boolean } = {},
): Promise<CountedServer> {
  const rounds = createRoundsBucket(memory);
  const bucket = createCountedBucket(options.inRounds === true ? rounds : memory);
  let transactions = 0;
  const run: Database["run"] = (mode, work) => {
    if (mode === "transaction") transactions++;
    return database.run(mode, work);
  };
  const metadata = createFaultyMetadata(createMetadataStore({ ...database, run }));
  const store = await openObjectStore({
    bucket,
    metadata,
    localDirectory: join(client.directory, "local"),
    janitor: false,
    ...(options.inRounds === true ? { fetching: SMALL_BLOCKS } : {}),
    ...(options.isFull === true
      ? { outboxDatabase: databaseName(location), witnesses: { everyMs: 3_600_000 } }
      : {}),
  });
  const server = createGitServer({
    repositories: store,
    autoCreate: "push",
    log: () => undefined,
    ...(options.isFull === true ? { database: location, events: true } : {}),
  });
  const { url } = (await server.listen({ http: "127.0.0.1:0" })).http;
  let seen = 0;
  closing.push(async () => {
    await server.close({ graceMs: 0 });
    // Nothing that is slow, and nothing that cannot be taken back, while somebody waits.
    const { list, head, delete: deleted, sweep } = bucket.counts();
    expect([list, head, deleted, sweep].map(({ calls }) => calls)).toEqual([0, 0, 0, 0]);
    await store.close();
  });
  return {
    url,
    store,
    bucket,
    rounds: rounds.rounds,
    writes: () => metadata.calls.slice(seen).filter((operation) => !READS.has(operation)),
    transactions: () => transactions,
    reset() {
      transactions = 0;
      bucket.reset();
      rounds.reset();
      seen = metadata.calls.length;
    },
    reads() {
      const { get, stream } = bucket.counts();
      return get.calls + stream.calls;
    },
  };
}

/** All requests of whatever kind. */
function requestsOf({ bucket }: CountedServer): number {
  return Object.values(bucket.counts()).reduce((sum, { calls }) => sum + calls, 0);
}

function putsOf({ bucket }: CountedServer): number {
  const { put, upload } = bucket.counts();
  return put.calls + upload.calls;
}

async function commitFile(tree: GitClient, name: string, content: string | Buffer): Promise<void> {
  await writeFile(join(tree.directory, name), content);
  await tree.run("add", ".");
  await tree.run("commit", "-q", "-m", name);
}

async function newTree(name: string): Promise<GitClient> {
  await client.run("init", "-q", name);
  return client.in(name);
}

describe("a small repository", () => {
  let tree: GitClient;
  beforeAll(async () => {
    tree = await newTree("small");
    const { url } = await startServer();
    for (let i = 0; i < 4; i++) {
      await commitFile(tree, `file-${i}`, `${i}\n`);
      await tree.run("push", "-q", `${url}/small.git`, "HEAD:refs/heads/main");
    }
  });

  it("is listed without a request to the bucket", async () => {
    const server = await startServer();
    for (const version of ["2", "0"]) {
      const listed = await client.run(
        "-c",
        `protocol.version=${version}`,
        "ls-remote",
        `${server.url}/small.git`,
      );
      expect(listed).toContain(await tree.run("rev-parse", "HEAD"));
    }
    expect(requestsOf(server)).toBe(0);
  });

  it("is cloned with few requests, and then with none", async () => {
    const server = await startServer();
    await client.run("clone", "-q", "--bare", `${server.url}/small.git`, "small-1.git");
    expect(requestsOf(server)).toBeLessThanOrEqual(6);
    expect(server.reads()).toBeGreaterThan(0);
    server.reset();
    await client.run("clone", "-q", "--bare", `${server.url}/small.git`, "small-2.git");
    expect(requestsOf(server)).toBe(0);
    await client.in("small-2.git").run("fsck", "--strict");
  });

  it("asks for all its packs at once", async () => {
    const server = await startServer({ inRounds: true });
    await client.run("clone", "-q", "--bare", `${server.url}/small.git`, "small-3.git");
    expect(server.rounds()).toHaveLength(1);
  });
});

describe("a repository whose garbage was collected", () => {
  let tree: GitClient;
  let keeper: CountedServer;
  const FILES = 2200;

  /** What a clone of all heads and tags is made of. */
  const planOf = async ({ store }: CountedServer): Promise<Awaited<ReturnType<typeof planPack>>["data"]> => {
    const repository = (await store.open("collected")) as Repository;
    const snapshot = await repository.snapshot();
    try {
      const wants = [...new Set(snapshot.refs.all.map(({ oid }) => oid))];
      const plan = await planPack({ snapshot, wants, haves: [], ofsDelta: true });
      return plan.data;
    } finally {
      snapshot.release();
      await repository.close();
    }
  };
  const collect = async ({ store }: CountedServer): Promise<void> => {
    const repository = (await store.open("collected")) as Repository;
    try {
      const garbage = repository.packMaintenance?.garbage;
      expect(garbage && (await collectGarbage(garbage))).toMatchObject({ kind: "collected", packsAfter: 1 });
    } finally {
      await repository.close();
    }
  };

  beforeEach(async () => {
    keeper = await startServer();
    if (tree !== undefined) return;
    tree = await newTree("collected");
    const files = Array.from(
      { length: FILES },
      (_, i) => `M 100644 inline d${i % 40}/f${i}\ndata <<E\n${i}\nE\n`,
    );
    const stream = `commit refs/heads/main\ncommitter A <a@example.org> 1700000000 +0000\ndata 5\nfirst\n${files.join("")}`;
    expect((await tree.tryWith({ input: stream }, "fast-import", "--quiet")).status).toBe(0);
    await tree.run("checkout", "-q", "main");
    await tree.run("tag", "-a", "-m", "annotated", "v1");
    await tree.run("push", "-q", `${keeper.url}/collected.git`, "main", "v1");
    await commitFile(tree, "d1/f1", "changed\n");
    await tree.run("push", "-q", `${keeper.url}/collected.git`, "main");
    await collect(keeper);
  });

  it("is cloned from cold with few requests, as the one pack that holds it", async () => {
    const server = await startServer();
    await client.run("clone", "-q", "--bare", `${server.url}/collected.git`, "collected-1.git");
    expect(requestsOf(server)).toBeLessThanOrEqual(6);
    await client.in("collected-1.git").run("fsck", "--strict");
    const plan = await planOf(server);
    expect(plan.wholePacks).toHaveLength(1);
    expect(plan.trailer).toMatch(/^[0-9a-f]{40}$/);
  });

  it("has a commit-graph and bitmaps, which are used", async () => {
    const server = await startServer();
    const repository = (await server.store.open("collected")) as Repository;
    const { objects, refs, release } = await repository.snapshot();
    const [pack] = objects.packs;
    const main = refs.get("refs/heads/main")?.oid ?? "";
    expect(objects.commitGraph?.find(main)).toBeGreaterThanOrEqual(0);
    expect((await pack?.openBitmap())?.has(main)).toBe(true);
    expect(objects.describe().packs[0]?.beside).toHaveProperty("bitmap");
    release();
    await repository.close();
  });

  it("is cloned with what came after behind that pack", async () => {
    await commitFile(tree, "later", "later\n");
    await commitFile(tree, "d2/f2", "changed\n");
    await tree.run("push", "-q", `${keeper.url}/collected.git`, "main");
    const server = await startServer();
    await client.run("clone", "-q", "--bare", `${server.url}/collected.git`, "collected-2.git");
    expect(requestsOf(server)).toBeLessThanOrEqual(6);
    await client.in("collected-2.git").run("fsck", "--strict");
    const { wholePacks, trailer, segmentPacks, segmentStarts, segmentEnds } = await planOf(server);
    expect(wholePacks).toHaveLength(1);
    expect(trailer).toBeUndefined();
    // The header, then all of the pack but its own header and trailer.
    expect([segmentPacks[0], segmentPacks[1], segmentStarts[1]]).toEqual([-1, 0, 12]);
    expect((segmentEnds[1] ?? 0) - 12).toBeGreaterThan(FILES * 10);
    for (const filter of ["blob:none", "tree:0"])
      await client.run(
        "clone",
        "-q",
        "--bare",
        `--filter=${filter}`,
        `${server.url}/collected.git`,
        `${filter.replace(":", "-")}.git`,
      );
    await client.run("clone", "-q", "--bare", "--depth=1", `${server.url}/collected.git`, "collected-3.git");
    await client.in("collected-3.git").run("fsck", "--strict");
  });
});

describe("a push", () => {
  it("puts one object and commits once", async () => {
    const tree = await newTree("pushed");
    const first = await startServer();
    await commitFile(tree, "one", "1\n");
    await tree.run("push", "-q", `${first.url}/pushed.git`, "HEAD:refs/heads/main");
    expect(putsOf(first)).toBe(1);
    expect(first.writes()).toEqual(["create", "beginUpload", "commit", "place"]);

    const cold = await startServer();
    await commitFile(tree, "two", "2\n");
    await tree.run("push", "-q", `${cold.url}/pushed.git`, "HEAD:refs/heads/main", "HEAD:refs/heads/topic");
    expect(putsOf(cold)).toBe(1);
    // What was there before, so that deltas and connectivity can be checked.
    expect(cold.reads()).toBe(1);
    expect(cold.writes()).toEqual(["beginUpload", "commit"]);

    cold.reset();
    await tree.run("push", "-q", `${cold.url}/pushed.git`, ":refs/heads/topic");
    expect(requestsOf(cold)).toBe(0);
    expect(cold.writes()).toEqual(["commit"]);

    await client.run("clone", "-q", "--bare", `${cold.url}/pushed.git`, "pushed.git");
    expect(requestsOf(cold)).toBe(0);
    await client.in("pushed.git").run("fsck", "--strict");
  });

  it("of a large pack puts two objects, and reads neither again", async () => {
    const tree = await newTree("large");
    const server = await startServer();
    for (let i = 0; i < 6; i++) await commitFile(tree, `noise-${i}`, randomBytes(900_000));
    // Or git would try first whether it may push.
    const whole = ["-c", "http.postBuffer=20000000"];
    await tree.run(...whole, "push", "-q", `${server.url}/large.git`, "HEAD:refs/heads/main");
    expect(putsOf(server)).toBe(2);
    expect(server.reads()).toBe(0);
    expect(server.writes()).toEqual(["create", "beginUpload", "commit", "place"]);
    await client.run("clone", "-q", "--bare", `${server.url}/large.git`, "large.git");
    expect(server.reads()).toBe(0);
    await client.in("large.git").run("fsck", "--strict");
  });

  it("of a large blob puts its chunks and a pack of the rest, and reads neither again", async () => {
    const tree = await newTree("blob");
    const server = await startServer();
    const noise = randomBytes(5_000_000);
    const whole = ["-c", "http.postBuffer=20000000"];
    await commitFile(tree, "noise", noise);
    await tree.run(...whole, "push", "-q", `${server.url}/blob.git`, "HEAD:refs/heads/main");
    expect(putsOf(server)).toBe(2);
    expect(server.reads()).toBe(0);
    const chunks = ["findChunks", "setUploadKeys", "findChunks", "setUploadKeys"];
    expect(server.writes()).toEqual(["create", "beginUpload", ...chunks, "commit", "place"]);
    await client.run("clone", "-q", "--bare", `${server.url}/blob.git`, "blob.git");
    expect(server.reads()).toBe(0);
    await client.in("blob.git").run("fsck", "--strict");
    // The next version, from a server that has read nothing: how much that is depends on the blob alone.
    noise.writeUInt8(noise.readUInt8(2_500_000) ^ 1, 2_500_000);
    await commitFile(tree, "noise", noise);
    const cold = await startServer();
    await tree.run(...whole, "push", "-q", `${cold.url}/blob.git`, "HEAD:refs/heads/main");
    expect(putsOf(cold)).toBe(1);
    expect(requestsOf(cold)).toBeLessThanOrEqual(8);
  });
});

describe("with chunks, events and witnesses", () => {
  it("a push puts three objects at most and commits once, a cold clone asks little, and nothing is listed", async () => {
    const tree = await newTree("full");
    // No delta takes the place of a version.
    const whole = ["-c", "http.postBuffer=20000000", "-c", "core.bigFileThreshold=1m"];
    const noise = randomBytes(2_000_000);
    const server = await startServer({ isFull: true });
    // Of the repositories of other tests.
    await server.store.writeWitnesses();
    const push = (to: CountedServer) =>
      tree.run(...whole, "push", "-q", `${to.url}/full.git`, "HEAD:main", "HEAD:topic");
    await commitFile(tree, "text", "1\n");
    await push(server);
    const small = await startServer({ isFull: true });
    await client.run("clone", "-q", "--bare", `${small.url}/full.git`, "full-small.git");
    expect(requestsOf(small)).toBeLessThanOrEqual(6);
    server.reset();
    await commitFile(tree, "noise", noise);
    await push(server);
    expect(putsOf(server)).toBe(2);
    expect(server.writes().filter((operation) => operation === "commit")).toHaveLength(1);
    // Its events are in it.
    expect(server.transactions()).toBe(1);
    expect(await createEventStore(database).list(0, 10)).toHaveLength(4);

    noise.writeUInt8(noise.readUInt8(1_000_000) ^ 1, 1_000_000);
    await commitFile(tree, "noise", noise);
    server.reset();
    await push(server);
    expect(putsOf(server)).toBeLessThanOrEqual(2);
    // Chunks that are to be used again are held before they are looked at.
    expect(server.writes().filter((operation) => operation === "holdContainers")).toHaveLength(1);
    expect(server.transactions()).toBe(2);
    server.reset();
    expect(await server.store.writeWitnesses()).toMatchObject({ witnessesWritten: 1, failures: [] });
    expect([putsOf(server), requestsOf(server)]).toEqual([1, 1]);

    const cold = await startServer({ isFull: true });
    await client.run("clone", "-q", "--bare", `${cold.url}/full.git`, "full.git");
    // Three packs, and of two containers the pieces that two versions are made of.
    expect(requestsOf(cold)).toBeLessThanOrEqual(15);
    expect(cold.transactions()).toBe(0);
    await client.in("full.git").run("fsck", "--strict");
  });
});

describe("an incremental fetch from a large repository", () => {
  const LARGE_BYTES = 6_400_000;
  let tree: GitClient;
  beforeAll(async () => {
    tree = await newTree("history");
    await mkdir(join(tree.directory, "noise"));
    for (let i = 0; i < 64; i++)
      await writeFile(join(tree.directory, "noise", `${i}`), randomBytes(LARGE_BYTES / 64));
    await commitFile(tree, "text", "one\n");
    await tree.run("branch", "old");
    await commitFile(tree, "text", "two\n");
    const { url } = await startServer();
    await tree.run("push", "-q", `${url}/history.git`, "main", "old");
    await tree.run("checkout", "-q", "-b", "new");
    await commitFile(tree, "text", "three\n");
    await tree.run("push", "-q", `${url}/history.git`, "new");
  });

  it.each([
    // What was pushed is sent as it is: nothing has to be looked at.
    ["of a commit in a young pack", "main", "new", 1],
    ["of a commit in the large pack", "old", "main", 2],
  ])("%s reads little, in few rounds", async (_, from, to, rounds) => {
    const warm = await startServer();
    const copy = `history-${to}.git`;
    await client.run("clone", "-q", "--bare", "--single-branch", "-b", from, `${warm.url}/history.git`, copy);
    const server = await startServer({ inRounds: true });
    await client.in(copy).run("fetch", "-q", `${server.url}/history.git`, `+${to}:${to}`);
    expect(await client.in(copy).run("rev-parse", to)).toBe(await tree.run("rev-parse", to));
    await client.in(copy).run("fsck", "--strict");
    const { get, stream } = server.bucket.counts();
    expect(get.bytesRead + stream.bytesRead).toBeLessThan(LARGE_BYTES / 8);
    // The indexes of all packs and how these begin; then what lies together in one of them.
    expect(server.rounds().length, JSON.stringify(server.rounds())).toBeLessThanOrEqual(rounds);
  });
});
