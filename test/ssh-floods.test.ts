/** What clients of SSH can do besides using git: silence, crowds, floods, leaving. */
import { once } from "node:events";
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ssh2 from "ssh2";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { encodeSshString } from "../src/access/ssh-wire.js";
import type { LibraryProtocol } from "../src/transport/ssh/library.js";
import { createRandom } from "./support/fuzz.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { settled } from "./support/settled.js";
import { createSshClient, type SshClient } from "./support/ssh-client.js";
import { type SshTestServer, startSshServer } from "./support/ssh-server.js";

describe("an SSH server among clients that mean no good", () => {
  let workspace: GitClient;
  let server: SshTestServer;
  const sockets: Socket[] = [];
  const sshServer = { hostKeyDirectory: inject("hostKeyDirectory") };

  beforeEach(() => {
    workspace = createWorkspace();
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await server.close();
    removeDirectory(workspace);
  });

  const clientOf = (): SshClient =>
    createSshClient({ directory: workspace.directory, port: server.ssh.port });
  const greet = async (): Promise<string> => (await clientOf().ssh(["git@127.0.0.1"])).stderr;
  function raw(): { readonly socket: Socket; readonly closed: Promise<void> } {
    const socket = connect(server.ssh.port, "127.0.0.1");
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.resume();
    return { socket, closed: new Promise((resolve) => socket.once("close", () => resolve())) };
  }
  /** The library's client, whose insides a test may abuse. */
  async function abuse(): Promise<{ client: ssh2.Client; closed: Promise<void> }> {
    const client = new ssh2.Client();
    client.on("error", () => undefined);
    const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
    client.connect({ host: "127.0.0.1", port: server.ssh.port, username: "git" });
    await once(client, "ready");
    return { client, closed };
  }

  it("closes connections on which nothing, too little or nonsense comes", async () => {
    server = await startSshServer({ limits: { sshLoginTimeoutMs: 300 } });
    const silent = raw();
    const slow = raw();
    const drip = setInterval(() => slow.socket.write("S"), 20);
    const web = raw();
    web.socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const returns = raw();
    for (let sent = 0; sent < 40; sent++) returns.socket.write(Buffer.alloc(1024, "\r"));
    const halfway = raw();
    halfway.socket.write("SSH-2.0-half\r\n");
    const random = raw();
    random.socket.write(Buffer.concat([Buffer.from("SSH-2.0-noise\r\n"), randomBytes(4096)]));
    await Promise.all([silent, slow, web, returns, halfway, random].map(({ closed }) => closed));
    clearInterval(drip);
    expect(await greet()).toContain("There is no shell");
  });

  it("holds only so many strangers, and lets others in between them", async () => {
    server = await startSshServer({ limits: { sshStartupsMax: 50 } });
    const crowd = Array.from({ length: 500 }, () => raw());
    let open = crowd.length;
    const thinned = new Promise<void>((resolve) => {
      for (const { closed } of crowd) void closed.then(() => (--open === 50 ? resolve() : undefined));
    });
    await thinned;
    expect(await greet()).toContain("There is no shell");
    expect(open).toBeLessThanOrEqual(50);
  });

  it("closes connections that were signed in and do nothing", async () => {
    server = await startSshServer({ limits: { idleTimeoutMs: 200 } });
    const { client, closed } = await abuse();
    await closed;
    client.destroy();
  });

  it("opens only so many sessions on one connection", async () => {
    server = await startSshServer({ limits: { sshSessionsMax: 3 } });
    const { client } = await abuse();
    const { _protocol: protocol } = client as unknown as {
      _protocol: {
        session(id: number, window: number, packet: number): void;
        _handlers: Record<string, (...args: unknown[]) => void>;
      };
    };
    const answers: string[] = [];
    const all = new Promise<void>((resolve) => {
      for (const name of ["CHANNEL_OPEN_CONFIRMATION", "CHANNEL_OPEN_FAILURE"]) {
        protocol._handlers[name] = () => {
          answers.push(name);
          if (answers.length === 5) resolve();
        };
      }
    });
    for (let id = 0; id < 5; id++) protocol.session(id, 1000, 1000);
    await all;
    expect(answers.filter((name) => name === "CHANNEL_OPEN_FAILURE")).toHaveLength(2);
    client.destroy();
  });

  it("is not made to send packets of no bytes", async () => {
    server = await startSshServer();
    const { client, closed } = await abuse();
    (
      client as unknown as { _protocol: { session(id: number, window: number, packet: number): void } }
    )._protocol.session(0, 1_000_000, 0);
    await closed;
    expect(server.said.join("\n")).toContain("takes no packets of a useful size");
  });

  it("does not exchange keys without end", async () => {
    server = await startSshServer();
    const { client, closed } = await abuse();
    const { _protocol: protocol } = client as unknown as { readonly _protocol: { rekey(): void } };
    let count = 0;
    client.on("handshake", () => {
      if (++count < 1000) protocol.rekey();
    });
    protocol.rekey();
    await closed;
    expect(count).toBeLessThan(200);
    expect(server.said.join("\n")).toContain("it exchanges keys without end");
  });

  it("hears no further who does not read its answers", async () => {
    server = await startSshServer();
    const { client } = await abuse();
    const { _sock: socket, _protocol: protocol } = client as unknown as {
      readonly _sock: Socket;
      readonly _protocol: { ping(): void };
    };
    socket.pause();
    let stopped = false;
    for (let sent = 0; sent < 600 && !stopped; sent++) {
      for (let count = 0; count < 2000; count++) protocol.ping();
      await new Promise(setImmediate);
      // What is written stays here once the server does not read any more.
      stopped = socket.writableLength > 4 * 1024 * 1024;
    }
    expect(stopped).toBe(true);
    expect(await greet()).toContain("There is no shell");
    socket.destroy();
  });

  it("outlives messages of every kind with anything in them", { timeout: 60_000 }, async () => {
    server = await startSshServer();
    const random = createRandom(7);
    const text = (value: string): Buffer => encodeSshString(value);
    const number = (): Buffer => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE([0, 1, 2, 0x7fff_ffff, 0xffff_ffff, random(70_000)][random(6)] as number);
      return bytes;
    };
    const words = [
      "session",
      "exec",
      "shell",
      "env",
      "pty-req",
      "git-upload-pack 'x'",
      "publickey",
      "none",
      "ssh-userauth",
      "",
    ];
    const piece = (): Buffer => {
      switch (random(4)) {
        case 0:
          return number();
        case 1:
          return text(words[random(words.length)] as string);
        case 2:
          return Buffer.from([random(2)]);
        default:
          return Buffer.from(Array.from({ length: random(40) }, () => random(256)));
      }
    };
    const types = [
      1, 2, 3, 4, 5, 6, 7, 50, 51, 52, 53, 60, 61, 80, 81, 82, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100,
      200,
    ];
    /** Messages as they should be, in an order that makes no sense. */
    const orderly = (kind: number): Buffer => {
      const channel = Buffer.alloc(4);
      const message = (type: number, ...parts: Buffer[]): Buffer =>
        Buffer.concat([Buffer.from([type]), channel, ...parts]);
      const request = (name: string, ...parts: Buffer[]): Buffer =>
        message(98, text(name), Buffer.from([1]), ...parts);
      switch (kind) {
        case 0:
          return Buffer.concat([
            Buffer.from([90]),
            text("session"),
            channel,
            number(),
            Buffer.from("00008000", "hex"),
          ]);
        case 1:
        case 2:
          return request("exec", text(`git-${random(2) === 0 ? "receive" : "upload"}-pack 'x'`));
        case 3:
          return message(94, text("0000"));
        case 4:
          return message(94, text("0032want 0000000000000000000000000000000000000000\n0000"));
        case 5:
          return message(93, number());
        case 6:
          return message(96);
        case 7:
          return message(97);
        default:
          return request(words[random(5)] as string, text("x"), text("y"));
      }
    };
    for (let count = 0; count < 200; count++) {
      const { client, closed } = await abuse();
      client.removeAllListeners("error").on("error", () => undefined);
      const { _protocol: protocol } = client as unknown as { readonly _protocol: LibraryProtocol };
      for (let message = 0; message < 12; message++) {
        const payload =
          random(3) === 0
            ? Buffer.concat([
                Buffer.from([types[random(types.length)] as number]),
                ...Array.from({ length: random(6) }, piece),
              ])
            : message === 0
              ? orderly(0)
              : orderly(random(9));
        try {
          const { write } = protocol._packetRW;
          const packet = write.alloc(payload.length);
          payload.copy(packet, write.allocStart);
          protocol._cipher.encrypt(write.finalize(packet));
        } catch {
          break;
        }
      }
      client.end();
      await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 2000).unref())]);
      client.destroy();
    }
    expect(await greet()).toContain("There is no shell");
    await settled(server.server);
    const said = server.said.join("\n");
    expect(said).toMatch(/ssh git-receive-pack 'x' (?:0|128|gone)/);
    expect(said).not.toMatch(/failed|TypeError|RangeError/);
  });

  async function makeLarge(root: string, megabytes: number): Promise<void> {
    mkdirSync(root, { recursive: true });
    await workspace.run("init", "-q", "large");
    for (let number = 0; number < megabytes / 4; number++) {
      writeFileSync(join(workspace.directory, "large", `file-${number}`), randomBytes(4 * 1024 * 1024));
    }
    const work = workspace.in("large");
    await work.run("-c", "core.compression=0", "add", ".");
    await work.run("commit", "-q", "-m", "large");
    await workspace.run("clone", "-q", "--bare", "large", join(root, "large.git"));
  }

  it("sends 64 MB, whole, also while keys change", { timeout: 120_000 }, async () => {
    const root = join(workspace.directory, "repositories");
    await makeLarge(root, 64);
    server = await startSshServer({ repositories: root, sshServer });
    const url = `ssh://git@127.0.0.1:${server.ssh.port}/large.git`;
    const { environment } = createSshClient({
      directory: workspace.directory,
      port: server.ssh.port,
      options: ["RekeyLimit=4M"],
    });
    const cloned = await workspace.tryWith({ env: environment }, "clone", "-q", "--bare", url, "copy.git");
    expect(cloned).toMatchObject({ status: 0 });
    await workspace.in("copy.git").run("fsck", "--strict");
    const pushed = await workspace
      .in("large")
      .tryWith({ env: environment }, "push", "-q", url, "HEAD:refs/heads/other");
    expect(pushed).toMatchObject({ status: 0 });
  });

  it("exchanges keys anew by itself", { timeout: 60_000 }, async () => {
    const root = join(workspace.directory, "repositories");
    await makeLarge(root, 24);
    server = await startSshServer({
      repositories: root,
      sshServer,
      limits: { sshKeyBytesMax: 4 * 1024 * 1024 },
    });
    const client = createSshClient({
      directory: workspace.directory,
      port: server.ssh.port,
      options: ["LogLevel=DEBUG1"],
    });
    const url = `ssh://git@127.0.0.1:${server.ssh.port}/large.git`;
    const cloned = await workspace.tryWith(
      { env: client.environment },
      "clone",
      "-q",
      "--bare",
      url,
      "copy.git",
    );
    expect(cloned.status).toBe(0);
    expect(cloned.stderr.split("SSH2_MSG_NEWKEYS received").length - 1).toBeGreaterThanOrEqual(4);
    await workspace.in("copy.git").run("fsck", "--strict");
  });

  it("frees everything when a client leaves in the middle", { timeout: 60_000 }, async () => {
    const root = join(workspace.directory, "repositories");
    await makeLarge(root, 24);
    server = await startSshServer({ repositories: root, sshServer, autoCreate: "push" });
    const { environment } = clientOf();
    const url = `ssh://git@127.0.0.1:${server.ssh.port}`;
    const env = { ...environment, PATH: process.env["PATH"], HOME: workspace.directory };
    const [command = "", ...args] = (environment["GIT_SSH_COMMAND"] ?? "").split(" ");
    const fetching = spawn(
      command,
      [...args, "-p", String(server.ssh.port), "git@127.0.0.1", "git-upload-pack 'large'"],
      { env },
    );
    await once(fetching.stdout, "data");
    expect(server.server.active).toBe(1);
    fetching.kill("SIGKILL");
    await settled(server.server);
    const pushing = spawn(
      "git",
      ["-C", join(workspace.directory, "large"), "push", `${url}/new.git`, "HEAD"],
      {
        env: { ...env, GIT_TRACE_PACKET: "1" },
        detached: true,
      },
    );
    await new Promise<void>((resolve) => {
      let text = "";
      pushing.stderr.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes("push> 0000")) resolve();
      });
      pushing.once("close", () => resolve());
    });
    // With its ssh and its pack-objects, which would otherwise finish the push.
    if (pushing.pid !== undefined && pushing.exitCode === null) process.kill(-pushing.pid, "SIGKILL");
    await settled(server.server);
    const again = await workspace.tryWith({ env: environment }, "ls-remote", `${url}/large.git`);
    expect(again).toMatchObject({ status: 0 });
  });

  it("lets a running command finish when it closes, and nobody begin", { timeout: 30_000 }, async () => {
    let entered: (() => void) | undefined;
    const begun = new Promise<void>((resolve) => (entered = resolve));
    let goOn: (() => void) | undefined;
    const going = new Promise<void>((resolve) => (goOn = resolve));
    server = await startSshServer({
      handlers: {
        preReceive: async () => {
          entered?.();
          await going;
          return undefined;
        },
      },
    });
    await workspace.run("init", "-q", "work");
    await workspace.in("work").run("commit", "-q", "--allow-empty", "-m", "first");
    const idle = await abuse();
    const pushing = workspace
      .in("work")
      .tryWith(
        { env: clientOf().environment },
        "push",
        `ssh://git@127.0.0.1:${server.ssh.port}/app.git`,
        "main",
      );
    await begun;
    const closed = server.server.close({ graceMs: 20_000 });
    await idle.closed;
    expect(await greet()).toContain("Connection refused");
    goOn?.();
    const pushed = await pushing;
    expect(pushed.stderr).toMatch(/\* \[new branch\] +main -> main/);
    expect(pushed.status).toBe(0);
    await closed;
  });
});
