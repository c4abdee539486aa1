/** The way in for an app's callers, in front of processes that are listeners of this test. */
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type RequestListener, type Server } from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server, type Http2Server } from "node:http2";
import { connect, type AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createAppFront, type AppFront, type AppFrontOptions } from "./app-front.js";
import { createAppHosts } from "./app-hosts.js";
import type { AppTarget } from "./launcher.js";
import { createRequestsAtWork } from "./requests-at-work.js";
import type { SupervisedProcess } from "./supervised-process.js";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function listening<T extends Server | Http2Server>(server: T): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => {
    server.close();
    if ("closeAllConnections" in server) server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** A process that is up, as the front sees it. */
function processOn(port: number | undefined): SupervisedProcess {
  return { port, requests: createRequestsAtWork() } as Partial<SupervisedProcess> as SupervisedProcess;
}

async function appOf(listener: RequestListener): Promise<SupervisedProcess> {
  return processOn(await listening(createServer(listener)));
}

interface Fixture {
  readonly port: number;
  readonly front: AppFront;
  readonly complaints: string[];
}

async function frontOf(
  processes: readonly SupervisedProcess[],
  options: Partial<AppFrontOptions> = {},
): Promise<Fixture> {
  const complaints: string[] = [];
  const target: AppTarget = { kind: "processes", processes: () => processes };
  const front = createAppFront({
    appOf: createAppHosts(),
    launcher: { targetOf: (app) => (app === "shop" ? target : undefined) },
    peerAddressOf: ({ socket }) => socket.remoteAddress,
    isTrustedProxy: () => false,
    log: ({ message }) => complaints.push(message),
    ...options,
  });
  const server = createServer((asked, answer) => {
    if (!front.request(asked, answer)) answer.end("git");
  });
  server.on("upgrade", (asked, socket, head) => {
    if (!front.upgrade(asked, socket, head)) socket.destroy();
  });
  return { port: await listening(server), front, complaints };
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

async function ask(
  { port }: Pick<Fixture, "port">,
  options: {
    readonly method?: string;
    readonly path?: string;
    readonly host?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string | readonly string[];
  } = {},
): Promise<Answer> {
  const asked = request({
    port,
    host: "127.0.0.1",
    agent: false,
    method: options.method ?? "GET",
    path: options.path ?? "/",
    headers: { host: options.host ?? "shop.localhost", ...options.headers },
  });
  const answered = once(asked, "response") as Promise<[IncomingMessage]>;
  for (const part of [options.body ?? []].flat()) asked.write(part);
  asked.end();
  const [answer] = await answered;
  const chunks: Buffer[] = [];
  for await (const chunk of answer as AsyncIterable<Buffer>) chunks.push(chunk);
  return { status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks).toString() };
}

const echo: RequestListener = (asked, answer) => {
  answer.setHeader("Set-Cookie", ["a=1", "b=2"]);
  answer.writeHead(201, "Made");
  answer.write(`${asked.method} ${asked.url} ${JSON.stringify(asked.headers)}\n`);
  asked.pipe(answer);
};

describe("callers of an app", () => {
  it("are sent to its process, and others to Git", async () => {
    const fixture = await frontOf([await appOf(echo)]);
    const { status, headers, body } = await ask(fixture, {
      method: "POST",
      path: "/a?b=c",
      body: ["one", "two"],
    });
    expect([status, headers["set-cookie"]]).toEqual([201, ["a=1", "b=2"]]);
    expect(body).toMatch(/^POST \/a\?b=c \{.*"x-forwarded-for":"127\.0\.0\.1".*\}\nonetwo$/);
    expect(headers["x-request-id"]).toBe(/"x-request-id":"([^"]+)"/.exec(body)?.[1]);
    expect((await ask(fixture, { host: "localhost" })).body).toBe("git");
    expect((await ask(fixture, { host: "evil.example" })).body).toBe("git");
    expect((await ask(fixture, { host: "other.localhost" })).status).toBe(404);
    expect((await ask(fixture, { host: "a.b.localhost" })).status).toBe(404);
  });

  it("send bodies of a known length as such, and none where there is none", async () => {
    const fixture = await frontOf([await appOf(echo)]);
    const known = await ask(fixture, { method: "PUT", headers: { "content-length": "3" }, body: "abc" });
    expect(known.body).toMatch(/"content-length":"3".*\}\nabc$/);
    const none = await ask(fixture, { method: "GET" });
    expect(none.body).not.toMatch(/transfer-encoding|content-length/);
    expect((await ask(fixture, { method: "HEAD" })).body).toBe("");
  });

  it("are told to go on when they wait for that", async () => {
    const fixture = await frontOf([await appOf(echo)]);
    const asked = request({
      port: fixture.port,
      method: "POST",
      agent: false,
      headers: { host: "shop.localhost", expect: "100-continue", "content-length": "2" },
    });
    asked.flushHeaders();
    await once(asked, "continue");
    const answered = once(asked, "response") as Promise<[IncomingMessage]>;
    asked.end("go");
    const [answer] = await answered;
    answer.resume();
    expect(answer.statusCode).toBe(201);
  });

  it("read events as they come, and end the app's work when they leave", async () => {
    let left: Promise<unknown> | undefined;
    const app = await appOf((_asked, answer) => {
      left = once(answer, "close");
      answer.setHeader("Content-Type", "text/event-stream");
      answer.write("data: first\n\n");
    });
    const fixture = await frontOf([app]);
    const asked = request({ port: fixture.port, agent: false, headers: { host: "shop.localhost" } });
    asked.end();
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    const [chunk] = (await once(answer, "data")) as [Buffer];
    expect(chunk.toString()).toBe("data: first\n\n");
    asked.destroy();
    await left;
    await app.requests.idle(60_000);
    expect(app.requests.count).toBe(0);
  });

  it("get the answer that an app gives before it has read all", async () => {
    const app = await appOf((_asked, answer) => {
      answer.writeHead(413);
      answer.end("too much");
    });
    const fixture = await frontOf([app]);
    const { status, body } = await ask(fixture, { method: "POST", body: "x".repeat(4 * 1024 * 1024) });
    expect([status, body]).toEqual([413, "too much"]);
  });

  it("go to another process where one takes no connection, and to the least busy", async () => {
    const gone = createServer();
    const port = await listening(gone);
    gone.close();
    await once(gone, "close");
    const busy = await appOf((_asked, answer) => answer.end("busy"));
    busy.requests.begin();
    busy.requests.begin();
    const free = await appOf((_asked, answer) => answer.end("free"));
    const fixture = await frontOf([processOn(port), busy, free]);
    expect((await ask(fixture)).body).toBe("free");
    expect((await ask(await frontOf([processOn(port), busy]))).body).toBe("busy");
  });

  it("are told what is wrong with the app, and no more", async () => {
    expect((await ask(await frontOf([]))).status).toBe(503);
    expect((await ask(await frontOf([processOn(undefined)]))).status).toBe(503);
    const broken = await frontOf([await appOf((asked) => asked.socket.destroy())]);
    expect(await ask(broken)).toMatchObject({ status: 502, body: "the app did not answer as it should\n" });
    expect(broken.complaints).toEqual([expect.stringContaining("the app 'shop' fails: the app broke off")]);
    // Once in a while is enough.
    await ask(broken);
    expect(broken.complaints).toHaveLength(1);
    const silent = await frontOf([await appOf(() => undefined)], { times: { answerMs: 20 } });
    expect((await ask(silent)).status).toBe(504);
    const half = await frontOf([
      await appOf((asked, answer) => {
        answer.writeHead(200, { "content-length": "10" });
        answer.write("half");
        setImmediate(() => asked.socket.destroy());
      }),
    ]);
    await expect(ask(half)).rejects.toThrow();
  });

  it("cannot be more at once than the limit", async () => {
    let open: (() => void) | undefined;
    const arrived: (() => void)[] = [];
    const app = await appOf((_asked, answer) => {
      open = () => answer.end("done");
      arrived.shift()?.();
    });
    const fixture = await frontOf([app], { requestsMax: 1 });
    const here = new Promise<void>((resolve) => arrived.push(resolve));
    const first = ask(fixture);
    await here;
    expect(await ask(fixture)).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
    open?.();
    expect((await first).body).toBe("done");
    await app.requests.idle(60_000);
    const again = ask(fixture);
    await new Promise<void>((resolve) => arrived.push(resolve));
    open?.();
    expect((await again).status).toBe(200);
  });

  it("may speak HTTP/2", async () => {
    const { front } = await frontOf([await appOf(echo)]);
    const server = createHttp2Server();
    server.on("request", (asked, answer) => void front.request(asked, answer));
    const port = await listening(server);
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    closing.push(() => session.destroy());
    const stream = session.request({
      ":method": "POST",
      ":path": "/two",
      ":authority": "shop.localhost",
      cookie: "a=1",
    });
    const headed = once(stream, "response") as Promise<[Readonly<Record<string, unknown>>]>;
    stream.end("body");
    const [headers] = await headed;
    const chunks: Buffer[] = [];
    for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
    expect([headers[":status"], headers["set-cookie"]]).toEqual([201, ["a=1", "b=2"]]);
    expect(Buffer.concat(chunks).toString()).toMatch(
      /^POST \/two \{.*"host":"shop\.localhost".*"cookie":"a=1".*\}\nbody$/,
    );
  });
});

describe("WebSockets of an app", () => {
  const WISH =
    "GET /socket HTTP/1.1\r\nHost: shop.localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n";

  async function conversation(port: number, text: string, until: string): Promise<string> {
    const socket = connect(port, "127.0.0.1");
    closing.push(() => socket.destroy());
    socket.write(text);
    let got = "";
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      got += chunk.toString("latin1");
      if (got.includes(until)) break;
    }
    return got;
  }

  it("go both ways, what was sent at once included", async () => {
    const server = createServer();
    server.on("upgrade", (asked: IncomingMessage, socket, head: Buffer) => {
      const key = asked.headers["sec-websocket-key"];
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Key: ${key}\r\n\r\n`,
      );
      socket.write(head);
      socket.pipe(socket);
    });
    const fixture = await frontOf([processOn(await listening(server))]);
    const got = await conversation(fixture.port, `${WISH}ping`, "ping");
    expect(got).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n[^]*X-Key: abc\r\n\r\nping$/);
  });

  it("may be refused by the app", async () => {
    const fixture = await frontOf([await appOf((_asked, answer) => answer.writeHead(403).end("no"))]);
    const got = await conversation(fixture.port, WISH, "\0");
    expect(got).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n[^]*Connection: close\r\n[^]*no/);
  });

  it("end with an answer where nobody takes them", async () => {
    const { port } = await frontOf([]);
    expect(await conversation(port, WISH, "\0")).toMatch(/^HTTP\/1\.1 503 /);
  });

  it("are the only upgrade that is handed on", async () => {
    const { front } = await frontOf([await appOf(echo)]);
    const asked = { method: "GET", headers: { host: "shop.localhost", upgrade: "h2c" } } as IncomingMessage;
    // Left to whoever serves it as a plain request.
    expect(front.upgrade(asked, undefined as never, Buffer.alloc(0))).toBe(false);
  });
});
