/**
 * Policies where a proc-receive hook takes pushes: they judge what the person asks for, the hook decides where that goes,
 * what it lets fall through is judged as any push, and the operator reads where hook and rules disagree.
 */
import { rmSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";

let workspace: GitClient;
let app: GitClient;
let served: GitClient;
let server: TestServer;
let logged: ServiceLogEntry[];
let called: number;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  await workspace.run("init", "-q", "--bare", "served/app.git");
  served = workspace.in("served/app.git");
  rmSync(`${served.directory}/hooks`, { recursive: true, force: true });
  await served.run("config", "receive.procReceiveRefs", "refs/for");
  logged = [];
  called = 0;
});
afterEach(async () => {
  await server.close();
  removeDirectory(workspace);
});

/** As a hook does that merges: `refs/for/NAME` becomes `refs/heads/NAME`, but for `refs/for/through/…`. */
async function serve(options: Partial<GitServerOptions> = {}): Promise<void> {
  server = await createTestServer({
    repositories: `${workspace.directory}/served`,
    durability: "none",
    log: (entry) => void logged.push(entry),
    authenticate: (credentials) => ({ user: "user" in credentials ? credentials.user : "" }),
    policies: [
      { effect: "allow", users: ["owner"] },
      { effect: "allow", operations: ["read"] },
      { effect: "deny", refs: ["refs/for/closed/**"], reason: "closed for now" },
      { effect: "deny", refs: ["refs/heads/kept"], reason: "kept is kept" },
      { effect: "allow", users: ["ada"], refs: ["refs/for/*", "refs/for/through/x"] },
    ],
    handlers: {
      async procReceive(_, commands) {
        called++;
        const results = [];
        for (const { name, oldOid, newOid } of commands) {
          if (name.startsWith("refs/for/through/")) results.push({ name, fallThrough: true });
          else {
            const refName = name.replace("refs/for/", "refs/heads/");
            await served.run("update-ref", refName, newOid);
            results.push({ name, refName, oldOid, newOid });
          }
        }
        return results;
      },
    },
    ...options,
  });
}

const push = (user: string, ref: string): Promise<GitResult> =>
  app.try("push", server.urlOf("app").replace("://", `://${user}:x@`), `main:${ref}`);
const refs = (): Promise<string> => served.run("for-each-ref", "--format=%(refname)");
const warnings = (): readonly string[] =>
  logged.filter(({ level }) => level === "warn").map(({ message }) => message);

describe("policies and proc-receive", () => {
  it("refuse what is asked for, before the hook is called", async () => {
    await serve();
    expect((await push("ada", "refs/for/closed/x")).stderr).toContain("closed for now");
    expect((await push("bob", "refs/for/main")).stderr).toContain("not allowed");
    expect((await push("ada", "refs/for/deep/x")).stderr).toContain("not allowed to create refs/for/deep/x");
    expect(called).toBe(0);
    expect(await refs()).toBe("");
  });

  it("let the hook move other refs by its own rights, and tell the operator where they would not have", async () => {
    await serve();
    expect(await push("ada", "refs/for/kept")).toMatchObject({ status: 0 });
    expect(await push("owner", "refs/for/free")).toMatchObject({ status: 0 });
    expect(await refs()).toBe("refs/heads/free\nrefs/heads/kept");
    // The answer is out before the last handlers have ended.
    for (let i = 0; i < 2000 && warnings().length === 0; i++)
      await new Promise<void>((resolve) => setTimeout(resolve, 10));
    expect(warnings()).toEqual([
      "proc-receive moved refs/heads/kept for a push of refs/for/kept by ada, who may not do that: kept is kept",
    ]);
    expect(logged.find(({ level }) => level === "warn")?.fields).toMatchObject({
      repository: "app",
      user: "ada",
    });
  });

  it("judge what it lets fall through as any push", async () => {
    await serve();
    expect(await push("ada", "refs/for/through/x")).toMatchObject({ status: 0 });
    expect((await push("ada", "refs/for/through/y")).stderr).toContain("not allowed");
    expect(await refs()).toBe("refs/for/through/x");
    expect(warnings()).toEqual([]);
  });
});
