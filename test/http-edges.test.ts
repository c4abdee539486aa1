/** HTTP as such: statuses, headers, encodings, names, hosts, authorization of every request. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";
import { converse, pktLine, send } from "./support/raw-http.js";

const UPLOAD = "application/x-git-upload-pack-request";
const RECEIVE = "application/x-git-receive-pack-request";
const LS_REFS = `${pktLine("command=ls-refs\n")}0001${pktLine("peel\n")}0000`;

describe("HTTP", () => {
  let workspace: GitClient;
  let server: TestServer;
  let url: string;
  let head: string;

  beforeAll(async () => {
    workspace = createWorkspace();
    server = await createTestServer({
      repositories: join(workspace.directory, "repositories"),
      durability: "none",
    });
    url = server.urlOf("app");
    await workspace.run("init", "-q", "app");
    const app = workspace.in("app");
    for (let i = 0; i < 3; i++) {
      writeFileSync(join(app.directory, "file"), `${i}\n`);
      await app.run("add", "file");
      await app.run("commit", "-q", "-m", String(i));
    }
    await app.run("push", "-q", url, "main");
    head = await app.run("rev-parse", "HEAD");
  });
  afterAll(async () => {
    await server.close();
    removeDirectory(workspace);
  });

  it("answers discovery with git's content type and no-cache headers, to HEAD as well", async () => {
    for (const method of ["GET", "HEAD"]) {
      const answer = await send(`${url}/info/refs?service=git-upload-pack`, { method });
      expect(answer.status).toBe(200);
      expect(answer.headers["content-type"]).toBe("application/x-git-upload-pack-advertisement");
      expect(answer.headers["cache-control"]).toBe("no-cache, max-age=0, must-revalidate");
      expect(answer.headers.expires).toBe("Fri, 01 Jan 1980 00:00:00 GMT");
      expect(answer.headers.pragma).toBe("no-cache");
      if (method === "HEAD") expect(answer.body).toHaveLength(0);
      else expect(answer.body.toString()).toContain("001e# service=git-upload-pack\n0000");
    }
  });

  it("leaves the service line out in protocol v2", async () => {
    const answer = await send(`${url}/info/refs?service=git-upload-pack`, {
      headers: { "Git-Protocol": "version=2" },
    });
    expect(answer.body.toString()).toMatch(/^000eversion 2\n/);
  });

  it.each([
    ["GET", "/", 404],
    ["GET", "/app.git", 404],
    ["GET", "/app.git/config", 404],
    ["GET", "/other.git/info/refs?service=git-upload-pack", 404],
    ["GET", "/app.git/info/refs?service=git-upload-archive", 403],
    ["GET", "/app.git/info/refs?service=git-evil", 403],
    ["POST", "/app.git/info/refs?service=git-upload-pack", 405],
    ["GET", "/app.git/git-upload-pack", 405],
    ["DELETE", "/app.git/HEAD", 405],
    ["GET", "/../app.git/HEAD", 404],
    ["GET", "/%2e%2e/app.git/HEAD", 404],
    ["GET", "/app.git/objects/pack/..%2f..%2fconfig", 404],
    ["GET", `/app.git/objects/00/${"0".repeat(38)}`, 404],
  ])("%s %s is %i", async (method, path, status) => {
    expect((await send(server.url, { method, path })).status).toBe(status);
  });

  it("wants the right content type", async () => {
    const answer = await send(`${url}/git-upload-pack`, {
      body: LS_REFS,
      headers: { "Content-Type": "text/plain" },
    });
    expect(answer.status).toBe(415);
  });

  it("takes gzip bodies, refuses broken gzip and other encodings", async () => {
    const headers = { "Content-Type": UPLOAD, "Git-Protocol": "version=2" };
    const plain = await send(`${url}/git-upload-pack`, { body: LS_REFS, headers });
    expect(plain.status).toBe(200);
    expect(plain.headers["content-type"]).toBe("application/x-git-upload-pack-result");
    expect(plain.body.toString()).toContain(head);
    const gzipped = await send(`${url}/git-upload-pack`, {
      body: gzipSync(LS_REFS),
      headers: { ...headers, "Content-Encoding": "gzip" },
    });
    expect(gzipped.body.equals(plain.body)).toBe(true);
    const broken = await send(`${url}/git-upload-pack`, {
      body: "no gzip",
      headers: { ...headers, "Content-Encoding": "gzip" },
    });
    expect(broken.status === 400 || broken.body.toString().includes("gzip")).toBe(true);
    const other = await send(`${url}/git-upload-pack`, {
      body: "x",
      headers: { ...headers, "Content-Encoding": "br" },
    });
    expect(other.status).toBe(400);
  });

  it("answers the probe of four bytes", async () => {
    const answer = await send(`${url}/git-receive-pack`, {
      body: "0000",
      headers: { "Content-Type": RECEIVE },
    });
    expect(answer.status).toBe(200);
  });

  it("answers Expect: 100-continue before the body, and not at all when it refuses", async () => {
    const head100 = (path: string): string =>
      `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${UPLOAD}\r\nGit-Protocol: version=2\r\n` +
      `Expect: 100-continue\r\nConnection: close\r\nContent-Length: ${LS_REFS.length}\r\n\r\n`;
    const accepted = await converse(server.url, `${head100("/app.git/git-upload-pack")}${LS_REFS}`);
    expect(accepted).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK/);
    const refused = await converse(server.url, head100("/nothing.git/git-upload-pack"));
    expect(refused).toMatch(/^HTTP\/1.1 404/);
  });

  it("answers only loopback hosts while it is open", async () => {
    for (const host of ["evil.example", "app.evil.example:5000", "127.0.0.1.evil.example"]) {
      const answer = await send(`${url}/info/refs?service=git-upload-pack`, { headers: { Host: host } });
      expect(answer.status).toBe(403);
      expect(answer.body.toString()).toContain("localhost");
    }
    const local = await send(`${url}/info/refs?service=git-upload-pack`, {
      headers: { Host: "app.localhost:5000" },
    });
    expect(local.status).toBe(200);
  });

  it("is cloned by the dumb protocol, and serves ranges", async () => {
    const cloned = await workspace.tryWith({ env: { GIT_SMART_HTTP: "0" } }, "clone", "-q", url, "dumb");
    expect(cloned.stderr).toBe("");
    expect(await workspace.in("dumb").run("rev-parse", "HEAD")).toBe(head);
    const packs = (await send(`${url}/objects/info/packs`)).body.toString();
    const pack = /^P (pack-[0-9a-f]+\.pack)$/m.exec(packs)?.[1];
    const whole = await send(`${url}/objects/pack/${pack}`);
    expect(whole.headers["content-type"]).toBe("application/x-git-packed-objects");
    expect(whole.headers["cache-control"]).toContain("max-age=31536000");
    const part = await send(`${url}/objects/pack/${pack}`, { headers: { Range: "bytes=4-11" } });
    expect(part.status).toBe(206);
    expect(part.headers["content-range"]).toBe(`bytes 4-11/${whole.body.length}`);
    expect(part.body.equals(whole.body.subarray(4, 12))).toBe(true);
    const past = await send(`${url}/objects/pack/${pack}`, {
      headers: { Range: `bytes=${whole.body.length}-` },
    });
    expect(past.status).toBe(416);
  });

  it("survives requests that are no HTTP", async () => {
    expect(await converse(server.url, "\x16\x03\x01 not http\r\n\r\n")).toMatch(/^HTTP\/1.1 400/);
    expect((await send(`${url}/HEAD`)).status).toBe(200);
  });
});

describe("authorization over HTTP", () => {
  let workspace: GitClient;
  let server: TestServer;

  beforeAll(async () => {
    workspace = createWorkspace();
    server = await createTestServer({
      authenticate: (credentials) =>
        credentials.kind === "basic" && credentials.password === "secret"
          ? { user: credentials.user }
          : undefined,
      authorize: ({ identity, repository, operation }) => {
        if (repository === "hidden") return { allowed: false, reason: "hidden", answer: "hide" };
        if (identity.user === "ada") return { allowed: true };
        if (identity.user === "bob" && operation === "fetch") return { allowed: true };
        return identity.user === undefined
          ? { allowed: false, reason: "please sign in", answer: "challenge" }
          : { allowed: false, reason: "bob only reads" };
      },
    });
    await (await server.server.store.create("app")).close();
  });
  afterAll(async () => {
    await server.close();
    removeDirectory(workspace);
  });

  const as = (user: string, password = "secret"): Record<string, string> => ({
    Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`,
  });

  it("asks on discovery and on the raw POST of every service", async () => {
    const ask = async (service: string, post: boolean, headers: Record<string, string>): Promise<number> => {
      const answer = post
        ? await send(`${server.urlOf("app")}/git-${service}`, {
            body: "0000",
            headers: { ...headers, "Content-Type": `application/x-git-${service}-request` },
          })
        : await send(`${server.urlOf("app")}/info/refs?service=git-${service}`, { headers });
      if (answer.status === 401) expect(answer.headers["www-authenticate"]).toContain("Basic realm=");
      return answer.status;
    };
    for (const post of [false, true]) {
      expect(await ask("receive-pack", post, {})).toBe(401);
      expect(await ask("receive-pack", post, as("ada", "wrong"))).toBe(401);
      expect(await ask("receive-pack", post, { Authorization: "Basic Og==" })).toBe(401);
      expect(await ask("receive-pack", post, as("bob"))).toBe(403);
      expect(await ask("receive-pack", post, as("ada"))).toBe(200);
      expect(await ask("upload-pack", post, {})).toBe(401);
      expect(await ask("upload-pack", post, as("bob"))).toBe(200);
    }
  });

  it("does not tell a hidden repository from one that does not exist", async () => {
    const hidden = await send(`${server.urlOf("hidden")}/info/refs?service=git-upload-pack`, {
      headers: as("ada"),
    });
    expect(hidden.status).toBe(404);
    expect(hidden.body.toString()).toBe("repository 'hidden' does not exist\n");
  });

  it("shows the reason to the person who pushes", async () => {
    const target = new URL(server.urlOf("app"));
    target.username = "bob";
    target.password = "secret";
    await workspace.run("init", "-q", "app");
    const app = workspace.in("app");
    await app.run("commit", "-q", "--allow-empty", "-m", "first");
    const refused = await app.try("push", target.href, "main");
    expect(refused.stderr).toContain("bob only reads");
  });

  it("answers any host once it can tell who calls", async () => {
    const answer = await send(`${server.urlOf("app")}/info/refs?service=git-receive-pack`, {
      headers: { ...as("ada"), Host: "git.example.org" },
    });
    expect(answer.status).toBe(200);
  });
});
