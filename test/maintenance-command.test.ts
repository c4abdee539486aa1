/** `gitwharf maintenance`: by hand, beside servers that do the same by themselves, pushes, fetches and git. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";

// Much work beside other tests on a small machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));
let workspace: GitClient;
let bare: GitClient;
let server: ServeProcess | undefined;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "--bare", "repositories/app.git");
  bare = workspace.in("repositories/app.git");
});
afterEach(async () => {
  await server?.end("SIGKILL");
  server = undefined;
  removeDirectory(workspace);
});

interface Ended {
  readonly code: number | null;
  readonly printed: string;
}

async function maintenance(...args: readonly string[]): Promise<Ended> {
  const directory = join(workspace.directory, "repositories");
  const child = spawn(process.execPath, [CLI, "maintenance", ...args, "-d", directory]);
  let printed = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
    });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, printed };
}

async function commit(client: GitClient, text: string): Promise<string> {
  writeFileSync(join(client.directory, `file-${text}`), text);
  await client.run("add", ".");
  await client.run("commit", "-q", "-m", text);
  return client.run("rev-parse", "HEAD");
}

describe("gitwharf maintenance", () => {
  it("tells how a repository stands, does what it is asked for, and tells what was done", async () => {
    await workspace.run("init", "-q", "local");
    const local = workspace.in("local");
    await commit(local, "one");
    await local.run("push", "-q", bare.directory, "HEAD:main", "HEAD:topic");
    const before = JSON.parse((await maintenance("status", "app", "--json")).printed) as object;
    expect(before).toMatchObject({
      name: "app",
      packs: { count: 0, cruft: { count: 0, oldest: null } },
      looseObjects: 3,
      refs: { loose: 2, packed: 0 },
      files: { bitmap: null, commitGraph: null, multiPackIndex: null },
      lastRuns: {},
      heldBy: null,
      due: [],
    });
    const run = await maintenance("run", "app");
    expect(run.code).toBe(0);
    expect(run.printed).toMatch(
      new RegExp(
        [
          "app: packed 2 refs",
          "app: packed 3 loose objects, 3 of which stood in no pack",
          "app: nothing to fold",
          "app: the multi-pack-index stands well as it is, or there are no packs to make one of",
          "app: wrote a bitmap of 1 commits, \\d+ bytes",
          "app: wrote a commit-graph of 1 commits, \\d+ bytes",
          "",
        ].join("\n"),
      ),
    );
    await bare.run("update-ref", "-d", "refs/heads/topic");
    await bare.run("update-ref", "-d", "refs/heads/main");
    expect((await maintenance("run", "app", "--task", "gc")).printed).toBe(
      "app: 0 objects are reachable, 3 are not and wait, 0 have gone; 0 packs and 0 loose objects were taken together\n",
    );
    await bare.run("config", "gc.pruneExpire", "now");
    expect((await maintenance("run", "app", "--task", "gc")).printed).toContain("3 have gone");
    expect(await bare.run("count-objects", "-v")).toContain("in-pack: 0\n");
    const { printed } = await maintenance("status", "app");
    expect(printed).toMatch(/^app:\n {4}packs: 0, 0 objects, 0 bytes \(0 to fold, 0 kept\)\n/);
    expect(printed).toMatch(/\n {4}last gc: 20.*, 0 objects are reachable, 0 are not and wait, 3 have gone/);
    expect(printed).toContain("\n    due: nothing\n");
  });

  it("takes a name or --all, and tells of what is neither", async () => {
    expect((await maintenance("run")).code).toBe(2);
    expect((await maintenance("run", "app", "--all")).code).toBe(2);
    expect((await maintenance("run", "app", "--task", "nonsense")).printed).toContain("pack-refs");
    expect(await maintenance("run", "--all")).toEqual({ code: 0, printed: "" });
    expect((await maintenance("status")).printed).toContain("due: nothing");
  });

  it("goes on with --all where one cannot be looked after, and tells of it", async () => {
    // Before and behind it.
    for (const name of ["a", "z"]) await workspace.run("init", "-q", "--bare", `repositories/${name}.git`);
    await bare.run("config", "gc.pruneExpire", "nonsense");
    await workspace.run("init", "-q", "local");
    const local = workspace.in("local");
    const head = await commit(local, "one");
    const refs = Array.from({ length: 70 }, (_, i) => `${head}:refs/heads/b${i}`);
    for (const name of ["a", "z"])
      await local.run("push", "-q", workspace.in(`repositories/${name}.git`).directory, ...refs);
    const { code, printed } = await maintenance("run", "--all");
    expect(code).toBe(1);
    expect(printed).toMatch(/^gitwharf: app: .*pruneExpire/m);
    for (const name of ["a", "z"]) expect(printed).toContain(`${name}: packed 70 refs`);
  });

  it("loses nothing beside a server, pushes, clones and git", async () => {
    await bare.run("config", "gc.autoPackLimit", "3");
    const directory = join(workspace.directory, "repositories");
    server = await startServe(directory, "--log", "none");
    const url = `${server.url}/app.git`;
    let pushing = true;
    const pushed = Promise.all(
      [0, 1].map(async (number) => {
        await workspace.run("init", "-q", `client-${number}`);
        const client = workspace.in(`client-${number}`);
        let head = "";
        for (let i = 0; i < 8; i++) {
          head = await commit(client, `${number}-${i}`);
          await client.run(
            "push",
            "-q",
            url,
            `HEAD:refs/heads/kept-${number}`,
            `HEAD:refs/heads/gone-${number}-${i}`,
          );
          // What only this branch leads to waits from now on.
          await client.run("commit", "-q", "--amend", "-m", `gone ${number} ${i}`);
          await client.run("push", "-q", "-f", url, `HEAD:refs/heads/gone-${number}-${i}`);
          await client.run("push", "-q", url, `:refs/heads/gone-${number}-${i}`);
          await client.run("reset", "-q", "--hard", head);
          if (i % 4 !== 3) continue;
          const cloned = await workspace.try("clone", "-q", "--mirror", url, `mirror-${number}-${i}`);
          // A branch of the other one may go between what is listed and what is asked for.
          if (cloned.status !== 0) expect(cloned.stderr).toContain("not our ref");
        }
        return head;
      }),
    ).finally(() => (pushing = false));
    pushed.catch(() => undefined);
    for (let i = 0; pushing; i++) {
      const { code, printed } = await maintenance("run", "app", "--task", "gc", "--task", "pack-refs");
      expect(code, printed).toBe(0);
      if (i % 2 === 0) await bare.try("gc", "-q", "--cruft");
    }
    const heads = await pushed;
    expect(await server.end("SIGTERM")).toBe(0);
    expect((await maintenance("run", "app", "--task", "gc")).code).toBe(0);
    await bare.run("fsck", "--full", "--strict");
    for (const [number, head] of heads.entries()) {
      expect(await bare.run("rev-parse", `kept-${number}`)).toBe(head);
      expect(await bare.run("rev-list", "--count", `kept-${number}`)).toBe("8");
    }
    expect(readdirSync(bare.directory)).not.toContain("gc.pid");
    const packs = readdirSync(join(bare.directory, "objects/pack"));
    expect(packs.filter((name) => name.endsWith(".pack")).length).toBeLessThanOrEqual(2);
    expect(packs.filter((name) => /tmp_|\.keep$/.test(name))).toEqual([]);
    for (const name of readdirSync(workspace.directory))
      if (name.startsWith("mirror-")) {
        await workspace.in(name).run("fsck", "--full");
        rmSync(join(workspace.directory, name), { recursive: true });
      }
  });
});
