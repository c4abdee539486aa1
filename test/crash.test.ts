/** A server that is killed in the middle of pushes, at many points: what it acknowledged is there, and all is whole. */
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";
import { type MadePush, makePushes } from "./support/made-pushes.js";
import { openRequest, type OpenRequest, postHead } from "./support/open-request.js";
import { send } from "./support/raw-http.js";
import { RECEIVE_PACK_TYPE } from "./support/raw-push.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";

// Much work beside other tests on a small machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const HOOKS = ["pre-receive", "update", "reference-transaction", "post-receive"];

describe("a server that is killed", () => {
  let workspace: GitClient;
  let bare: GitClient;
  let repositories: string;
  const running = new Set<ServeProcess>();

  beforeEach(async () => {
    workspace = createWorkspace();
    repositories = join(workspace.directory, "repositories");
    bare = workspace.in("repositories/app.git");
    await workspace.run("init", "-q", "work");
    await workspace.run("init", "-q", "--bare", "repositories/app.git");
  });
  afterEach(async () => {
    for (const server of running) await server.end("SIGKILL");
    running.clear();
    removeDirectory(workspace);
  });

  async function serve(...options: readonly string[]): Promise<ServeProcess> {
    const server = await startServe(repositories, "--log", "none", ...options);
    running.add(server);
    return server;
  }

  async function kill(server: ServeProcess): Promise<void> {
    running.delete(server);
    await server.end("SIGKILL");
  }

  const beginPush = (server: ServeProcess, { body }: MadePush, bytes = body.length): Promise<OpenRequest> =>
    openRequest(
      server.url,
      Buffer.concat([
        Buffer.from(postHead("git-receive-pack", { length: body.length, headers: ["Connection: close"] })),
        body.subarray(0, bytes),
      ]),
    );

  async function pushWhole(server: ServeProcess, { body, ref }: MadePush): Promise<void> {
    const headers = { "Content-Type": RECEIVE_PACK_TYPE };
    const answer = await send(`${server.url}/app.git/git-receive-pack`, { body, headers });
    expect(answer.body.toString()).toContain(`ok ${ref}\n`);
  }

  /** Locks of a dead process are removed by a person, as with git. */
  function removeLocks(): readonly string[] {
    const names = readdirSync(bare.directory, { recursive: true, encoding: "utf8" });
    const locks = names.filter((name) => name.endsWith(".lock"));
    for (const name of locks) rmSync(join(bare.directory, name));
    return locks;
  }

  async function isWhole(acknowledged: readonly MadePush[]): Promise<void> {
    const checked = await bare.try("fsck", "--strict", "--full");
    expect(checked.stderr.replaceAll(/^notice: .*\n/gm, "")).toBe("");
    expect(checked.status).toBe(0);
    const refs = await bare.run("for-each-ref", "--format=%(objectname) %(refname)");
    for (const { oid, ref } of acknowledged) expect(refs).toContain(`${oid} ${ref}`);
  }

  it("has whole objects and refs, and all it acknowledged, wherever it was killed", async () => {
    const sizes = Array.from({ length: 24 }, (_, i) => (i % 4 === 3 ? 2_000_000 : 20_000));
    const pushes = await makePushes(workspace.in("work"), sizes);
    const acknowledged: MadePush[] = [];
    for (let round = 0; round < 12; round++) {
      const [whole, cut] = pushes.slice(round * 2) as [MadePush, MadePush];
      const server = await serve();
      await pushWhole(server, whole);
      acknowledged.push(whole);
      // From the commands and little more to the last byte missing; then all of it, with ever more time to work.
      const { length } = cut.body;
      const bytes = round < 6 ? Math.min(200 + Math.floor((length * round) / 5), length - 1) : length;
      const before = quarantines(bare);
      const request = await beginPush(server, cut, bytes);
      if (round < 6) await newQuarantine(bare, before);
      else await pause((round - 6) * 6);
      await kill(server);
      if ((await request.closed).includes(`ok ${cut.ref}\n`)) acknowledged.push(cut);
      expect(removeLocks().length).toBeLessThan(3);
      await isWhole(acknowledged);
    }
    // What is left of them goes once it is old enough to be nobody's.
    const objects = join(bare.directory, "objects");
    const leftovers = (): string[] => [
      ...readdirSync(objects).filter((name) => name.startsWith("tmp_")),
      ...readdirSync(join(objects, "pack")).filter((name) => /^tmp|\.keep$/.test(name)),
    ];
    expect(leftovers().length).toBeGreaterThanOrEqual(6);
    const old = Date.now() / 1000 - 3 * 86_400;
    for (const name of readdirSync(objects, { recursive: true, encoding: "utf8" }))
      utimesSync(join(objects, name), old, old);
    const server = await serve();
    await workspace.run("ls-remote", `${server.url}/app.git`);
    for (let looks = 0; leftovers().length > 0 && looks < 2000; looks++) await pause(10);
    expect(leftovers()).toEqual([]);
    await isWhole(acknowledged);
  });

  it.each(HOOKS)("is whole when it was killed while %s ran", async (hook) => {
    const marker = join(workspace.directory, "marker");
    mkdirSync(marker);
    const path = join(bare.directory, "hooks", hook);
    mkdirSync(join(bare.directory, "hooks"), { recursive: true });
    writeFileSync(path, `#!/bin/sh\ntouch ${marker}/runs\nsleep 2\n`);
    chmodSync(path, 0o755);
    const [push, next] = (await makePushes(workspace.in("work"), [20_000, 20_000])) as [MadePush, MadePush];
    const server = await serve("--repository-hooks");
    const request = await beginPush(server, push);
    for (let looks = 0; !existsSync(join(marker, "runs")) && looks < 1000; looks++) await pause(10);
    expect(existsSync(join(marker, "runs"))).toBe(true);
    await kill(server);
    const answer = await request.closed;
    const locks = removeLocks();
    // The refs move under their locks only.
    if (hook !== "reference-transaction") expect(locks).toEqual([]);
    await isWhole(answer.includes(`ok ${push.ref}\n`) ? [push] : []);
    const refs = await bare.run("for-each-ref");
    if (hook === "post-receive") expect(refs).toContain(push.oid);
    else expect(refs).toBe("");
    rmSync(path);
    const restarted = await serve();
    await pushWhole(restarted, next);
    await isWhole([next]);
  });
});

describe("a server that is told to stop", () => {
  let workspace: GitClient;
  beforeEach(() => {
    workspace = createWorkspace();
  });
  afterEach(() => removeDirectory(workspace));

  it.each(["SIGTERM", "SIGINT"] as const)("lets a push that runs complete after %s", async (signal) => {
    const directory = join(workspace.directory, "repositories");
    await workspace.run("init", "-q", "work");
    await workspace.run("init", "-q", "--bare", "repositories/app.git");
    const [push] = (await makePushes(workspace.in("work"), [300_000])) as [MadePush];
    const server = await startServe(directory);
    const head = postHead("git-receive-pack", { length: push.body.length, headers: ["Connection: close"] });
    const half = push.body.length >> 1;
    const request = await openRequest(
      server.url,
      Buffer.concat([Buffer.from(head), push.body.subarray(0, half)]),
    );
    await newQuarantine(workspace.in("repositories/app.git"), []);
    const ended = server.end(signal);
    await new Promise<void>((resolve) => {
      const look = (): void => void (server.printed().includes("stopping; 1 request") && resolve());
      server.child.stderr?.on("data", look);
      look();
    });
    // Nobody new is let in.
    let refused: unknown;
    for (let tries = 0; refused === undefined && tries < 500; tries++) {
      const late = await openRequest(server.url).catch((error: unknown) => void (refused = error));
      late?.socket.destroy();
    }
    expect(refused).toMatchObject({ code: expect.stringMatching(/^ECONN(REFUSED|RESET)$/) });
    request.write(push.body.subarray(half));
    expect(await request.closed).toContain(`ok ${push.ref}\n`);
    expect(await ended).toBe(0);
    const bare = workspace.in("repositories/app.git");
    expect(await bare.run("rev-parse", push.ref)).toBe(push.oid);
    await bare.run("fsck", "--strict");
  });
});

function quarantines(bare: GitClient): readonly string[] {
  return readdirSync(join(bare.directory, "objects")).filter((name) => name.startsWith("tmp_"));
}

/** Waits until a push has begun to write. */
async function newQuarantine(bare: GitClient, before: readonly string[]): Promise<void> {
  for (let looks = 0; looks < 2000; looks++) {
    if (quarantines(bare).some((name) => !before.includes(name))) return;
    await pause(5);
  }
  throw new Error("no push has begun");
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
