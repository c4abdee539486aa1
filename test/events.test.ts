/** Events: what the application and the stream read of them, from any cursor on. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { openDatabase } from "../src/database/open-database.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import type { RefEvent } from "../src/events/event.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

let directory: string;
let workspace: GitClient;
let app: GitClient;
let url: string;
let operators: string;
const servers: GitServer[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-events-"));
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close({ graceMs: 0 });
  removeDirectory(workspace);
  rmSync(directory, { recursive: true, force: true });
});

async function serve(more: Partial<GitServerOptions> = {}): Promise<GitServer> {
  const server = createGitServer({
    repositories: join(directory, "repositories"),
    autoCreate: "push",
    durability: "none",
    database: `sqlite:${join(directory, "access.sqlite")}`,
    events: true,
    ...more,
  });
  servers.push(server);
  const listening = await server.listen({ http: 0, metrics: 0 });
  url = listening.http.url;
  operators = listening.metrics?.url ?? "";
  return server;
}

const push = (...refs: readonly string[]): Promise<string> =>
  app.run("push", "-q", `${url}/app.git`, ...refs);

async function take(reader: AsyncIterableIterator<RefEvent>, count: number): Promise<readonly RefEvent[]> {
  const events: RefEvent[] = [];
  for (; events.length < count; ) {
    const next = await reader.next();
    if (next.done === true) break;
    events.push(next.value);
  }
  return events;
}

async function all(server: GitServer, after = 0): Promise<readonly RefEvent[]> {
  const events: RefEvent[] = [];
  for await (const event of server.events.read({ after, once: true })) events.push(event);
  return events;
}

describe("server.events", () => {
  it.each([
    ["a directory", {}],
    ["memory", { repositories: createMemoryRepositoryStore() }],
  ])("has what was pushed to %s, and goes on from any cursor", async (_where, more) => {
    const server = await serve(more);
    await push("main", "main:two");
    await push(":two");
    const events = await all(server);
    expect(events.map(({ cursor, type, ref }) => [cursor, type, ref.name])).toEqual([
      [1, "ref.created", "refs/heads/main"],
      [2, "ref.created", "refs/heads/two"],
      [3, "ref.deleted", "refs/heads/two"],
    ]);
    expect(events[0]).toMatchObject({
      repository: "app",
      ref: { kind: "branch", shortName: "main", old: null, new: await app.run("rev-parse", "HEAD") },
      push: { user: null, transport: "http", address: "127.0.0.1", options: [] },
    });
    expect(await all(server, 2)).toEqual(events.slice(2));
    expect(await all(server, 3)).toEqual([]);
  });

  it("waits for what comes, and ends with its signal or the server", async () => {
    const server = await serve();
    await push("main");
    const stop = new AbortController();
    const reader = server.events.read({ signal: stop.signal });
    const next = take(reader, 2);
    // Without a cursor it begins with what comes after it was asked.
    await new Promise((resolve) => setImmediate(resolve));
    const from = take(server.events.read({ after: 1 }), 2);
    await push("main:two", "main:three");
    expect((await from).map(({ ref }) => ref.shortName)).toEqual(["two", "three"]);
    expect((await next).length).toBeGreaterThan(0);
    const last = reader.next();
    stop.abort();
    await last;
    expect(await reader.next()).toMatchObject({ done: true });
    const waiting = take(server.events.read({ after: 3 }), 1);
    await server.close();
    expect(await waiting).toEqual([]);
  });

  it("is there by the time that handlers hear of a push", async () => {
    const seen: string[] = [];
    const server = await serve({
      handlers: {
        async postReceive() {
          seen.push(...(await all(server)).map(({ ref }) => ref.shortName));
        },
      },
    });
    await push("main");
    expect(seen).toEqual(["main"]);
  });

  it("survives the server, and another server reads what this one writes", async () => {
    const first = await serve();
    await push("main");
    const second = await serve();
    const reading = take(first.events.read({ after: 0 }), 2);
    await push("main:two");
    expect((await reading).map(({ ref }) => ref.shortName)).toEqual(["main", "two"]);
    await first.close();
    expect(await all(second)).toHaveLength(2);
  });

  it("is kept for as long as it is said to be, the last of all in any case", async () => {
    const first = await serve();
    await push("main");
    await push("main:two", "main:three");
    await first.close();
    let done = (): void => undefined;
    const pruned = new Promise<void>((resolve) => (done = resolve));
    const second = await serve({
      events: { keepDays: 1e-9 },
      log: ({ message }) => message.includes("are gone") && done(),
    });
    await pruned;
    expect((await all(second)).map(({ cursor, ref }) => [cursor, ref.shortName])).toEqual([[3, "three"]]);
    await push("main:four");
    expect((await all(second, 3)).map(({ cursor }) => cursor)).toEqual([4]);
  });

  it("tells of refs that a handler moved in place of others", async () => {
    const server = await serve({
      handlers: {
        procReceiveRefs: ["refs/for"],
        procReceive: async (_push, updates) =>
          Promise.all(updates.map((update) => update.redirect("refs/changes/1/head"))),
      },
    });
    await push("main");
    await push("main:refs/for/main");
    expect((await all(server)).map(({ ref }) => [ref.kind, ref.shortName])).toEqual([
      ["branch", "main"],
      ["other", "changes/1/head"],
    ]);
  });

  it("has nothing of a push that lost the place of a new repository to another", async () => {
    let arrived = 0;
    let go = (): void => undefined;
    const both = new Promise<void>((resolve) => (go = resolve));
    const server = await serve({
      handlers: {
        async preReceive() {
          if (++arrived === 2) go();
          await both;
        },
      },
    });
    await app.run("commit", "-q", "--allow-empty", "-m", "two");
    const [one, two] = await Promise.all([
      app.try("push", `${url}/app.git`, "main~:refs/heads/main", "main:refs/heads/first"),
      app.try("push", `${url}/app.git`, "main:refs/heads/main", "main:refs/heads/second"),
    ]);
    // The one that lost begins anew in the repository of the other.
    expect([one, two].filter(({ status }) => status === 0)).toHaveLength(1);
    const values = (await all(server)).map(({ ref }) => `${ref.new}\t${ref.name}`);
    const refs = (await app.run("ls-remote", `${url}/app.git`)).split("\n");
    expect(values.toSorted()).toEqual(refs.filter((line) => !line.endsWith("HEAD")).toSorted());
    expect(values).toHaveLength(3);
  });

  it("refuses a push whose events cannot be written down", async () => {
    await serve();
    await push("main");
    const database = await openDatabase({ engine: "sqlite", path: join(directory, "access.sqlite") });
    await database.db.schema.dropTable("events").execute();
    await database.close();
    const { status, stderr } = await app.try("push", `${url}/app.git`, "main:two");
    expect(status).not.toBe(0);
    expect(stderr).toContain("cannot write down what this push changes");
    expect(await app.run("ls-remote", `${url}/app.git`, "two")).toBe("");
  });

  it("is off unless asked for", async () => {
    const server = await serve({ events: false });
    await push("main");
    expect(() => server.events.read()).toThrow(/events are off/);
    await expect(server.webhooks.deliveries("ci")).rejects.toThrow(/events are off/);
    expect((await fetch(`${operators}/events`)).status).toBe(404);
    expect(await server.metrics()).not.toContain("deliveries");
    expect(() => createGitServer({ repositories: directory, events: true })).toThrow(/set `database`/);
    for (const events of [
      { keepDays: 0 },
      { takeOverSeconds: 0.5 },
      { takeOverSeconds: 3601 },
      { days: 1 },
      "yes",
    ])
      expect(() =>
        createGitServer({ repositories: directory, database: "sqlite:x", events: events as never }),
      ).toThrow(/events/);
  });
});

describe("the stream of events", () => {
  async function* stream(path: string, headers: Record<string, string> = {}): AsyncIterableIterator<string> {
    const response = await fetch(`${operators}${path}`, { headers });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
      for (let at = text.indexOf("\n\n"); at >= 0; at = text.indexOf("\n\n")) {
        const block = text.slice(0, at);
        text = text.slice(at + 2);
        if (block.startsWith("id:")) yield block;
      }
    }
  }
  async function blocks(from: AsyncIterableIterator<string>, count: number): Promise<readonly string[]> {
    const found: string[] = [];
    while (found.length < count) {
      const next = await from.next();
      if (next.done === true) break;
      found.push(next.value);
    }
    return found;
  }

  it("goes on from a cursor, and from where a client had come to", async () => {
    const server = await serve();
    await push("main");
    const one = stream("/events?after=0");
    const [first = ""] = await blocks(one, 1);
    const lines = first.split("\n");
    expect(lines.slice(0, 2)).toEqual(["id: 1", "event: ref.created"]);
    expect(JSON.parse(lines[2]?.slice("data: ".length) ?? "")).toEqual((await all(server))[0]);
    await push("main:two");
    expect((await blocks(one, 1))[0]).toContain("id: 2");
    const again = stream("/events?after=0", { "Last-Event-ID": "1" });
    expect((await blocks(again, 1))[0]).toContain("id: 2");
    await app.run("push", "-q", `${url}/other.git`, "main");
    const some = stream("/events?after=0&repository=other");
    expect((await blocks(some, 1))[0]).toContain("id: 3");
    await server.close();
    for (const open of [one, again, some]) await blocks(open, 100);
  });

  it("refuses cursors that are none", async () => {
    await serve();
    for (const after of ["x", "-1", "1e3", "9".repeat(16)]) {
      const response = await fetch(`${operators}/events?after=${after}`);
      expect([response.status, await response.text()]).toEqual([
        400,
        "after (or Last-Event-ID) is the cursor of an event\n",
      ]);
    }
    expect((await fetch(`${operators}/events`, { method: "POST" })).status).toBe(405);
  });

  it("has 32 readers at most, and leaves room for questions about health", async () => {
    await serve();
    const stop = new AbortController();
    const read = () => fetch(`${operators}/events`, { signal: stop.signal });
    const readers = await Promise.all(Array.from({ length: 32 }, read));
    expect(new Set(readers.map(({ status }) => status))).toEqual(new Set([200]));
    const refused = await read();
    expect([refused.status, await refused.text()]).toEqual([503, "32 others read already\n"]);
    expect((await fetch(`${operators}/healthz`)).status).toBe(200);
    await readers.pop()?.body?.cancel();
    for (let looks = 0; (await read()).status !== 200; looks++) if (looks > 1000) throw new Error("no room");
    stop.abort();
  });
});
