/** Folds of two servers on one directory, while clients push and fetch and git itself repacks: nothing is lost. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { foldPacks } from "../src/engine/maintenance/fold-packs.js";
import { openDiskRepositoryAt } from "../src/storage/disk/disk-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";

// Much work beside other tests on a small machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));
const CLIENTS = 3;
const PUSHES = 8;
let workspace: GitClient;
let bare: GitClient;
let servers: readonly ServeProcess[] = [];

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "--bare", "repositories/app.git");
  bare = workspace.in("repositories/app.git");
});
afterEach(async () => {
  for (const server of servers) await server.end("SIGKILL");
  servers = [];
  removeDirectory(workspace);
});

const packs = (): string[] =>
  readdirSync(join(bare.directory, "objects/pack")).filter((name) => name.endsWith(".pack"));

async function commit(client: GitClient, text: string): Promise<string> {
  writeFileSync(join(client.directory, `file-${text}`), text);
  await client.run("add", ".");
  await client.run("commit", "-q", "-m", text);
  return client.run("rev-parse", "HEAD");
}

/** Commits that stand in a pack each. */
async function pushLocally(count: number): Promise<string[]> {
  await workspace.run("init", "-q", "local");
  const local = workspace.in("local");
  const oids: string[] = [];
  await bare.run("config", "receive.unpackLimit", "1");
  for (let i = 0; i < count; i++) {
    oids.push(await commit(local, `local-${i}`));
    await local.run("push", "-q", bare.directory, "HEAD:refs/heads/main");
  }
  return oids;
}

/** Folding and no more. */
async function maintenanceRun(): Promise<{ readonly code: number | null; readonly printed: string }> {
  const directory = join(workspace.directory, "repositories");
  const child = spawn(process.execPath, [
    CLI,
    "maintenance",
    "run",
    "app",
    "--task",
    "fold",
    "-d",
    directory,
  ]);
  let printed = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
    });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, printed };
}

describe("folding beside others", () => {
  it.each([
    ["repack", "-adq"],
    ["repack", "-dq", "--geometric=2"],
    ["gc", "-q"],
    ["count-objects", "-v"],
  ])("loses nothing while two servers fold and git runs %s %s", async (...command) => {
    await bare.run("config", "gc.autoPackLimit", "3");
    const directory = join(workspace.directory, "repositories");
    servers = await Promise.all([0, 1].map(() => startServe(directory, "--log", "none")));
    let pushing = true;
    const pushed = Promise.all(
      Array.from({ length: CLIENTS }, async (_, number) => {
        await workspace.run("init", "-q", `client-${number}`);
        const client = workspace.in(`client-${number}`);
        let head = "";
        for (let i = 0; i < PUSHES; i++) {
          const url = `${servers[(number + i) % 2]?.url}/app.git`;
          head = await commit(client, `${number}-${i}`);
          await client.run("push", "-q", url, `HEAD:refs/heads/branch-${number}`);
          if (i % 4 === 3) await workspace.run("clone", "-q", "--mirror", url, `mirror-${number}-${i}`);
        }
        return head;
      }),
    ).finally(() => (pushing = false));
    pushed.catch(() => undefined);
    // The servers hold gc.pid now and then, which is what git gc ends for; and a pack may go while git looks at it.
    while (pushing) await bare.try(...command);
    const heads = await pushed;
    for (const server of servers) expect(await server.end("SIGTERM")).toBe(0);
    await bare.run("fsck", "--full", "--strict");
    for (const [number, head] of heads.entries()) {
      expect(await bare.run("rev-parse", `branch-${number}`)).toBe(head);
      expect(await bare.run("rev-list", "--count", "--objects", `branch-${number}`)).toBe(String(PUSHES * 3));
    }
    expect(packs().length).toBeLessThan((CLIENTS * PUSHES) / 2);
    expect(readdirSync(bare.directory)).not.toContain("gc.pid");
    expect(readdirSync(join(bare.directory, "objects")).filter((name) => name.startsWith("tmp_"))).toEqual(
      [],
    );
  });

  it("lets readers go on that began before", async () => {
    const oids = await pushLocally(6);
    const repository = await openDiskRepositoryAt(bare.directory);
    const before = await repository.snapshot();
    expect((await maintenanceRun()).printed).toBe("app: folded 6 packs into one of 18 objects\n");
    expect(packs()).toHaveLength(1);
    for (const oid of oids) expect((await before.objects.read(oid))?.type).toBe("commit");
    before.release();
    const after = await repository.snapshot();
    expect(after.objects.packs).toHaveLength(1);
    for (const oid of oids) expect((await after.objects.read(oid))?.type).toBe("commit");
    after.release();
    await repository.close();
    expect((await maintenanceRun()).printed).toBe("app: nothing to fold\n");
    await bare.run("fsck", "--full", "--strict");
  });

  it("lets a git process go on that has the old packs open", async () => {
    const oids = await pushLocally(6);
    const child = spawn("git", ["cat-file", "--batch-check"], { cwd: bare.directory });
    const answers: string[] = [];
    let onAnswer: (() => void) | undefined;
    child.stdout.on("data", (chunk: Buffer) => {
      answers.push(...chunk.toString().trimEnd().split("\n"));
      onAnswer?.();
    });
    const answered = async (count: number): Promise<void> => {
      while (answers.length < count) await new Promise<void>((resolve) => (onAnswer = resolve));
    };
    child.stdin.write(`${oids[0]}\n`);
    await answered(1);
    const repository = await openDiskRepositoryAt(bare.directory);
    if (repository.packMaintenance === undefined) throw new Error("it has no packs");
    expect((await foldPacks(repository.packMaintenance)).kind).toBe("folded");
    await repository.close();
    child.stdin.end(`${oids.join("\n")}\n`);
    await once(child, "close");
    expect(answers).toHaveLength(1 + oids.length);
    for (const answer of answers) expect(answer).toMatch(/ commit \d+$/);
  });

  it("does nothing while git gc is at work, and says so", async () => {
    await pushLocally(3);
    writeFileSync(join(bare.directory, "gc.pid"), `1 ${hostname()}`);
    const { code, printed } = await maintenanceRun();
    expect(printed).toContain("another process is at work on the packs (gc.pid)");
    expect(code).toBe(0);
    expect(packs()).toHaveLength(3);
  });

  it("tells of a repository that is not there", async () => {
    await bare.run("config", "core.bare", "true");
    const child = spawn(process.execPath, [CLI, "maintenance", "run", "other", "-d", workspace.directory]);
    const [code] = (await once(child, "close")) as [number | null];
    expect(code).toBe(1);
  });
});
