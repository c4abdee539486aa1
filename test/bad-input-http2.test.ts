/** HTTP/2: streams that are reset in the middle, bodies that lie, paths that no HTTP/1.1 client could send. */
import { type ClientHttp2Session, connect } from "node:http2";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { writeCertificate } from "./support/certificate.js";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";
import { pktLine } from "./support/raw-http.js";
import { pushOfBlob, RECEIVE_PACK_TYPE, UPLOAD_PACK_TYPE } from "./support/raw-push.js";
import { settled } from "./support/settled.js";

const LS_REFS = `${pktLine("command=ls-refs\n")}0000`;

describe("bad input over HTTP/2", () => {
  let workspace: GitClient;
  let server: GitServer;
  let session: ClientHttp2Session;
  const errors: unknown[] = [];

  beforeAll(async () => {
    workspace = createWorkspace();
    const tls = await writeCertificate(workspace.directory);
    server = createGitServer({
      repositories: createMemoryRepositoryStore(),
      autoCreate: "push",
      log: ({ level, message, error }) => {
        if (level === "error") errors.push(message, error);
      },
    });
    const { http } = await server.listen({ http: 0, tls });
    session = connect(http.url, { rejectUnauthorized: false });
    session.on("error", () => undefined);
    expect(await post("git-receive-pack", pushOfBlob("seed", "seed"))).toMatch(/^200 .*unpack ok/s);
  });
  afterAll(async () => {
    session.destroy();
    await server.close({ graceMs: 0 });
    removeDirectory(workspace);
  });

  const headersOf = (service: string, path = `/app.git/${service}`) => ({
    ":method": "POST",
    ":path": path,
    "content-type": service === "git-receive-pack" ? RECEIVE_PACK_TYPE : UPLOAD_PACK_TYPE,
    "git-protocol": "version=2",
  });

  async function answerOf(stream: ReturnType<ClientHttp2Session["request"]>): Promise<string> {
    const chunks: Buffer[] = [];
    let status = 0;
    stream.on("response", (headers) => (status = headers[":status"] ?? 0));
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", () => undefined);
    // (`once` of node:events would reject for a stream that is reset.)
    await new Promise((resolve) => stream.once("close", resolve));
    return `${status} ${Buffer.concat(chunks).toString("latin1")}`;
  }

  function post(service: string, body: Buffer | string): Promise<string> {
    const stream = session.request(headersOf(service));
    stream.end(body);
    return answerOf(stream);
  }

  async function goesOn(): Promise<void> {
    expect(await post("git-upload-pack", LS_REFS)).toMatch(/^200 .*refs\/tags\/seed/s);
    await settled(server);
    expect(errors).toEqual([]);
  }

  it("goes on after 300 streams that are reset at once, or in the middle of a push", async () => {
    const body = pushOfBlob("never", Buffer.alloc(50_000, "x"));
    const closed = Array.from({ length: 300 }, async (_, turn) => {
      const stream = session.request(headersOf(turn % 2 === 0 ? "git-receive-pack" : "git-upload-pack"));
      stream.on("error", () => undefined);
      if (turn % 3 > 0) stream.write(body.subarray(0, (turn * 7) % 150));
      if (turn % 3 === 2) await new Promise((resolve) => setImmediate(resolve));
      stream.close(turn % 5 === 0 ? 8 : 0);
      if (!stream.destroyed) await new Promise((resolve) => stream.once("close", resolve));
    });
    await Promise.all(closed);
    await goesOn();
    expect(await post("git-upload-pack", LS_REFS)).not.toContain("never");
  });

  it.each([
    ["/../app.git/git-upload-pack", 404],
    ["//app.git/git-upload-pack", 404],
    ["/app.git/git-upload-pack\u0000", 404],
    ["*", 404],
    ["", 404],
    ["app.git/git-upload-pack", 404],
    [`/${"x".repeat(5000)}/git-upload-pack`, 404],
  ])("answers the path %j with %i, or resets the stream", async (path, status) => {
    try {
      const stream = session.request(headersOf("git-upload-pack", path));
      stream.end(LS_REFS);
      expect([`${status}`, "0"]).toContain((await answerOf(stream)).split(" ")[0]);
    } catch (error) {
      // The client library may refuse to send it.
      expect(error).toMatchObject({ code: expect.stringMatching(/^ERR_/) });
    }
    await goesOn();
  });

  it("answers before the end of a body, and a body that is shorter than it says", async () => {
    const early = session.request(headersOf("git-upload-pack"));
    early.write(`${pktLine("command=nothing\n")}0000`);
    const answer = answerOf(early);
    early.write(Buffer.alloc(100_000));
    early.end();
    expect(await answer).toMatch(/^200 .*ERR /s);
    const lying = session.request({ ...headersOf("git-upload-pack"), "content-length": "1000" });
    lying.end(LS_REFS);
    expect(await answerOf(lying)).toMatch(/^(0|200|400) /);
    await goesOn();
  });
});
