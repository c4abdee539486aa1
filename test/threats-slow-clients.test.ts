/**
 * Clients that are slow on purpose ("slow-loris"): a byte now and then, in every place where a server waits for one. Either
 * a time that no byte makes longer ends it, or who does it holds up nobody but himself.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import type { Socket } from "node:net";
import ssh2 from "ssh2";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { basicOf, calledFrom, type Doors, gitHeaders, openDoors } from "./support/doors.js";
import { writeCertificate } from "./support/certificate.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type OpenRequest, openRequest, postHead } from "./support/open-request.js";
import { pktLine } from "./support/raw-http.js";

const SLOW = "192.0.2.7";
const ELSEWHERE = "198.51.100.1";
const DRIP_MS = 20;

let workspace: GitClient;
let doors: Doors;
const sockets: Socket[] = [];
const drips: NodeJS.Timeout[] = [];

beforeEach(() => {
  workspace = createWorkspace();
});
afterEach(async () => {
  for (const timer of drips.splice(0)) clearInterval(timer);
  for (const socket of sockets.splice(0)) socket.destroy();
  await doors.close();
  removeDirectory(workspace);
});

async function open(url: string, bytes: string | Buffer = ""): Promise<OpenRequest> {
  const request = await openRequest(url, bytes);
  sockets.push(request.socket);
  return request;
}

/** Sends the bytes one by one, and the last of them for ever. */
function drip({ socket }: Pick<OpenRequest, "socket">, bytes: string): void {
  let at = 0;
  drips.push(
    setInterval(() => {
      if (!socket.destroyed) socket.write(bytes[Math.min(at++, bytes.length - 1)] ?? "");
    }, DRIP_MS),
  );
}

async function pushSomething(name = "app"): Promise<void> {
  await workspace.run("init", "-q", "work");
  const work = workspace.in("work");
  await work.run("commit", "-q", "--allow-empty", "-m", "one");
  await work.run(...gitHeaders(basicOf("ada")), "push", "-q", `${doors.httpUrl}/${name}.git`, "main");
}

const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 20 });

let copies = 0;
async function clone(url: string, headers: Record<string, string>): Promise<void> {
  const env = doors.sshAs("ada").environment;
  const result = await workspace.tryWith(
    { env },
    ...gitHeaders(headers),
    "clone",
    "-q",
    url,
    `copy-${copies++}`,
  );
  expect(result).toMatchObject({ status: 0 });
}

describe("a byte now and then", () => {
  it("does not make the time for a request's head longer", async () => {
    doors = await openDoors(workspace, { limits: { headerTimeoutMs: 300 } });
    const slow = await open(doors.httpUrl, "GET /app.git/info/refs HTTP/1.1\r\nHost: localhost\r\n");
    drip(slow, "X-Slow: aaaaaaaa");
    expect(await slow.closed).toMatch(/^HTTP\/1\.1 408 |^$/);
  });

  it("nor that for a request of git://", async () => {
    doors = await openDoors(workspace, { limits: { headerTimeoutMs: 300 } });
    const slow = await open(doors.gitUrl);
    drip(slow, pktLine("git-upload-pack /app\0host=x\0").slice(0, 30));
    expect(await slow.closed).toBe("");
  });

  it("nor that for signing in over SSH: in the first line, in the key exchange, before and between attempts", async () => {
    doors = await openDoors(workspace, { limits: { sshLoginTimeoutMs: 400 } });
    const url = `ssh://127.0.0.1:${doors.sshPort}`;
    const line = await open(url);
    drip(line, "S");
    const exchange = await open(url, "SSH-2.0-slow\r\n");
    // The length of a packet that is on its way, and what could be its bytes.
    exchange.write(Buffer.from([0, 0, 4, 0, 8, 20]));
    drip(exchange, "a");
    const silent = await open(url, "SSH-2.0-silent\r\n");
    const clients = [0, 1].map((tries) => {
      const client = new ssh2.Client();
      client.on("error", () => undefined);
      const closed = once(client, "close");
      let tried = 0;
      client.connect({
        host: "127.0.0.1",
        port: doors.sshPort,
        username: "ada",
        authHandler: ((_left: unknown, _partial: unknown, give: (method: unknown) => void) => {
          if (tried++ < tries) give({ type: "password", username: "ada", password: "guess" });
        }) as never,
      });
      return closed;
    });
    await Promise.all([line.closed, exchange.closed, silent.closed, ...clients]);
    // OpenSSH may need longer itself than is given here, beside other tests: then once more.
    const hello = async (): Promise<void> =>
      expect((await doors.sshAs("ada").ssh(["git@127.0.0.1"])).stderr).toContain("hello ada");
    await vi.waitFor(hello, { timeout: 20_000, interval: 20 });
  });
});

describe("places in a repository that are held by who says nothing", () => {
  const PLACES = 4;
  /** Of four a caller gets three: as long as it has no more than are free. */
  const SHARE = 3;

  beforeEach(async () => {
    doors = await openDoors(workspace, {
      trustedProxies: ["loopback"],
      anonymousRead: ["**"],
      limits: { repositoryConcurrencyMax: PLACES, repositoryQueueMax: 4 },
    });
    await pushSomething();
  });

  it("are not all there are: bodies that come a byte at a time", async () => {
    const crowd: OpenRequest[] = [];
    for (let i = 0; i < 12; i++) {
      const headers = [`X-Forwarded-For: ${SLOW}`, "Connection: close"];
      const slow = await open(doors.httpUrl, postHead("git-upload-pack", { length: 60_000, headers }));
      drip(slow, "f000command=");
      crowd.push(slow);
    }
    await eventually(() => expect(doors.server.active).toBe(SHARE));
    // What finds no room to wait is told so at once.
    await eventually(() =>
      expect(crowd.filter(({ received }) => received.startsWith("HTTP/1.1 503"))).toHaveLength(5),
    );
    for (const address of [ELSEWHERE, "198.51.100.2"])
      await clone(`${doors.httpUrl}/app.git`, calledFrom(address));
    await clone(`ssh://git@127.0.0.1:${doors.sshPort}/app.git`, {});
    expect(doors.server.active).toBe(SHARE);
    for (const { socket } of crowd) socket.destroy();
    await eventually(() => expect(doors.server.active).toBe(0));
    await clone(`${doors.httpUrl}/app.git`, calledFrom(SLOW));
  });

  it("are not all there are: sessions of one user over SSH", async () => {
    const client = new ssh2.Client();
    client.on("error", () => undefined);
    client.connect({
      host: "127.0.0.1",
      port: doors.sshPort,
      username: "git",
      privateKey: readFileSync(doors.keyOf("eve").path),
    });
    await once(client, "ready");
    for (let i = 0; i < 6; i++) client.exec("git-upload-pack 'app'", () => undefined);
    await eventually(() => expect(doors.server.active).toBe(SHARE));
    await clone(`ssh://git@127.0.0.1:${doors.sshPort}/app.git`, {});
    await clone(`${doors.httpUrl}/app.git`, calledFrom(ELSEWHERE));
    client.end();
    await eventually(() => expect(doors.server.active).toBe(0));
  });
});

describe("connections over git:// that a balancer tells of", () => {
  it("hold up nobody else, and not the repository", async () => {
    doors = await openDoors(
      workspace,
      {
        trustedProxies: ["loopback"],
        anonymousRead: ["**"],
        limits: { repositoryConcurrencyMax: 4, repositoryQueueMax: 4 },
      },
      { proxyProtocol: ["git"] },
    );
    await pushSomething();
    const ask = `PROXY TCP4 ${SLOW} 192.0.2.1 4000 9418\r\n${pktLine("git-upload-pack /app\0host=x\0\0version=2\0")}`;
    for (let i = 0; i < 6; i++) await open(doors.gitUrl, ask);
    await eventually(() => expect(doors.server.active).toBe(3));
    await clone(`${doors.httpUrl}/app.git`, calledFrom(ELSEWHERE));
    const other = await open(doors.gitUrl, ask.replace(SLOW, ELSEWHERE));
    expect(await other.seen(/version 2/)).toContain("version 2");
  });
});

describe("sessions that are begun and left alone", () => {
  it("are given up when nothing moves, with their connection", async () => {
    // Nothing is pushed to it: a client may be idle for so long beside other tests.
    const repositories = createMemoryRepositoryStore();
    await (await repositories.create("app")).close();
    doors = await openDoors(workspace, { repositories, limits: { idleTimeoutMs: 1000 } });
    const client = new ssh2.Client();
    client.on("error", () => undefined);
    client.connect({
      host: "127.0.0.1",
      port: doors.sshPort,
      username: "git",
      privateKey: readFileSync(doors.keyOf("ada").path),
    });
    const closed = once(client, "close");
    await once(client, "ready");
    for (const service of ["upload-pack", "receive-pack"])
      client.exec(`git-${service} 'app'`, (_error, channel) => channel?.resume());
    await closed;
    await eventually(() => expect(doors.server.active).toBe(0));
  });
});

describe("strangers who crowd in from one address", () => {
  it("push out their own, and not who is signing in from another", async () => {
    doors = await openDoors(
      workspace,
      { trustedProxies: ["loopback"], limits: { sshStartupsMax: 20 } },
      { proxyProtocol: ["ssh"] },
    );
    const url = `ssh://127.0.0.1:${doors.sshPort}`;
    const from = (address: string): string => `PROXY TCP4 ${address} 192.0.2.1 4000 22\r\nSSH-2.0-x\r\n`;
    const innocent = await open(url, from(ELSEWHERE));
    await innocent.seen(/^SSH-2\.0-/);
    let gone = 0;
    for (let i = 0; i < 60; i++) {
      const stranger = await open(url, from(SLOW));
      void stranger.closed.then(() => gone++);
    }
    await eventually(() => expect(gone).toBe(41));
    expect(innocent.socket.destroyed).toBe(false);
  });
});

describe("one HTTP/2 connection", () => {
  it("has only so many requests at once", async () => {
    const tls = await writeCertificate(workspace.directory);
    doors = await openDoors(workspace, {}, { tls });
    const session = connectHttp2(doors.httpUrl, { rejectUnauthorized: false });
    session.on("error", () => undefined);
    const [settings] = (await once(session, "remoteSettings")) as [
      { readonly maxConcurrentStreams?: number },
    ];
    expect(settings.maxConcurrentStreams).toBe(500);
    session.destroy();
  });
});
