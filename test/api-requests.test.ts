/** What the API makes of requests that are wrong, of methods, of addresses, and of web pages. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import type { RepositoryStore } from "../src/storage/contracts/repository.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { type ApiAnswer, type ApiCall, type ApiClient, createApiClient } from "./support/api-client.js";
import { createGitClient, type GitClient } from "./support/git-client.js";
import { send } from "./support/raw-http.js";
import { startServe } from "./support/serve-process.js";

let directory: string;
let store: RepositoryStore;
let closing: (() => Promise<void>)[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-api-"));
  store = createMemoryRepositoryStore();
  closing = [];
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
});

function create(options: Partial<GitServerOptions> = {}): GitServer {
  const server = createGitServer({ repositories: store, api: true, log: () => undefined, ...options });
  closing.push(() => server.close({ graceMs: 0 }));
  return server;
}

async function serve(
  options: Partial<GitServerOptions> = {},
): Promise<{ readonly api: ApiClient; readonly url: string; readonly server: GitServer }> {
  const server = create(options);
  const { url } = (await server.listen({ http: 0 })).http;
  return { api: createApiClient(url), url, server };
}

const problem = ({ status, value }: ApiAnswer): readonly unknown[] => [status, value?.["code"]];

async function workTree(): Promise<GitClient> {
  const client = createGitClient(directory);
  await client.run("init", "-q", "work");
  await client.in("work").run("commit", "-q", "--allow-empty", "-m", "one");
  return client.in("work");
}

describe("a body", () => {
  const BAD: readonly (readonly [string, ApiCall, number, string])[] = [
    ["is not JSON", { body: "{" }, 400, "protocol/bad-request"],
    ["is empty", { body: "" }, 400, "protocol/bad-request"],
    ["is not UTF-8", { body: Buffer.from('{"name":"\xff"}', "latin1") }, 400, "protocol/bad-request"],
    ["is a list", { json: ["app"] }, 400, "protocol/bad-request"],
    ["is null", { json: null }, 400, "protocol/bad-request"],
    ["has no name", { json: {} }, 400, "protocol/bad-request"],
    ["has a name that is no text", { json: { name: 1 } }, 400, "protocol/bad-request"],
    ["has an unknown member", { json: { name: "app", private: true } }, 400, "protocol/bad-request"],
    ["has a member of all objects", { body: '{"name":"app","__proto__":{}}' }, 400, "protocol/bad-request"],
    ["has an unknown format", { json: { name: "app", objectFormat: "md5" } }, 400, "protocol/bad-request"],
    ["has no branch", { json: { name: "app", defaultBranch: "a..b" } }, 400, "protocol/bad-request"],
    [
      "has a branch that is no text",
      { json: { name: "app", defaultBranch: {} } },
      400,
      "protocol/bad-request",
    ],
    ["leads elsewhere", { json: { name: "../app" } }, 400, "storage/bad-name"],
    ["has a name of nothing", { json: { name: "" } }, 400, "storage/bad-name"],
    ["has a hidden name", { json: { name: ".gitwharf" } }, 400, "storage/bad-name"],
    ["has a name with a NUL", { json: { name: "a\0b" } }, 400, "storage/bad-name"],
    ["has a name too long", { json: { name: "a".repeat(101) } }, 400, "storage/bad-name"],
    ["has too many segments", { json: { name: "a/b/c/d/e/f/g/h/i" } }, 400, "storage/bad-name"],
    ["is too large", { json: { name: "a".repeat(20_000) } }, 413, "base/limit-exceeded"],
    [
      "is too large when it is unpacked",
      {
        body: gzipSync(JSON.stringify({ name: "a".repeat(2 ** 24) })),
        headers: { "Content-Encoding": "gzip" },
      },
      413,
      "base/limit-exceeded",
    ],
    ["is no gzip", { body: "{}", headers: { "Content-Encoding": "gzip" } }, 400, "protocol/bad-request"],
    [
      "is a form's",
      { body: "name=app", headers: { "Content-Type": "application/x-www-form-urlencoded" } },
      415,
      "protocol/unsupported-media-type",
    ],
    [
      "is a text's, as foreign pages may send",
      { json: { name: "app" }, headers: { "Content-Type": "text/plain" } },
      415,
      "protocol/unsupported-media-type",
    ],
  ];

  it.each(BAD)("that %s makes nothing", async (_what, call, status, code) => {
    const { api } = await serve();
    await store.create("there");
    expect(problem(await api.call("POST", "/repositories", call))).toEqual([status, code]);
    expect(problem(await api.call("PUT", "/repositories/there", call))[0]).toBe(status);
    const { value } = await api.call("GET", "/repositories");
    expect(value).toEqual({ repositories: [{ id: "there", name: "there" }] });
  });

  it("may be gzip, and say more of its type", async () => {
    const { api } = await serve();
    const made = await api.call("POST", "/repositories", {
      body: gzipSync('{"name":"app"}'),
      headers: { "Content-Encoding": "gzip", "Content-Type": "Application/JSON; charset=utf-8" },
    });
    expect(made.status).toBe(201);
  });

  it("is refused as problem details, with a title and a sentence", async () => {
    const { api } = await serve();
    const refused = await api.call("POST", "/repositories", { json: { name: "a//b" } });
    expect(refused.headers["content-type"]).toBe("application/problem+json");
    expect(refused.headers["cache-control"]).toBe("no-store");
    expect(refused.value).toEqual({
      type: "about:blank",
      title: "Bad Request",
      status: 400,
      code: "storage/bad-name",
      detail: expect.stringContaining("'a//b' cannot be a repository name"),
    });
  });

  it("that breaks off ends the request, and nothing else", async () => {
    const { api, url } = await serve();
    const controller = new AbortController();
    const endless = new ReadableStream({
      start: (stream) => stream.enqueue(Buffer.from('{"name":')),
    });
    const asked = fetch(`${url}/repositories`, {
      method: "POST",
      body: endless,
      headers: { "Content-Type": "application/json" },
      duplex: "half",
      signal: controller.signal,
    } as RequestInit);
    controller.abort();
    await expect(asked).rejects.toThrow();
    expect((await api.call("GET", "/repositories")).value).toEqual({ repositories: [] });
  });
});

describe("an address of the API", () => {
  it.each([
    ["/repositories/../x", 404, "storage/bad-name"],
    ["/repositories/%00", 404, "storage/bad-name"],
    ["/repositories/%zz", 404, "storage/bad-name"],
    ["/repositories/", 404, "storage/bad-name"],
    ["/repositories/.hidden", 404, "storage/bad-name"],
    ["/repositories/absent", 404, "storage/not-found"],
    ["/repositories/3b0ad2a0-93f5-4b6c-a4d5-5f6a3d4e6f70", 404, "storage/not-found"],
    ["/repositories?page=2", 400, "protocol/bad-request"],
    ["/repositories?limit=0", 400, "protocol/bad-request"],
    ["/repositories?cursor=x", 400, "protocol/bad-request"],
    ["/repositories/app?force", 400, "protocol/bad-request"],
  ])("%s is answered %i, %s", async (address, status, code) => {
    const { api } = await serve();
    expect(problem(await api.call("GET", address))).toEqual([status, code]);
  });

  it.each([
    ["/repositories", "GET, HEAD, POST, OPTIONS", ["PUT", "PATCH", "DELETE", "TRACE"]],
    ["/repositories/app", "GET, HEAD, PUT, DELETE, OPTIONS", ["POST", "PATCH"]],
    ["/health", "GET, HEAD, OPTIONS", ["POST", "DELETE"]],
    ["/openapi.json", "GET, HEAD, OPTIONS", ["PUT"]],
  ])("%s says which methods it has", async (address, allowed, others) => {
    const { api } = await serve();
    await store.create("app");
    for (const method of others) {
      const refused = await api.call(method, address);
      expect([refused.status, refused.headers["allow"]]).toEqual([405, allowed]);
      expect(refused.value).toMatchObject({ status: 405, code: "protocol/bad-request" });
    }
    const options = await api.call("OPTIONS", address);
    expect([options.status, options.headers["allow"], options.value]).toEqual([204, allowed, undefined]);
    const [head, get] = [await api.call("HEAD", address), await api.call("GET", address)];
    expect([head.status, head.value]).toEqual([200, undefined]);
    for (const name of ["content-length", "content-type", "etag"])
      expect(head.headers[name]).toBe(get.headers[name]);
  });

  it("is Git's as soon as Git understands it", async () => {
    const { url } = await serve({ autoCreate: "push" });
    const work = await workTree();
    const names = async (): Promise<readonly string[]> => {
      const all: string[] = [];
      for await (const name of store.list()) all.push(name);
      return all;
    };
    await work.run("push", "-q", `${url}/repositories.git`, "main");
    expect(await names()).toEqual(["repositories"]);
    await work.run("clone", "-q", `${url}/repositories`, "../copy");
    await work.run("push", "-q", `${url}/repositories/app.git`, "main");
    await work.run("push", "-q", `${url}/repositories/repositories/app.git`, "main");
    expect(await names()).toEqual(["app", "repositories", "repositories/app"]);
    await work.run("push", "-q", `${url}/health.git`, "main");
    expect(await work.run("ls-remote", `${url}/health`)).not.toBe("");
    expect((await send(`${url}/health`)).body.toString()).toContain('"ready":true');
  });

  it("is not there unless it is asked for", async () => {
    const { url } = await serve({ api: false, autoCreate: "push" });
    for (const path of ["/repositories", "/health", "/openapi.json"])
      expect((await send(`${url}${path}`)).status).toBe(404);
    await (await workTree()).run("push", "-q", `${url}/repositories/app.git`, "main");
    expect(await store.open("repositories/app")).toBeDefined();
  });

  it("may stand below a path, and the handler below another", async () => {
    const server = create({ api: { path: "/api/v1" }, autoCreate: "push" });
    const mounted = createServer(server.handlerUnder("/git"));
    await new Promise<void>((resolve) => mounted.listen(0, "127.0.0.1", resolve));
    closing.push(async () => void mounted.close());
    const url = `http://127.0.0.1:${(mounted.address() as AddressInfo).port}/git`;
    const api = createApiClient(`${url}/api/v1`);
    const made = await api.call("POST", "/repositories", { json: { name: "group/app" } });
    const location = new URL(String(made.headers["location"]), `${url}/api/v1/repositories`);
    expect((await send(location.href)).status).toBe(200);
    const work = await workTree();
    await work.run("push", "-q", `${url}/api/v1/repositories/group/app.git`, "main");
    await work.run("push", "-q", `${url}/repositories/app.git`, "main");
    expect(await store.open("repositories/app")).toBeDefined();
    expect((await send(`${url}/repositories`)).status).toBe(404);
    const document = JSON.parse((await send(`${url}/api/v1/openapi.json`)).body.toString()) as unknown;
    expect(document).toMatchObject({ openapi: "3.1.0", servers: [{ url: "/git/api/v1" }] });
    mounted.closeAllConnections();
  });
});

describe("web pages", () => {
  const page = { Origin: "https://ui.example" };
  const preflight = { ...page, "Access-Control-Request-Method": "DELETE" };

  it("of other origins are allowed nothing by default", async () => {
    const { api } = await serve();
    for (const answer of [
      await api.call("OPTIONS", "/repositories/app", { headers: preflight }),
      await api.call("GET", "/repositories", { headers: page }),
    ])
      expect(Object.keys(answer.headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
  });

  it("of listed origins may call it", async () => {
    const { api } = await serve({ api: { origins: ["https://ui.example"] } });
    const asked = await api.call("OPTIONS", "/repositories/app", { headers: preflight });
    expect(asked).toMatchObject({
      status: 204,
      headers: {
        "access-control-allow-origin": "https://ui.example",
        "access-control-allow-methods": expect.stringContaining("DELETE"),
        "access-control-allow-headers": expect.stringContaining("Authorization"),
        vary: "Origin",
      },
    });
    // They can read refusals too.
    const refused = await api.call("GET", "/repositories/absent", { headers: page });
    expect(refused.headers["access-control-allow-origin"]).toBe("https://ui.example");
    expect(refused.headers["access-control-allow-credentials"]).toBeUndefined();
    const other = await api.call("GET", "/repositories", { headers: { Origin: "https://evil.example" } });
    expect(other.headers["access-control-allow-origin"]).toBeUndefined();
  });

  it("that came by another name for this machine are refused while the server is open", async () => {
    const { api } = await serve();
    const refused = await api.call("GET", "/repositories", { headers: { Host: "evil.example" } });
    expect(problem(refused)).toEqual([403, "access/denied"]);
  });
});

describe("health", () => {
  it("names the part that is unavailable, without saying why, and turns when the server goes", async () => {
    const logged: unknown[] = [];
    const ill: RepositoryStore = {
      ...store,
      probes: {
        bucket: async () => undefined,
        metadata: () => Promise.reject(new Error("postgres://ada:s3cret@db is down")),
      },
    };
    const { api, server } = await serve({
      repositories: ill,
      log: ({ level, message }) => void (level === "error" && logged.push(message)),
    });
    const answer = await api.call("GET", "/health");
    expect(answer).toMatchObject({
      status: 503,
      value: { ready: false, parts: { accepting: "ok", bucket: "ok", metadata: "unavailable" } },
    });
    expect(JSON.stringify(answer)).not.toContain("s3cret");
    expect(logged).toEqual(["the metadata is unavailable"]);
    expect((await server.readiness()).parts).toEqual(answer.value?.["parts"]);
  });
});

describe("the option", () => {
  it("is --api of the command, whatever the storage", async () => {
    const served = join(directory, "served");
    const process = await startServe(
      served,
      "--api",
      "--storage",
      "object-store",
      "--no-sync",
      "--log",
      "none",
    );
    try {
      const api = createApiClient(process.url);
      expect((await api.call("POST", "/repositories", { json: { name: "app" } })).status).toBe(201);
      await (await workTree()).run("push", "-q", `${process.url}/repositories/app.git`, "main");
      const { value } = await api.call("GET", "/health");
      const parts = ["accepting", "bucket", "database", "localDisk", "metadata"];
      expect(Object.keys(value?.["parts"] as object).toSorted()).toEqual(parts);
    } finally {
      await process.end("SIGTERM");
    }
  });

  it.each([
    [{ api: "yes" }, "api is true, false or an object"],
    [{ api: [] }, "api is true, false or an object"],
    [{ api: { prefix: "/api" } }, "api has no 'prefix'; known are path, origins"],
    [{ api: { path: "/api/" } }, "api.path is a path"],
    [{ api: { path: "api" } }, "api.path is a path"],
    [{ api: { origins: ["*"] } }, "api.origins is a list of origins"],
    [{ api: { origins: ["https://ui.example/"] } }, "api.origins is a list of origins"],
    [{ api: true, resolveRepository: () => "app" }, "api and resolveRepository do not go together"],
  ])("%j is refused", (options, why) => {
    expect(() => create(options as unknown as Partial<GitServerOptions>)).toThrow(why);
  });
});
