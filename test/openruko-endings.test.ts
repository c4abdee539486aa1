/** How sessions at Openruko's front door end: every way ends the whole chain, and nobody waits for ever. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ssh2, { type ClientChannel } from "ssh2";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import {
  type Front,
  makeWork,
  type Openruko,
  type Person,
  startOpenruko,
  writeRecords,
} from "./support/openruko.js";
import { settled } from "./support/settled.js";

let workspace: GitClient;
let openruko: Openruko;
let ada: Person;

beforeEach(async () => {
  workspace = createWorkspace();
  openruko = await startOpenruko(workspace.directory);
  ada = openruko.person("ada");
});
afterEach(async () => {
  await openruko.close();
  removeDirectory(workspace);
});

const push = (work: GitClient, at: Front, app: string, ...refs: string[]): Promise<GitResult> =>
  work.tryWith(
    { env: at.client(ada).environment },
    "push",
    at.url(app),
    ...(refs.length > 0 ? refs : ["main"]),
  );

/** A build that waits in its hook for a file. @returns lets it go on */
async function appThatWaits(name: string): Promise<() => void> {
  const path = await openruko.app(name, ada);
  const go = join(path, "go");
  mkdirSync(join(path, "hooks"), { recursive: true });
  const hook = join(path, "hooks", "pre-receive");
  writeFileSync(
    hook,
    `#!/bin/sh\necho building\nwhile [ -d '${path}' ] && [ ! -e '${go}' ]; do sleep 0.05; done\n`,
  );
  chmodSync(hook, 0o755);
  return () => writeFileSync(go, "");
}

/** A client that can send signals, with its command running. */
async function connect(
  front: Front,
  command: string,
): Promise<{ client: ssh2.Client; channel: ClientChannel }> {
  const client = new ssh2.Client();
  client.on("error", () => undefined);
  client.connect({
    host: "127.0.0.1",
    port: front.port,
    username: "git",
    privateKey: readFileSync(ada.path),
  });
  await once(client, "ready");
  const channel = await new Promise<ClientChannel>((resolve, reject) =>
    client.exec(command, (error, opened) => (error === undefined ? resolve(opened) : reject(error))),
  );
  return { client, channel };
}

interface Ending {
  readonly status: number | null;
  readonly stderr: string;
}

function endOf(channel: ClientChannel): Promise<Ending> {
  const errors: Buffer[] = [];
  channel.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
  let status: number | null = null;
  channel.once("exit", (code: number | null) => (status = code));
  channel.resume();
  return new Promise((resolve) =>
    channel.once("close", () => resolve({ status, stderr: Buffer.concat(errors).toString() })),
  );
}

describe("a push", () => {
  it("waits for another to the same app, and is told so; others do not wait", async () => {
    const go = await appThatWaits("busy");
    await openruko.app("free", ada);
    const front = await openruko.serve({ pushQueueMax: 1 });
    const work = await makeWork(workspace, "work");
    const first = push(work, front, "busy");
    const build = await openruko.build(0);
    const second = push(work, front, "busy", "main:second");
    // It has its place in the queue once its own dyno is not asked for.
    while (front.server.active < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await push(work, front, "free")).toMatchObject({ status: 0 });
    const { environment } = front.client(ada);
    expect(await work.tryWith({ env: environment }, "ls-remote", front.url("busy"))).toMatchObject({
      status: 0,
    });
    const third = await push(work, front, "busy", "main:third");
    expect(third.stderr).toContain(" ! 1 other pushes to busy wait already; try again in a moment.");
    expect(third.status).not.toBe(0);
    expect(openruko.builds).toHaveLength(3);
    go();
    expect(await first).toMatchObject({ status: 0 });
    await build.closed;
    const waited = await second;
    expect(waited).toMatchObject({ status: 0 });
    expect(waited.stderr).toContain(" ! Another push to busy is running. This one waits for it to end.");
    expect((await workspace.in("busy.git").run("for-each-ref")).split("\n")).toHaveLength(2);
  });

  it("that waits leaves the queue with its client", async () => {
    const go = await appThatWaits("queue");
    const front = await openruko.serve({ pushQueueMax: 1 });
    const work = await makeWork(workspace, "work");
    const first = push(work, front, "queue");
    await openruko.build(0);
    const { client, channel } = await connect(front, "git-receive-pack 'queue.git'");
    await once(channel.stderr, "data");
    client.destroy();
    while (front.server.active > 1) await new Promise((resolve) => setTimeout(resolve, 5));
    go();
    expect(await first).toMatchObject({ status: 0 });
    await settled(front.server);
    expect(openruko.builds).toHaveLength(1);
  });

  it("whose client leaves in the middle of its pack is ended in the dyno as well", async () => {
    const path = await openruko.app("half", ada);
    const front = await openruko.serve();
    const { client, channel } = await connect(front, "git-receive-pack 'half.git'");
    await once(channel, "data");
    const zero = "0".repeat(40);
    const command = `${zero} ${"1".repeat(40)} refs/heads/main\0report-status`;
    channel.write(
      `${(command.length + 4).toString(16).padStart(4, "0")}${command}0000PACK\0\0\0\u0002\0\0\0\u0009`,
    );
    await new Promise<void>((resolve) => channel.write(Buffer.alloc(100_000), () => resolve()));
    client.destroy();
    const build = await openruko.build(0);
    await build.closed;
    expect(await workspace.run("-C", path, "for-each-ref")).toBe("");
    await settled(front.server);
  });

  it("is one of few at once of the same user", async () => {
    const go = await appThatWaits("few");
    const bob = openruko.person("bob");
    openruko.apps.set("few", [ada, bob]);
    const front = await openruko.serve({ sessionsPerUserMax: 1 });
    const work = await makeWork(workspace, "work");
    const first = push(work, front, "few");
    await openruko.build(0);
    const list = (person: Person): Promise<GitResult> =>
      work.tryWith({ env: front.client(person).environment }, "ls-remote", front.url("few"));
    expect((await list(ada)).stderr).toContain(
      " ! 1 sessions of ada are at work already; try again in a moment.",
    );
    expect(await list(bob)).toMatchObject({ status: 0 });
    go();
    expect(await first).toMatchObject({ status: 0 });
    await settled(front.server);
    expect(await list(ada)).toMatchObject({ status: 0 });
  });

  it("whose client is killed is ended in the dyno as well, and makes room", async () => {
    const go = await appThatWaits("left");
    const front = await openruko.serve();
    const work = await makeWork(workspace, "work");
    const { environment } = front.client(ada);
    const child = spawn("git", ["push", front.url("left"), "main"], {
      cwd: work.directory,
      env: { ...process.env, ...environment, GIT_CONFIG_GLOBAL: "/dev/null" },
      detached: true,
      stdio: ["ignore", "ignore", "pipe"],
    });
    const build = await openruko.build(0);
    for await (const chunk of child.stderr) if (String(chunk).includes("building")) break;
    // The whole of it: git, and the ssh that it runs.
    process.kill(-(child.pid as number), "SIGKILL");
    await build.closed;
    expect(build.told).toBe("end");
    expect(build.child?.signalCode ?? build.child?.exitCode).not.toBeNull();
    go();
    expect(await push(work, front, "left")).toMatchObject({ status: 0 });
    await settled(front.server);
  });
});

describe("a session", () => {
  it("is none for a key that was removed while its connection stood", async () => {
    await openruko.app("web", ada);
    const front = await openruko.serve({ keyMaxAgeMs: 0 });
    const { client, channel } = await connect(front, "git-upload-pack 'web.git'");
    channel.write("0000");
    expect((await endOf(channel)).status).toBe(0);
    openruko.remove(ada);
    const again = await new Promise<ClientChannel>((resolve, reject) =>
      client.exec("git-upload-pack 'web.git'", (error, opened) =>
        error === undefined ? resolve(opened) : reject(error),
      ),
    );
    expect(await endOf(again)).toEqual({
      status: 1,
      stderr: "\n ! The key that you signed in with is not registered any more.\n\n",
    });
    expect(openruko.builds).toHaveLength(1);
    client.end();
  });

  it("is ended after its longest time, and the build with it", async () => {
    await appThatWaits("long");
    const front = await openruko.serve({ sessionTimeoutMs: 1500 });
    const { status, stderr } = await push(await makeWork(workspace, "work"), front, "long");
    expect(status).not.toBe(0);
    expect(stderr).toContain(
      " ! The session has taken 1.5 seconds, which is the longest it may, and is ended.",
    );
    const build = await openruko.build(0);
    await build.closed;
    expect(build.told).toBe("end");
  });

  it("is cut off where the dyno does not heed that it is to end", async () => {
    await openruko.app("deaf", ada);
    openruko.behave = (build) => {
      build.socket.write("0000");
      // It goes on as if nothing had been said, until nobody is there.
      const timer = setInterval(() => build.socket.write("0000"), 20);
      build.socket.once("end", () => (build.told = "end"));
      build.socket.once("close", () => clearInterval(timer));
      build.socket.resume();
    };
    const front = await openruko.serve({ sessionTimeoutMs: 300, exitTimeoutMs: 100 });
    const { channel } = await connect(front, "git-upload-pack 'deaf.git'");
    const { status, stderr } = await endOf(channel);
    expect(status).toBe(128);
    expect(stderr).toContain(" ! Error R12 (Exit timeout): the build has not ended within 0.1 seconds");
    const build = await openruko.build(0);
    await build.closed;
    expect(build.told).toBe("end");
  });

  it.each([
    ["TERM", 143, "end"],
    ["INT", 130, "end"],
    ["KILL", 137, "cut"],
  ] as const)("passes SIG%s on", async (name, expected, told) => {
    const go = await appThatWaits("signalled");
    const front = await openruko.serve();
    const { channel } = await connect(front, "git-receive-pack 'signalled.git'");
    const ended = endOf(channel);
    await once(channel, "data");
    // One that means nothing changes nothing.
    channel.signal("USR1");
    channel.signal(name);
    expect((await ended).status).toBe(expected);
    const build = await openruko.build(0);
    await build.closed;
    expect(build.told).toBe(told);
    go();
  });

  it("ends when the dyno was not ready in time", async () => {
    await openruko.app("slow", ada);
    openruko.behave = () => undefined;
    const front = await openruko.serve({ provisionTimeoutMs: 200 });
    const { status, stderr } = await front.client(ada).ssh(["git@127.0.0.1", "git-upload-pack 'slow.git'"]);
    expect(status).toBe(127);
    expect(stderr).toBe("\n ! Unable to contact build server. It was not ready within 0.2 seconds.\n\n");
    await (await openruko.build(0)).closed;
    // Nor when the API server does not say where it is.
    openruko.answer = ({ method }) => method === "POST";
    expect(await front.client(ada).ssh(["git@127.0.0.1", "git-upload-pack 'slow.git'"])).toMatchObject({
      status: 127,
    });
  });

  it("that fetches ends when nothing moves; a build may be silent", async () => {
    const front = await openruko.serve({}, { limits: { idleTimeoutMs: 400 } });
    const go = await appThatWaits("silent");
    // Nobody asks for anything, and git waits for it.
    const asked = front.client(ada).ssh(["git@127.0.0.1", "git-upload-pack 'silent.git'"]);
    const pushed = push(await makeWork(workspace, "work"), front, "silent");
    const { status, stderr } = await asked;
    expect(stderr).toBe("\n ! Nothing has moved for 0.4 seconds, so the session is ended.\n\n");
    expect(status).toBe(128);
    await openruko.build(1);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    go();
    expect(await pushed).toMatchObject({ status: 0 });
  });

  it("says in the log that it goes on", async () => {
    const go = await appThatWaits("beating");
    const front = await openruko.serve({ heartbeatMs: 1000 });
    const pushed = push(await makeWork(workspace, "work"), front, "beating");
    const { id } = await openruko.build(0);
    await front.heard(`dyno ${id} is still at work`);
    go();
    expect(await pushed).toMatchObject({ status: 0 });
  });

  it("goes to meet a dyno whose client has left meanwhile, to end it", async () => {
    await openruko.app("orphan", ada);
    const front = await openruko.serve();
    let go: () => void = () => undefined;
    openruko.hold = new Promise((resolve) => (go = resolve));
    const { client } = await connect(front, "git-receive-pack 'orphan.git'");
    while (!openruko.asked.some((each) => each.startsWith("POST")))
      await new Promise((resolve) => setTimeout(resolve, 5));
    // Closed by both sides, so the server knows.
    client.end();
    await once(client, "close");
    go();
    const build = await openruko.build(0);
    await build.closed;
    expect(build.told).toBe("end");
    await settled(front.server);
  });

  it.each<[string, string | undefined, Partial<Ending>]>([
    [
      "says nothing and closes",
      undefined,
      { status: 127, stderr: "\n ! Unable to contact build server.\n\n" },
    ],
    [
      "says why it cannot",
      "E: \n ! Problem provisioning build server\n\n",
      {
        status: 127,
        stderr: " \n ! Problem provisioning build server\n\n",
      },
    ],
    [
      "says it in no protocol at all",
      "Dyno does not exist.",
      { status: 127, stderr: "Dyno does not exist." },
    ],
  ])("ends with a dyno that %s", async (_, text, expected) => {
    await openruko.app("early", ada);
    openruko.behave = ({ socket }) => void (text === undefined ? socket.end() : socket.end(text));
    const front = await openruko.serve();
    const { channel } = await connect(front, "git-upload-pack 'early.git'");
    expect(await endOf(channel)).toEqual(expected);
  });

  it("tells of a dyno that is cut off in the middle", async () => {
    await openruko.app("broken", ada);
    openruko.behave = ({ socket }) => void socket.write("0010half a l");
    const front = await openruko.serve();
    const { channel } = await connect(front, "git-upload-pack 'broken.git'");
    const ended = endOf(channel);
    await once(channel, "data");
    (await openruko.build(0)).cut();
    const { status, stderr } = await ended;
    expect(stderr).toBe("\n ! The connection to the build server broke off.\n\n");
    expect(status).toBe(128);
  });

  it("ends when the server is closed", async () => {
    await appThatWaits("closing");
    const front = await openruko.serve();
    const { channel } = await connect(front, "git-receive-pack 'closing.git'");
    const ended = endOf(channel);
    await once(channel, "data");
    await front.server.close({ graceMs: 0 });
    await ended;
    await (await openruko.build(0)).closed;
  });

  it("passes the end of what the client sends on where dyno hosts know it", async () => {
    await openruko.app("half", ada);
    openruko.behave = ({ socket }) => {
      socket.write("0000");
      const got: Buffer[] = [];
      socket.on("data", (chunk: Buffer) => got.push(chunk));
      socket.once("end", () => socket.end(`0010${Buffer.concat(got).toString().padEnd(12)}`));
    };
    const front = await openruko.serve({ halfClose: true });
    const { status, stdout } = await front
      .client(ada)
      .ssh(["git@127.0.0.1", "git-upload-pack 'half.git'"], "what came");
    expect({ status, stdout }).toEqual({ status: 0, stdout: "00000010what came   " });
  });
});

describe("a slow side", () => {
  const MANY = 64 * 1024 * 1024;

  it("a client that does not read slows the dyno", async () => {
    await openruko.app("fast", ada);
    let sent = 0;
    let isDone = false;
    openruko.behave = ({ socket }) => {
      const write = writeRecords(socket);
      void (async () => {
        const line = Buffer.alloc(16_384, "x");
        line.write("4000", "latin1");
        for (; sent < MANY; sent += line.length) await write(line);
        isDone = true;
        socket.end();
      })();
    };
    const front = await openruko.serve();
    const { client, channel } = await connect(front, "git-upload-pack 'fast.git'");
    channel.pause();
    // Until nothing moves any more.
    for (let before = -1; before !== sent; ) {
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(sent).toBeLessThan(MANY / 2);
    let got = 0;
    channel.on("data", (chunk: Buffer) => (got += chunk.length));
    const { status } = await endOf(channel);
    expect({ status, got, isDone }).toEqual({ status: 0, got: MANY, isDone: true });
    client.end();
  });

  it("a client that does not read is not waited for when its session is over", async () => {
    await openruko.app("stuck", ada);
    openruko.behave = ({ socket }) => {
      const line = Buffer.alloc(16_384, "x");
      line.write("4000", "latin1");
      const more = (): void => {
        while (socket.writable && socket.write(line));
      };
      socket.on("drain", more);
      more();
    };
    const front = await openruko.serve(
      { sessionTimeoutMs: 500, exitTimeoutMs: 100 },
      { limits: { idleTimeoutMs: 500 } },
    );
    const { client, channel } = await connect(front, "git-upload-pack 'stuck.git'");
    channel.pause();
    await once(client, "close");
    await front.heard("it does not read how its command ended");
    await settled(front.server);
  });

  it("a dyno that does not read slows the client", async () => {
    await openruko.app("lazy", ada);
    let read = 0;
    openruko.behave = ({ socket }) => {
      socket.write("0000");
      socket.pause();
    };
    const front = await openruko.serve();
    const { client, channel } = await connect(front, "git-receive-pack 'lazy.git'");
    await once(channel, "data");
    const chunk = Buffer.alloc(64 * 1024);
    let written = 0;
    const writing = (async () => {
      for (; written < MANY; written += chunk.length) if (!channel.write(chunk)) await once(channel, "drain");
      channel.end();
    })();
    for (let before = -1; before !== written; ) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(written).toBeLessThan(MANY / 2);
    const { socket } = await openruko.build(0);
    socket.on("data", (bytes: Buffer) => {
      read += bytes.length;
      if (read === MANY) socket.end();
    });
    socket.resume();
    await writing;
    expect((await endOf(channel)).status).toBe(0);
    expect(read).toBe(MANY);
    client.end();
  });
});
