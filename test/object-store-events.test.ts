/** Events in the database of the object store: of a ref that has moved there is one, whatever becomes of the server that moved it; of no other. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GitwharfError } from "../src/base/errors.js";
import { createEventStore, type StoredEvent } from "../src/database/event-store.js";
import { databaseName, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { createGitServer } from "../src/server/git-server.js";
import { createMemoryBucket } from "../src/storage/object-store/bucket/memory-bucket.js";
import { createMetadataStore } from "../src/storage/object-store/metadata/create-metadata-store.js";
import type { MetadataStore } from "../src/storage/object-store/metadata/metadata-store.js";
import { type ObjectStore, openObjectStore } from "../src/storage/object-store/object-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { SKIP_POSTGRES, startPostgres, type TestPostgres } from "./support/postgres.js";

describe.each([
  ["SQLite", false],
  ["PostgreSQL", SKIP_POSTGRES],
] as const)("events of the object store, with %s", (engine, isSkipped) => {
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  const bucket = createMemoryBucket();
  const closing: (() => Promise<void>)[] = [];
  let postgres: TestPostgres | undefined;
  let location: string;
  let workspace: GitClient;
  /** Of the server that was begun last. */
  let lastStore: ObjectStore;

  beforeAll(async () => {
    workspace = createWorkspace();
    if (isSkipped) return;
    if (engine === "PostgreSQL") postgres = await startPostgres();
    location = (await postgres?.createDatabase()) ?? `sqlite:${join(directory, "state", "db.sqlite")}`;
    await workspace.run("init", "-q", "-b", "main", "app");
  }, 120_000);
  afterAll(async () => {
    for (const close of closing.toReversed()) await close();
    removeDirectory(workspace);
    rmSync(directory, { recursive: true, force: true });
    await postgres?.stop();
  });

  /** @param change what becomes of its commits */
  async function serve(
    change: (commit: MetadataStore["commit"]) => MetadataStore["commit"],
  ): Promise<string> {
    const database = await openDatabase(parseDatabaseLocation(location));
    const metadata = createMetadataStore(database);
    const store = await openObjectStore({
      bucket: { ...bucket, close: async () => undefined },
      metadata: { ...metadata, commit: change(metadata.commit) },
      outboxDatabase: databaseName(location),
      localDirectory: join(directory, "local"),
      janitor: false,
    });
    lastStore = store;
    const server = createGitServer({
      repositories: store,
      database: location,
      events: true,
      autoCreate: "push",
      log: () => undefined,
    });
    closing.push(
      () => database.close(),
      () => store.close(),
      () => server.close({ graceMs: 0 }),
    );
    return (await server.listen({ http: "127.0.0.1:0" })).http.url;
  }
  async function events(): Promise<readonly StoredEvent[]> {
    const database = await openDatabase(parseDatabaseLocation(location));
    try {
      const store = createEventStore(database);
      return [...(await store.list(0, 10_000)), ...(await store.listUntold())];
    } finally {
      await database.close();
    }
  }
  const commit = async (text: string): Promise<string> => {
    const app = workspace.in("app");
    await app.run("commit", "-q", "--allow-empty", "-m", text);
    return app.run("rev-parse", "HEAD");
  };

  it.skipIf(isSkipped)(
    "tells of who won a race and was killed before it could say so, and not of who lost",
    async () => {
      const app = workspace.in("app");
      const plain = await serve((own) => own);
      const first = await commit("first");
      await app.run("push", "-q", `${plain}/app.git`, "HEAD:main");
      let prepared = (): void => undefined;
      let go = (): void => undefined;
      const [isPrepared, mayGo] = [
        new Promise<void>((resolve) => (prepared = resolve)),
        new Promise<void>((resolve) => (go = resolve)),
      ];
      // Its commit is made, and it never comes to know.
      const killed = await serve((own) => async (change) => {
        prepared();
        await mayGo;
        await own(change);
        throw new GitwharfError("storage/io", "killed", { details: { outcome: "none" } });
      });
      // Its commit comes second.
      const loser = await serve((own) => async (change) => {
        go();
        await winning;
        return own(change);
      });
      const won = await commit("won");
      const winning = app.try("push", "-q", `${killed}/app.git`, "HEAD:main");
      await isPrepared;
      await app.run("checkout", "-q", "--detach", first);
      await commit("lost");
      const losing = await app.try("push", "-q", `${loser}/app.git`, "HEAD:main");
      expect((await winning).status).not.toBe(0);
      expect(losing.status).not.toBe(0);
      await app.run("checkout", "-q", "main");
      const last = await commit("last");
      await app.run("push", "-q", `${plain}/app.git`, "HEAD:main", "HEAD:refs/heads/a", "HEAD:refs/heads/b");
      const found = await events();
      expect(
        found
          .filter(({ refName }) => refName === "refs/heads/main")
          .map(({ oldOid, newOid }) => [oldOid, newOid]),
      ).toEqual([
        ["0".repeat(40), first],
        [first, won],
        [won, last],
      ]);
      expect(found).toHaveLength(5);
      expect(found.every(({ hasMoved, cursor }) => hasMoved && cursor !== undefined)).toBe(true);
      expect(found.map(({ cursor }) => cursor)).toEqual([1, 2, 3, 4, 5]);
    },
  );

  it.skipIf(isSkipped)("tells of a push to a symbolic ref, though another one moves", async () => {
    const app = workspace.in("app");
    const url = `${await serve((own) => own)}/aliased.git`;
    const first = await commit("of two names");
    await app.run("push", "-q", url, "HEAD:main");
    const repository = await lastStore.open("aliased");
    const alias = {
      name: "refs/heads/alias",
      oldOid: null,
      newOid: null,
      symbolicTarget: "refs/heads/main",
    };
    expect(await repository?.refs.transact({ updates: [alias], atomic: true })).toMatchObject([{ ok: true }]);
    await repository?.close();
    const second = await commit("by the other name");
    await app.run("push", "-q", url, "HEAD:alias");
    expect(await app.run("ls-remote", url, "main")).toContain(second);
    expect(
      (await events())
        .filter(({ repository: name }) => name === "aliased")
        .map(({ refName, oldOid, newOid, hasMoved, cursor }) => ({
          moves: [refName, oldOid, newOid],
          isTold: hasMoved && cursor !== undefined,
        })),
    ).toEqual([
      { moves: ["refs/heads/main", "0".repeat(40), first], isTold: true },
      { moves: ["refs/heads/alias", first, second], isTold: true },
    ]);
  });

  it.skipIf(isSkipped)("tells of each of many refs that are pushed at once, in order", async () => {
    const app = workspace.in("app");
    const url = `${await serve((own) => own)}/many.git`;
    await app.run("push", "-q", url, "HEAD:main");
    const names = Array.from({ length: 1200 }, (_, i) => `refs/many/${String(i).padStart(4, "0")}`);
    const input = names.map((name) => `create ${name} HEAD\n`).join("");
    expect((await app.tryWith({ input }, "update-ref", "--stdin")).status).toBe(0);
    await app.run("push", "-q", url, "refs/many/*:refs/many/*");
    const found = (await events()).filter(({ repository: name }) => name === "many");
    expect(found.map(({ refName }) => refName)).toEqual(["refs/heads/main", ...names]);
    expect(found.every(({ cursor }, i) => cursor === (found[0]?.cursor ?? 0) + i)).toBe(true);
    expect(new Set(found.slice(1).map(({ pushId }) => pushId)).size).toBe(1);
  });
});
