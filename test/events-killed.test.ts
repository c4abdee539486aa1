/**
 * A server with webhooks that is killed again and again while real clients push: of every ref that has moved there is an
 * event, of no other, and what a webhook was told is in order.
 */
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createEventStore } from "../src/database/event-store.js";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { SKIP_POSTGRES, startPostgres, type TestPostgres } from "./support/postgres.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";
import { startWebhookReceiver, type WebhookReceiver } from "./support/webhook-receiver.js";

const ROUNDS = 10;
/** In these the server is killed while it delivers. */
const DELIVERING: ReadonlySet<number> = new Set([3, 7]);
const STEP_MS = 35;
/** More than the pause after a failure and the time between two looks together. */
const SETTLED_WITHIN_MS = 30_000;

interface Told {
  readonly id: string;
  readonly cursor: number;
  readonly repository: string;
  readonly name: string;
  readonly old: string | null;
  readonly new: string | null;
}

describe.each(["SQLite", "PostgreSQL"])("a server that is killed, with %s", (engine) => {
  let postgres: TestPostgres | undefined;
  let receiver: WebhookReceiver;
  let workspace: GitClient;
  let app: GitClient;
  let root: string;
  let database: string;
  let server: ServeProcess | undefined;

  beforeAll(async () => {
    if (engine === "PostgreSQL" && !SKIP_POSTGRES) postgres = await startPostgres();
  });
  afterAll(async () => postgres?.stop());
  beforeEach(async () => {
    receiver = await startWebhookReceiver();
    workspace = createWorkspace();
    root = join(workspace.directory, "repositories");
    database =
      (await postgres?.createDatabase()) ??
      `sqlite:${join(workspace.directory, "database", "access.sqlite")}`;
    await workspace.run("init", "-q", "app");
    app = workspace.in("app");
    await commit();
  });
  afterEach(async () => {
    await kill();
    await receiver.close();
    removeDirectory(workspace);
  });

  async function start(): Promise<string> {
    const file = join(workspace.directory, "config.json");
    const webhook = {
      name: "ci",
      url: receiver.url,
      secret: "a secret of the tests",
      allowAddresses: ["loopback"],
      pauseSecondsMax: 1,
      timeoutMs: 500,
    };
    writeFileSync(file, JSON.stringify({ database, events: { takeOverSeconds: 1 }, webhooks: [webhook] }));
    server = await startServe(root, "--config", file);
    return server.url;
  }
  async function kill(): Promise<void> {
    await server?.end("SIGKILL");
    server = undefined;
  }
  async function commit(): Promise<void> {
    await app.run("commit", "-q", "--allow-empty", "-m", "more");
  }
  /** Locks of a dead process are removed by a person, as with git. */
  function removeLocks(): void {
    if (!existsSync(root)) return;
    for (const name of readdirSync(root, { recursive: true, encoding: "utf8" }))
      if (name.endsWith(".lock")) rmSync(join(root, name));
  }
  function toldOf(): readonly Told[] {
    return receiver.messages.map(({ json: { data } }) => ({
      id: data.id as string,
      cursor: data.cursor as number,
      repository: data.repository as string,
      name: data.ref.name as string,
      old: data.ref.old as string | null,
      new: data.ref.new as string | null,
    }));
  }
  async function refsOf(repository: string): Promise<ReadonlyMap<string, string>> {
    const lines = await workspace
      .in(`repositories/${repository}.git`)
      .run("for-each-ref", "--format=%(refname) %(objectname)");
    return new Map(
      lines
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => line.split(" ") as [string, string]),
    );
  }

  it("tells of all that has moved, of nothing else, and in order", { timeout: 120_000 }, async ({ skip }) => {
    if (engine === "PostgreSQL" && postgres === undefined) skip();
    // Some are refused, so that there is something to deliver again.
    let answered = 0;
    receiver.intercept = (_message, response) => {
      if (++answered % 5 !== 0) return false;
      response.writeHead(500).end();
      return true;
    };
    // They are there before the first push: what is left open of one that makes its repository is waited for, for a minute,
    // and all that comes after it in that repository, too. Each round makes one of its own.
    const began = new Map([["refs/heads/began", await app.run("rev-parse", "HEAD")]]);
    for (const name of ["one", "two"]) {
      await workspace.run("init", "-q", "--bare", `repositories/${name}.git`);
      await app.run("push", "-q", `../repositories/${name}.git`, "main:began");
    }
    for (let round = 0; round < ROUNDS; round++) {
      const url = await start();
      await commit();
      const last = `refs/heads/round-${round - 1}`;
      const refs = ["main", `main:round-${round}`, ...((await hasRef("one", last)) ? [`:${last}`] : [])];
      const pushing = [
        app.try("push", "-q", `${url}/one.git`, ...refs),
        app.try("push", "-q", "--atomic", `${url}/two.git`, "main", `main:refs/tags/t${round}`),
        app.try("push", "-q", `${url}/new-${round}.git`, "main"),
      ];
      if (DELIVERING.has(round)) await untilTold(`new-${round}`, "main");
      else await new Promise((resolve) => setTimeout(resolve, 100 + round * STEP_MS));
      await kill();
      await Promise.all(pushing);
      removeLocks();
    }
    const url = await start();
    const repositories = ["one", "two"];
    for (const name of repositories) await app.run("push", "-q", `${url}/${name}.git`, "main:last");
    for (const name of repositories) await untilTold(name, "last");

    for (const repository of repositories) {
      const told = toldOf().filter((one) => one.repository === repository);
      const cursors = told.map(({ cursor }) => cursor);
      // Again and again the same perhaps, and never one that was before.
      expect(cursors).toEqual(cursors.toSorted((a, b) => a - b));
      const once = told.filter(({ id }, i) => told.findIndex((other) => other.id === id) === i);
      expect(valuesOf(once, began)).toEqual(await refsOf(repository));
    }
    await whatIsKept();
  });

  const hasRef = async (repository: string, name: string): Promise<boolean> =>
    existsSync(join(root, `${repository}.git`)) && (await refsOf(repository)).has(name);
  async function untilTold(repository: string, branch: string): Promise<void> {
    const isIt = (one: Told): boolean => one.repository === repository && one.name === `refs/heads/${branch}`;
    for (let count = 1; !toldOf().some(isIt); count++) await receiver.received(count);
  }

  /** Each event goes on from where the one before it ended. @returns where the refs are then */
  function valuesOf(
    told: readonly Pick<Told, "name" | "old" | "new">[],
    began: ReadonlyMap<string, string>,
  ): ReadonlyMap<string, string> {
    const values = new Map(began);
    for (const { name, old, new: value } of told) {
      expect([name, values.get(name) ?? null]).toEqual([name, old]);
      if (value === null) values.delete(name);
      else values.set(name, value);
    }
    return values;
  }

  /** The repositories that were made in each round, too: by the outbox, since their deliveries may still be under way. */
  async function whatIsKept(): Promise<void> {
    const opened = await openDatabase(parseDatabaseLocation(database));
    try {
      const store = createEventStore(opened);
      const listUnsettled = async () =>
        (await store.listUntold()).filter(({ repository }) => existsSync(join(root, `${repository}.git`)));
      const until = Date.now() + SETTLED_WITHIN_MS;
      for (let left = await listUnsettled(); left.length > 0; left = await listUnsettled()) {
        if (Date.now() > until) throw new Error(`not settled: ${JSON.stringify(left)}; ${server?.printed()}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      const kept = await store.list(0, 1000);
      expect(new Set(kept.map(({ cursor }) => cursor)).size).toBe(kept.length);
      let made = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const repository = `new-${round}`;
        const events = kept.filter((event) => event.repository === repository);
        const isThere = existsSync(join(root, `${repository}.git`));
        if (isThere) made++;
        expect(events.map(({ refName, newOid }) => [refName, newOid])).toEqual(
          isThere ? [...(await refsOf(repository))] : [],
        );
      }
      // Otherwise nothing was tried.
      expect(made).toBeGreaterThan(0);
      expect(made + kept.length).toBeGreaterThan(ROUNDS);
    } finally {
      await opened.close();
    }
  }
});
