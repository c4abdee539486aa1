/** Repositories that take one push at a time, and turns that callers take, with real clients. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createGitServer, type GitServer, type Listening } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";

let workspace: GitClient;
let app: GitClient;
let server: GitServer | undefined;
let listening: Listening;
let atWork: number;
let most: number;
let held: (() => void)[];
let arrived: () => void;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  atWork = 0;
  most = 0;
  held = [];
  arrived = () => undefined;
});
afterEach(async () => {
  for (const go of held) go();
  await server?.close({ graceMs: 0 });
  server = undefined;
  removeDirectory(workspace);
});

/** Every push waits in its handler until it is let go. */
async function serve(options: Partial<GitServerOptions>): Promise<void> {
  server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    gitDaemon: { exportAll: true, receivePack: true },
    log: () => undefined,
    handlers: {
      async preReceive() {
        most = Math.max(most, ++atWork);
        await new Promise<void>((resolve) => {
          held.push(resolve);
          arrived();
        });
        atWork--;
        return undefined;
      },
    },
    ...options,
  });
  listening = await server.listen({ http: 0, git: 0 });
}

const push = (repository: string, ref: string, transport: "http" | "git" = "http"): Promise<GitResult> =>
  app.try("push", "-q", `${listening[transport]?.url}/${repository}.git`, `main:${ref}`);
const waitUntil = async (isSo: () => boolean): Promise<void> => {
  for (let i = 0; i < 4000 && !isSo(); i++) await new Promise<void>((resolve) => setTimeout(resolve, 5));
  expect(isSo()).toBe(true);
};
async function waiting(count: number): Promise<void> {
  const line = `gitwharf_requests_waiting ${count}`;
  for (let i = 0; i < 2000; i++) {
    if ((await server?.metrics())?.includes(line) === true) return;
    await new Promise<void>((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`never: ${line}`);
}

describe("serialPushes", () => {
  it("lets one push after the other in, over every transport, and readers in meanwhile", async () => {
    await serve({ serialPushes: ["builds/**"] });
    const first = push("builds/app", "a");
    await waitUntil(() => held.length === 1);
    held.shift()?.();
    expect(await first).toMatchObject({ status: 0 });

    const second = push("builds/app", "b");
    await waitUntil(() => held.length === 1);
    const third = push("builds/app", "c", "git");
    const fourth = push("builds/app", "d");
    await waiting(2);
    expect(await workspace.run("ls-remote", `${listening.http.url}/builds/app.git`)).toContain(
      "refs/heads/a",
    );
    for (let i = 0; i < 3; i++) {
      await waitUntil(() => held.length === 1);
      held.shift()?.();
    }
    for (const one of [second, third, fourth]) expect(await one).toMatchObject({ status: 0, stderr: "" });
    expect(most).toBe(1);
  });

  it("is for the repositories that it names: others take pushes side by side", async () => {
    await serve({ serialPushes: ["builds/**"] });
    const first = push("app", "first");
    await waitUntil(() => held.length === 1);
    held.shift()?.();
    await first;
    const both = [push("app", "a"), push("app", "b")];
    await waitUntil(() => held.length === 2);
    for (const go of held.splice(0)) go();
    for (const one of both) expect(await one).toMatchObject({ status: 0 });
    expect(most).toBe(2);
  });

  it("tells who finds the queue full to come again", async () => {
    await serve({ serialPushes: ["**"], limits: { repositoryQueueMax: 1 } });
    const first = push("app", "a");
    await waitUntil(() => held.length === 1);
    const second = push("app", "b");
    await waiting(1);
    const refused = await push("app", "c");
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toMatch(/503/);
    held.shift()?.();
    await waitUntil(() => held.length === 1);
    held.shift()?.();
    expect([await first, await second]).toMatchObject([{ status: 0 }, { status: 0 }]);
  });

  it("is a list of patterns", () => {
    const serialPushes = "app" as unknown as readonly string[];
    expect(() => createGitServer({ repositories: createMemoryRepositoryStore(), serialPushes })).toThrow(
      "serialPushes is a list of texts",
    );
  });
});
