/** The object store's metadata when the connection to PostgreSQL breaks at the worst moments: everything happens once. */
import { createHash, randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { isGitwharfError } from "../src/base/errors.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { createMetadataStore } from "../src/storage/object-store/metadata/create-metadata-store.js";
import type {
  MetadataCommit,
  MetadataStore,
  RepositoryRecord,
} from "../src/storage/object-store/metadata/metadata-store.js";
import { type Cut, cutPostgres, type CutPostgres } from "./support/cut-postgres.js";
import { SKIP_POSTGRES, startPostgres, type TestPostgres } from "./support/postgres.js";

/** As the driver sends it. */
const COMMIT = "commit\0";

describe.skipIf(SKIP_POSTGRES)("metadata in PostgreSQL", () => {
  let postgres: TestPostgres;
  let way: CutPostgres;
  let broken: Database;
  let direct: Database;
  /** By a connection that breaks. */
  let store: MetadataStore;
  /** By one that does not. */
  let sure: MetadataStore;
  let admin: pg.Client;
  let app: RepositoryRecord;

  beforeAll(async () => {
    postgres = await startPostgres();
    const url = await postgres.createDatabase();
    direct = await openDatabase(parseDatabaseLocation(url));
    way = await cutPostgres(url);
    broken = await openDatabase(parseDatabaseLocation(way.url));
    store = createMetadataStore(broken);
    sure = createMetadataStore(direct);
    admin = new pg.Client({ connectionString: url });
    await admin.connect();
  });
  afterAll(async () => {
    await broken.close();
    await way.close();
    await direct.close();
    await admin.end();
    await postgres.stop();
  });
  beforeEach(async () => {
    const tables = "networks, repositories, generations, nodes, packs, uploads";
    await admin.query(`truncate ${tables}`);
    app = await sure.create({ name: "app", objectFormat: "sha1", ...newRoot() });
  });

  /** Until somebody waits for a lock that another holds. */
  async function someoneWaits(): Promise<void> {
    for (let look = 0; look < 2000; look++) {
      const { rows } = await admin.query(
        "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
      );
      if (rows.length > 0) return;
      await setTimeout(10);
    }
    throw new Error("nobody waits for a lock");
  }

  const CUTS: readonly Cut[] = ["before", "after"];

  describe.each(CUTS)("with a connection that is lost %s the statement is carried out", (how) => {
    it("commits once", async () => {
      const upload = await sure.beginUpload({
        repositoryId: app.id,
        networkId: app.networkId,
        keys: ["p/1"],
        owner: "test",
      });
      const cut = way.cut(COMMIT, how);
      const pack = { id: randomUUID(), key: "p/1", kind: "push", sizeBytes: 1 } as const;
      const change = newCommit(app, { uploads: [upload], packs: [pack] });
      const outcome = await store.commit(change);
      await cut;
      expect(outcome).toEqual({ kind: "committed", record: await sure.find("app") });
      expect(await sure.listGenerations(app.id, { limit: 10 })).toHaveLength(2);
      expect(await sure.listPacks(app.networkId, { limit: 10 })).toHaveLength(1);
      expect(await sure.listUploads({ olderThanMs: 0, limit: 10 })).toEqual([]);
    });

    it("makes, forks, and removes once", async () => {
      const made = await through(COMMIT, () =>
        store.create({ name: "made", objectFormat: "sha1", ...newRoot() }),
      );
      expect(made).toEqual(await sure.find("made"));
      const fork = await through(COMMIT, () => store.fork(made.id, "fork"));
      expect(fork).toEqual(await sure.find("fork"));
      expect(await sure.listGenerations(fork.id, { limit: 10 })).toHaveLength(1);
      await sure.delete(fork.id);
      await through(COMMIT, () => store.purge(fork.id));
      expect(await sure.get(fork.id)).toBeUndefined();
      expect(await sure.listNetworks({ limit: 10 })).toHaveLength(2);
    });

    it("places, renames, deletes and gives back", async () => {
      const update = `update "repositories"`;
      const prepared = await sure.create({ objectFormat: "sha1", ...newRoot() });
      await through(update, () => store.place(prepared.id, "placed"));
      expect((await sure.find("placed"))?.id).toBe(prepared.id);
      await through(update, () => store.rename(prepared.id, "renamed"));
      expect((await sure.find("renamed"))?.id).toBe(prepared.id);
      await through(update, () => store.delete(prepared.id));
      expect(await sure.get(prepared.id)).toMatchObject({ state: "deleted", formerName: "renamed" });
      await through(update, () => store.undelete(prepared.id, "back"));
      expect((await sure.find("back"))?.id).toBe(prepared.id);
    });

    it("begins, takes and ends uploads, and drops packs", async () => {
      const pack = { id: randomUUID(), key: "p/2", kind: "push", sizeBytes: 1 } as const;
      await sure.commit(newCommit(app, { packs: [pack] }));
      const { id: repositoryId, networkId } = app;
      const upload = await through(`insert into "uploads"`, () =>
        store.beginUpload({ repositoryId, networkId, keys: ["p/1"], owner: "test" }),
      );
      expect((await sure.listUploads({ olderThanMs: 0, limit: 10 })).map(({ id }) => id)).toEqual([upload]);
      expect(await through(`update "uploads"`, () => store.takeUpload(upload))).toEqual(["p/1"]);
      await through(`delete from "uploads"`, () => store.endUpload(upload));
      expect(await sure.listUploads({ olderThanMs: 0, limit: 10 })).toEqual([]);
      const dropped = await through(COMMIT, () => store.dropPacks(networkId, [pack]));
      expect((await sure.listUploads({ olderThanMs: 0, limit: 10 })).map(({ id }) => id)).toEqual(dropped);
      expect(dropped).toHaveLength(1);
    });

    it("reads", async () => {
      expect(await through("select", () => store.find("app"))).toEqual(app);
      const nodes = await through("select", () => store.readNodes(app.networkId, [app.root]));
      expect(nodes.size).toBe(1);
    });

    async function through<Result>(text: string, work: () => Promise<Result>): Promise<Result> {
      const cut = way.cut(text, how);
      const result = await work();
      await cut;
      return result;
    }
  });

  describe("when the server hears of a commit only after its client has gone", () => {
    it("waits for it, and finds what it did", async () => {
      const cut = way.cut(COMMIT, "held");
      const change = newCommit(app);
      const committed = store.commit(change);
      const held = await cut;
      await someoneWaits();
      await held.deliver();
      expect(await committed).toEqual({ kind: "committed", record: await sure.find("app") });
      const [newest, ...older] = await sure.listGenerations(app.id, { limit: 10 });
      expect(newest).toMatchObject({ generation: 1, commitId: change.commitId });
      expect(older).toHaveLength(1);
    });

    it("commits itself when the server never does", async () => {
      const cut = way.cut(COMMIT, "held");
      const committed = store.commit(newCommit(app));
      const held = await cut;
      await someoneWaits();
      held.drop();
      expect(await committed).toEqual({ kind: "committed", record: await sure.find("app") });
      expect(await sure.listGenerations(app.id, { limit: 10 })).toHaveLength(2);
    });

    it("finds it although others have committed since", async () => {
      const cut = way.cut(COMMIT, "held");
      const change = newCommit(app);
      const committed = store.commit(change);
      const held = await cut;
      way.refuse(true);
      await held.deliver();
      const later = await sure.commit(newCommit({ ...app, generation: 1 }));
      expect(later).toMatchObject({ kind: "committed" });
      way.refuse(false);
      expect(await committed).toMatchObject({
        kind: "committed",
        record: { generation: 1, root: change.root },
      });
      expect((await sure.find("app"))?.generation).toBe(2);
    });

    it("makes a repository once", async () => {
      const cut = way.cut(COMMIT, "held");
      const made = store.create({ name: "made", objectFormat: "sha1", ...newRoot() });
      const held = await cut;
      await someoneWaits();
      await held.deliver();
      expect(await made).toEqual(await sure.find("made"));
      expect(await sure.listNetworks({ limit: 10 })).toHaveLength(2);
    });
  });

  it("says that it cannot tell when nobody can be asked, and can be told later", async () => {
    const cut = way.cut(COMMIT, "after");
    const change = newCommit(app);
    const committed = store.commit(change).catch((error: unknown) => error);
    await cut;
    way.refuse(true);
    const error = await committed;
    way.refuse(false);
    expect(isGitwharfError(error, "storage/io") && error.details["outcome"]).toBe("unknown");
    expect(await store.commit(change)).toEqual({ kind: "committed", record: await sure.find("app") });
  });

  it("loses nothing and does nothing twice while connections are ended under it", async () => {
    let working = 4;
    const work = async (): Promise<number> => {
      let record = app;
      let done = 0;
      for (let attempt = 0; attempt < 400 && done < 15; attempt++) {
        const outcome = await store.commit(newCommit(record));
        if (outcome.kind === "committed") done++;
        else expect(outcome.kind).toBe("raced");
        if ("record" in outcome) record = outcome.record;
      }
      working--;
      return done;
    };
    const kill = async (): Promise<number> => {
      let killed = 0;
      while (working > 0 && killed < 20) {
        const { rowCount } = await admin.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'gitwharf'
           and datname = current_database() and state <> 'idle' order by random() limit 1`,
        );
        killed += rowCount ?? 0;
        // A server that never lets anybody finish is given up.
        await setTimeout(25);
      }
      return killed;
    };
    const [killed, ...done] = await Promise.all([kill(), work(), work(), work(), work()]);
    expect(killed).toBeGreaterThan(0);
    expect(done).toEqual([15, 15, 15, 15]);
    expect((await sure.find("app"))?.generation).toBe(60);
    expect(await sure.listGenerations(app.id, { limit: 100 })).toHaveLength(61);
  }, 60_000);

  it("is not the end of the process when a connection in use breaks", async () => {
    const cut = way.cut("select 'cut here'", "before");
    await expect(broken.sql`select 'cut here'`.execute(broken.db)).rejects.toThrow(/terminated/);
    await cut;
    await store.probe();
  });

  it("says nothing of SQL or of the database's address when it fails", async () => {
    await admin.query("alter table repositories rename to were_repositories");
    try {
      const error: unknown = await sure.find("app").catch((cause: unknown) => cause);
      expect(isGitwharfError(error, "storage/io") && error.message).toBe(
        "the database of the object store cannot be read or written now; try again",
      );
    } finally {
      await admin.query("alter table were_repositories rename to repositories");
    }
  });
});

function newRoot(): { readonly root: string; readonly nodes: ReadonlyMap<string, Buffer> } {
  const body = Buffer.from(randomUUID());
  const root = createHash("sha256").update(body).digest("hex");
  return { root, nodes: new Map([[root, body]]) };
}

function newCommit(
  { id, generation }: Pick<RepositoryRecord, "id" | "generation">,
  more: Partial<MetadataCommit> = {},
): MetadataCommit {
  const change = { repositoryId: id, expectedGeneration: generation, uploads: [], packs: [] };
  return { ...change, ...newRoot(), kind: "push", commitId: randomUUID(), ...more };
}
