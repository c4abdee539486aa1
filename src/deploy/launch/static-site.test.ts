/** A static site, asked as a browser and as somebody who looks for what is not his. */
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, request, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openStaticSite } from "./static-site.js";

let directory: string;
let site: string;
let server: Server;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-site-"));
  site = join(directory, "release", "public");
  mkdirSync(join(site, "docs"), { recursive: true });
  mkdirSync(join(site, ".well-known", ".secret"), { recursive: true });
  mkdirSync(join(site, ".git"));
  mkdirSync(join(site, "empty"));
  writeFileSync(join(directory, "release", "secret.txt"), "secret");
  const files = {
    "index.html": "<h1>home</h1>",
    "about.html": "about",
    "docs/index.html": "docs",
    "style.css": "body {}",
    "data.bin": "0123456789",
    "with space & ü.txt": "odd",
    "404.html": "<h1>nothing here</h1>",
    ".env": "KEY=secret",
    ".git/config": "secret",
    ".well-known/security.txt": "contact",
    ".well-known/.secret/key": "secret",
  };
  for (const [path, text] of Object.entries(files)) writeFileSync(join(site, path), text);
  symlinkSync("about.html", join(site, "link.html"));
  symlinkSync("../secret.txt", join(site, "leak.txt"));
  symlinkSync("/etc", join(site, "etc"));
  await open("v1");
});
afterAll(() => {
  server.close();
  rmSync(directory, { recursive: true, force: true });
});

async function open(version: string): Promise<void> {
  const opened = await openStaticSite({ directory: site, within: join(directory, "release"), version });
  server = createServer((asked, answer) => void opened.serve(asked, answer));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
}

async function get(
  path: string,
  options: { readonly method?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<{
  readonly status: number | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}> {
  const { port } = server.address() as AddressInfo;
  // As it is written: `fetch` would take `..` away.
  const asked = request({ port, host: "127.0.0.1", path, agent: false, ...options });
  asked.end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of answer as AsyncIterable<Buffer>) chunks.push(chunk);
  return { status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks).toString() };
}

describe("a static site", () => {
  it.each([
    ["/", "<h1>home</h1>", "text/html; charset=utf-8"],
    ["/index.html?x=1", "<h1>home</h1>", "text/html; charset=utf-8"],
    ["/about", "about", "text/html; charset=utf-8"],
    ["/docs/", "docs", "text/html; charset=utf-8"],
    ["/style.css", "body {}", "text/css; charset=utf-8"],
    ["/with%20space%20%26%20%C3%BC.txt", "odd", "text/plain; charset=utf-8"],
    ["/link.html", "about", "text/html; charset=utf-8"],
    ["/.well-known/security.txt", "contact", "text/plain; charset=utf-8"],
    ["/data.bin", "0123456789", "application/octet-stream"],
  ])("serves %s", async (path, text, type) => {
    const { status, headers, body } = await get(path);
    expect([status, body, headers["content-type"]]).toEqual([200, text, type]);
    expect(headers).toMatchObject({
      "x-content-type-options": "nosniff",
      "cache-control": "public, max-age=0",
    });
  });

  it.each([
    "/missing",
    "/leak.txt",
    "/etc/passwd",
    "/etc/",
    "/.env",
    "/.git/config",
    "/.well-known/.secret/key",
    "/../secret.txt",
    "/%2e%2e/secret.txt",
    "/docs/..%2f..%2fsecret.txt",
    "/docs\\..\\..\\secret.txt",
    "/style.css/",
    "/style.css%00.html",
    "/empty",
    "/%zz",
    "//etc/passwd",
    `/${"a".repeat(5000)}`,
  ])("has nothing at %s", async (path) => {
    const { status, body, headers } = await get(path);
    expect([status, body]).toEqual([404, "<h1>nothing here</h1>"]);
    expect([headers.etag, headers["last-modified"], headers["accept-ranges"]]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it("sends a directory's visitors to its slash, on this server", async () => {
    const { status, headers } = await get("/docs?x=1");
    expect([status, headers.location]).toEqual([301, "/docs/?x=1"]);
    expect((await get("//docs")).headers.location).toBe("/docs/");
  });

  it("answers parts, and says when nothing has changed", async () => {
    const whole = await get("/data.bin");
    const etag = whole.headers.etag ?? "";
    expect(await get("/data.bin", { headers: { range: "bytes=2-4" } })).toMatchObject({
      status: 206,
      body: "234",
      headers: { "content-range": "bytes 2-4/10" },
    });
    expect((await get("/data.bin", { headers: { range: "bytes=20-" } })).status).toBe(416);
    expect(await get("/data.bin", { headers: { "if-none-match": etag } })).toMatchObject({
      status: 304,
      body: "",
    });
    expect((await get("/data.bin", { headers: { range: "bytes=2-4", "if-range": '"other"' } })).status).toBe(
      200,
    );
    expect((await get("/data.bin", { headers: { "if-match": '"other"' } })).status).toBe(412);
    expect(await get("/data.bin", { method: "HEAD" })).toMatchObject({
      status: 200,
      body: "",
      headers: { "content-length": "10" },
    });
  });

  it("has other validators in another release, though time and size are the same", async () => {
    const { etag } = (await get("/data.bin")).headers;
    server.close();
    await open("v2");
    const after = await get("/data.bin", { headers: { "if-none-match": etag ?? "" } });
    expect([after.status, after.headers.etag === etag]).toEqual([200, false]);
  });

  it("takes nothing", async () => {
    for (const method of ["POST", "PUT", "DELETE"])
      expect(await get("/", { method })).toMatchObject({ status: 405, headers: { allow: "GET, HEAD" } });
  });

  it("is refused when its directory is not the release's", async () => {
    symlinkSync("/etc", join(directory, "release", "out"));
    for (const name of ["out", "missing", "..", "secret.txt/x"]) {
      const opened = openStaticSite({
        directory: join(directory, "release", name),
        within: join(directory, "release"),
        version: "x",
      });
      await expect(opened).rejects.toMatchObject({ code: "deploy/launch-failed" });
    }
  });
});
