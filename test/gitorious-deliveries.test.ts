/** What a Gitorious application is told of pushes: all of it, in order, whatever happens to it and to the server. */
import { spawnSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createDeliveryStore } from "../src/database/delivery-store.js";
import { createEventStore, type StoredEvent } from "../src/database/event-store.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type GitoriousTestApplication, startGitoriousApplication } from "./support/gitorious-application.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";

const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));
const PASSWORD = "correct-horse";
const NULL = "0".repeat(40);
const TOLD = "/hooks/post-receive";

let application: GitoriousTestApplication;
let workspace: GitClient;
let app: GitClient;
let root: string;
let url: string;
let logged: ServiceLogEntry[];
const servers: GitServer[] = [];
const processes: ServeProcess[] = [];
const databases: Database[] = [];

beforeEach(async () => {
  application = await startGitoriousApplication();
  workspace = createWorkspace();
  root = join(workspace.directory, "repositories");
  await workspace.run("init", "-q", "--bare", "repositories/0123.git");
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  prepare(application);
  logged = [];
});
afterEach(async () => {
  for (const child of processes.splice(0)) await child.end("SIGKILL");
  for (const server of servers.splice(0)) await server.close({ graceMs: 0 });
  for (const database of databases.splice(0)) await database.close();
  await application.close();
  removeDirectory(workspace);
});

function prepare({ users, repositories }: GitoriousTestApplication): void {
  users.set("ada", PASSWORD);
  repositories.set("project/app.git", { fullPath: join(root, "0123.git"), pushers: ["ada"] });
}

async function serve(events: GitServerOptions["events"] = { takeOverSeconds: 1 }): Promise<GitServer> {
  const server = createGitServer({
    repositories: root,
    events,
    gitorious: { url: application.url, retries: 0, timeoutMs: 1000, deliverySecondsMax: 1 },
    log: (entry) => logged.push(entry),
  });
  servers.push(server);
  ({
    http: { url },
  } = await server.listen({ http: 0 }));
  return server;
}

/** A server that can be killed, with the hooks of repositories. */
async function startProcess(): Promise<ServeProcess> {
  const file = join(workspace.directory, "config.json");
  const gitorious = { url: application.url, retries: 0, timeoutMs: 1000, deliverySecondsMax: 1 };
  writeFileSync(file, JSON.stringify({ gitorious, events: { takeOverSeconds: 1 }, repositoryHooks: true }));
  const child = await startServe(root, "--config", file);
  processes.push(child);
  ({ url } = child);
  return child;
}

async function open(): Promise<Database> {
  const database = await openDatabase(
    parseDatabaseLocation(`sqlite:${join(root, ".gitwharf", "access.sqlite")}`),
  );
  databases.push(database);
  return database;
}

/** Of which the application is still to be told. */
async function waiting(): Promise<readonly StoredEvent[]> {
  const database = await open();
  const pending = await createDeliveryStore(database).list("gitorious");
  return [...pending.map(({ event }) => event), ...(await createEventStore(database).listUntold())];
}

const remote = (): string => `${url.replace("://", `://ada:${PASSWORD}@`)}/project/app.git`;
const toldOf = (calls: GitoriousTestApplication["calls"]): (readonly [string, string, string])[] =>
  calls
    .filter(({ path }) => path === TOLD)
    .map(({ parameters: { refname = "", oldsha = "", newsha = "" } }) => [refname, oldsha, newsha]);
async function commit(): Promise<string> {
  await app.run("commit", "-q", "--allow-empty", "-m", "more");
  return app.run("rev-parse", "HEAD");
}

describe("deliveries", () => {
  it("wait for an application that fails, and come in order, without holding the pusher up", async () => {
    await serve();
    let failures = 0;
    application.intercept = ({ path }, response) => {
      if (path !== TOLD) return false;
      failures++;
      response.writeHead(failures % 2 === 0 ? 500 : 404).end();
      return true;
    };
    const ids = [await app.run("rev-parse", "HEAD")];
    await app.run("push", "-q", remote(), "main", "main:two");
    for (let i = 0; i < 3; i++) {
      ids.push(await commit());
      await app.run("push", "-q", remote(), "main");
    }
    expect(failures).toBeGreaterThan(0);
    application.calls.length = 0;
    application.intercept = () => false;
    await application.received(TOLD, 5);
    const [one = "", two = "", three = "", four = ""] = ids;
    expect(toldOf(application.calls)).toEqual([
      ["refs/heads/main", NULL, one],
      ["refs/heads/two", NULL, one],
      ["refs/heads/main", one, two],
      ["refs/heads/main", two, three],
      ["refs/heads/main", three, four],
    ]);
    expect(logged.some(({ message }) => message.includes("it was not told of 'refs/heads/main'"))).toBe(true);
  });

  it("survive that nobody answers at that address, and a server that is stopped meanwhile", async () => {
    const server = await serve();
    application.intercept = (call, response) => call.path === TOLD && (response.destroy(), true);
    await app.run("push", "-q", remote(), "main");
    await server.close();
    expect(await waiting()).toHaveLength(1);
    const { port } = application;
    await application.close();
    await serve();
    application = await startGitoriousApplication(port);
    prepare(application);
    await application.received(TOLD, 1);
    expect(toldOf(application.calls)).toHaveLength(1);
  });

  it("are none for what was refused", async () => {
    await serve();
    application.refusals.set("refs/heads/kept", "no");
    await app.try("push", remote(), "main:kept");
    await workspace.in("repositories/0123.git").run("config", "receive.denyDeletes", "true");
    await app.run("push", "-q", remote(), "main");
    await app.try("push", remote(), ":main");
    await app.run("push", "-q", remote(), "main:last");
    await application.received(TOLD, 2);
    expect(toldOf(application.calls).map(([name]) => name)).toEqual(["refs/heads/main", "refs/heads/last"]);
    expect(await waiting()).toEqual([]);
  });

  it("are as many as refs that have moved, when some were refused by a hook of the transaction", async () => {
    const hook = join(root, "0123.git/hooks/reference-transaction");
    writeFileSync(hook, "#!/bin/sh\nif [ $1 = prepared ]; then ! grep -q refs/heads/kept; fi\n");
    chmodSync(hook, 0o755);
    await startProcess();
    await app.try("push", remote(), "main", "main:kept");
    await app.run("push", "-q", remote(), "main:other");
    const told = await application.received(TOLD, 1);
    const moved = (await app.run("ls-remote", remote())).split("\n").map((line) => line.split("\t")[1]);
    expect(moved).not.toContain("refs/heads/kept");
    await application.received(TOLD, moved.filter((name) => name !== "HEAD").length);
    expect(told.length).toBeGreaterThan(0);
    expect(toldOf(application.calls).map(([name]) => name)).not.toContain("refs/heads/kept");
  });
});

describe("a server that is killed", () => {
  it("between the move of the refs and the word of it tells the application when it is back", async () => {
    const first = await startProcess();
    const hook = join(root, "0123.git/hooks/reference-transaction");
    writeFileSync(hook, "#!/bin/sh\n[ $1 = committed ] && kill -9 $PPID\nexit 0\n");
    chmodSync(hook, 0o755);
    const id = await app.run("rev-parse", "HEAD");
    expect((await app.try("push", remote(), "main", "main:two")).status).not.toBe(0);
    await first.end("SIGKILL");
    expect(first.child.signalCode).toBe("SIGKILL");
    expect(toldOf(application.calls)).toEqual([]);
    expect(await workspace.in("repositories/0123.git").run("rev-parse", "main", "two")).toBe(`${id}\n${id}`);
    expect((await waiting()).map(({ hasMoved }) => hasMoved)).toEqual([false, false]);
    chmodSync(hook, 0o644);
    await startProcess();
    await application.received(TOLD, 2);
    expect(toldOf(application.calls)).toEqual([
      ["refs/heads/main", NULL, id],
      ["refs/heads/two", NULL, id],
    ]);
  });

  it("while it tells the application tells it again", async () => {
    const first = await startProcess();
    application.intercept = ({ path }) => path === TOLD;
    const pushing = app.try("push", remote(), "main");
    await application.received(TOLD, 1);
    await first.end("SIGKILL");
    await pushing;
    application.intercept = () => false;
    application.calls.length = 0;
    const id = await commit();
    await startProcess();
    await app.run("push", "-q", remote(), "main");
    await application.received(TOLD, 2);
    expect(toldOf(application.calls).map(([, , newOid]) => newOid)).toEqual([
      await app.run("rev-parse", "HEAD~1"),
      id,
    ]);
  });

  it("before the refs moved tells nothing, and a push that comes next goes on", async () => {
    await serve();
    await app.run("push", "-q", remote(), "main");
    await application.received(TOLD, 1);
    const old = await app.run("rev-parse", "HEAD");
    const origin = { repository: "0123", user: "ada", about: { facts: { repository_id: "1" } } };
    const store = createEventStore(await open());
    await store.add(
      { ...origin, pushId: "a" },
      [
        { refName: "refs/heads/main", oldOid: old, newOid: "1".repeat(40) },
        { refName: "refs/heads/never", oldOid: NULL, newOid: old },
        { refName: "refs/heads/gone", oldOid: old, newOid: NULL },
      ],
      false,
    );
    await commit();
    await app.run("push", "-q", remote(), "main", "main:other");
    await application.received(TOLD, 4);
    expect(toldOf(application.calls).map(([name, from]) => [name, from])).toEqual([
      ["refs/heads/main", NULL],
      ["refs/heads/gone", old],
      ["refs/heads/main", old],
      ["refs/heads/other", NULL],
    ]);
  });
});

describe("gitwharf delivery", () => {
  it("lists what waits, and gives one up", async () => {
    await serve();
    application.intercept = (call, response) => call.path === TOLD && (response.writeHead(404).end(), true);
    await app.run("push", "-q", remote(), "main", "main:two");
    const run = (...args: readonly string[]): { status: number | null; stdout: string; stderr: string } =>
      spawnSync(process.execPath, [CLI, "delivery", ...args, "-d", root], { encoding: "utf8" });
    expect(run("list").stdout.trim().split("\n")).toEqual([
      expect.stringMatching(/^\S+ +0123 +refs\/heads\/main +moved +\d+ +20\S+Z +20\S+Z$/),
      expect.stringMatching(/^\S+ +0123 +refs\/heads\/two +moved +0 +- +20\S+Z$/),
    ]);
    const [first] = JSON.parse(run("list", "--json").stdout) as readonly { readonly id: string }[];
    expect(run("remove", first?.id ?? "")).toMatchObject({
      status: 0,
      stdout: "the application is not told of refs/heads/main in 0123\n",
    });
    expect(run("remove", "x")).toMatchObject({ status: 1 });
    application.calls.length = 0;
    application.intercept = () => false;
    await application.received(TOLD, 1);
    expect(toldOf(application.calls).map(([name]) => name)).toEqual(["refs/heads/two"]);
  });
});

describe("several servers on one database", () => {
  it("tell each thing once, and in order", async () => {
    // Each is waited for as long as ever: on a machine that is busy, one may take its time.
    await serve(true);
    const first = url;
    await serve(true);
    const urls = [first, url];
    const ids: string[] = [];
    for (let i = 0; i < 8; i++) {
      ids.push(await commit());
      url = urls[i % 2] ?? "";
      await app.run("push", "-q", remote(), "main");
    }
    await application.received(TOLD, 8);
    expect(toldOf(application.calls).map(([, , id]) => id)).toEqual(ids);
    expect(await waiting()).toEqual([]);
  });
});
