/** The listener for who looks after a server: health, readiness, metrics, and what it says while the server closes. */
import { once } from "node:events";
import { connect } from "node:net";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createGitServer, type GitServer, type Listening } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createReadiness } from "../src/server/readiness.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { startServe } from "./support/serve-process.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

let directory: string;
let workspace: GitClient;
let server: GitServer | undefined;
let said: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-health-"));
  workspace = createWorkspace();
  said = [];
});
afterEach(async () => {
  await server?.close({ graceMs: 0 });
  rmSync(directory, { recursive: true, force: true });
  removeDirectory(workspace);
});

async function start(options: Partial<GitServerOptions> = {}): Promise<Listening & { readonly at: string }> {
  server = createGitServer({
    repositories: join(directory, "repositories"),
    autoCreate: "push",
    durability: "none",
    log: ({ level, message }) => void (level === "info" || said.push(message)),
    ...options,
  });
  const listening = await server.listen({ http: 0, metrics: 0 });
  return { ...listening, at: listening.metrics?.url ?? "" };
}

async function ask(url: string, method = "GET"): Promise<readonly [number, unknown]> {
  const answer = await fetch(url, { method });
  const text = await answer.text();
  const isJson = answer.headers.get("content-type") === "application/json";
  return [answer.status, isJson ? JSON.parse(text) : text];
}

describe("the listener for operators", () => {
  it("is on loopback, tells health and metrics, and nothing else", async () => {
    const { at, http, metrics } = await start();
    expect(metrics?.host).toBe("127.0.0.1");
    await workspace.run("init", "-q", "work");
    await workspace.in("work").run("commit", "-q", "--allow-empty", "-m", "first");
    await workspace.in("work").run("push", "-q", `${http.url}/app.git`, "main");
    expect(await ask(`${at}/healthz`)).toEqual([200, { alive: true }]);
    expect(await ask(`${at}/readyz`)).toEqual([
      200,
      { ready: true, parts: { accepting: "ok", store: "ok" } },
    ]);
    await expect
      .poll(async () => (await ask(`${at}/metrics`))[1])
      .toMatch(/gitwharf_requests_total\{transport="http",service="receive-pack",outcome="ok"\} 1/);
    expect(await ask(`${at}/metrics`, "POST")).toEqual([405, "GET and HEAD only\n"]);
    expect((await ask(`${at}/app.git/info/refs?service=git-upload-pack`))[0]).toBe(404);
    expect((await ask(`${http.url}/metrics`))[0]).toBe(404);
    expect(readdirSync(join(directory, "repositories")).filter((name) => name.includes("probe"))).toEqual([]);
  });

  it("is begun by the command, which tells where, and logs lines of JSON", async () => {
    const process = await startServe(join(directory, "served"), "--metrics", "0", "--log", "json");
    try {
      const [, at = ""] = /metrics and health on (http:\/\/127\.0\.0\.1:\d+)/.exec(process.printed()) ?? [];
      expect((await ask(`${at}/readyz`))[0]).toBe(200);
      await ask(`${process.url}/none.git/HEAD?token=s3cret`);
      const logged = (): readonly unknown[] =>
        process
          .printed()
          .split("\n")
          .filter((line) => line.startsWith("{"))
          .map((line) => JSON.parse(line) as unknown);
      const expected = { level: "info", message: "GET /none.git/HEAD 404", outcome: "not-found" };
      await expect.poll(logged).toEqual([expect.objectContaining(expected)]);
      expect(process.printed()).not.toContain("s3cret");
    } finally {
      await process.end("SIGTERM");
    }
  });

  it("is not there unless it is asked for", async () => {
    server = createGitServer({ repositories: createMemoryRepositoryStore() });
    expect((await server.listen({ http: 0 })).metrics).toBeUndefined();
  });

  it("turns away whom it has no room for", async () => {
    const { metrics } = await start();
    const open = Array.from({ length: 65 }, () => connect(metrics?.port ?? 0, "127.0.0.1"));
    try {
      const closed = open.map((socket) => once(socket.on("error", () => undefined).resume(), "close"));
      await Promise.race(closed);
      expect(open.filter((socket) => !socket.destroyed)).toHaveLength(64);
    } finally {
      for (const socket of open) socket.destroy();
    }
  });

  it("is not ready when the repositories are lost, and says why in the log", async () => {
    const { at } = await start();
    expect((await ask(`${at}/readyz`))[0]).toBe(200);
    rmSync(join(directory, "repositories"), { recursive: true });
    await expect
      .poll(() => ask(`${at}/readyz`), { timeout: 10_000 })
      .toEqual([503, { ready: false, parts: { accepting: "ok", store: "unavailable" } }]);
    expect(said).toContain("the store is unavailable");
    expect((await ask(`${at}/healthz`))[0]).toBe(200);
  });

  it("is not ready when the database cannot be asked", async () => {
    const { at } = await start({ database: "postgres://nobody@127.0.0.1:1/none" });
    expect(await ask(`${at}/readyz`)).toEqual([
      503,
      { ready: false, parts: { accepting: "ok", store: "ok", database: "unavailable" } },
    ]);
  });

  it("turns off before the last request is over, and answers until then", async () => {
    let enter = (): void => undefined;
    let leave = (): void => undefined;
    const entered = new Promise<void>((resolve) => (enter = resolve));
    const left = new Promise<void>((resolve) => (leave = resolve));
    const { at, http } = await start({
      handlers: {
        async preReceive() {
          enter();
          await left;
          return undefined;
        },
      },
    });
    await workspace.run("init", "-q", "work");
    const work = workspace.in("work");
    await work.run("commit", "-q", "--allow-empty", "-m", "first");
    const pushed = work.try("push", "-q", `${http.url}/app.git`, "main");
    await entered;
    expect((await ask(`${at}/readyz`))[0]).toBe(200);
    const closed = server?.close({ graceMs: 60_000 });
    expect(await ask(`${at}/readyz`)).toEqual([
      503,
      { ready: false, parts: { accepting: "unavailable", store: "ok" } },
    ]);
    expect(await ask(`${at}/healthz`)).toEqual([200, { alive: true }]);
    leave();
    expect((await pushed).status).toBe(0);
    await closed;
    await expect(fetch(`${at}/healthz`)).rejects.toThrow();
  });
});

describe("readiness", () => {
  it("does not wait for ever, and asks once for many who ask", async () => {
    let asked = 0;
    const reasons: unknown[] = [];
    const readiness = createReadiness({
      checks: {
        store() {
          asked++;
          return new Promise(() => undefined);
        },
      },
      isDraining: () => false,
      onUnavailable: (_part, error) => void reasons.push(error),
      timeoutMs: 20,
    });
    const answers = await Promise.all([readiness(), readiness(), readiness()]);
    expect(answers.map(({ ready }) => ready)).toEqual([false, false, false]);
    expect(asked).toBe(1);
    expect(String(reasons[0])).toContain("did not answer");
  });
});
