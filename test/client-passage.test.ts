/** git's client through a server that passes everything on by our own client, unread. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openPassage, type Passage } from "../src/client/index.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createHistory } from "./support/history.js";
import { type ScriptedServer, startScripted } from "./support/scripted-server.js";

const TYPE = "application/x-git-upload-pack";
let workspace: GitClient;
let app: GitClient;
let upstream: TestServer;
let passage: Passage;
let door: Server;
let url: string;
const protocols = new Set<number>();

function protocolOf({ headers }: IncomingMessage): 0 | 1 | 2 {
  const [, version] = /version=([12])/.exec(String(headers["git-protocol"])) ?? [];
  const protocol = version === "2" ? 2 : version === "1" ? 1 : 0;
  protocols.add(protocol);
  return protocol;
}

beforeAll(async () => {
  workspace = createWorkspace();
  app = await createHistory(workspace, "served/app.git", { commits: 40 });
  upstream = await createTestServer({
    repositories: `${workspace.directory}/served`,
    authenticate: (credentials) =>
      credentials.kind === "basic" && credentials.password === "sesame"
        ? { user: credentials.user }
        : undefined,
  });
  passage = openPassage(upstream.urlOf("app"), { credentials: { username: "bot", password: "sesame" } });
  door = createServer((request, response) => {
    const protocol = protocolOf(request);
    const isPost = request.method === "POST";
    const body = request.headers["content-encoding"] === "gzip" ? request.pipe(createGunzip()) : request;
    void (isPost ? passage.uploadPack({ protocol }, body) : passage.advertisement({ protocol })).then(
      async (answer) => {
        response.setHeader("Content-Type", `${TYPE}-${isPost ? "result" : "advertisement"}`);
        await pipeline(answer, response);
        answer.close();
      },
    );
  });
  door.listen(0, "127.0.0.1");
  await once(door, "listening");
  url = `http://127.0.0.1:${(door.address() as AddressInfo).port}/app.git`;
});
afterAll(async () => {
  passage.close();
  door.closeAllConnections();
  door.close();
  await upstream.close();
  removeDirectory(workspace);
});

describe("a fetch that is passed on", () => {
  it.each([[0], [1], [2]])("is what it would be there, in protocol v%i", async (version) => {
    const client = ["-c", `protocol.version=${version}`];
    await workspace.run(...client, "clone", "-q", "--mirror", url, `copy${version}.git`);
    const copy = workspace.in(`copy${version}.git`);
    await copy.run("fsck", "--strict");
    const listing = ["for-each-ref", "--format=%(objectname) %(refname)"];
    expect(await copy.run(...listing)).toBe(await app.run(...listing));
    // More than one request, some of them packed.
    await copy.run("update-ref", "refs/heads/main", "main~30");
    await copy.run("gc", "-q", "--prune=now");
    await copy.run(...client, "fetch", "-q", url, "+refs/heads/main:refs/heads/main");
    expect(await copy.run("rev-parse", "main")).toBe(await app.run("rev-parse", "main"));
    expect(protocols).toContain(version);
  });
});

describe("a passage", () => {
  const servers: ScriptedServer[] = [];
  const serve = async (...script: Parameters<typeof startScripted>): Promise<string> => {
    const server = await startScripted(...script);
    servers.push(server);
    return server.url;
  };
  afterAll(async () => {
    for (const server of servers) await server.close();
  });
  const question = { protocol: 2 } as const;

  it("names who is not there, and who may not be called", async () => {
    const absent = openPassage(upstream.urlOf("absent"), {
      credentials: { username: "bot", password: "sesame" },
    });
    await expect(absent.advertisement(question)).rejects.toMatchObject({
      code: "client/refused",
      message: expect.stringContaining(`${upstream.urlOf("absent")}: `),
    });
    const inner = openPassage(upstream.urlOf("app"), { allowAddresses: [] });
    await expect(inner.uploadPack(question, Readable.from([]))).rejects.toMatchObject({
      code: "client/not-callable",
    });
    absent.close();
    inner.close();
  });

  it("breaks off with the client, and says why", async () => {
    const base = await serve(() => undefined);
    const passed = openPassage(`${base}/app.git`);
    async function* leaving(): AsyncGenerator<Uint8Array, void, void> {
      yield Buffer.from("0032want");
      throw new Error("the client has left");
    }
    await expect(passed.uploadPack(question, leaving())).rejects.toThrow("the client has left");
    const gone = new AbortController();
    const asked = passed.uploadPack({ ...question, signal: gone.signal }, Readable.from([]));
    gone.abort();
    await expect(asked).rejects.toMatchObject({ code: "base/aborted" });
    passed.close();
  });

  it("bounds an answer, and tells where it broke off", async () => {
    const base = await serve((request, response) => {
      response.writeHead(200, { "Content-Type": `${TYPE}-result` });
      if (request.url?.startsWith("/long") === true) response.end(Buffer.alloc(5000));
      else response.write("begun", () => response.destroy());
    });
    const readAll = async (passed: Passage): Promise<number> => {
      let bytes = 0;
      const answer = await passed.uploadPack(question, Readable.from([Buffer.from("0000")]));
      for await (const chunk of answer) bytes += chunk.length;
      return bytes;
    };
    const long = openPassage(`${base}/long.git`, { answerBytesMax: 1000 });
    await expect(readAll(long)).rejects.toMatchObject({ code: "client/bad-answer" });
    const short = openPassage(`${base}/short.git`);
    await expect(readAll(short)).rejects.toMatchObject({
      code: "client/unreachable",
      message: expect.stringContaining(`${base}/short.git: the connection`),
    });
    long.close();
    short.close();
  });
});
