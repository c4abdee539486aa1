/** Processes that are killed while they push, and several that push at once. */
import { spawn } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "../../../test/support/git-client.js";
import { createDiskRepositoryStore } from "./disk-repository-store.js";

const script = fileURLToPath(new URL("./publish-forever.test.process.js", import.meta.url));
let workspace: GitClient;

beforeEach(async () => {
  workspace = createWorkspace();
  const store = createDiskRepositoryStore({ directory: workspace.directory });
  await (await store.create("app")).close();
  await store.close();
});

afterEach(() => removeDirectory(workspace));

interface Pusher {
  /** Ids that were acknowledged so far. */
  readonly acknowledged: string[];
  readonly ended: Promise<{ readonly code: number | null; readonly errors: string }>;
  kill(): void;
}

function startPusher(ref: string, count?: number): Pusher {
  const args = [script, workspace.directory, "app", ref, ...(count === undefined ? [] : [String(count)])];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  const acknowledged: string[] = [];
  let rest = "";
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop() ?? "";
    acknowledged.push(...lines);
  });
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const ended = new Promise<{ code: number | null; errors: string }>((resolve) => {
    child.on("close", (code) => resolve({ code, errors }));
  });
  return { acknowledged, ended, kill: () => void child.kill("SIGKILL") };
}

describe("a process that is killed while it pushes", () => {
  it("leaves a good repository that has all it acknowledged", async () => {
    const bare = workspace.in("app.git");
    for (let round = 0; round < 4; round++) {
      const pusher = startPusher("refs/heads/main");
      while (pusher.acknowledged.length < 3) await pause(5);
      await pause(round * 7);
      pusher.kill();
      await pusher.ended;
      // A lock that the dead process held is what a person would remove.
      rmSync(join(bare.directory, "refs/heads/main.lock"), { force: true });
      const last = pusher.acknowledged.at(-1) as string;
      await bare.run("fsck", "--full", "--strict");
      await bare.run("merge-base", "--is-ancestor", last, "refs/heads/main");
      const names = readdirSync(join(bare.directory, "objects/pack"));
      for (const name of names)
        if (name.endsWith(".idx")) expect(names).toContain(name.replace(/idx$/, "pack"));
    }
    const store = createDiskRepositoryStore({ directory: workspace.directory });
    const repository = await store.open("app");
    const snapshot = await repository?.snapshot();
    expect((await snapshot?.objects.read(snapshot.head.oid ?? ""))?.type).toBe("commit");
    snapshot?.release();
    await repository?.close();
    await store.close();
  });
});

const COUNT = 25;

describe("several processes on one directory", () => {
  it("push at once, while git repacks", async () => {
    const bare = workspace.in("app.git");
    const pushers = ["a", "b", "c"].map((branch) => startPusher(`refs/heads/${branch}`, COUNT));
    const store = createDiskRepositoryStore({ directory: workspace.directory });
    const repository = await store.open("app");
    let running = true;
    const watching = (async () => {
      while (running) {
        const snapshot = await repository?.snapshot();
        for (const { oid } of snapshot?.refs.all ?? [])
          expect((await snapshot?.objects.read(oid))?.type).toBe("commit");
        snapshot?.release();
      }
    })();
    let repacking = true;
    const done = Promise.all(pushers.map(({ ended }) => ended)).then(() => {
      repacking = false;
    });
    // Drops what no ref names, unless something keeps it.
    while (repacking) await bare.run("repack", "-adq");
    await done;
    for (const pusher of pushers) expect(await pusher.ended).toEqual({ code: 0, errors: "" });
    running = false;
    await watching;
    await repository?.close();
    await store.close();
    await bare.run("fsck", "--full", "--strict");
    for (const [i, branch] of ["a", "b", "c"].entries()) {
      expect(await bare.run("rev-parse", `refs/heads/${branch}`)).toBe(pushers[i]?.acknowledged.at(-1));
      expect(await bare.run("rev-list", "--count", `refs/heads/${branch}`)).toBe(String(COUNT));
    }
    expect(readdirSync(join(bare.directory, "objects")).filter((name) => name.startsWith("tmp_"))).toEqual(
      [],
    );
  });
});

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
