/** Clients that stop reading, and clients that leave: memory stays bounded, no file, handle or place is lost. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { prepareToPlan } from "../src/engine/pack-plan.js";
import { createTestServer } from "../src/testing/test-server.js";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";
import { type MadePush, makePushes } from "./support/made-pushes.js";
import { type OpenRequest, openRequest, postHead } from "./support/open-request.js";
import { pktLine } from "./support/raw-http.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";

// Much work beside other tests on a small machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const LINUX = process.platform === "linux";
const MiB = 2 ** 20;
const CLOSE = ["Connection: close"];

/** A request for everything that a commit leads to. */
function cloneOf(oid: string): string {
  const body = `${pktLine("command=fetch\n")}0001${pktLine(`want ${oid}\n`)}${pktLine("done\n")}0000`;
  return postHead("git-upload-pack", { length: body.length, headers: CLOSE }) + body;
}

async function pause(milliseconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function until(condition: () => boolean, what: string, found = (): string => ""): Promise<void> {
  for (let looks = 0; looks < 3000; looks++) {
    if (condition()) return;
    await pause(10);
  }
  throw new Error(`never: ${what} ${found()}`);
}

/** What this process has open. */
function openFiles(): string {
  const names = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "closed";
    }
  });
  return names.toSorted().join(" ");
}

describe("clients that stall or leave", () => {
  let workspace: GitClient;
  let oid: string;
  let served: ServeProcess | undefined;

  beforeEach(async () => {
    workspace = createWorkspace();
    await workspace.run("init", "-q", "--bare", "repositories/app.git");
    await workspace.run("init", "-q", "work");
  });
  afterEach(async () => {
    await served?.end("SIGKILL");
    served = undefined;
    removeDirectory(workspace);
  });

  async function fill(megabytes: number): Promise<void> {
    const work = workspace.in("work");
    for (let i = 0; i < megabytes; i++) writeFileSync(join(work.directory, `file-${i}`), randomBytes(MiB));
    await work.run("-c", "core.looseCompression=0", "add", ".");
    await work.run("commit", "-q", "-m", "large");
    await work.run("-c", "pack.window=0", "push", "-q", "../repositories/app.git", "main");
    oid = await work.run("rev-parse", "HEAD");
  }

  const memoryOf = (pid: number): number =>
    Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
  const descriptorsOf = (pid: number | "self"): number => readdirSync(`/proc/${pid}/fd`).length;

  it.runIf(LINUX)("keeps memory bounded for 20 readers that stall in 25 MB, and forgets them", async () => {
    await fill(25);
    served = await startServe(join(workspace.directory, "repositories"), "--log", "none");
    const pid = served.child.pid ?? 0;
    const clone = (name: string) => workspace.run("clone", "-q", "--bare", `${served?.url}/app.git`, name);
    await clone("before.git");
    const memory = memoryOf(pid);
    const descriptors = descriptorsOf(pid);
    const stalled = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const request = await openRequest(served?.url ?? "", cloneOf(oid));
        await request.seen(/PACK/);
        request.socket.pause();
        return request;
      }),
    );
    // By now each has its socket's buffers full and waits; another reader is served all the same.
    await clone("beside.git");
    expect((memoryOf(pid) - memory) / MiB).toBeLessThan(200);
    for (const { socket } of stalled) socket.destroy();
    await until(() => descriptorsOf(pid) <= descriptors + 2, "descriptors are given back");
    await clone("after.git");
  });

  it("gives up on a reader that stalls for the idle time", async () => {
    await fill(20);
    const server = await createTestServer({
      repositories: join(workspace.directory, "repositories"),
      limits: { idleTimeoutMs: 300 },
    });
    try {
      const request = await openRequest(server.url, cloneOf(oid));
      await request.seen(/PACK/);
      request.socket.pause();
      expect(server.server.active).toBe(1);
      await until(() => server.server.active === 0, "the stalled reader is given up");
      request.socket.resume();
      expect((await request.closed).length).toBeLessThan(20 * MiB);
    } finally {
      await server.close();
    }
  });

  const incoming = (): readonly string[] =>
    readdirSync(join(workspace.directory, "repositories/app.git/objects")).filter((name) =>
      name.startsWith("tmp_"),
    );

  /** A push whose body stops in the middle, once its quarantine stands. */
  async function halfPush(url: string): Promise<OpenRequest> {
    const [push] = (await makePushes(workspace.in("work"), [200_000])) as [MadePush];
    const head = postHead("git-receive-pack", { length: push.body.length, headers: CLOSE });
    const half = push.body.subarray(0, push.body.length >> 1);
    const request = await openRequest(url, Buffer.concat([Buffer.from(head), half]));
    await until(() => incoming().length > 0, "the push has begun");
    return request;
  }

  it("gives up on a push that stalls, tells why, and removes what had come", async () => {
    const server = await createTestServer({
      repositories: join(workspace.directory, "repositories"),
      limits: { idleTimeoutMs: 300 },
    });
    try {
      const request = await halfPush(server.url);
      await request.seen(/unpack no byte arrived for 0.3 seconds\n.*ng refs\/heads\/push-0 unpacker error/s);
      await until(() => server.server.active === 0, "the push is given up");
      expect(incoming()).toEqual([]);
      request.socket.destroy();
    } finally {
      await server.close();
    }
  });

  it("removes what had come of a push that is cut off when the server closes", async () => {
    const server = await createTestServer({ repositories: join(workspace.directory, "repositories") });
    const request = await halfPush(server.url);
    await server.close();
    await request.closed;
    expect(server.server.active).toBe(0);
    expect(incoming()).toEqual([]);
    expect(await workspace.in("repositories/app.git").run("for-each-ref")).toBe("");
  });

  it.runIf(LINUX)("loses nothing by 200 clients that leave while they push or clone", async () => {
    const pushes = await makePushes(workspace.in("work"), [500_000, 2_000_000]);
    await fill(3);
    const errors: unknown[] = [];
    const server = await createTestServer({
      repositories: join(workspace.directory, "repositories"),
      durability: "none",
      log: ({ level, message, error }) => {
        if (level === "error") errors.push(message, error);
      },
    });
    const objects = join(workspace.directory, "repositories/app.git/objects");
    const listing = (): readonly string[] =>
      readdirSync(objects, { recursive: true, encoding: "utf8" }).toSorted();
    const leave = async (turn: number): Promise<void> => {
      if (turn % 9 === 8) {
        const pack = readdirSync(join(objects, "pack")).find((name) => name.endsWith(".pack"));
        const path = `/app.git/objects/pack/${pack}`;
        const request = await openRequest(server.url, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
        await once(request.socket, "data");
        request.socket.destroy();
        return;
      }
      if (turn % 4 === 3) {
        const request = await openRequest(server.url, cloneOf(oid));
        await once(request.socket, "data");
        if (turn % 8 === 3) request.socket.resetAndDestroy();
        else request.socket.destroy();
        return;
      }
      const { body } = pushes[turn % 2] as MadePush;
      const sent = Math.floor((body.length * (turn % 29)) / 29);
      const head = postHead("git-receive-pack", { length: body.length, headers: CLOSE });
      const request = await openRequest(server.url, head);
      await new Promise((resolve) => request.socket.write(body.subarray(0, sent), resolve));
      if (turn % 3 === 0) request.socket.resetAndDestroy();
      else if (turn % 3 === 1) request.socket.destroy();
      else request.socket.end();
    };
    const rounds = async (from: number, to: number): Promise<void> => {
      let turn = from;
      const work = async (): Promise<void> => {
        while (turn < to) await leave(turn++);
      };
      await Promise.all([work(), work(), work(), work(), work(), work()]);
      await until(() => server.server.active === 0, "all requests have ended");
    };
    try {
      await workspace.run("clone", "-q", server.urlOf("app"), "copy");
      await rounds(0, 20);
      const before = listing();
      // The thread of the pool that stays may be gone at this moment, with a clone that left: its descriptors count.
      await prepareToPlan();
      const [descriptors, filesBefore] = [descriptorsOf("self"), openFiles()];
      await rounds(20, 220);
      await until(() => listing().length <= before.length, "quarantines are removed");
      expect(listing()).toEqual(before);
      await until(
        () => descriptorsOf("self") <= descriptors + 2,
        "descriptors are given back",
        () => `: ${openFiles()}\nbefore: ${filesBefore}`,
      );
      expect(errors).toEqual([]);
      const [push] = await makePushes(workspace.in("work"), [1000]);
      await workspace.in("work").run("push", "-q", server.urlOf("app"), `${push?.oid}:refs/heads/last`);
    } finally {
      await server.close();
    }
  });
});
