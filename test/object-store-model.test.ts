/**
 * Several servers on one bucket and one database, whose calls are carried out one at a time, in an order drawn at random:
 * pushes, deletions, reads, packs folded and garbage collected, repositories made, forked and deleted, servers that stop and begin anew. What they answered is held
 * against what a map of refs would have answered in some order: an update is done once what it replaced was there, nothing
 * that was acknowledged is lost, nobody reads what was replaced before, and refs that are pushed together are seen together. A fork
 * begins with what its parent was at some moment of the forking, as if that had been read and pushed there at once.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isGitwharfError } from "../src/base/errors.js";
import { type Database, openDatabase } from "../src/database/open-database.js";
import { collectGarbage } from "../src/engine/maintenance/collect-garbage.js";
import { foldPacks } from "../src/engine/maintenance/fold-packs.js";
import type { ObjectId } from "../src/object/object-id.js";
import type { Repository } from "../src/storage/contracts/repository.js";
import type { Bucket } from "../src/storage/object-store/bucket/bucket.js";
import { createMemoryBucket } from "../src/storage/object-store/bucket/memory-bucket.js";
import { createMetadataStore } from "../src/storage/object-store/metadata/create-metadata-store.js";
import type { MetadataStore } from "../src/storage/object-store/metadata/metadata-store.js";
import { type ObjectStore, openObjectStore } from "../src/storage/object-store/object-store.js";
import { createFaultyBucket, type Fault, NEVER } from "./support/faulty-bucket.js";
import { createFaultyMetadata } from "./support/faulty-metadata.js";
import { checkKeys } from "./support/listed-keys.js";
import { type MadeCommit, makeCommit, pushCommit, readRefs, type Refs } from "./support/stored-history.js";
import { Turnstile } from "./support/turnstile.js";

const LANES = 3;
const STEPS_MIN = 4;
const STEPS_MAX = 10;
/** Pushed together, always. */
const PAIR = ["refs/pair/a", "refs/pair/b"] as const;
const CHOICES = [["refs/heads/a"], ["refs/heads/b"], PAIR] as const;
const ALL_REFS = CHOICES.flat();

/** Of each test; a run that has begun comes to its end. */
const BEGIN_MS_MAX = 4000;

/** Runs that would begin later do nothing. fast-check prints the seed of what fails. */
function inTime<Arguments extends readonly unknown[]>(
  run: (...args: Arguments) => Promise<void>,
): (...args: Arguments) => Promise<void> {
  const begun = performance.now();
  return async (...args) => {
    if (performance.now() - begun < BEGIN_MS_MAX) await run(...args);
  };
}

type Step =
  /** @property fresh the refs are read before; otherwise it is of what this client has seen last */
  | {
      readonly kind: "push";
      readonly place: number;
      readonly refs: readonly string[];
      readonly fresh: boolean;
    }
  | {
      readonly kind: "remove";
      readonly place: number;
      readonly refs: readonly string[];
      readonly fresh: boolean;
    }
  | { readonly kind: "read"; readonly place: number }
  | { readonly kind: "create" | "first push" | "delete" | "fork"; readonly place: number }
  | { readonly kind: "collect" | "fold"; readonly place: number }
  | { readonly kind: "restart"; readonly lane: number };

/** From 2 on: a fork, where there is one. */
const place = fc.nat({ max: 3 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("push" as const),
      place,
      refs: fc.constantFrom(...CHOICES),
      fresh: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("remove" as const),
      place,
      refs: fc.constantFrom(...CHOICES),
      fresh: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("read" as const), place }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom("create" as const, "first push" as const), place }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete" as const), place }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("fork" as const), place }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom("collect" as const, "fold" as const), place }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("restart" as const), lane: fc.nat({ max: LANES - 1 }) }),
  },
);
const script = fc.array(fc.array(step, { minLength: STEPS_MIN, maxLength: STEPS_MAX }), {
  minLength: LANES,
  maxLength: LANES,
});
/** Which of the calls that wait is the next one, again and again from the beginning. */
const order = fc.array(fc.nat({ max: 11 }), { minLength: 12, maxLength: 48 });

interface Update {
  readonly repository: string;
  readonly refs: readonly string[];
  readonly before: ObjectId | null;
  readonly after: ObjectId | null;
  /** By a clock that counts beginnings and ends. */
  readonly begin: number;
  end: number;
  /** "unknown": its server was stopped. */
  outcome: "done" | "refused" | "unknown";
}

interface Read {
  readonly repository: string;
  readonly refs: Refs;
  readonly begin: number;
  readonly end: number;
}

/** That a repository was made or deleted, of this name. */
interface Change {
  readonly kind: "create" | "delete";
  readonly name: string;
  outcome: "done" | "refused" | "unknown";
}

/** By the clock of updates. */
interface Fork {
  readonly name: string;
  readonly begin: number;
  end: number;
}

let directory: string;
let database: Database;
let metadata: MetadataStore;
let bucket: Bucket;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "gitwharf-model-"));
  database = await openDatabase({ engine: "sqlite", path: join(directory, "state", "db.sqlite") });
  // No test cuts the power.
  await database.sql`pragma synchronous = off`.execute(database.db);
  metadata = createMetadataStore(database);
  bucket = createMemoryBucket();
});
afterAll(async () => {
  await database.close();
  await rm(directory, { recursive: true, force: true });
});

describe("several servers on one object store", () => {
  it("answer as one that does one thing after the other", async () => {
    const outcomes = new Set<Update["outcome"]>();
    let forks = 0;
    await fc.assert(
      fc.asyncProperty(
        script,
        order,
        inTime(async (lanes, numbers) => {
          const world = new World(numbers);
          try {
            await world.run(lanes);
            await world.check();
          } finally {
            await world.close();
          }
          for (const { outcome } of world.updates) outcomes.add(outcome);
          forks += world.forksFound;
        }),
      ),
      { numRuns: 60 },
    );
    expect(outcomes).toContain("done");
    expect(forks).toBeGreaterThan(0);
  });

  it("let one of two racing pushes win: now this one, now that", async () => {
    const won: number[] = [];
    await fc.assert(
      fc.asyncProperty(
        order,
        inTime(async (numbers) => {
          const world = new World(numbers);
          try {
            won.push(await world.race());
          } finally {
            await world.close();
          }
        }),
      ),
      { numRuns: 30 },
    );
    expect(new Set(won)).toEqual(new Set([0, 1]));
  });
});

interface Server {
  readonly store: ObjectStore;
  /** Nothing that it has begun comes to an end. */
  stop(): void;
  readonly stopped: Promise<"stopped">;
}

let worlds = 0;

class World {
  readonly updates: Update[] = [];
  readonly #reads: Read[] = [];
  readonly #changes: Change[] = [];
  readonly #prefix = `world-${++worlds}`;
  readonly #servers: Server[] = [];
  readonly #stores: ObjectStore[] = [];
  readonly #forks: Fork[] = [];
  forksFound = 0;
  readonly #turnstile: Turnstile;
  /** By lane and repository: what its client has seen last. */
  readonly #seen = new Map<string, Refs>();
  #time = 0;
  #commits = 0;

  constructor(numbers: readonly number[]) {
    let next = 0;
    this.#turnstile = new Turnstile((count) => (numbers[next++ % numbers.length] ?? 0) % count);
  }

  async run(lanes: readonly (readonly Step[])[]): Promise<void> {
    await (await (await this.#openPlain()).create(this.#nameOf(0))).close();
    this.#changes.push({ kind: "create", name: this.#nameOf(0), outcome: "done" });
    for (let lane = 0; lane < lanes.length; lane++) this.#servers.push(await this.#open(lane));
    await Promise.all(lanes.map((steps, lane) => this.#runLane(lane, steps)));
  }

  /** @returns which of two has won */
  async race(): Promise<number> {
    const name = this.#nameOf(0);
    const plain = await this.#openPlain();
    const first = makeCommit(`${this.#prefix} first`);
    const made = await plain.create(name);
    expect(await this.#update(made, ["refs/heads/a"], null, first)).toBe("done");
    for (const lane of [0, 1]) this.#servers.push(await this.#open(lane));
    const outcomes = await Promise.all(
      this.#servers.map(async ({ store }, lane) => {
        this.#turnstile.begin(lane);
        const repository = await this.#opened(store, name);
        const commit = makeCommit(`${this.#prefix} of ${lane}`, [first.oid]);
        const outcome = await this.#update(repository, ["refs/heads/a"], first.oid, commit);
        this.#turnstile.end(lane);
        await repository.close();
        return { outcome, oid: commit.oid };
      }),
    );
    const winner = outcomes.findIndex(({ outcome }) => outcome === "done");
    expect(outcomes.map(({ outcome }) => outcome).toSorted()).toEqual(["done", "refused"]);
    expect(await readRefs(made)).toEqual({ "refs/heads/a": outcomes[winner]?.oid });
    await made.close();
    return winner;
  }

  async check(): Promise<void> {
    for (const { stop } of this.#servers) stop();
    const plain = await this.#openPlain();
    const finals = new Map<string, Refs>();
    const made = [0, 1].map((at): Pick<Fork, "name"> => ({ name: this.#nameOf(at) }));
    for (const about of [...made, ...this.#forks]) {
      const { name } = about;
      const deleted = await this.#undelete(plain, name);
      const live = await plain.open(name);
      const found = [...deleted, ...(live === undefined ? [] : [name])];
      await live?.close();
      for (const one of found) {
        const repository = await this.#opened(plain, one);
        finals.set(repository.id, await readRefs(repository));
        await repository.close();
        if ("begin" in about) await this.#addForked(plain, one, about as Fork);
        expect((await plain.verify(one)).findings).toEqual([]);
      }
      const total = found.length;
      this.#expectCount("create", name, total);
      this.#expectCount("delete", name, deleted.length);
    }
    const ids = new Set([...this.updates, ...this.#reads].map(({ repository }) => repository));
    for (const id of ids) {
      const updates = this.updates.filter(({ repository }) => repository === id);
      const reads = this.#reads.filter(({ repository }) => repository === id);
      for (const ref of ALL_REFS) checkRef(ref, { updates, reads, final: finals.get(id) });
    }
    for (const refs of [...finals.values(), ...this.#reads.map((read) => read.refs)])
      expect(refs[PAIR[0]]).toBe(refs[PAIR[1]]);
    expect(await checkKeys(bucket, metadata)).toMatchObject({ unlisted: [], missing: [] });
  }

  async close(): Promise<void> {
    for (const { stop } of this.#servers) stop();
    for (const store of this.#stores) await store.close();
  }

  #nameOf(at: number): string {
    const forks = this.#forks;
    return (at < 2 ? undefined : forks[at % forks.length]?.name) ?? `${this.#prefix}-${at % 2}`;
  }

  /** Its calls go through the turnstile. */
  async #open(lane: number): Promise<Server> {
    const owner = {};
    let isStopped = false;
    let resolve = (): void => undefined;
    const stopped = new Promise<"stopped">((done) => {
      resolve = () => done("stopped");
    });
    const decide = (): Fault => ({ slow: isStopped ? NEVER : this.#turnstile.pass(lane, owner) });
    const store = await openObjectStore({
      bucket: createFaultyBucket(bucket, decide),
      metadata: createFaultyMetadata(metadata, decide),
      localDirectory: join(directory, "local"),
      janitor: false,
    });
    this.#stores.push(store);
    return {
      store,
      stopped,
      stop: () => {
        isStopped = true;
        this.#turnstile.drop(owner);
        resolve();
      },
    };
  }

  async #openPlain(): Promise<ObjectStore> {
    const localDirectory = join(directory, "local");
    const store = await openObjectStore({ bucket, metadata, localDirectory, janitor: false });
    this.#stores.push(store);
    return store;
  }

  async #runLane(lane: number, steps: readonly Step[]): Promise<void> {
    for (const each of steps) {
      if (each.kind === "restart") {
        const before = this.#servers[each.lane];
        this.#servers[each.lane] = await this.#open(each.lane);
        before?.stop();
        continue;
      }
      const server = this.#servers[lane] as Server;
      this.#turnstile.begin(lane);
      const done = this.#runStep(lane, server.store, each);
      // Of one that was stopped nobody hears any more.
      done.catch(() => undefined);
      await Promise.race([done, server.stopped]);
      this.#turnstile.end(lane);
    }
  }

  async #runStep(lane: number, store: ObjectStore, each: Exclude<Step, { kind: "restart" }>): Promise<void> {
    const name = this.#nameOf(each.place);
    switch (each.kind) {
      case "create":
        return this.#create(store, this.#nameOf(each.place % 2));
      case "delete":
        return this.#change("delete", name, () => store.delete(name));
      case "first push":
        return this.#firstPush(store, this.#nameOf(each.place % 2));
      case "fork":
        return this.#fork(store, name);
      case "collect":
      case "fold":
        return this.#maintain(store, name, each.kind);
      default:
    }
    const repository = await store.open(name);
    if (repository === undefined) return;
    const key = `${lane} ${repository.id}`;
    const look = async (): Promise<Refs> => {
      const refs = await this.#read(repository);
      this.#seen.set(key, refs);
      return refs;
    };
    try {
      if (each.kind === "read") return void (await look());
      const seen = each.fresh ? await look() : (this.#seen.get(key) ?? {});
      const before = seen[each.refs[0] ?? ""] ?? null;
      if (each.kind === "push")
        await this.#update(repository, each.refs, before, this.#commitOn(before === null ? [] : [before]));
      else if (before !== null) await this.#update(repository, each.refs, before, undefined);
    } finally {
      await repository.close();
    }
  }

  async #create(store: ObjectStore, name: string): Promise<void> {
    return this.#change("create", name, async () => (await store.create(name)).close());
  }

  /** Of a name that nobody else has. */
  async #fork(store: ObjectStore, parent: string): Promise<void> {
    const name = `${this.#prefix}-fork-${this.#forks.length}`;
    const fork: Fork = { name, begin: ++this.#time, end: Infinity };
    this.#forks.push(fork);
    await this.#change("create", name, async () => {
      await (await store.fork(parent, name)).close();
      fork.end = ++this.#time;
    });
  }

  /** What it began with. */
  async #addForked(store: ObjectStore, name: string, { begin, end }: Fork): Promise<void> {
    this.forksFound++;
    const parent = (await metadata.find(name))?.forkedFrom;
    const generation = (await store.history(name, { limit: 1000 })).at(-1)?.generation ?? 0;
    const past = await store.openAt(name, { generation });
    const refs = await readRefs(past);
    await past.close();
    this.#reads.push({ repository: `object-store-${parent}`, refs, begin, end });
    for (const [ref, after] of Object.entries(refs))
      this.updates.push({
        repository: past.id,
        refs: [ref],
        before: null,
        after,
        begin,
        end,
        outcome: "done",
      });
  }

  /** Whatever it does, nobody is to see anything of it. */
  async #maintain(store: ObjectStore, name: string, kind: "collect" | "fold"): Promise<void> {
    const repository = await store.open(name);
    if (repository === undefined) return;
    const { packMaintenance } = repository;
    try {
      if (packMaintenance?.garbage === undefined) throw new Error("packs are not looked after");
      if (kind === "fold") await foldPacks(packMaintenance);
      else await collectGarbage(packMaintenance.garbage, { graceMs: 0 });
    } catch (error) {
      if (!isGitwharfError(error, "storage/not-found")) throw error;
    } finally {
      await repository.close();
    }
  }

  async #firstPush(store: ObjectStore, name: string): Promise<void> {
    return this.#change("create", name, async () => {
      const prepared = await store.prepare(name);
      const update = this.#begin(prepared.repository, PAIR, null, this.#commitOn([]));
      try {
        await this.#finish(prepared.repository, update);
        // It counts when the repository does.
        const { outcome } = update;
        update.outcome = "unknown";
        this.updates.push(update);
        await prepared.place();
        update.outcome = outcome;
      } finally {
        await prepared.discard();
      }
    });
  }

  #commitOn(parents: readonly ObjectId[]): MadeCommit {
    return makeCommit(`${this.#prefix} ${++this.#commits}`, parents);
  }

  async #read(repository: Repository): Promise<Refs> {
    const begin = ++this.#time;
    let refs: Refs;
    try {
      refs = await readRefs(repository);
    } catch (error) {
      if (!isGitwharfError(error, "storage/not-found")) throw error;
      return {};
    }
    this.#reads.push({ repository: repository.id, refs, begin, end: ++this.#time });
    return refs;
  }

  async #update(
    repository: Repository,
    refs: readonly string[],
    before: ObjectId | null,
    commit: MadeCommit | undefined,
  ): Promise<Update["outcome"]> {
    const update = this.#begin(repository, refs, before, commit);
    this.updates.push(update);
    await this.#finish(repository, update);
    return update.outcome;
  }

  #begin(
    repository: Repository,
    refs: readonly string[],
    before: ObjectId | null,
    commit: MadeCommit | undefined,
  ): Update & { readonly commit: MadeCommit | undefined } {
    const after = commit?.oid ?? null;
    const times = { begin: ++this.#time, end: Infinity };
    return { repository: repository.id, refs, before, after, ...times, outcome: "unknown", commit };
  }

  async #finish(
    repository: Repository,
    update: Update & { readonly commit: MadeCommit | undefined },
  ): Promise<void> {
    const { refs, before: oldOid, after: newOid, commit } = update;
    try {
      const isDone = await pushCommit(
        repository,
        commit,
        refs.map((name) => ({ name, oldOid, newOid })),
      );
      update.outcome = isDone ? "done" : "refused";
    } catch (error) {
      // It was deleted meanwhile.
      if (!isGitwharfError(error, "storage/not-found")) throw error;
      update.outcome = "refused";
    }
    update.end = ++this.#time;
  }

  async #change(kind: Change["kind"], name: string, body: () => Promise<void>): Promise<void> {
    const change: Change = { kind, name, outcome: "unknown" };
    this.#changes.push(change);
    try {
      await body();
      change.outcome = "done";
    } catch (error) {
      if (!isGitwharfError(error, "storage/exists", "storage/not-found")) throw error;
      change.outcome = "refused";
    }
  }

  /** All that were acknowledged have happened, and no more than may have. */
  #expectCount(kind: Change["kind"], name: string, count: number): void {
    const asked = this.#changes.filter((change) => change.kind === kind && change.name === name);
    const done = asked.filter(({ outcome }) => outcome === "done").length;
    const unknown = asked.filter(({ outcome }) => outcome === "unknown").length;
    expect(count).toBeGreaterThanOrEqual(done);
    expect(count).toBeLessThanOrEqual(done + unknown);
  }

  /** Those that were deleted under this name, by others. */
  async #undelete(store: ObjectStore, name: string): Promise<readonly string[]> {
    const hidden = await metadata.listHidden({
      state: "deleted",
      beforeMs: Date.now() + 60_000,
      limit: 10_000,
    });
    const found: string[] = [];
    for (const { id, formerName } of hidden)
      if (formerName === name) found.push(await store.undelete(id, `${name}-back-${found.length}`));
    return found;
  }

  async #opened(store: ObjectStore, name: string): Promise<Repository> {
    const repository = await store.open(name);
    if (repository === undefined) throw new Error(`${name} is not there`);
    return repository;
  }
}

/** No value is ever pushed twice: what replaced what can be told. */
function checkRef(
  ref: string,
  about: {
    readonly updates: readonly Update[];
    readonly reads: readonly Read[];
    readonly final: Refs | undefined;
  },
): void {
  const { reads, final } = about;
  const updates = about.updates.filter(({ refs }) => refs.includes(ref));
  const seen = new Set([
    ...reads.map(({ refs }) => refs[ref]),
    ...updates.map(({ before }) => before ?? undefined),
    final?.[ref],
  ]);
  const applied = updates.filter(
    ({ outcome, after }) =>
      outcome === "done" || (outcome === "unknown" && after !== null && seen.has(after)),
  );
  const made = new Set(applied.flatMap(({ after }) => after ?? []));
  const replaced = new Map<ObjectId, Update>();
  for (const update of applied) {
    if (update.before === null) continue;
    expect(made.has(update.before), "what was replaced had been there").toBe(true);
    expect(replaced.has(update.before), "what was replaced was replaced once").toBe(false);
    replaced.set(update.before, update);
  }
  if (final !== undefined) {
    const now = final[ref] ?? null;
    for (const update of updates) {
      const { outcome, before, after } = update;
      if (outcome !== "unknown" || after !== null || before === null) continue;
      if (!made.has(before) || before === now || replaced.has(before)) continue;
      applied.push(update);
      replaced.set(before, update);
    }
    const left = [...made].filter((oid) => !replaced.has(oid));
    expect(left, `what ${ref} is`).toEqual(now === null ? [] : [now]);
    const begun = applied.filter(({ before }) => before === null).length;
    const ended = applied.filter(({ after }) => after === null).length;
    expect(begun - ended, `${ref} is there as often as it came without going`).toBe(now === null ? 0 : 1);
  }
  for (const read of reads) checkRead(read, ref, applied, replaced);
}

function checkRead(
  read: Read,
  ref: string,
  applied: readonly Update[],
  replaced: ReadonlyMap<ObjectId, Update>,
): void {
  const value = read.refs[ref];
  const isBefore = (update: Update | undefined): boolean =>
    update?.outcome === "done" && update.end < read.begin;
  if (value === undefined) {
    const goes = applied.some(({ after, begin }) => after === null && begin < read.end);
    const came = applied.some((update) => update.before === null && isBefore(update));
    expect(came && !goes, `${ref} was missing from what was read`).toBe(false);
    return;
  }
  const by = applied.find(({ after }) => after === value);
  expect(by?.begin ?? Infinity, `${ref} was read before it was pushed`).toBeLessThan(read.end);
  expect(isBefore(replaced.get(value)), `${ref} was read after it was replaced`).toBe(false);
}
