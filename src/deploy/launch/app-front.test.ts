/** The way in for an app's callers, in front of processes that are listeners of this test. */
import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  request,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server, type Http2Server } from "node:http2";
import { connect, type AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { createAppFront, type AppFront, type AppFrontOptions } from "./app-front.js";
import { createAppHosts } from "./app-hosts.js";
import type { AppTarget } from "./launcher.js";
import type { StaticSite } from "./static-site.js";
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
  // Who has his answer may be cut off while he still sends.
  asked.on("error", () => undefined);
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

  it("are told so by an app that goes over to another protocol unasked", async () => {
    const process = await appOf(({ socket }) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\nhello");
    });
    const fixture = await frontOf([process]);
    expect((await ask(fixture)).status).toBe(502);
    await process.requests.idle(10_000);
    expect(process.requests.count).toBe(0);
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

describe("requests that could mean two things", () => {
  /** What comes back until the connection is closed; errors of a connection that is cut off included. */
  async function exchange(port: number, text: string): Promise<string> {
    const socket = connect(port, "127.0.0.1");
    closing.push(() => socket.destroy());
    socket.write(text);
    let got = "";
    try {
      for await (const chunk of socket as AsyncIterable<Buffer>) got += chunk.toString("latin1");
    } catch {
      // It was reset.
    }
    return got;
  }
  const HEAD = "Host: shop.localhost\r\nConnection: close\r\n";
  /** An app that says of each request what it was. */
  async function fixtureOf(options: Partial<AppFrontOptions> = {}): Promise<Fixture & { seen: string[] }> {
    const seen: string[] = [];
    const app = await appOf((asked, answer) => {
      seen.push(`${asked.method} ${asked.url} ${asked.headers.host}`);
      asked.resume();
      asked.once("end", () => answer.end("app"));
    });
    return { ...(await frontOf([app], options)), seen };
  }

  it("because Node does not tell all of its headers are refused", async () => {
    const { port, seen } = await fixtureOf();
    const many = Array.from({ length: 1100 }, (_, i) => `A${i}: b\r\n`).join("");
    const hidden = "GET /hidden HTTP/1.1\r\nHost: shop.localhost\r\n\r\n";
    for (const length of [`Content-Length: ${hidden.length}`, "Transfer-Encoding: chunked"]) {
      const body = length.startsWith("C")
        ? hidden
        : `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`;
      const got = await exchange(port, `GET / HTTP/1.1\r\n${HEAD}${many}${length}\r\n\r\n${body}`);
      expect(got).toMatch(/^HTTP\/1\.1 431 /);
    }
    expect(seen).toEqual([]);
  });

  it("because of two lengths or an unknown coding never come to the app", async () => {
    const { port, seen } = await fixtureOf();
    const wrong = [
      "Content-Length: 3\r\nContent-Length: 4\r\n",
      "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
      "Transfer-Encoding: gzip, chunked\r\n",
      "Transfer-Encoding: chunked, identity\r\n",
      "Transfer-Encoding : chunked\r\n",
      "Content-Length: +3\r\n",
      "Content-Length: 3\r\n Content-Length: 4\r\n",
    ];
    for (const lines of wrong) {
      const got = await exchange(port, `POST / HTTP/1.1\r\n${HEAD}${lines}\r\n0\r\n\r\n`);
      expect(got, lines).toMatch(/^HTTP\/1\.1 (400|501) /);
    }
    expect(seen).toEqual([]);
  });

  it("because they name two hosts are refused", async () => {
    const { port, seen } = await fixtureOf();
    const got = await exchange(port, `GET / HTTP/1.1\r\n${HEAD}Host: localhost\r\n\r\n`);
    expect(got).toMatch(/^HTTP\/1\.1 400 /);
    expect(seen).toEqual([]);
    const { front } = await fixtureOf();
    const server = createHttp2Server();
    server.on("request", (asked, answer) => void front.request(asked, answer));
    const session = connectHttp2(`http://127.0.0.1:${await listening(server)}`);
    closing.push(() => session.destroy());
    const stream = session.request({ ":path": "/", ":authority": "shop.localhost", host: "other.localhost" });
    const [headers] = (await once(stream, "response")) as [Readonly<Record<string, unknown>>];
    expect(headers[":status"]).toBe(400);
    stream.close();
  });

  it("by an absolute target are for the host that it names", async () => {
    const { port, seen } = await fixtureOf();
    const lines = "Host: localhost\r\nConnection: close\r\n\r\n";
    const app = await exchange(port, `GET http://u@shop.localhost:5000/a?b HTTP/1.1\r\n${lines}`);
    expect(app).toMatch(/app$/);
    expect(await exchange(port, `GET http://shop.localhost HTTP/1.1\r\n${lines}`)).toMatch(/app$/);
    expect(await exchange(port, `GET http://localhost/ HTTP/1.1\r\n${HEAD}\r\n`)).toMatch(/git$/);
    expect(seen).toEqual(["GET /a?b shop.localhost:5000", "GET / shop.localhost"]);
  });

  it("are not made of what a WebSocket brings along before the app agrees", async () => {
    const { port, seen } = await fixtureOf();
    const wish = "Connection: Upgrade, close\r\nUpgrade: websocket\r\nHost: shop.localhost\r\n\r\n";
    const hidden = "GET /hidden HTTP/1.1\r\nHost: shop.localhost\r\n\r\n";
    // The app answers as if nobody had asked for another protocol.
    const got = await exchange(port, `GET / HTTP/1.1\r\n${wish}${hidden}`);
    expect(got.match(/HTTP\/1\.1 200/g)).toHaveLength(1);
    expect(seen).toEqual(["GET / shop.localhost"]);
    const { front } = await fixtureOf();
    for (const headers of [{ "content-length": "3" }, { "transfer-encoding": "chunked" }]) {
      const asked = {
        method: "GET",
        rawHeaders: [],
        headers: { host: "shop.localhost", upgrade: "websocket", ...headers },
      } as Partial<IncomingMessage> as IncomingMessage;
      expect(front.upgrade(asked, undefined as never, Buffer.alloc(0))).toBe(false);
    }
  });

  it("cannot be told apart behind an answer that came before the body: the connection ends", async () => {
    const { port } = await frontOf([]);
    const got = await exchange(
      port,
      "POST / HTTP/1.1\r\nHost: shop.localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    expect(got).toMatch(/HTTP\/1\.1 503 [^]*Connection: close\r\n/);
  });
});

describe("an app", () => {
  it("that ran before the server was stopped is busy until it is up, and not unknown", async () => {
    const fixture = await frontOf([], { isComing: async (app) => app === "blog" });
    expect(await ask(fixture, { host: "blog.localhost" })).toMatchObject({
      status: 503,
      body: "the app is being started; try again in a moment\n",
    });
    expect((await ask(fixture, { host: "other.localhost" })).status).toBe(404);
  });

  it("whose process has gone is asked again at the release that took its place", async () => {
    const gone = createServer();
    const port = await listening(gone);
    gone.close();
    await once(gone, "close");
    const next = await appOf((_asked, answer) => answer.end("next"));
    let asked = 0;
    const targets: AppTarget[] = [[processOn(port)], [next]].map((processes) => ({
      kind: "processes",
      processes: () => processes,
    }));
    const fixture = await frontOf([], {
      // For whether there is one, and for each try.
      launcher: { targetOf: () => targets[Math.min(1, Math.floor(asked++ / 2))] },
    });
    expect((await ask(fixture)).body).toBe("next");
  });
});

describe("a static site", () => {
  it("does not keep a reader who has stopped to read", async () => {
    let ended: ((reason: string) => void) | undefined;
    const isEnded = new Promise<string>((resolve) => {
      ended = resolve;
    });
    const requests = createRequestsAtWork();
    const site: StaticSite = {
      async serve(_asked, answer) {
        const over = once(answer, "close");
        Readable.from(endless())
          .on("error", () => undefined)
          .pipe(answer as ServerResponse);
        await over;
        ended?.("ended");
      },
    };
    const { port } = await frontOf([], {
      launcher: { targetOf: () => ({ kind: "site", site, requests }) },
      times: { idleMs: 100 },
    });
    const sleeper = connect(port, "127.0.0.1");
    closing.push(() => sleeper.destroy());
    sleeper.on("error", () => undefined);
    sleeper.pause();
    sleeper.write("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n");
    expect(await isEnded).toBe("ended");
    await requests.idle(10_000);
    expect(requests.count).toBe(0);
  });

  function* endless(): Generator<Buffer> {
    for (;;) yield Buffer.alloc(1 << 16);
  }
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
    const asked = {
      method: "GET",
      rawHeaders: [] as string[],
      headers: { host: "shop.localhost", upgrade: "h2c" },
    } as Partial<IncomingMessage> as IncomingMessage;
    // Left to whoever serves it as a plain request.
    expect(front.upgrade(asked, undefined as never, Buffer.alloc(0))).toBe(false);
  });
});
