/**
 * 500 connections on every door on which nothing happens: strangers who have said nothing, people who have signed in, requests
 * that have been answered. Real clones work beside them, and all of them are gone in their time.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import ssh2 from "ssh2";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { writeCertificate } from "./support/certificate.js";
import { basicOf, type Doors, gitHeaders, openDoors } from "./support/doors.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { openRequest } from "./support/open-request.js";
import { pktLine } from "./support/raw-http.js";

const CROWD = 500;
/** Connections that are made at once. */
const AT_ONCE = 50;

let workspace: GitClient;
let doors: Doors;
const sockets: Socket[] = [];
const clients: ssh2.Client[] = [];

beforeEach(() => {
  workspace = createWorkspace();
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const client of clients.splice(0)) client.destroy();
  await doors.close();
  removeDirectory(workspace);
});

async function crowd(make: (i: number) => Promise<void>): Promise<void> {
  for (let made = 0; made < CROWD; made += AT_ONCE)
    await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => make(made + i)));
}

async function clones(urls: readonly string[]): Promise<void> {
  const env = { ...doors.sshAs("ada").environment, GIT_SSL_NO_VERIFY: "1" };
  for (const [i, url] of urls.entries()) {
    const args = [
      ...gitHeaders(url.startsWith("http") ? basicOf("ada") : {}),
      "clone",
      "-q",
      url,
      `copy-${i}`,
    ];
    expect(await workspace.tryWith({ env }, ...args)).toMatchObject({ status: 0 });
  }
}

async function push(url: string): Promise<void> {
  await workspace.run("init", "-q", "work");
  const work = workspace.in("work");
  await work.run("commit", "-q", "--allow-empty", "-m", "one");
  const env = { GIT_SSL_NO_VERIFY: "1" };
  const args = [...gitHeaders(basicOf("ada")), "push", "-q", url, "main"];
  expect(await work.tryWith({ env }, ...args)).toMatchObject({ status: 0 });
}

const openSockets = (): number => sockets.filter((socket) => !socket.destroyed).length;

describe("500 idle connections", { timeout: 120_000 }, () => {
  it("on HTTP, git:// and SSH together: clones over each work", async () => {
    doors = await openDoors(workspace, {
      anonymousRead: ["**"],
      limits: { headerTimeoutMs: 600_000, sshLoginTimeoutMs: 600_000, sshStartupsMax: CROWD },
    });
    const { httpUrl, gitUrl, sshPort } = doors;
    await push(`${httpUrl}/app.git`);
    for (const url of [httpUrl, gitUrl]) {
      await crowd(async () => {
        sockets.push((await openRequest(url)).socket);
      });
    }
    await crowd(async (i) => {
      // Half of them say who they are, and then nothing.
      const { socket } = await openRequest(
        `ssh://127.0.0.1:${sshPort}`,
        i % 2 === 0 ? "SSH-2.0-idle\r\n" : "",
      );
      sockets.push(socket);
    });
    await clones([`${httpUrl}/app.git`, `${gitUrl}/app.git`, `ssh://git@127.0.0.1:${sshPort}/app.git`]);
    // One had to make room for who signed in over SSH.
    expect(openSockets()).toBeGreaterThanOrEqual(3 * CROWD - 2);
    expect(doors.server.active).toBe(0);
  });

  it("are all gone in their time", async () => {
    doors = await openDoors(workspace, {
      limits: { headerTimeoutMs: 1000, sshLoginTimeoutMs: 1000, sshStartupsMax: CROWD },
    });
    const { httpUrl, gitUrl, sshPort } = doors;
    for (const url of [httpUrl, gitUrl, `ssh://127.0.0.1:${sshPort}`]) {
      await crowd(async () => {
        sockets.push((await openRequest(url)).socket);
      });
    }
    await vi.waitFor(() => expect(openSockets()).toBe(0), { timeout: 60_000, interval: 100 });
    await push(`${httpUrl}/app.git`);
    await clones([`${httpUrl}/app.git`, `ssh://git@127.0.0.1:${sshPort}/app.git`]);
  });

  it("that have been served, on HTTP and git://", async () => {
    doors = await openDoors(workspace, { anonymousRead: ["**"] });
    const { httpUrl, gitUrl, sshPort } = doors;
    await push(`${httpUrl}/app.git`);
    await crowd(async () => {
      const request = await openRequest(
        httpUrl,
        "GET /app.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: localhost\r\n\r\n",
      );
      await request.seen(/HTTP\/1\.1 200 [^]*0000$/);
      sockets.push(request.socket);
    });
    // On git:// a conversation has begun, and holds a place for as long as it is open: there are 64.
    for (let i = 0; i < 60; i++) {
      const request = await openRequest(gitUrl, pktLine("git-upload-pack /app\0host=x\0\0version=2\0"));
      await request.seen(/version 2/);
      sockets.push(request.socket);
    }
    expect(doors.server.active).toBe(60);
    await clones([`${httpUrl}/app.git`, `${gitUrl}/app.git`, `ssh://git@127.0.0.1:${sshPort}/app.git`]);
    expect(doors.server.active).toBe(60);
  });

  it("that have signed in over SSH", async () => {
    doors = await openDoors(workspace);
    const { httpUrl, sshPort } = doors;
    await push(`${httpUrl}/app.git`);
    const privateKey = readFileSync(doors.keyOf("eve").path);
    await crowd(async () => {
      const client = new ssh2.Client();
      clients.push(client);
      client.on("error", () => undefined);
      const ready = once(client, "ready");
      client.connect({ host: "127.0.0.1", port: sshPort, username: "git", privateKey });
      await ready;
    });
    await clones([`${httpUrl}/app.git`, `ssh://git@127.0.0.1:${sshPort}/app.git`]);
  });

  it("over TLS, before the handshake and behind it", async () => {
    const tls = await writeCertificate(workspace.directory);
    doors = await openDoors(workspace, { limits: { headerTimeoutMs: 60_000 } }, { tls });
    const { httpUrl } = doors;
    const port = Number(new URL(httpUrl).port);
    await push(`${httpUrl}/app.git`);
    await crowd(async (i) => {
      if (i % 2 === 0) {
        sockets.push((await openRequest(httpUrl)).socket);
        return;
      }
      const socket: TLSSocket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false });
      sockets.push(socket);
      socket.on("error", () => undefined);
      await once(socket, "secureConnect");
    });
    await clones([`${httpUrl}/app.git`]);
    expect(openSockets()).toBe(CROWD);
  });
});
