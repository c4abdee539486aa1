/** Webhooks: what they are told of pushes, signed, all of it and in order, whatever happens to them and to the server. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { verifyMessage } from "../src/base/message-signature.js";
import { createDeliveryStore, webhookTarget } from "../src/database/delivery-store.js";
import { createEventStore } from "../src/database/event-store.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import type { WebhookOptions } from "../src/events/webhook.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { writeCertificate } from "./support/certificate.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { SKIP_POSTGRES, startPostgres, type TestPostgres } from "./support/postgres.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";
import { startWebhookReceiver, type WebhookReceiver } from "./support/webhook-receiver.js";

const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));
const SECRET = "a secret of the tests";
const NULL = "0".repeat(40);

let receiver: WebhookReceiver;
let workspace: GitClient;
let app: GitClient;
let root: string;
let url: string;
let logged: ServiceLogEntry[];
const servers: GitServer[] = [];
const processes: ServeProcess[] = [];
const databases: Database[] = [];

beforeEach(async () => {
  receiver = await startWebhookReceiver();
  workspace = createWorkspace();
  root = join(workspace.directory, "repositories");
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  logged = [];
});
afterEach(async () => {
  for (const child of processes.splice(0)) await child.end("SIGKILL");
  for (const server of servers.splice(0)) await server.close({ graceMs: 0 });
  for (const database of databases.splice(0)) await database.close();
  await receiver.close();
  removeDirectory(workspace);
});

const databaseOf = (): string => `sqlite:${join(root, ".gitwharf", "access.sqlite")}`;
const hook = (more: Partial<WebhookOptions> = {}): WebhookOptions => ({
  name: "ci",
  url: receiver.url,
  secret: SECRET,
  allowAddresses: ["loopback"],
  pauseSecondsMax: 1,
  timeoutMs: 2000,
  ...more,
});

async function serve(
  webhooks: readonly WebhookOptions[] = [hook()],
  more: Partial<GitServerOptions> = {},
): Promise<GitServer> {
  const server = createGitServer({
    repositories: root,
    autoCreate: "push",
    database: databaseOf(),
    events: { takeOverSeconds: 1 },
    webhooks,
    log: (entry) => logged.push(entry),
    ...more,
  });
  servers.push(server);
  ({
    http: { url },
  } = await server.listen({ http: 0 }));
  return server;
}

/** A server that ends itself at a step, while a file says so. */
async function startProcess(): Promise<ServeProcess> {
  const file = join(workspace.directory, "config.mjs");
  writeFileSync(
    file,
    `import { existsSync } from "node:fs";
const flag = ${JSON.stringify(join(workspace.directory, "kill-"))};
const killAt = (step) => existsSync(flag + step) && process.kill(process.pid, "SIGKILL");
export default {
  events: { takeOverSeconds: 1 },
  webhooks: ${JSON.stringify([hook()])},
  handlers: {
    preReceive() { killAt("pre-receive"); },
    referenceTransaction(push, state) { killAt(state); return true; },
    postReceive() { killAt("post-receive"); },
  },
};
`,
  );
  const child = await startServe(root, "--config", file);
  processes.push(child);
  ({ url } = child);
  return child;
}

function killAt(step: string, isOn: boolean): void {
  const file = join(workspace.directory, `kill-${step}`);
  if (isOn) writeFileSync(file, "");
  else if (existsSync(file)) rmSync(file);
}

async function open(): Promise<Database> {
  const database = await openDatabase(parseDatabaseLocation(databaseOf()));
  databases.push(database);
  return database;
}

const remote = (name = "app"): string => `${url}/${name}.git`;
const toldOf = (): readonly (readonly [string, string | null, string | null])[] =>
  receiver.messages.map(({ json }) => [json.data.ref.name, json.data.ref.old, json.data.ref.new]);
/** What it was told, however often. */
const toldOnce = (): ReturnType<typeof toldOf> => {
  const ids = receiver.messages.map(({ headers }) => headers["webhook-id"]);
  return toldOf().filter((_, i) => ids.indexOf(ids[i]) === i);
};
async function until(isSo: () => boolean): Promise<void> {
  for (let count = 1; !isSo(); count++) await receiver.received(count);
}
async function commit(): Promise<string> {
  await app.run("commit", "-q", "--allow-empty", "-m", "more");
  return app.run("rev-parse", "HEAD");
}

/** Beside this process, which answers meanwhile. */
const gitwharf = (...args: readonly string[]): Promise<Ended> => gitwharfWith({}, ...args);

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function gitwharfWith(env: NodeJS.ProcessEnv, ...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, stdout, stderr }));
  });
}

describe("a webhook", () => {
  it("is told of each ref, signed, with who pushed it and how", async () => {
    await serve([
      hook({ secret: ["an older secret of ours", SECRET], headers: { Authorization: "Bearer x" } }),
    ]);
    const one = await app.run("rev-parse", "HEAD");
    await workspace.run("init", "-q", "--bare", "repositories/app.git");
    await workspace.in("repositories/app.git").run("config", "receive.advertisePushOptions", "true");
    await app.run("tag", "v1");
    await app.run("push", "-q", "-o", "ci.skip", remote(), "main", "v1");
    const two = await commit();
    await app.run("push", "-q", remote(), "main");
    await app.run("push", "-q", remote(), ":v1");
    await app.run("commit", "-q", "--amend", "--allow-empty", "-m", "another");
    const three = await app.run("rev-parse", "HEAD");
    await app.run("push", "-q", "--force", remote(), "main");
    const messages = await receiver.received(5);
    expect(messages.map(({ json: { type, data } }) => [type, data.ref.kind, data.ref.shortName])).toEqual([
      ["ref.created", "branch", "main"],
      ["ref.created", "tag", "v1"],
      ["ref.updated", "branch", "main"],
      ["ref.deleted", "tag", "v1"],
      ["ref.updated", "branch", "main"],
    ]);
    expect(toldOf()).toEqual([
      ["refs/heads/main", null, one],
      ["refs/tags/v1", null, one],
      ["refs/heads/main", one, two],
      ["refs/tags/v1", one, null],
      ["refs/heads/main", two, three],
    ]);
    expect(messages.map(({ json }) => json.data.ref.forced)).toEqual([false, false, false, false, true]);
    const [first] = messages;
    expect(first?.json).toMatchObject({
      timestamp: first?.json.data.time,
      data: {
        repository: "app",
        push: { user: null, transport: "http", address: "127.0.0.1", options: ["ci.skip"] },
      },
    });
    expect(first?.json.data.push.id).toBeTypeOf("string");
    for (const { headers, body, json } of messages) {
      expect(headers).toMatchObject({
        "webhook-id": json.data.id,
        "content-type": "application/json",
        authorization: "Bearer x",
      });
      expect(verifyMessage(SECRET, { headers, body })).toBe(true);
      expect(verifyMessage("an older secret of ours", { headers, body })).toBe(true);
    }
    const cursors = messages.map(({ json }) => json.data.cursor as number);
    expect(cursors).toEqual(cursors.toSorted((a, b) => a - b));
    expect(new Set(cursors).size).toBe(5);
  });

  it("is told of its repositories, refs and kinds of events only", async () => {
    await serve([hook({ repositories: ["team/**"], refs: ["refs/heads/*"], events: ["ref.created"] })]);
    await app.run("push", "-q", remote("other"), "main");
    await app.run("tag", "v1");
    await app.run("push", "-q", remote("team/app"), "main", "v1");
    await commit();
    await app.run("push", "-q", remote("team/app"), "main", "main:last");
    await receiver.received(2);
    expect(toldOf().map(([name]) => name)).toEqual(["refs/heads/main", "refs/heads/last"]);
  });

  it("that fails is told again, in order, without holding the pusher up", async () => {
    let failures = 0;
    receiver.intercept = (_message, response) => {
      failures++;
      response.writeHead(failures % 2 === 0 ? 500 : 404).end();
      return true;
    };
    await serve();
    const ids = [await app.run("rev-parse", "HEAD")];
    await app.run("push", "-q", remote(), "main", "main:two");
    for (let i = 0; i < 3; i++) {
      ids.push(await commit());
      await app.run("push", "-q", remote(), "main");
    }
    await receiver.received(2);
    expect(new Set(receiver.messages.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    receiver.messages.length = 0;
    receiver.intercept = () => false;
    await receiver.received(5);
    const [one = "", two = "", three = "", four = ""] = ids;
    expect(toldOf()).toEqual([
      ["refs/heads/main", null, one],
      ["refs/heads/two", null, one],
      ["refs/heads/main", one, two],
      ["refs/heads/main", two, three],
      ["refs/heads/main", three, four],
    ]);
    expect(logged.some(({ message }) => message.includes("webhook ci: it was not told"))).toBe(true);
  });

  it("does not wait for another one, nor for another repository", async () => {
    receiver.intercept = ({ json, path }, response) => {
      if (path !== "/slow" || json.data.repository !== "stuck") return false;
      response.writeHead(503).end();
      return true;
    };
    await serve([hook(), hook({ name: "slow", url: receiver.url.replace("hook", "slow") })]);
    await app.run("push", "-q", remote("stuck"), "main");
    await app.run("push", "-q", remote("free"), "main");
    const seen = (): readonly string[] =>
      receiver.messages.map(({ path, json }) => `${path} ${json.data.repository as string}`);
    await until(() => ["/hook stuck", "/hook free", "/slow free"].every((one) => seen().includes(one)));
    expect(seen()).toContain("/slow stuck");
  });

  it("is put aside after so many attempts, or when it is gone, and can be sent once more", async () => {
    receiver.intercept = (_message, response) => (response.writeHead(410).end(), true);
    const server = await serve([hook({ attemptsMax: 2 })]);
    await app.run("push", "-q", remote(), "main");
    await receiver.received(1);
    receiver.intercept = (_message, response) => (response.writeHead(500).end(), true);
    await app.run("push", "-q", remote(), "main:two");
    await receiver.received(3);
    receiver.intercept = () => false;
    await app.run("push", "-q", remote(), "main:three");
    await receiver.received(4);
    expect(toldOf().map(([name]) => name)).toEqual([
      "refs/heads/main",
      "refs/heads/two",
      "refs/heads/two",
      "refs/heads/three",
    ]);
    const dead = await server.webhooks.deliveries("ci", { states: ["dead"] });
    expect(dead).toMatchObject([
      { status: 500, attempts: 2, repository: "app" },
      { status: 410, attempts: 1, why: "it answered with status 410" },
    ]);
    expect(
      (await server.metrics()).split("\n").filter((line) => /outcome="(?:failed|dead)"/.test(line)),
    ).toEqual([
      'gitwharf_deliveries_total{outcome="failed"} 1',
      'gitwharf_deliveries_total{outcome="dead"} 2',
    ]);
    const listed = await gitwharf("webhook", "deliveries", "ci", "-d", root, "--state", "dead");
    expect(listed.stdout.trim().split("\n")).toHaveLength(2);
    expect(await server.webhooks.replay("ci", { state: "dead" })).toBe(2);
    await receiver.received(6);
    expect(
      toldOf()
        .map(([name]) => name)
        .slice(4),
    ).toEqual(["refs/heads/main", "refs/heads/two"]);
  });

  it("that is idle is told later", async () => {
    const server = await serve([hook({ active: false })]);
    await app.run("push", "-q", remote(), "main");
    await server.close();
    expect(receiver.messages).toEqual([]);
    await serve();
    await receiver.received(1);
  });

  it("is not called where it may not be, and the pusher hears nothing of it", async () => {
    await serve([hook({ allowAddresses: [], attemptsMax: 1 })]);
    const pushed = await app.try("push", remote(), "main");
    expect(pushed).toMatchObject({ status: 0 });
    expect(pushed.stderr).not.toContain("webhook");
    for (let looks = 0; !logged.some(({ message }) => message.includes("may not be called")); looks++) {
      if (looks > 1000) throw new Error("nothing was logged");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(receiver.messages).toEqual([]);
  });

  it("is none for what was refused", async () => {
    await serve([hook()], {
      handlers: { update: (_push, { name }) => (name.endsWith("/no") ? "no" : undefined) },
    });
    await app.try("push", remote(), "main", "main:no");
    await app.try("push", remote(), "main:no");
    await app.run("push", "-q", remote(), "main:last");
    await receiver.received(2);
    expect(toldOf().map(([name]) => name)).toEqual(["refs/heads/main", "refs/heads/last"]);
    expect(await createEventStore(await open()).listUntold()).toEqual([]);
  });
});

describe("a server that is killed", () => {
  const restart = async (): Promise<ServeProcess> => {
    for (const step of ["pre-receive", "prepared", "committed", "post-receive"]) killAt(step, false);
    return startProcess();
  };
  const begin = async (): Promise<ServeProcess> => {
    const child = await startProcess();
    await app.run("push", "-q", remote(), "main");
    await receiver.received(1);
    // Killed before it has noted that, it would tell of it again.
    const store = createDeliveryStore(await open());
    for (let looks = 0; (await store.list(webhookTarget("ci"))).length > 0; looks++) {
      if (looks > 1000) throw new Error("what was told is not noted");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    receiver.messages.length = 0;
    return child;
  };

  it.each(["pre-receive", "prepared"])("at %s tells of nothing that did not move", async (step) => {
    const first = await begin();
    killAt(step, true);
    expect((await app.try("push", remote(), "main:two")).status).not.toBe(0);
    await first.end("SIGKILL");
    await restart();
    await app.run("push", "-q", remote(), "main:three");
    await receiver.received(1);
    expect(toldOf().map(([name]) => name)).toEqual(["refs/heads/three"]);
  });

  it.each(["committed", "post-receive"])("at %s tells of what has moved, in order", async (step) => {
    const first = await begin();
    const id = await app.run("rev-parse", "HEAD");
    killAt(step, true);
    await app.try("push", remote(), "main:two", "main:three");
    await first.end("SIGKILL");
    const moved = (await workspace.in("repositories/app.git").run("for-each-ref", "--format=%(refname)"))
      .split("\n")
      .filter((name) => name !== "refs/heads/main");
    expect(moved.length).toBeGreaterThan(0);
    await restart();
    await app.run("push", "-q", remote(), "main:last");
    await until(() => toldOf().some(([name]) => name === "refs/heads/last"));
    expect(new Set(toldOnce().slice(0, -1))).toEqual(new Set(moved.map((name) => [name, null, id])));
    expect(toldOnce().at(-1)?.[0]).toBe("refs/heads/last");
  });

  it("between the intent and the move tells of nothing", async () => {
    const first = await begin();
    await first.end("SIGKILL");
    const id = await app.run("rev-parse", "HEAD");
    const origin = { repository: "app", pushId: "p", user: "ada", about: {} };
    await createEventStore(await open()).add(
      origin,
      [
        { refName: "refs/heads/main", oldOid: id, newOid: "1".repeat(40) },
        { refName: "refs/heads/never", oldOid: NULL, newOid: id },
        { refName: "refs/heads/gone", oldOid: id, newOid: NULL },
      ],
      false,
    );
    await restart();
    await app.run("push", "-q", remote(), "main:last");
    await receiver.received(2);
    expect(toldOf().map(([name]) => name)).toEqual(["refs/heads/gone", "refs/heads/last"]);
  });

  it("while it tells, or before it could note that it has, tells it again", { timeout: 60_000 }, async () => {
    const first = await begin();
    receiver.intercept = () => true;
    await app.run("push", "-q", remote(), "main:two", "main:three");
    await receiver.received(1);
    await first.end("SIGKILL");
    receiver.intercept = () => false;
    const second = await restart();
    await receiver.received(3);
    expect(toldOf().map(([name]) => name)).toEqual(["refs/heads/two", "refs/heads/two", "refs/heads/three"]);
    receiver.messages.length = 0;
    receiver.intercept = (_message, response) => {
      second.child.kill("SIGKILL");
      response.writeHead(204).end();
      return true;
    };
    await app.try("push", remote(), "main:four");
    await receiver.received(1);
    await second.end("SIGKILL");
    receiver.intercept = () => false;
    await restart();
    await receiver.received(2);
    expect(toldOf().map(([name]) => name)).toEqual(["refs/heads/four", "refs/heads/four"]);
  });

  it("has its events told by another one, which shares its database", { timeout: 60_000 }, async () => {
    const first = await begin();
    await serve();
    ({ url } = first);
    killAt("committed", true);
    await app.try("push", remote(), "main:two");
    await first.end("SIGKILL");
    await receiver.received(1);
    expect(toldOf().map(([name]) => name)).toEqual(["refs/heads/two"]);
  });

  it("with the first push of a repository tells of it when it is there, and not when it is not", async () => {
    const first = await startProcess();
    killAt("committed", true);
    await app.try("push", remote(), "main");
    await first.end("SIGKILL");
    // It had not come to its place.
    expect(existsSync(join(root, "app.git"))).toBe(false);
    const second = await restart();
    killAt("post-receive", true);
    await app.try("push", remote("other"), "main");
    await second.end("SIGKILL");
    expect(existsSync(join(root, "other.git"))).toBe(true);
    await restart();
    await receiver.received(1);
    expect(new Set(receiver.messages.map(({ json }) => json.data.repository as string))).toEqual(
      new Set(["other"]),
    );
  });
});

describe.each(["SQLite", "PostgreSQL"])("several servers on one database of %s", (engine) => {
  let postgres: TestPostgres | undefined;
  beforeAll(async () => {
    if (engine === "PostgreSQL" && !SKIP_POSTGRES) postgres = await startPostgres();
  });
  afterAll(async () => postgres?.stop());

  it("tell each thing once, and in order", async ({ skip }) => {
    if (engine === "PostgreSQL" && postgres === undefined) skip();
    const database = (await postgres?.createDatabase()) ?? databaseOf();
    // Each is waited for as long as ever: on a machine that is busy, one may take its time.
    await serve([hook()], { database, events: true });
    const first = url;
    await serve([hook()], { database, events: true });
    const urls = [first, url];
    const ids: string[] = [];
    for (let i = 0; i < 8; i++) {
      ids.push(await commit());
      url = urls[i % 2] ?? "";
      await app.run("push", "-q", remote(), "main");
    }
    await receiver.received(8);
    expect(toldOf().map(([, , id]) => id)).toEqual(ids);
  });
});

describe("gitwharf webhook", () => {
  it("lists, tests and sends once more", async () => {
    const file = join(workspace.directory, "config.json");
    writeFileSync(file, JSON.stringify({ webhooks: [hook(), hook({ name: "idle", active: false })] }));
    const server = await serve([hook(), hook({ name: "idle", active: false })]);
    await app.run("push", "-q", remote(), "main");
    await receiver.received(1);
    await server.close();
    const listed = await gitwharf("webhook", "list", "--config", file, "-d", root);
    expect(listed.stdout.trim().split("\n")).toEqual([
      expect.stringMatching(/^ci +active +0 +0 +http:\/\/127/),
      expect.stringMatching(/^idle +idle +1 +0 +http:\/\/127/),
    ]);
    const tested = await gitwharf("webhook", "test", "ci", "--config", file);
    expect(tested).toMatchObject({ status: 0, stdout: "ci answered with status 204\n" });
    expect(receiver.messages.at(-1)?.json).toMatchObject({ type: "test", data: { webhook: "ci" } });
    receiver.intercept = (_message, response) => (response.writeHead(401).end(), true);
    expect(await gitwharf("webhook", "test", "ci", "--config", file)).toMatchObject({
      status: 1,
      stderr: "gitwharf: ci did not take it: it answered with status 401\n",
    });
    receiver.intercept = () => false;
    const { eventId = "" } = JSON.parse(
      (await gitwharf("webhook", "deliveries", "ci", "-d", root, "--json")).stdout,
    )[0] as { readonly eventId?: string };
    expect(await gitwharf("webhook", "replay", "ci", "--event", eventId, "-d", root)).toMatchObject({
      status: 0,
      stdout: "1 delivery is sent once more\n",
    });
    expect((await gitwharf("webhook", "replay", "ci", "--dead", "-d", root)).status).toBe(1);
    expect((await gitwharf("webhook", "replay", "ci", "-d", root)).status).toBe(2);
    receiver.messages.length = 0;
    await serve();
    const [again] = await receiver.received(1);
    expect(again?.headers["webhook-id"]).toBe(eventId);
  });
});

describe("a webhook behind TLS", () => {
  it("is told when it is who its name says, and somebody vouches for it", async () => {
    const { certificateFile, keyFile } = await writeCertificate(workspace.directory);
    const names: (string | undefined)[] = [];
    const server = createServer(
      { cert: readFileSync(certificateFile), key: readFileSync(keyFile) },
      (request, response) => {
        names.push(request.headers.host);
        request.resume().on("end", () => response.writeHead(204).end());
      },
    );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const file = join(workspace.directory, "config.json");
    const tell = (host: string, env: NodeJS.ProcessEnv) => {
      writeFileSync(file, JSON.stringify({ webhooks: [hook({ url: `https://${host}:${port}/` })] }));
      return gitwharfWith(env, "webhook", "test", "ci", "--config", file);
    };
    const trusting = { NODE_EXTRA_CA_CERTS: certificateFile };
    try {
      expect(await tell("localhost", trusting)).toMatchObject({ status: 0 });
      expect((await tell("localhost", {})).stderr).toContain("DEPTH_ZERO_SELF_SIGNED_CERT");
      const another = await writeCertificate(workspace.directory, "hook.example");
      server.setSecureContext({
        cert: readFileSync(another.certificateFile),
        key: readFileSync(another.keyFile),
      });
      expect((await tell("localhost", trusting)).stderr).toContain("ERR_TLS_CERT_ALTNAME_INVALID");
      expect(names).toEqual([`localhost:${port}`]);
    } finally {
      server.close();
    }
  });
});

describe("the option webhooks", () => {
  it.each([
    [[{ name: "a", secret: SECRET }], /url cannot be read/],
    [[{ name: "a", url: "https://x.example", secret: "short" }], /at least 16 bytes/],
    [[{ name: "a", url: "http://x.example", secret: SECRET }], /in the clear/],
    [[{ name: "a", url: "https://a:b@x.example", secret: SECRET }], /no user and no password/],
    [[{ name: "a b", url: "https://x.example", secret: SECRET }], /a name of up to 64/],
    [[{ name: "a", url: "https://x.example", secret: SECRET, refz: [] }], /it has no 'refz'/],
    [[{ name: "a", url: "https://x.example", secret: SECRET, events: ["push"] }], /events is a list of/],
    [[{ name: "a", url: "https://x.example", secret: SECRET, allowAddresses: ["x"] }], /no address/],
    [[{ name: "a", url: "https://x.example", secret: SECRET, headers: { Host: "x" } }], /cannot set 'Host'/],
    [[{ name: "a", url: "https://x.example", secret: SECRET, timeoutMs: 0 }], /timeoutMs/],
    [{}, /it is a list/],
  ])("%j is refused", (webhooks, why) => {
    expect(() =>
      createGitServer({ repositories: root, database: databaseOf(), webhooks: webhooks as never }),
    ).toThrow(why);
  });

  it("has each name once, and a database", () => {
    expect(() =>
      createGitServer({ repositories: root, database: databaseOf(), webhooks: [hook(), hook()] }),
    ).toThrow(/two are named 'ci'/);
    expect(() => createGitServer({ repositories: root, webhooks: [hook()] })).toThrow(/set `database`/);
    expect(() =>
      createGitServer({ repositories: root, database: databaseOf(), events: false, webhooks: [hook()] }),
    ).toThrow(/events are.*off|which are off/);
  });
});
