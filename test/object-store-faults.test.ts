/**
 * The process is stopped, or the store fails, at every call that an operation makes to the bucket and to the metadata. What
 * another process finds afterwards is held to what the client was told: what was acknowledged is there, what was not is there
 * whole or not at all, everything that a ref leads to can be read, and no key in the bucket is listed nowhere.
 *
 * An operation is one row of `OPERATIONS`; a run without a fault comes last, and says how many calls there are.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { GitwharfError } from "../src/base/errors.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { makeBundle } from "../src/engine/bundles/make-bundle.js";
import { collectGarbage } from "../src/engine/maintenance/collect-garbage.js";
import { foldPacks } from "../src/engine/maintenance/fold-packs.js";
import type { Repository, RepositoryStore } from "../src/storage/contracts/repository.js";
import type { Bucket } from "../src/storage/object-store/bucket/bucket.js";
import { createMemoryBucket } from "../src/storage/object-store/bucket/memory-bucket.js";
import { createMetadataStore } from "../src/storage/object-store/metadata/create-metadata-store.js";
import type { MetadataStore } from "../src/storage/object-store/metadata/metadata-store.js";
import { type ObjectStore, openObjectStore } from "../src/storage/object-store/object-store.js";
import { CEPH_START_MS } from "./support/ceph-bucket.js";
import { createFaultyBucket, type Fault, NEVER } from "./support/faulty-bucket.js";
import { createFaultyMetadata } from "./support/faulty-metadata.js";
import { checkKeys, clearUploads } from "./support/listed-keys.js";
import { objectStorePlaces, SKIP_CEPH_AND_POSTGRES } from "./support/object-stores.js";
import { type MadeCommit, makeCommit, pushCommit, readRefs, type Refs } from "./support/stored-history.js";

/** By what follows the repository's own name; what is not here is not there. */
type State = Readonly<Record<string, Refs>>;

/** One server: a store, and what it was opened on. */
interface Process {
  readonly store: ObjectStore;
  readonly bucket: Bucket;
  readonly metadata: MetadataStore;
}

interface Operation {
  readonly title: string;
  /** Made of pushes of FIRST. @default `before` */
  readonly made?: State;
  readonly before: State;
  /** What it has written stays listed as an upload. */
  readonly isKeptAsUpload?: boolean;
  /** It looks after all that is there: what other points have left is removed first. */
  readonly isAlone?: boolean;
  /** What was made becomes what is to be before. */
  readonly prepare?: (process: Process, name: string) => Promise<void>;
  readonly after: State;
  /** Resolves when its client would be told that it has worked. */
  readonly run: (process: Process, name: string) => Promise<void>;
  /** What else another process has to find. */
  readonly check?: (process: Process, name: string, isAcknowledged: boolean) => Promise<void>;
}

const FIRST = makeCommit("first");
const SECOND = makeCommit("second", [FIRST.oid]);
/** So large that it is sent in chunks, with a pack of the rest. */
const NOISE = randomBytes(1_200_000);
const LARGE = makeCommit("large", [FIRST.oid], NOISE);
/** Most of its chunks are those of LARGE. */
const LATER = makeCommit(
  "later",
  [LARGE.oid],
  Buffer.concat([NOISE.subarray(0, 1_100_000), Buffer.from("later")]),
);
const NEXT = makeCommit("next");

const OPERATIONS: readonly Operation[] = [
  {
    title: "making a repository",
    before: {},
    after: { "": {} },
    run: async ({ store }, name) => (await store.create(name)).close(),
  },
  {
    title: "a push that makes its repository",
    before: {},
    after: { "": { "refs/heads/main": FIRST.oid, "refs/tags/v1": FIRST.oid } },
    async run({ store }, name) {
      const prepared = await store.prepare(name);
      try {
        await pushCommit(prepared.repository, FIRST, updatesOf(["refs/heads/main", "refs/tags/v1"], FIRST));
        await prepared.place();
      } finally {
        await prepared.discard();
      }
    },
  },
  {
    title: "a push of a small pack to two refs",
    before: { "": { "refs/heads/main": FIRST.oid } },
    after: { "": { "refs/heads/main": SECOND.oid, "refs/heads/topic": SECOND.oid } },
    run: ({ store }, name) => push(store, name, SECOND, ["refs/heads/main", "refs/heads/topic"]),
  },
  {
    title: "a push of a large pack",
    before: { "": { "refs/heads/main": FIRST.oid } },
    after: { "": { "refs/heads/main": LARGE.oid } },
    run: ({ store }, name) => push(store, name, LARGE, ["refs/heads/main"]),
  },
  {
    title: "a push of another version of a large blob",
    made: { "": { "refs/heads/main": FIRST.oid } },
    prepare: ({ store }, name) => push(store, name, LARGE, ["refs/heads/large"]),
    before: { "": { "refs/heads/main": FIRST.oid, "refs/heads/large": LARGE.oid } },
    after: { "": { "refs/heads/main": FIRST.oid, "refs/heads/large": LATER.oid } },
    run: ({ store }, name) => push(store, name, LATER, ["refs/heads/large"]),
  },
  {
    title: "folding packs",
    before: { "": { "refs/heads/main": FIRST.oid } },
    async prepare({ store }, name) {
      for (const commit of [SECOND, NEXT]) await push(store, name, commit, []);
    },
    after: { "": { "refs/heads/main": FIRST.oid } },
    async run({ store }, name) {
      await fold(store, name);
    },
  },
  {
    title: "collecting garbage",
    before: { "": { "refs/heads/main": FIRST.oid, "refs/notes/beside": FIRST.oid } },
    async prepare({ store }, name) {
      for (const commit of [SECOND, NEXT]) await push(store, name, commit, []);
    },
    after: { "": { "refs/heads/main": FIRST.oid, "refs/notes/beside": FIRST.oid } },
    async run({ store }, name) {
      const repository = await opened(store, name);
      try {
        const garbage = repository.packMaintenance?.garbage;
        if (garbage === undefined) throw new Error("nobody collects garbage");
        const outcome = await collectGarbage(garbage, { graceMs: 0 });
        expect(outcome).toMatchObject({ kind: "collected", dropped: 6, packsAfter: 1 });
      } finally {
        await repository.close();
      }
    },
  },
  {
    title: "making a bundle",
    isKeptAsUpload: true,
    before: { "": { "refs/heads/main": FIRST.oid, "refs/tags/v1": FIRST.oid } },
    after: { "": { "refs/heads/main": FIRST.oid, "refs/tags/v1": FIRST.oid } },
    async run({ store }, name) {
      expect(await bundle(store, name)).toBe(true);
    },
    async check({ store }, name, isAcknowledged) {
      const found = await readBundle(store, name);
      if (isAcknowledged) expect(found).toBeDefined();
      // Offered whole, or not at all.
      if (found !== undefined) expect(found.bytes).toHaveLength(found.sizeBytes);
    },
  },
  {
    title: "deleting a ref",
    before: { "": { "refs/heads/main": FIRST.oid, "refs/heads/topic": FIRST.oid } },
    after: { "": { "refs/heads/main": FIRST.oid } },
    run: ({ store }, name) => push(store, name, undefined, ["refs/heads/topic"]),
  },
  {
    title: "deleting a repository",
    before: { "": { "refs/heads/main": FIRST.oid } },
    after: {},
    run: ({ store }, name) => store.delete(name),
  },
  {
    title: "forking",
    before: { "": { "refs/heads/main": FIRST.oid } },
    after: { "": { "refs/heads/main": FIRST.oid }, "-fork": { "refs/heads/main": FIRST.oid } },
    run: async ({ store }, name) => (await store.fork(name, `${name}-fork`)).close(),
  },
  {
    title: "renaming",
    before: { "": { "refs/heads/main": FIRST.oid } },
    after: { "-other": { "refs/heads/main": FIRST.oid } },
    run: ({ store }, name) => store.rename(name, `${name}-other`),
  },
  {
    title: "bringing back what was deleted",
    made: { "": { "refs/heads/main": FIRST.oid } },
    prepare: ({ store }, name) => store.delete(name),
    before: {},
    after: { "": { "refs/heads/main": FIRST.oid } },
    run: async ({ store }, name) => void (await store.undelete(name)),
  },
  {
    title: "restoring what was",
    made: { "": { "refs/heads/main": FIRST.oid } },
    prepare: ({ store }, name) => push(store, name, SECOND, ["refs/heads/main", "refs/heads/topic"]),
    before: { "": { "refs/heads/main": SECOND.oid, "refs/heads/topic": SECOND.oid } },
    after: { "": { "refs/heads/main": FIRST.oid } },
    run: async ({ store }, name) => void (await store.restore(name, { generation: 1 })),
  },
  {
    title: "a pass of the janitor",
    before: { "": { "refs/heads/main": FIRST.oid }, "-fork": { "refs/heads/main": FIRST.oid } },
    after: { "": { "refs/heads/main": FIRST.oid }, "-fork": { "refs/heads/main": FIRST.oid } },
    isAlone: true,
    prepare: makeMess,
    run: async ({ store }) => void (await store.clean(ALL_AT_ONCE)),
  },
];

/** Whatever is garbage goes at once, that of this millisecond too. */
const ALL_AT_ONCE = { uploadAgeMsMax: -1000, preparedAgeMsMax: -1000, retentionMs: -1000, graceMs: -1000 };

/** All that a janitor has to do, beside repositories that are in use. */
async function makeMess({ store, bucket, metadata }: Process, name: string): Promise<void> {
  for (const commit of [SECOND, NEXT]) await push(store, name, commit, []);
  await fold(store, name);
  await makeState(store, `${name}-gone`, { "": { "refs/heads/main": FIRST.oid } });
  await store.delete(`${name}-gone`);
  const { repository } = await store.prepare(`${name}-prepared`);
  await pushCommit(repository, FIRST, updatesOf(["refs/heads/main"], FIRST));
  await repository.close();
  const { id: repositoryId, networkId } = (await metadata.find(name)) as { id: string; networkId: string };
  for (const state of ["open", "taken"]) {
    const key = `l/00/${randomUUID()}.l0`;
    const upload = await metadata.beginUpload({ repositoryId, networkId, keys: [key], owner: "test" });
    await bucket.put(key, [Buffer.from(key)]);
    if (state === "taken") await metadata.takeUpload(upload);
  }
}

/**
 * What becomes of the call at the point, and of those after it. To be stopped before a call is to be stopped after the one
 * before it: nothing that lasts is done in between.
 */
const FAULTS: readonly {
  readonly title: string;
  readonly at: "before" | "lost" | "stopped";
  readonly later: Fault | undefined;
}[] = [
  { title: "the process stopped after it", at: "stopped", later: { slow: NEVER } },
  { title: "everything failing from it on", at: "before", later: "before" },
  { title: "it failing alone", at: "before", later: undefined },
  { title: "its answer lost alone", at: "lost", later: undefined },
];

/** More calls than any operation makes. */
const POINTS_MAX = 100;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "gitwharf-faults-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

// As many runs as an operation makes calls, beside other tests on a small machine.
describe.each(OPERATIONS)("$title", { timeout: 240_000 }, (operation) => {
  // A janitor that goes on after a call which has failed does less than one whose answer was lost.
  const faults = FAULTS.filter(({ at }) => operation.isAlone !== true || at !== "before");
  it.each(faults)("with $title", async (fault) => runAtAllPoints(await openWorld(), operation, fault));
});

describe.skipIf(SKIP_CEPH_AND_POSTGRES)("on Ceph and PostgreSQL", () => {
  const places = objectStorePlaces(inject("cephSocket"));
  afterAll(() => places.stop());
  const titles = ["a push of a small pack to two refs", "collecting garbage"];
  it.each(OPERATIONS.filter(({ title }) => titles.includes(title)))(
    "$title, with the process stopped after each call",
    async (operation) => {
      const place = await places.onCeph();
      const database = await openDatabase(parseDatabaseLocation(place.database));
      const bucket = await place.openBucket();
      const world = await worldOf({ directory: place.directory, bucket, database });
      for (const fault of FAULTS.filter(({ at }) => at === "stopped"))
        await runAtAllPoints(world, operation, fault);
    },
    CEPH_START_MS,
  );
});

async function runAtAllPoints(
  world: World,
  operation: Operation,
  fault: (typeof FAULTS)[number],
): Promise<void> {
  let point = 1;
  try {
    while (point < POINTS_MAX && (await runWithFault(world, operation, { ...fault, point }))) point++;
  } finally {
    await world.dispose();
  }
  // At least one call was made, and the last run met no fault.
  expect(point).toBeGreaterThan(1);
  expect(point).toBeLessThan(POINTS_MAX);
}

it("lists a key to which bytes come when its push was given up", async () => {
  const world = await openWorld();
  try {
    const late: (() => Promise<void>)[] = [];
    const bucket: Bucket = {
      ...world.bucket,
      async put(key, body) {
        const copy = Buffer.concat(body);
        late.push(() => world.bucket.put(key, [copy]));
        throw new GitwharfError("storage/io", "there is no answer in time");
      },
    };
    const { store } = await world.open(bucket, world.metadata);
    await (await store.create("app")).close();
    await expect(push(store, "app", FIRST, ["refs/heads/main"])).rejects.toMatchObject({
      code: "storage/io",
    });
    expect(late).toHaveLength(1);
    for (const write of late) await write();
    expect(await checkKeys(world.bucket, world.metadata)).toMatchObject({ unlisted: [], missing: [] });
  } finally {
    await world.dispose();
  }
});

/** @returns whether the operation made as many calls */
async function runWithFault(
  world: World,
  operation: Operation,
  fault: (typeof FAULTS)[number] & { readonly point: number },
): Promise<boolean> {
  const { before, after } = operation;
  const name = `app-${fault.point}`;
  if (operation.isAlone === true) await removeAll(world.maker);
  await makeState(world.maker.store, name, operation.made ?? before);
  await operation.prepare?.(world.maker, name);
  const { outcome, where, process } = await runUntilFault(world, operation, { ...fault, name });
  if (where === NOWHERE) expect(outcome).toBe("acknowledged");
  const other = await world.open(world.bucket, world.metadata);
  const look = (): Promise<State> =>
    readState(other.store, name, [...Object.keys(before), ...Object.keys(after)]);
  const found = await look();
  if (outcome === "acknowledged") expect(found, where).toEqual(after);
  else expect([before, after], where).toContainEqual(found);
  await operation.check?.(other, name, outcome === "acknowledged");
  const keys = await checkKeys(world.bucket, world.metadata);
  expect(keys, where).toMatchObject({ unlisted: [], missing: [] });
  // A failure that passes leaves no bytes behind, but of a commit that may have happened.
  const isKept = operation.isKeptAsUpload === true || operation.isAlone === true;
  if (fault.later === undefined && !where.endsWith("commit") && !isKept)
    expect(keys.uncommitted, where).toEqual([]);
  // Another process goes on, and so does this one when it was not stopped.
  for (const [i, { store }] of (outcome === "stopped" ? [other] : [process, other]).entries()) {
    const ref = `refs/heads/next-${i}`;
    await pushOrMake(store, name, NEXT, ref);
    expect((await look())[""], where).toMatchObject({ ...found[""], [ref]: NEXT.oid });
  }
  if (operation.isAlone === true) expect((await other.store.clean(ALL_AT_ONCE)).failures, where).toEqual([]);
  else await clearUploads(world.bucket, world.metadata);
  for (const ending of Object.keys(await look()))
    expect((await other.store.verify(`${name}${ending}`)).findings, where).toEqual([]);
  expect(await checkKeys(world.bucket, world.metadata), where).toEqual(
    expect.objectContaining({ unlisted: [], missing: [], uncommitted: [] }),
  );
  expect((await look())[""], where).toMatchObject({ ...found[""] });
  return where !== NOWHERE;
}

async function removeAll({ store }: Process): Promise<void> {
  for await (const name of store.list()) await store.delete(name);
  await store.clean(ALL_AT_ONCE);
}

const NOWHERE = "no call";

interface FaultyRun {
  /** "stopped": nobody was told anything. */
  readonly outcome: "acknowledged" | "failed" | "stopped";
  /** The call that met the fault. */
  readonly where: string;
  readonly process: Process;
}

async function runUntilFault(
  world: World,
  { run }: Operation,
  fault: (typeof FAULTS)[number] & { readonly point: number; readonly name: string },
): Promise<FaultyRun> {
  const { point, at, later, name } = fault;
  let isOver = false;
  let calls = 0;
  let where = NOWHERE;
  let stop = (): void => undefined;
  const stopped = new Promise<"stopped">((resolve) => {
    stop = () => resolve("stopped");
  });
  const decide = (call: string): Fault | undefined => {
    if (isOver || ++calls < point) return undefined;
    if (calls > point) return later;
    where = `call ${point}, ${call}`;
    return at === "stopped" ? { unanswered: stop } : at;
  };
  const process = await world.open(
    createFaultyBucket(world.bucket, ({ operation, key }) => decide(`${operation} ${key}`)),
    createFaultyMetadata(world.metadata, decide),
  );
  const running = run(process, name).then(
    () => "acknowledged" as const,
    () => "failed" as const,
  );
  const outcome = await Promise.race([stopped, running]);
  // What was stopped does nothing ever again.
  if (outcome !== "stopped") isOver = true;
  return { outcome, where, process };
}

interface World {
  readonly bucket: Bucket;
  readonly metadata: MetadataStore;
  /** Meets no fault. */
  readonly maker: Process;
  open(bucket: Bucket, metadata: MetadataStore): Promise<Process>;
  dispose(): Promise<void>;
}

let worlds = 0;

async function openWorld(): Promise<World> {
  const own = join(directory, `${++worlds}`);
  const database: Database = await openDatabase({ engine: "sqlite", path: join(own, "state", "db.sqlite") });
  // No test cuts the power.
  await database.sql`pragma synchronous = off`.execute(database.db);
  return worldOf({ directory: own, bucket: createMemoryBucket(), database });
}

/** @param on disposed of with the world */
async function worldOf(on: {
  readonly directory: string;
  readonly bucket: Bucket;
  readonly database: Database;
}): Promise<World> {
  const { directory: own, database } = on;
  // Of many stores: none of them closes it.
  const bucket = { ...createFaultyBucket(on.bucket, () => undefined), close: async () => undefined };
  const metadata = createMetadataStore(database);
  const stores: RepositoryStore[] = [];
  const open: World["open"] = async (itsBucket, itsMetadata) => {
    const localDirectory = join(own, "local");
    const places = { bucket: itsBucket, metadata: itsMetadata, localDirectory };
    const store = await openObjectStore({ ...places, janitor: false });
    stores.push(store);
    return { store, bucket: itsBucket, metadata: itsMetadata };
  };
  return {
    bucket,
    metadata,
    maker: await open(bucket, metadata),
    open,
    async dispose() {
      for (const store of stores) await store.close();
      await on.bucket.close();
      await database.close();
      await rm(own, { recursive: true, force: true });
    },
  };
}

async function makeState(store: RepositoryStore, name: string, state: State): Promise<void> {
  for (const [ending, refs] of Object.entries(state)) {
    await (await store.create(`${name}${ending}`)).close();
    if (Object.keys(refs).length > 0) await push(store, `${name}${ending}`, FIRST, Object.keys(refs));
  }
}

async function readState(store: RepositoryStore, name: string, endings: readonly string[]): Promise<State> {
  const state: Record<string, Refs> = {};
  for (const ending of new Set(endings)) {
    const repository = await store.open(`${name}${ending}`);
    if (repository === undefined) continue;
    state[ending] = await readRefs(repository);
    await repository.close();
  }
  return state;
}

async function fold(store: RepositoryStore, name: string): Promise<void> {
  const repository = await opened(store, name);
  try {
    if (repository.packMaintenance === undefined) throw new Error("packs are not looked after");
    expect(await foldPacks(repository.packMaintenance)).toMatchObject({ kind: "folded", packCount: 3 });
  } finally {
    await repository.close();
  }
}

async function bundle(store: RepositoryStore, name: string): Promise<boolean> {
  const repository = await opened(store, name);
  try {
    const { signal } = new AbortController();
    return await makeBundle(repository, { sizeBytesMin: 0, isVisible: () => true, signal });
  } finally {
    await repository.close();
  }
}

async function readBundle(
  store: RepositoryStore,
  name: string,
): Promise<{ readonly sizeBytes: number; readonly bytes: Buffer } | undefined> {
  const repository = await opened(store, name);
  try {
    const found = await repository.bundles?.find();
    if (found === undefined) return undefined;
    const { sizeBytes } = found;
    const chunks: Uint8Array[] = [];
    for await (const chunk of found.read({ start: 0, end: sizeBytes })) chunks.push(chunk);
    return { sizeBytes, bytes: Buffer.concat(chunks) };
  } finally {
    await repository.close();
  }
}

async function opened(store: RepositoryStore, name: string): Promise<Repository> {
  const repository = await store.open(name);
  if (repository === undefined) throw new Error(`${name} is not there`);
  return repository;
}

/** @param commit undefined: the refs are deleted */
async function push(
  store: RepositoryStore,
  name: string,
  commit: MadeCommit | undefined,
  refs: readonly string[],
): Promise<void> {
  const repository = await opened(store, name);
  try {
    if (!(await pushCommit(repository, commit, updatesOf(refs, commit))))
      throw new Error("the push was refused");
  } finally {
    await repository.close();
  }
}

function updatesOf(
  refs: readonly string[],
  commit: MadeCommit | undefined,
): readonly { readonly name: string; readonly oldOid: undefined; readonly newOid: string | null }[] {
  return refs.map((name) => ({ name, oldOid: undefined, newOid: commit?.oid ?? null }));
}

async function pushOrMake(
  store: RepositoryStore,
  name: string,
  what: MadeCommit,
  ref: string,
): Promise<void> {
  const repository = (await store.open(name)) ?? (await store.create(name));
  await repository.close();
  await push(store, name, what, [ref]);
}
