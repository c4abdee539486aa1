/** What stands before Git on a listener: it takes what is for it, and a request that asks for an upgrade is still Git's. */
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/index.js";
import { DEFAULT_LIMITS } from "../src/index.js";
import { type HttpListener, listenHttp } from "../src/transport/http/listener.js";
import { writeCertificate } from "./support/certificate.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

let workspace: GitClient;
let git: TestServer;
let listener: HttpListener;
let upgrades: string[];

beforeEach(async () => {
  workspace = createWorkspace();
  git = await createTestServer();
  upgrades = [];
});
afterEach(async () => {
  await listener.close(0);
  await git.close();
  removeDirectory(workspace);
});

async function listen(tls?: { readonly certificateFile: string; readonly keyFile: string }): Promise<void> {
  const isForApp = (request: Pick<IncomingMessage, "headers">): boolean =>
    request.headers.host?.startsWith("app.localhost") === true;
  listener = await listenHttp({
    handler: git.server.handler,
    front: {
      request(request, response) {
        if (!isForApp(request as IncomingMessage)) return false;
        response.end("app");
        return true;
      },
      upgrade(request, socket) {
        upgrades.push(`${request.method} ${request.headers.host} ${request.headers.upgrade}`);
        if (!isForApp(request) || request.headers.upgrade !== "websocket") return false;
        const answer = "HTTP/1.1 101 Switching Protocols\r\n\r\nbare";
        if (request.url === "/stays") socket.write(answer);
        else socket.end(answer);
        return true;
      },
    },
    host: "127.0.0.1",
    port: 0,
    limits: DEFAULT_LIMITS,
    rates: { connectionsPerAddress: 100, isExempt: () => false },
    isProxy: () => false,
    log: () => undefined,
    ...(tls === undefined ? {} : { tls }),
  });
}

async function exchange(text: string): Promise<string> {
  const socket = connect(listener.port, "127.0.0.1");
  socket.write(text);
  const chunks: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString("latin1");
}

const H2C = "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";

describe("a front", () => {
  it("takes its own and leaves Git's alone", async () => {
    await listen();
    expect(await exchange("GET / HTTP/1.1\r\nHost: app.localhost\r\nConnection: close\r\n\r\n")).toMatch(
      /app$/,
    );
    const other = await exchange("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    expect(other).toMatch(/^HTTP\/1\.1 404 /);
    const stranger = await exchange("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    expect(stranger).toMatch(/^HTTP\/1\.1 403 /);
  });

  it("gets the bare connection of an upgrade that it wants", async () => {
    await listen();
    const text = "GET / HTTP/1.1\r\nHost: app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    expect(await exchange(text)).toMatch(/^HTTP\/1\.1 101 [^]*bare$/);
  });

  it("does not keep the listener from closing with a connection that speaks another protocol", async () => {
    await listen();
    const socket = connect(listener.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(
      "GET /stays HTTP/1.1\r\nHost: app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    await once(socket, "data");
    const closed = once(socket, "close");
    // Nobody waits for an hour.
    await listener.close(3_600_000);
    await closed;
  });

  it("leaves other upgrades to be served as if nobody had asked", async () => {
    await listen();
    expect(await exchange(`GET / HTTP/1.1\r\nHost: app.localhost\r\n${H2C}\r\n`)).toMatch(
      /^HTTP\/1\.1 200 [^]*app$/,
    );
    await workspace.run("init", "-q", "app");
    const app = workspace.in("app");
    await app.run("commit", "-q", "--allow-empty", "-m", "first");
    await app.run("push", "-q", `${listener.url}/app.git`, "main");
    // A body that came along, and one that comes later.
    const body = "0014command=ls-refs\n0000";
    const head =
      `POST /app.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nGit-Protocol: version=2\r\n${H2C}` +
      `Content-Type: application/x-git-upload-pack-request\r\nContent-Length: ${body.length}\r\n\r\n`;
    expect(await exchange(head + body)).toMatch(/^HTTP\/1\.1 200 [^]*refs\/heads\/main/);
    const socket = connect(listener.port, "127.0.0.1");
    await once(socket, "connect");
    socket.write(head);
    while (upgrades.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    socket.write(body);
    let text = "";
    for await (const chunk of socket as AsyncIterable<Buffer>) text += chunk.toString("latin1");
    expect(text).toMatch(/^HTTP\/1\.1 200 [^]*refs\/heads\/main/);
    expect(upgrades).toEqual(["GET app.localhost h2c", "POST localhost h2c", "POST localhost h2c"]);
  });

  it("serves one such request after the other on a connection, and none that does not wait for its answer", async () => {
    await listen();
    const wish = "GET / HTTP/1.1\r\nHost: app.localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    const socket = connect(listener.port, "127.0.0.1");
    let text = "";
    let sent = 0;
    const send = (): void => {
      sent++;
      socket.write(sent < 3 ? wish : wish.replace("Connection: Upgrade", "Connection: Upgrade, close"));
    };
    send();
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      text += chunk.toString("latin1");
      if (text.split("\r\n\r\napp").length > sent && sent < 3) send();
    }
    expect(text.match(/HTTP\/1\.1 200 /g)).toHaveLength(3);
    // It ends, one way or the other.
    expect(await exchange(wish + wish).catch(() => "")).not.toMatch(/200 [^]*200 /);
  });

  it("cuts off a request of which Node does not tell all", async () => {
    await listen();
    const many = Array.from({ length: 1100 }, (_, i) => `A${i}: b\r\n`).join("");
    const body = "GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n";
    const head = `POST / HTTP/1.1\r\nHost: app.localhost\r\n${H2C}${many}Content-Length: ${body.length}\r\n\r\n`;
    // What is its body must never be taken for another request.
    expect(await exchange(head + body).catch(() => "")).toBe("");
  });

  it("is no hindrance to git that asks for HTTP/2", async () => {
    await listen();
    await workspace.run("init", "-q", "app");
    const app = workspace.in("app");
    await app.run("commit", "-q", "--allow-empty", "-m", "first");
    await app.run("-c", "http.version=HTTP/2", "push", "-q", `${listener.url}/app.git`, "main");
    await workspace.run("-c", "http.version=HTTP/2", "clone", "-q", `${listener.url}/app.git`, "copy");
    expect(await workspace.in("copy").run("rev-parse", "HEAD")).toBe(await app.run("rev-parse", "HEAD"));
  });

  it("stands before TLS and HTTP/2, too", async () => {
    const { certificateFile, keyFile } = await writeCertificate(workspace.directory);
    await listen({ certificateFile, keyFile });
    await workspace.run("init", "-q", "app");
    const app = workspace.in("app");
    await app.run("commit", "-q", "--allow-empty", "-m", "first");
    const url = `https://localhost:${listener.port}/app.git`;
    for (const version of ["HTTP/1.1", "HTTP/2"])
      await app.run(
        "-c",
        "http.sslVerify=false",
        "-c",
        `http.version=${version}`,
        "push",
        "-q",
        url,
        `main:${version.at(-1)}`,
      );
    // The decrypted connection is what begins again.
    const socket = connectTls({ port: listener.port, host: "127.0.0.1", rejectUnauthorized: false });
    socket.write(`GET / HTTP/1.1\r\nHost: app.localhost\r\n${H2C}\r\n`);
    let text = "";
    for await (const chunk of socket as AsyncIterable<Buffer>) text += chunk.toString("latin1");
    expect(text).toMatch(/^HTTP\/1\.1 200 [^]*app$/);
  });
});
