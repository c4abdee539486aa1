/** What a `MetadataStore` must keep, whatever the engine below it. Run as the suites of `storage/contracts/suites/` are. */
import assert from "node:assert/strict";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import type { ErrorCode } from "../../../base/error-codes.js";
import { isGitwharfError } from "../../../base/errors.js";
import type { SuiteRunner } from "../../contracts/suites/suite-runner.js";
import type {
  MetadataCommit,
  MetadataStore,
  NewPack,
  PackRecord,
  RepositoryRecord,
} from "./metadata-store.js";

export interface MetadataBackend {
  /** Appears in the titles. */
  readonly name: string;
  /** An empty store for one test. */
  open(): Promise<OpenedMetadata>;
}

export interface OpenedMetadata {
  readonly store: MetadataStore;
  /** Another over the same rows, by connections of its own, as another process has it. */
  reopen(): Promise<MetadataStore>;
  dispose(): Promise<void>;
}

const RACES = 25;

export function metadataStoreSuite({ describe, it }: SuiteRunner, backend: MetadataBackend): void {
  const withStores =
    (body: (store: MetadataStore, reopen: () => Promise<MetadataStore>) => Promise<void>) => async () => {
      const opened = await backend.open();
      try {
        await body(opened.store, () => opened.reopen());
      } finally {
        await opened.dispose();
      }
    };

  describe(`metadata store: repositories: ${backend.name}`, () => {
    it(
      "finds nothing where nothing was made",
      withStores(async (store) => {
        assert.equal(await store.find("app"), undefined);
        assert.equal(await store.get(randomUUID()), undefined);
        assert.deepEqual(await store.list({ limit: 10 }), []);
        assert.deepEqual(await store.listNetworks({ limit: 10 }), []);
        await rejects(store.fork(randomUUID(), "app"), "storage/not-found");
        await rejects(store.delete(randomUUID()), "storage/not-found");
        await rejects(store.purge(randomUUID()), "storage/not-found");
        await store.probe();
        assert.deepEqual(await store.listNetworks({ limit: 10 }), []);
      }),
    );

    it(
      "makes a repository with its first generation and nodes",
      withStores(async (store, reopen) => {
        const before = Date.now();
        const [root, body] = node("root");
        const nodes = new Map([[root, body]]);
        const made = await store.create({
          name: "group/app",
          objectFormat: "sha256",
          root,
          nodes,
          about: "x",
        });
        assert.equal(made.generation, 0);
        assert.equal(made.state, "live");
        const found = await (await reopen()).find("group/app");
        assert.deepEqual(found, made);
        assert.deepEqual(await store.get(made.id), made);
        assert.equal(found?.objectFormat, "sha256");
        assert.equal(typeof found?.createdAtMs, "number");
        assert.equal(typeof found?.generation, "number");
        assert.equal(typeof found?.pruneEpoch, "number");
        assert.ok(made.createdAtMs >= before);
        assert.deepEqual((await store.readNodes(made.networkId, [root])).get(root), body);
        const [first] = await store.listGenerations(made.id, { limit: 10 });
        assert.equal(first?.kind, "create");
        assert.equal(first?.root, root);
        assert.equal(first?.about, "x");
        assert.equal(typeof first?.timeMs, "number");
      }),
    );

    it(
      "lists names in byte order, page by page",
      withStores(async (store) => {
        // U+FF5E comes before U+1F600 in UTF-8, and after it in UTF-16.
        const names = [
          "b",
          "a/b",
          "a-b",
          "a.b",
          "a",
          "B",
          "group/deep/app",
          "a_b",
          "\u{ff5e}",
          "\u{1f600}",
          "é",
        ];
        for (const name of names) await make(store, name);
        const expected = names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        assert.deepEqual(
          (await store.list({ limit: 100 })).map(({ name }) => name),
          expected,
        );
        const paged: string[] = [];
        for (let after: string | undefined; paged.length < 100; ) {
          const page = await store.list({ limit: 2, ...(after === undefined ? {} : { after }) });
          for (const { name } of page) paged.push(name ?? "");
          after = paged.at(-1);
          if (page.length === 0) break;
        }
        assert.deepEqual(paged, expected);
        assert.equal(await store.find("A"), undefined);
      }),
    );

    it(
      "lets nobody find a prepared one until it is placed, once",
      withStores(async (store) => {
        const prepared = await make(store);
        assert.equal(prepared.state, "prepared");
        assert.equal(prepared.name, null);
        assert.deepEqual(await store.list({ limit: 10 }), []);
        await rejects(store.fork(prepared.id, "fork"), "storage/not-found");
        await rejects(store.rename(prepared.id, "app"), "storage/not-found");
        await rejects(store.delete(prepared.id), "storage/not-found");
        const hidden = { state: "prepared", limit: 10 } as const;
        assert.equal((await store.listHidden({ ...hidden, beforeMs: Date.now() + 1000 })).length, 1);
        assert.equal((await store.listHidden({ ...hidden, beforeMs: prepared.createdAtMs })).length, 0);
        const committed = await store.commit(newCommit(prepared));
        assert.equal(committed.kind, "committed");
        await store.place(prepared.id, "app");
        assert.equal((await store.find("app"))?.id, prepared.id);
        assert.equal((await store.find("app"))?.generation, 1);
        await rejects(store.place(prepared.id, "other"), "storage/not-found");
        assert.equal((await store.listHidden({ ...hidden, beforeMs: Date.now() + 1000 })).length, 0);
        const taken = await make(store);
        await rejects(store.place(taken.id, "app"), "storage/exists");
        await store.purge(taken.id);
        assert.equal(await store.get(taken.id), undefined);
        await rejects(store.place(taken.id, "free"), "storage/not-found");
      }),
    );

    it(
      "gives a name to exactly one of all who race for it",
      withStores(async (store, reopen) => {
        const stores = [store, await reopen()] as const;
        const parent = await make(store, "parent");
        for (let round = 0; round < 8; round++) {
          const name = `wanted-${round}`;
          const hidden = await Promise.all([make(store), make(store)]);
          const named = await Promise.all([make(store, `x-${round}`), make(store, `y-${round}`)]);
          const gone = await make(store, `z-${round}`);
          await store.delete(gone.id);
          const racers = stores.flatMap((one, i) => [
            () => make(one, name),
            () => one.fork(parent.id, name),
            () => one.place(hidden[i]?.id ?? "", name),
            () => one.rename(named[i]?.id ?? "", name),
          ]);
          racers.push(() => stores[round % 2 === 0 ? 0 : 1].undelete(gone.id, name));
          const results = await Promise.allSettled(shuffled(racers).map((race) => race()));
          assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1);
          for (const result of results)
            if (result.status === "rejected")
              assert.ok(isGitwharfError(result.reason, "storage/exists"), String(result.reason));
          assert.equal((await store.find(name))?.name, name);
        }
        // Nobody who lost has left a network behind.
        const networks = await store.listNetworks({ limit: 1000 });
        const used = await Promise.all(networks.map((id) => store.listKeptRoots(id)));
        assert.ok(used.every((roots) => roots.length > 0));
      }),
    );

    it(
      "renames, deletes, keeps and gives back",
      withStores(async (store) => {
        const made = await make(store, "app");
        await store.rename(made.id, "app");
        await store.rename(made.id, "moved");
        assert.equal(await store.find("app"), undefined);
        assert.equal((await store.find("moved"))?.id, made.id);
        await store.delete(made.id);
        assert.equal(await store.find("moved"), undefined);
        const deleted = await store.get(made.id);
        assert.equal(deleted?.state, "deleted");
        assert.equal(deleted?.name, null);
        assert.equal(deleted?.formerName, "moved");
        assert.equal(typeof deleted?.deletedAtMs, "number");
        await rejects(store.delete(made.id), "storage/not-found");
        await rejects(store.rename(made.id, "other"), "storage/not-found");
        await rejects(store.fork(made.id, "fork"), "storage/not-found");
        assert.deepEqual(await store.commit(newCommit(made)), { kind: "not-found" });
        const hidden = await store.listHidden({ state: "deleted", beforeMs: Date.now() + 1000, limit: 10 });
        assert.deepEqual(hidden, [deleted]);
        const another = await make(store, "moved");
        await rejects(store.undelete(made.id, "moved"), "storage/exists");
        await store.undelete(made.id, "back");
        assert.deepEqual(await store.find("back"), { ...made, name: "back" });
        await rejects(store.undelete(another.id, "live"), "storage/not-found");
        await rejects(store.purge(another.id), "storage/not-found");
      }),
    );

    it(
      "forks by a row that shares what the parent has",
      withStores(async (store) => {
        const parent = await make(store, "parent");
        await commits(store, parent, 2);
        const current = (await store.find("parent")) ?? parent;
        const fork = await store.fork(parent.id, "fork");
        assert.equal(fork.networkId, parent.networkId);
        assert.equal(fork.root, current.root);
        assert.equal(fork.generation, current.generation);
        assert.equal(fork.forkedFrom, parent.id);
        assert.deepEqual(await store.find("fork"), fork);
        const [first, ...more] = await store.listGenerations(fork.id, { limit: 10 });
        assert.equal(first?.kind, "fork");
        assert.equal(more.length, 0);
        const own = await commits(store, fork, 1);
        assert.equal((await store.find("parent"))?.root, current.root);
        assert.deepEqual(
          new Set(await store.listKeptRoots(parent.networkId)),
          new Set([parent.root, ...(await roots(store, parent)), own.root]),
        );
        const hidden = await store.fork(parent.id);
        assert.equal(hidden.state, "prepared");
        await store.place(hidden.id, "template");
        await rejects(store.fork(parent.id, "fork"), "storage/exists");
      }),
    );
  });

  describe(`metadata store: commits: ${backend.name}`, () => {
    it(
      "swap the root with all that comes with it",
      withStores(async (store, reopen) => {
        const made = await make(store, "app");
        const upload = await begin(store, made, ["p/1", "p/1.side"]);
        assert.equal((await store.listUploads({ olderThanMs: 0, limit: 10 })).length, 1);
        const old = newPack();
        const first = await store.commit(newCommit(made, { packs: [old], about: "old" }));
        assert.equal(first.kind, "committed");
        const pack: NewPack = { ...newPack(), sideKey: "p/1.side", sizeBytes: 5_000_000_000 };
        const change = newCommit(
          { ...made, generation: 1 },
          { uploads: [upload], packs: [pack], retired: [old.id], bumpsPruneEpoch: true, kind: "gc" },
        );
        const second = await store.commit(change);
        assert.ok(second.kind === "committed");
        assert.equal(second.record.generation, 2);
        assert.equal(second.record.pruneEpoch, 1);
        assert.equal(second.record.root, change.root);
        const other = await reopen();
        assert.deepEqual(await other.find("app"), second.record);
        assert.deepEqual(await other.listUploads({ olderThanMs: 0, limit: 10 }), []);
        const packs = await other.listPacks(made.networkId, { limit: 10 });
        const kept = packs.find(({ id }) => id === pack.id);
        assert.ok(kept !== undefined);
        const { createdAtMs, ...rest } = kept;
        assert.equal(typeof createdAtMs, "number");
        assert.deepEqual(rest, { ...pack, networkId: made.networkId });
        assert.equal(typeof packs.find(({ id }) => id === old.id)?.retiredAtMs, "number");
        assert.deepEqual(await store.listPacks(made.networkId, { limit: 1 }), packs.slice(0, 1));
        const after = packs[0]?.id ?? "";
        assert.deepEqual(await store.listPacks(made.networkId, { limit: 5, after }), packs.slice(1));
        const generations = await other.listGenerations(made.id, { limit: 10 });
        assert.deepEqual(
          generations.map(({ kind }) => kind),
          ["gc", "push", "create"],
        );
        assert.equal(generations[1]?.about, "old");
        for (const [id, body] of change.nodes)
          assert.deepEqual((await other.readNodes(made.networkId, [id])).get(id), body);
      }),
    );

    it(
      "answer with what another made who came first, and leave nothing",
      withStores(async (store) => {
        const made = await make(store, "app");
        const winner = await commits(store, made, 1);
        const upload = await begin(store, made, ["p/1"]);
        const change = newCommit(made, { uploads: [upload], packs: [newPack()] });
        assert.deepEqual(await store.commit(change), { kind: "raced", record: winner });
        assert.deepEqual(await store.find("app"), winner);
        assert.deepEqual(await store.listPacks(made.networkId, { limit: 10 }), []);
        assert.equal((await store.readNodes(made.networkId, [...change.nodes.keys()])).size, 0);
        const again = { ...change, expectedGeneration: winner.generation };
        assert.equal((await store.commit(again)).kind, "committed");
        assert.equal((await store.listGenerations(made.id, { limit: 10 })).length, 3);
      }),
    );

    it(
      "are known by their id when they are asked for again",
      withStores(async (store) => {
        const made = await make(store, "app");
        const upload = await begin(store, made, ["p/1"]);
        const change = newCommit(made, { uploads: [upload], packs: [newPack()] });
        const outcome = await store.commit(change);
        assert.equal(outcome.kind, "committed");
        assert.deepEqual(await store.commit(change), outcome);
        await commits(store, { ...made, generation: 1 }, 2);
        assert.deepEqual(await store.commit(change), outcome);
        assert.equal((await store.listGenerations(made.id, { limit: 10 })).length, 4);
      }),
    );

    it(
      "are all or nothing when an upload was taken",
      withStores(async (store) => {
        const made = await make(store, "app");
        const uploads = [await begin(store, made, ["p/1"]), await begin(store, made, ["p/2"])];
        assert.deepEqual(await store.takeUpload(uploads[1] ?? ""), ["p/2"]);
        const change = newCommit(made, { uploads, packs: [newPack()] });
        assert.deepEqual(await store.commit(change), { kind: "upload-gone" });
        assert.deepEqual(await store.find("app"), made);
        assert.deepEqual(await store.listPacks(made.networkId, { limit: 10 }), []);
        assert.equal((await store.readNodes(made.networkId, [...change.nodes.keys()])).size, 0);
        assert.equal((await store.listGenerations(made.id, { limit: 10 })).length, 1);
        assert.equal(await store.touchUpload(uploads[0] ?? ""), true);
        assert.equal(await store.touchUpload(uploads[1] ?? ""), false);
        const gone = { ...change, uploads: [randomUUID()] };
        assert.deepEqual(await store.commit(gone), { kind: "upload-gone" });
        assert.equal((await store.commit({ ...change, uploads: uploads.slice(0, 1) })).kind, "committed");
      }),
    );

    it(
      "leave uploads alone that are bundles, until these are taken",
      withStores(async (store) => {
        const made = await make(store, "app");
        const [kept, gone, plain] = [
          await begin(store, made, ["b/1"]),
          await begin(store, made, ["b/2"]),
          await begin(store, made, ["p/3"]),
        ];
        await begin(store, await make(store, "other"), ["b/4"]);
        assert.equal(await store.keepBundle(kept, "about it"), true);
        assert.equal(await store.keepBundle(gone, "about another"), true);
        assert.equal((await store.listBundles(made.id)).length, 2);
        assert.deepEqual(await store.takeUpload(gone), ["b/2"]);
        assert.equal(await store.keepBundle(gone, "too late"), false);
        const [bundle, ...more] = await store.listBundles(made.id);
        assert.deepEqual(more, []);
        assert.deepEqual(
          { ...bundle, untouchedMs: 0 },
          { id: kept, key: "b/1", note: "about it", untouchedMs: 0 },
        );
        assert.ok((bundle?.untouchedMs ?? -1) >= 0 && (bundle?.untouchedMs ?? Infinity) < 60_000);
        assert.equal((await store.commit(newCommit(made, { uploads: [plain] }))).kind, "committed");
        assert.equal((await store.listBundles(made.id)).length, 1);
        const old = await store.listUploads({ olderThanMs: 0, limit: 10, state: "open" });
        assert.equal(
          old.some(({ id }) => id === kept),
          true,
        );
      }),
    );

    it(
      "win or lose an upload against who takes it, never both",
      withStores(async (store, reopen) => {
        const janitor = await reopen();
        const made = await make(store, "app");
        let generation = 0;
        for (let race = 0; race < RACES; race++) {
          const keys = [`p/${race}`];
          const upload = await begin(store, made, keys);
          const change = newCommit({ ...made, generation }, { uploads: [upload] });
          const commit = () => store.commit(change);
          const take = () => janitor.takeUpload(upload);
          const [outcome, taken] =
            race % 2 === 0
              ? await Promise.all([commit(), take()])
              : ((await Promise.all([take(), commit()])).toReversed() as [
                  Awaited<ReturnType<typeof commit>>,
                  Awaited<ReturnType<typeof take>>,
                ]);
          if (outcome.kind === "committed") {
            assert.equal(taken, undefined);
            generation++;
          } else {
            assert.equal(outcome.kind, "upload-gone");
            assert.deepEqual(taken, keys);
            await janitor.endUpload(upload);
          }
        }
        assert.equal((await store.find("app"))?.generation, generation);
        assert.deepEqual(await store.listUploads({ olderThanMs: 0, limit: 100 }), []);
      }),
    );

    it(
      "come one after the other, whoever makes them",
      withStores(async (store, reopen) => {
        const stores = [store, await reopen()];
        const made = await make(store, "app");
        const fork = await store.fork(made.id, "fork");
        const [shared, body] = node("written by all");
        const work = async (one: MetadataStore, repository: RepositoryRecord): Promise<void> => {
          let record = repository;
          for (let done = 0, attempt = 0; done < 5; attempt++) {
            assert.ok(attempt < 500, "somebody never gets a turn");
            const change = newCommit(record);
            const nodes = new Map([...change.nodes, [shared, body] as const]);
            const outcome = await one.commit({ ...change, nodes });
            assert.ok(outcome.kind === "committed" || outcome.kind === "raced");
            if (outcome.kind === "raced") {
              assert.ok(outcome.record.generation > record.generation);
            } else {
              assert.equal(outcome.record.generation, record.generation + 1);
              done++;
            }
            record = outcome.record;
            assert.equal((await one.readNodes(record.networkId, [record.root])).size, 1);
          }
        };
        const workers = stores.flatMap((one) =>
          [made, made, fork].map((repository) => work(one, repository)),
        );
        await Promise.all(workers);
        assert.equal((await store.find("app"))?.generation, 20);
        assert.equal((await store.find("fork"))?.generation, 10);
        const generations = await store.listGenerations(made.id, { limit: 100 });
        assert.deepEqual(
          generations.map(({ generation }) => generation),
          [...Array(21).keys()].toReversed(),
        );
        for (const [i, newer] of generations.slice(0, -1).entries())
          assert.ok(newer.timeMs >= (generations[i + 1]?.timeMs ?? Infinity));
      }),
    );

    it(
      "leave a fork with a root that its parent had, whenever it is made",
      withStores(async (store, reopen) => {
        const other = await reopen();
        const parent = await make(store, "parent");
        let record = parent;
        for (let race = 0; race < RACES; race++) {
          const [outcome, fork] = await Promise.all([
            store.commit(newCommit(record)),
            other.fork(parent.id, `fork-${race}`),
          ]);
          assert.ok(outcome.kind === "committed", outcome.kind);
          assert.ok([record.generation, outcome.record.generation].includes(fork.generation));
          assert.equal((await store.getGeneration(parent.id, fork.generation))?.root, fork.root);
          record = outcome.record;
        }
      }),
    );

    it(
      "take any number of nodes, packs and uploads, of any bytes",
      withStores(async (store) => {
        const made = await make(store, "app");
        const nodes = new Map(Array.from({ length: 9000 }, (_, i) => node(`node ${i}`)));
        const empty = idOf(Buffer.alloc(0));
        nodes.set(empty, Buffer.alloc(0));
        const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
        nodes.set(idOf(bytes), bytes);
        const large = randomBytes(3_000_000);
        for (const i of [0, 1, 2]) nodes.set(idOf(large.subarray(i)), large.subarray(i));
        const packs = Array.from({ length: 1200 }, () => newPack());
        const uploads: string[] = [];
        for (let i = 0; i < 60; i++) uploads.push(await begin(store, made, [`p/${i}`]));
        const change = newCommit(made, { packs, uploads });
        const outcome = await store.commit({ ...change, nodes: new Map([...nodes, ...change.nodes]) });
        assert.equal(outcome.kind, "committed");
        const missing = [idOf(Buffer.from("one")), idOf(Buffer.from("two"))];
        const read = await store.readNodes(made.networkId, [...missing, ...nodes.keys(), empty]);
        assert.equal(read.size, nodes.size);
        for (const [id, body] of nodes) assert.ok(read.get(id)?.equals(body), id);
        assert.ok(Buffer.isBuffer(read.get(empty)));
        assert.equal((await store.readNodes(made.networkId, [])).size, 0);
        assert.equal((await store.readNodes(randomUUID(), [empty])).size, 0);
        assert.equal((await store.listPacks(made.networkId, { limit: 5000 })).length, 1200);
        const retired = packs.map(({ id }) => id);
        const next = newCommit({ ...made, generation: 1 }, { retired });
        assert.equal((await store.commit(next)).kind, "committed");
        const after = await store.listPacks(made.networkId, { limit: 5000 });
        assert.ok(after.every(({ retiredAtMs }) => retiredAtMs !== undefined));
      }),
    );
  });

  describe(`metadata store: what was: ${backend.name}`, () => {
    it(
      "is listed newest first, found by time, and forgotten but for the current",
      withStores(async (store) => {
        const made = await make(store, "app");
        await commits(store, made, 4);
        const all = await store.listGenerations(made.id, { limit: 100 });
        assert.deepEqual(
          all.map(({ generation }) => generation),
          [4, 3, 2, 1, 0],
        );
        assert.deepEqual(await store.listGenerations(made.id, { limit: 2, before: 3 }), all.slice(2, 4));
        assert.deepEqual(await store.getGeneration(made.id, 2), all[2]);
        assert.equal(await store.getGeneration(made.id, 9), undefined);
        const [newest] = all;
        assert.deepEqual(await store.generationAt(made.id, Date.now() + 1000), newest);
        assert.deepEqual(await store.generationAt(made.id, newest?.timeMs ?? 0), newest);
        assert.equal(await store.generationAt(made.id, made.createdAtMs - 1), undefined);
        assert.equal(await store.forgetGenerations(made.id, 2), 2);
        assert.equal(await store.getGeneration(made.id, 1), undefined);
        assert.equal(await store.forgetGenerations(made.id, 100), 2);
        assert.deepEqual(await store.listGenerations(made.id, { limit: 10 }), all.slice(0, 1));
        assert.deepEqual(await store.listKeptRoots(made.networkId), [newest?.root]);
      }),
    );

    it(
      "can be restored while it is kept",
      withStores(async (store, reopen) => {
        const janitor = await reopen();
        const made = await make(store, "app");
        let record = await commits(store, made, 2);
        const kept = { ...newCommit(record, { restoredGeneration: 1, kind: "restore" }), nodes: new Map() };
        const restored = await store.commit({ ...kept, root: (await roots(store, made))[1] ?? "" });
        assert.equal(restored.kind, "committed");
        for (let race = 0; race < RACES; race++) {
          record = (await store.find("app")) ?? record;
          record = await commits(store, record, 1);
          const restoredGeneration = record.generation - 1;
          const change = newCommit(record, { restoredGeneration, kind: "restore" });
          const [outcome] = await Promise.all([
            store.commit(change),
            janitor.forgetGenerations(made.id, record.generation),
          ]);
          assert.ok(outcome.kind === "committed" || outcome.kind === "generation-gone");
          // What is there no more cannot be had.
          const late = { ...newCommit((await store.find("app")) ?? record), restoredGeneration: 0 };
          assert.deepEqual(await store.commit(late), { kind: "generation-gone" });
        }
      }),
    );
  });

  describe(`metadata store: what goes: ${backend.name}`, () => {
    it(
      "stays listed until it is gone from the bucket",
      withStores(async (store) => {
        const made = await make(store, "app");
        const upload = await begin(store, made, ["p/1", "p/2"]);
        assert.deepEqual(await store.listUploads({ olderThanMs: 60_000, limit: 10 }), []);
        const [open] = await store.listUploads({ olderThanMs: 0, limit: 10 });
        assert.equal(open?.state, "open");
        assert.equal(open?.repositoryId, made.id);
        assert.equal(open?.owner, "suite");
        assert.deepEqual(open?.keys, ["p/1", "p/2"]);
        // Nobody has taken it: it cannot be ended.
        await store.endUpload(upload);
        assert.equal((await store.listUploads({ olderThanMs: 0, limit: 10 })).length, 1);
        await nextMillisecond();
        assert.deepEqual(await store.takeUpload(upload), ["p/1", "p/2"]);
        const taken = { olderThanMs: 0, limit: 10, state: "taken" } as const;
        const listed = await store.listUploads(taken);
        assert.equal(listed.length, 1);
        // Since when it is taken; taking it again does not make it younger.
        assert.ok((listed[0]?.touchedAtMs ?? 0) > (open?.touchedAtMs ?? 0));
        await nextMillisecond();
        assert.deepEqual(await store.takeUpload(upload), ["p/1", "p/2"]);
        assert.deepEqual(await store.listUploads(taken), listed);
        assert.equal((await store.listUploads({ ...taken, state: "open" })).length, 0);
        await store.endUpload(upload);
        assert.equal(await store.takeUpload(upload), undefined);
        assert.deepEqual(await store.listUploads(taken), []);
      }),
    );

    it(
      "is of packs what nobody names: their keys become a taken upload",
      withStores(async (store) => {
        const made = await make(store, "app");
        const [gone, kept] = [{ ...newPack(), sideKey: "side" }, newPack()];
        await store.commit(newCommit(made, { packs: [gone, kept] }));
        const [dropped] = await store.dropPacks(made.networkId, [gone, { id: randomUUID() }]);
        const [upload] = await store.listUploads({ olderThanMs: 0, limit: 10, state: "taken" });
        assert.equal(upload?.id, dropped);
        assert.deepEqual(upload?.keys, [gone.key, "side"]);
        assert.deepEqual(
          (await store.listPacks(made.networkId, { limit: 10 })).map(({ id }) => id),
          [kept.id],
        );
        assert.deepEqual(await store.dropPacks(made.networkId, [gone]), []);
        assert.deepEqual(await store.dropPacks(randomUUID(), [kept]), []);
      }),
    );

    it(
      "is of no container that was named once more since it was listed",
      withStores(async (store, open) => {
        const other = await open();
        const made = await make(store, "app");
        const container = { ...newPack(), kind: "chunks" as const };
        const chunk = {
          id: "ab".repeat(32),
          containerKey: container.id,
          offset: 5,
          storedBytes: 70_000,
          sizeBytes: 90_000,
          adler32: 2 ** 32 - 1,
        };
        const first = newCommit(made, { packs: [container], chunks: [chunk] });
        await store.commit(first);
        const { networkId } = made;
        const wanted = [chunk.id, "cd".repeat(32)];
        assert.deepEqual(await other.findChunks(networkId, wanted), new Map([[chunk.id, chunk]]));
        assert.equal((await store.findChunks(randomUUID(), wanted)).size, 0);
        const listed = async (): Promise<Partial<PackRecord> & { readonly id: string }> =>
          (await store.listPacks(networkId, { limit: 10 }))[0] ?? container;
        const before = await listed();
        await store.markUnnamed(networkId, [before]);
        assert.notEqual((await listed()).unnamedAtMs, undefined);
        // Who is about to name it takes the mark away, and what a janitor has seen before counts no more.
        await other.holdContainers(networkId, [container.id, "none"]);
        await store.markUnnamed(networkId, [before]);
        const held = await listed();
        assert.equal(held.unnamedAtMs, undefined);
        assert.deepEqual(await store.dropPacks(networkId, [before]), []);
        const { record } = (await other.commit(
          newCommit(await current(store, "app"), { held: [container.id] }),
        )) as { record: RepositoryRecord };
        assert.deepEqual(await store.dropPacks(networkId, [held]), []);
        assert.equal((await store.dropPacks(networkId, [await listed()])).length, 1);
        assert.equal((await store.findChunks(networkId, wanted)).size, 0);
        const late = newCommit(record, { held: [container.id] });
        assert.deepEqual(await store.commit(late), { kind: "container-gone" });
        assert.deepEqual(await current(store, "app"), record);
      }),
    );

    it(
      "finds a chunk where it was written last, until that goes",
      withStores(async (store) => {
        const { networkId } = await make(store, "app");
        const [old, young] = [newPack(), newPack()].map((pack) => ({ ...pack, kind: "chunks" as const }));
        assert.ok(old !== undefined && young !== undefined);
        const at = (containerKey: string, offset: number, storedBytes: number) => ({
          id: "ab".repeat(32),
          containerKey,
          offset,
          storedBytes,
          sizeBytes: 90_000,
          adler32: 7,
        });
        // In two packs of one upload it may have been written twice.
        const twice = [at(old.id, 0, 70_000), at(old.id, 70_000, 70_000)];
        await store.commit(newCommit(await current(store, "app"), { packs: [old], chunks: twice }));
        const found = async () => [...(await store.findChunks(networkId, ["ab".repeat(32)])).values()];
        assert.deepEqual(await found(), [twice[1]]);
        const anew = at(young.id, 5, 60_000);
        await store.commit(newCommit(await current(store, "app"), { packs: [young], chunks: [anew] }));
        assert.deepEqual(await found(), [anew]);
        const listed = await store.listPacks(networkId, { limit: 10 });
        await store.dropPacks(
          networkId,
          listed.filter(({ id }) => id === old.id),
        );
        assert.deepEqual(await found(), [anew]);
        await store.dropPacks(
          networkId,
          listed.filter(({ id }) => id === young.id),
        );
        assert.deepEqual(await found(), []);
      }),
    );

    it(
      "has the keys that an upload was given last, until it is taken",
      withStores(async (store) => {
        const made = await make(store, "app");
        const { id: repositoryId, networkId } = made;
        const id = await store.beginUpload({ repositoryId, networkId, keys: [], owner: "test" });
        assert.equal(await store.setUploadKeys(id, ["c/1", "p/1"]), true);
        assert.deepEqual(await store.takeUpload(id), ["c/1", "p/1"]);
        assert.equal(await store.setUploadKeys(id, ["c/2"]), false);
        assert.deepEqual(await store.takeUpload(id), ["c/1", "p/1"]);
      }),
    );

    it(
      "is with the last repository of a network all of it, and with another nothing but its rows",
      withStores(async (store) => {
        const parent = await make(store, "parent");
        const packs = Array.from({ length: 700 }, () => newPack());
        const change = newCommit(parent, { packs });
        await store.commit(change);
        const fork = await store.fork(parent.id, "fork");
        await store.delete(parent.id);
        await store.purge(parent.id);
        assert.equal(await store.get(parent.id), undefined);
        assert.deepEqual(await store.listGenerations(parent.id, { limit: 10 }), []);
        await rejects(store.undelete(parent.id, "parent"), "storage/not-found");
        assert.equal((await store.readNodes(fork.networkId, [fork.root])).size, 1);
        assert.equal((await store.listPacks(fork.networkId, { limit: 1000 })).length, 700);
        await store.delete(fork.id);
        await store.purge(fork.id);
        assert.deepEqual(await store.listPacks(fork.networkId, { limit: 10 }), []);
        assert.equal((await store.readNodes(fork.networkId, [fork.root, parent.root])).size, 0);
        assert.deepEqual(await store.listNetworks({ limit: 10 }), []);
        const taken = await store.listUploads({ olderThanMs: 0, limit: 10, state: "taken" });
        assert.deepEqual(
          taken.flatMap(({ keys }) => keys).toSorted(),
          packs.map(({ key }) => key).toSorted(),
        );
      }),
    );

    it(
      "is a whole network whichever of its repositories are removed at the same time",
      withStores(async (store, reopen) => {
        const other = await reopen();
        for (let race = 0; race < 10; race++) {
          const parent = await make(store, `parent-${race}`);
          const fork = await store.fork(parent.id, `fork-${race}`);
          const third = await store.fork(fork.id);
          await Promise.all([store.delete(parent.id), other.delete(fork.id)]);
          await Promise.all([store.purge(parent.id), other.purge(fork.id), store.purge(third.id)]);
          assert.deepEqual(await store.listNetworks({ limit: 10 }), []);
          assert.equal((await store.readNodes(parent.networkId, [parent.root])).size, 0);
        }
      }),
    );

    it(
      "is of nodes what no root needs, and never what a commit writes meanwhile",
      withStores(async (store, reopen) => {
        const janitor = await reopen();
        let record = await make(store, "app");
        for (let race = 0; race < RACES; race++) {
          // A state that the repository was in before, which is garbage now.
          const back = node(`state ${race % 2}`);
          const change = { ...newCommit(record), root: back[0], nodes: new Map([back]) };
          const sweep = async (): Promise<void> => {
            const number = await janitor.beginSweep(record.networkId);
            const needed = new Set(await janitor.listKeptRoots(record.networkId));
            await janitor.sweepNodes(record.networkId, number, (id) => needed.has(id));
          };
          const [outcome] = await Promise.all([store.commit(change), sweep()]);
          assert.ok(outcome.kind === "committed");
          record = outcome.record;
          assert.equal((await store.readNodes(record.networkId, [record.root])).size, 1);
          await store.forgetGenerations(record.id, record.generation);
        }
        const number = await store.beginSweep(record.networkId);
        assert.ok((await store.sweepNodes(record.networkId, number, (id) => id === record.root)) >= 1);
        assert.equal(await store.sweepNodes(record.networkId, number, () => false), 1);
        assert.deepEqual(await store.listNetworks({ limit: 10 }), [record.networkId]);
      }),
    );

    it(
      "forgets what came before a time in every repository of a network, and not what was current then",
      withStores(async (store) => {
        const parent = await make(store, "parent");
        await commits(store, parent, 3);
        const fork = await store.fork(parent.id, "fork");
        await commits(store, fork, 2);
        await commits(store, await current(store, "parent"), 2);
        const other = await make(store, "other");
        await commits(store, other, 2);
        const before = await store.listGenerations(parent.id, { limit: 100 });
        assert.equal((await store.oldestGeneration(fork.id))?.kind, "fork");
        assert.equal(await store.forgetOldGenerations(parent.networkId, 1), 0);
        const timeMs = before[2]?.timeMs ?? 0;
        const expected = before.filter(({ timeMs: at }, i) => {
          const later = before[i - 1];
          return at > timeMs || later === undefined || later.timeMs > timeMs;
        });
        await store.forgetOldGenerations(parent.networkId, timeMs);
        assert.deepEqual(await store.listGenerations(parent.id, { limit: 100 }), expected);
        assert.deepEqual(await store.generationAt(parent.id, timeMs), expected.at(-1));
        assert.deepEqual(await store.oldestGeneration(parent.id), expected.at(-1));
        assert.equal((await store.listGenerations(other.id, { limit: 100 })).length, 3);
        await store.forgetOldGenerations(parent.networkId, Date.now() + 1000);
        for (const name of ["parent", "fork"]) {
          const { id, root } = await current(store, name);
          assert.deepEqual(await roots(store, { ...fork, id }), [root]);
        }
        assert.equal(await store.forgetOldGenerations(parent.networkId, Date.now() + 1000), 0);
        assert.equal(await store.oldestGeneration(randomUUID()), undefined);
      }),
    );

    it(
      "marks packs that nothing names, once",
      withStores(async (store) => {
        const made = await make(store, "app");
        const packs = Array.from({ length: 3 }, () => newPack());
        await store.commit(newCommit(made, { packs }));
        const [first = newPack(), second = newPack()] = packs;
        await store.markUnnamed(made.networkId, [first]);
        const marks = async () =>
          new Map(
            (await store.listPacks(made.networkId, { limit: 10 })).map(({ id, unnamedAtMs }) => [
              id,
              unnamedAtMs,
            ]),
          );
        const marked = (await marks()).get(first.id);
        assert.equal(typeof marked, "number");
        assert.equal((await marks()).get(second.id), undefined);
        await nextMillisecond();
        await store.markUnnamed(made.networkId, [first, second]);
        assert.equal((await marks()).get(first.id), marked);
        assert.ok(((await marks()).get(second.id) ?? 0) > (marked ?? 0));
        await store.markUnnamed(randomUUID(), [{ id: packs[2]?.id ?? "" }]);
        assert.equal((await marks()).get(packs[2]?.id ?? ""), undefined);
        await store.markUnnamed(made.networkId, []);
      }),
    );
  });

  describe(`metadata store: witnesses: ${backend.name}`, () => {
    it(
      "never build on what a whole one makes needless",
      withStores(async (store) => {
        const { id: repositoryId, networkId } = await make(store, "app");
        const add = async (number: number, buildsOn?: number): Promise<boolean> => {
          const key = `r/${randomUUID()}`;
          const uploadId = await store.beginUpload({ repositoryId, networkId, keys: [key], owner: "test" });
          const about = { repositoryId, uploadId, key, number, buildsOn };
          return store.addWitness({
            ...about,
            generation: 0,
            isWhole: buildsOn === undefined,
            sizeBytes: 1,
          });
        };
        assert.equal(await add(1), true);
        assert.equal(await add(2, 1), true);
        assert.equal(await add(3, 1), true);
        assert.equal(await add(5), true);
        // They were begun before that one was there.
        assert.equal(await add(6, 3), false);
        assert.equal(await add(4), false);
        assert.equal(await add(5), false);
        assert.equal(await add(6, 5), true);
        const listed = await store.listWitnesses(repositoryId, { limit: 10 });
        assert.deepEqual(
          listed.map(({ number }) => number),
          [6, 5, 3, 2, 1],
        );
        // Who wrote one in vain has its key still.
        assert.equal((await store.listUploads({ olderThanMs: 0, limit: 10, state: "open" })).length, 3);
      }),
    );
  });

  describe(`metadata store: leases: ${backend.name}`, () => {
    it(
      "are one owner's until they are given up or run out",
      withStores(async (store, reopen) => {
        const other = await reopen();
        const mine = { name: "work", owner: randomUUID() };
        const theirs = { name: "work", owner: randomUUID() };
        const LONG_MS = 60_000;
        assert.deepEqual(await store.takeLease(mine, LONG_MS), { note: "" });
        assert.equal(await other.takeLease(theirs, LONG_MS), undefined);
        assert.deepEqual(await other.takeLease({ ...theirs, name: "other work" }, LONG_MS), { note: "" });
        assert.deepEqual(await store.takeLease(mine, LONG_MS), { note: "" });
        // Not theirs to give up.
        await other.releaseLease(theirs);
        await other.releaseLease(theirs, { restMs: 0, note: "theirs" });
        assert.equal(await other.takeLease(theirs, LONG_MS), undefined);
        await store.releaseLease(mine);
        assert.deepEqual(await other.takeLease(theirs, 0), { note: "" });
        // It has run out.
        assert.deepEqual(await store.takeLease(mine, LONG_MS), { note: "" });
        assert.equal(await other.takeLease(theirs, LONG_MS), undefined);
        await store.releaseLease(mine, { restMs: LONG_MS, note: "as far as this" });
        for (const lease of [mine, theirs]) assert.equal(await other.takeLease(lease, LONG_MS), undefined);
        assert.equal(await store.forgetLeases(1), 0);
        assert.equal(await store.forgetLeases(-2 * LONG_MS), 2);
        assert.deepEqual(await store.takeLease(mine, LONG_MS), { note: "" });
        await store.releaseLease(mine, { restMs: 0, note: "as far as this" });
        assert.deepEqual(await other.takeLease(theirs, LONG_MS), { note: "as far as this" });
      }),
    );

    it(
      "go to exactly one of all who race for them",
      withStores(async (store, reopen) => {
        const stores = [store, await reopen()] as const;
        for (let race = 0; race < RACES; race++) {
          const leases = Array.from({ length: 4 }, () => ({ name: `work ${race % 2}`, owner: randomUUID() }));
          const taken = await Promise.all(
            leases.map((lease, i) => stores[(i % 2) as 0 | 1].takeLease(lease, 60_000)),
          );
          assert.equal(taken.filter((lease) => lease !== undefined).length, 1);
          const winner = leases[taken.findIndex((lease) => lease !== undefined)];
          assert.ok(winner !== undefined);
          await store.releaseLease(winner, race % 3 === 0 ? { restMs: 0, note: "" } : undefined);
        }
      }),
    );
  });
}

/** Until the clock shows another time. */
async function nextMillisecond(): Promise<void> {
  const now = Date.now();
  while (Date.now() === now) await new Promise((resolve) => setImmediate(resolve));
}

async function current(store: MetadataStore, name: string): Promise<RepositoryRecord> {
  const record = await store.find(name);
  assert.ok(record !== undefined);
  return record;
}

function idOf(body: Uint8Array): string {
  return createHash("sha256").update(body).digest("hex");
}

function node(text: string): readonly [string, Buffer] {
  const body = Buffer.from(text);
  return [idOf(body), body];
}

async function make(store: MetadataStore, name?: string): Promise<RepositoryRecord> {
  const [root, body] = node(`root of ${randomUUID()}`);
  const nodes = new Map([[root, body]]);
  return store.create({ objectFormat: "sha1", root, nodes, ...(name === undefined ? {} : { name }) });
}

function newPack(): NewPack {
  const id = randomUUID();
  return { id, key: `p/${id}.pack`, kind: "push", sizeBytes: 1000 };
}

/** With a root of its own. */
function newCommit(
  repository: Pick<RepositoryRecord, "id" | "generation">,
  more: Partial<MetadataCommit> = {},
): MetadataCommit {
  const [root, body] = node(`root ${randomUUID()}`);
  return {
    repositoryId: repository.id,
    expectedGeneration: repository.generation,
    root,
    nodes: new Map([[root, body]]),
    uploads: [],
    packs: [],
    kind: "push",
    commitId: randomUUID(),
    ...more,
  };
}

async function commits(
  store: MetadataStore,
  repository: RepositoryRecord,
  count: number,
): Promise<RepositoryRecord> {
  let record = repository;
  for (let i = 0; i < count; i++) {
    const outcome = await store.commit(newCommit(record));
    assert.ok(outcome.kind === "committed", outcome.kind);
    record = outcome.record;
  }
  return record;
}

function begin(store: MetadataStore, repository: RepositoryRecord, keys: readonly string[]): Promise<string> {
  const { id: repositoryId, networkId } = repository;
  return store.beginUpload({ repositoryId, networkId, keys, owner: "suite" });
}

async function roots(store: MetadataStore, { id }: RepositoryRecord): Promise<readonly string[]> {
  return (await store.listGenerations(id, { limit: 100 })).map(({ root }) => root);
}

function shuffled<Item>(items: readonly Item[]): readonly Item[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

async function rejects(work: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(isGitwharfError(error, code), String(error));
    return true;
  });
}
