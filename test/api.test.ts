/** The API over each store, with the real git at its addresses. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createGitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { openObjectStorage } from "../src/server/object-storage.js";
import type { RepositoryStore } from "../src/storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { type ApiAnswer, type ApiClient, createApiClient } from "./support/api-client.js";
import { createGitClient, type GitClient } from "./support/git-client.js";

let directory: string;
let closing: (() => Promise<void>)[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-api-"));
  closing = [];
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
});

async function serve(
  store: RepositoryStore,
  options: Partial<GitServerOptions> = {},
): Promise<{ readonly api: ApiClient; readonly url: string }> {
  const server = createGitServer({
    repositories: store,
    durability: "none",
    api: true,
    log: () => undefined,
    ...options,
  });
  closing.push(() => server.close({ graceMs: 0 }));
  const { url } = (await server.listen({ http: 0 })).http;
  return { api: createApiClient(url), url };
}

async function workTree(): Promise<GitClient> {
  const client = createGitClient(directory);
  await client.run("init", "-q", "work");
  const work = client.in("work");
  await work.run("commit", "-q", "--allow-empty", "-m", "one");
  return work;
}

function namesIn({ value }: ApiAnswer): readonly string[] {
  const repositories = (value?.["repositories"] ?? []) as readonly { readonly name: string }[];
  return repositories.map(({ name }) => name);
}

const problem = ({ status, value }: ApiAnswer): readonly unknown[] => [status, value?.["code"]];

const STORES: readonly {
  readonly name: string;
  readonly keepsIds: boolean;
  readonly renames: boolean;
  readonly open: () => Promise<RepositoryStore>;
}[] = [
  { name: "memory", keepsIds: false, renames: true, open: async () => createMemoryRepositoryStore() },
  {
    name: "disk",
    keepsIds: false,
    renames: false,
    open: async () =>
      createDiskRepositoryStore({ directory: join(directory, "repositories"), durability: "none" }),
  },
  {
    name: "object store",
    keepsIds: true,
    renames: true,
    open: () =>
      openObjectStorage({
        bucket: { directory: join(directory, "bucket") },
        database: `sqlite:${join(directory, "state.sqlite")}`,
        localDirectory: join(directory, "local"),
        durability: "none",
      }),
  },
];

describe.each(STORES)("repositories over REST: $name", ({ keepsIds, renames, open }) => {
  const opened = async (): Promise<RepositoryStore> => {
    const store = await open();
    closing.push(() => store.close());
    return store;
  };

  it("are made, shown and deleted", async () => {
    const { api } = await serve(await opened());
    const made = await api.call("POST", "/repositories", {
      json: { name: "group/app.git", defaultBranch: "trunk", objectFormat: "sha256" },
    });
    expect(made.status).toBe(201);
    expect(made.value).toMatchObject({ name: "group/app", objectFormat: "sha256", defaultBranch: "trunk" });
    const id = String(made.value?.["id"]);
    expect(id === "group/app").toBe(!keepsIds);
    expect(made.headers["location"]).toBe(`repositories/${encodeURIComponent(id)}`);

    for (const address of [
      `/${String(made.headers["location"])}`,
      "/repositories/group/app",
      "/repositories/group%2Fapp",
    ]) {
      const shown = await api.call("GET", address);
      expect(shown).toMatchObject({
        status: 200,
        value: made.value,
        headers: { etag: made.headers["etag"] },
      });
    }
    expect(await api.call("GET", "/repositories")).toMatchObject({
      status: 200,
      value: { repositories: [{ id, name: "group/app" }] },
    });

    expect(await api.call("DELETE", `/${String(made.headers["location"])}`)).toMatchObject({ status: 204 });
    for (const method of ["GET", "DELETE"])
      expect(problem(await api.call(method, "/repositories/group/app"))).toEqual([404, "storage/not-found"]);
    expect((await api.call("GET", "/repositories")).value).toEqual({ repositories: [] });
  });

  it("are like those that the server makes, where the body says nothing", async () => {
    const { api } = await serve(await opened(), { defaultBranch: "trunk", objectFormat: "sha256" });
    const made = await api.call("POST", "/repositories", { json: { name: "app" } });
    expect(made.value).toMatchObject({ objectFormat: "sha256", defaultBranch: "trunk" });
  });

  it("are cloned and pushed to at both addresses", async () => {
    const { api, url } = await serve(await opened());
    const made = await api.call("POST", "/repositories", { json: { name: "group/app" } });
    const work = await workTree();
    const head = await work.run("rev-parse", "HEAD");
    await work.run("push", "-q", `${url}/repositories/group/app.git`, "main");
    const id = String(made.value?.["id"]);
    const addresses = [
      "group/app.git",
      "repositories/group/app.git",
      "repositories/group/app",
      `repositories/${id}.git`,
    ];
    for (const address of addresses)
      expect(await work.run("ls-remote", `${url}/${address}`, "HEAD")).toContain(head);
    await work.run("push", "-q", `${url}/group/app.git`, "main:other");
    await work.run("clone", "-q", `${url}/repositories/${id}.git`, "../copy");
    expect(await work.in("../copy").run("rev-parse", "origin/other")).toBe(head);
    await api.call("DELETE", "/repositories/group/app");
    const gone = await work.try("ls-remote", `${url}/repositories/group/app.git`);
    expect(gone.stderr).toContain("not found");
  });

  it("are made once, whoever races for one name", async () => {
    const { api } = await serve(await opened());
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => api.call("POST", "/repositories", { json: { name: "app" } })),
    );
    expect(answers.map((each) => problem(each).join(" ")).toSorted()).toEqual([
      "201 ",
      ...Array.from({ length: 7 }, () => "409 storage/exists"),
    ]);
  });

  it("are listed by pages, in the order of names, whatever comes and goes between them", async () => {
    const store = await opened();
    const { api } = await serve(store);
    const names = ["B", "a", "a-b", "a.b", "a/b", "a/c/d", "b", "b/a", "b/b", "c"];
    for (const name of names) await (await store.create(name)).close();
    for (const limit of [1, 3, 4, 10, 1000]) {
      const seen: string[] = [];
      let pages = 0;
      for (let query = `limit=${limit}`; query !== ""; ) {
        const answer = await api.call("GET", `/repositories?${query}`);
        const page = namesIn(answer);
        expect(page.length).toBeLessThanOrEqual(limit);
        seen.push(...page);
        const next = answer.value?.["next"];
        query = typeof next === "string" ? `limit=${limit}&cursor=${next}` : "";
        pages++;
      }
      expect(seen).toEqual(names);
      expect(pages).toBe(Math.ceil(names.length / limit));
    }
    const first = await api.call("GET", "/repositories?limit=5");
    expect(namesIn(first).at(-1)).toBe("a/b");
    for (const name of ["a/b", "B"]) await store.delete(name);
    await (await store.create("a/bb")).close();
    const rest = await api.call("GET", `/repositories?cursor=${String(first.value?.["next"])}`);
    expect(namesIn(rest)).toEqual(["a/bb", "a/c/d", "b", "b/a", "b/b", "c"]);
  });

  it.skipIf(!renames)("are renamed, with all that they hold and while they are used", async () => {
    const store = await opened();
    const { api, url } = await serve(store);
    const { value } = await api.call("POST", "/repositories", { json: { name: "app" } });
    await api.call("POST", "/repositories", { json: { name: "taken" } });
    const work = await workTree();
    await work.run("push", "-q", `${url}/app.git`, "main");
    const held = await store.open("app");
    const renamed = await api.call("PUT", "/repositories/app", { json: { name: "group/new" } });
    expect(renamed).toMatchObject({ status: 200, value: { name: "group/new" } });
    if (keepsIds) expect(renamed.value?.["id"]).toBe(value?.["id"]);
    (await held?.snapshot())?.release();
    await held?.close();
    const head = await work.run("rev-parse", "HEAD");
    expect(await work.run("ls-remote", `${url}/group/new.git`, "HEAD")).toContain(head);
    expect((await api.call("GET", "/repositories/app")).status).toBe(404);
    const again = await api.call("PUT", "/repositories/group/new", { json: { name: "group/new" } });
    expect(again).toMatchObject({ status: 200, value: renamed.value });
    const taken = await api.call("PUT", "/repositories/group/new", { json: { name: "taken" } });
    expect(problem(taken)).toEqual([409, "storage/exists"]);
    const absent = await api.call("PUT", "/repositories/app", { json: { name: "other" } });
    expect(problem(absent)).toEqual([404, "storage/not-found"]);
    expect(namesIn(await api.call("GET", "/repositories"))).toEqual(["group/new", "taken"]);
  });

  it.skipIf(renames)("say so where they cannot be renamed", async () => {
    const { api } = await serve(await opened());
    await api.call("POST", "/repositories", { json: { name: "app" } });
    const refused = await api.call("PUT", "/repositories/app", { json: { name: "new" } });
    expect(problem(refused)).toEqual([501, "storage/cannot-rename"]);
    expect(refused.value?.["detail"]).toContain("does not let them be renamed");
    expect(namesIn(await api.call("GET", "/repositories"))).toEqual(["app"]);
    // What is so already need not be done.
    expect((await api.call("PUT", "/repositories/app", { json: { name: "app" } })).status).toBe(200);
    expect((await api.call("PUT", "/repositories/absent", { json: { name: "new" } })).status).toBe(404);
  });

  it("have tags by which a reader, and whoever changes them, can tell whether they are as they were", async () => {
    const { api } = await serve(await opened());
    const tag = async (): Promise<string> =>
      String((await api.call("GET", "/repositories/app")).headers["etag"]);
    await api.call("POST", "/repositories", { json: { name: "app" } });
    const first = await tag();
    expect(await tag()).toBe(first);
    for (const known of [first, `"x", ${first}`, `W/${first}`, "*"]) {
      const answer = await api.call("GET", "/repositories/app", { headers: { "If-None-Match": known } });
      expect(answer).toMatchObject({ status: 304, value: undefined, headers: { etag: first } });
    }
    const stale = await api.call("GET", "/repositories/app", { headers: { "If-None-Match": '"x"' } });
    expect(stale.status).toBe(200);
    // Another one of the same name is not the same.
    await api.call("DELETE", "/repositories/app", { headers: { "If-Match": first } });
    await api.call("POST", "/repositories", { json: { name: "app" } });
    expect(await tag()).not.toBe(first);
    for (const [method, json] of [["DELETE"], ["PUT", { name: "app" }]] as const) {
      const answer = await api.call(method, "/repositories/app", { json, headers: { "If-Match": first } });
      expect(problem(answer)).toEqual([412, "protocol/precondition-failed"]);
    }
    const current = await tag();
    for (const condition of [current, "*"]) {
      const answer = await api.call("PUT", "/repositories/app", {
        json: { name: "app" },
        headers: { "If-Match": condition },
      });
      expect(answer.status).toBe(200);
    }
  });

  it("have a health of so many parts", async () => {
    const { api } = await serve(await opened());
    const parts = keepsIds
      ? { accepting: "ok", bucket: "ok", metadata: "ok", localDisk: "ok" }
      : { accepting: "ok", store: "ok" };
    expect(await api.call("GET", "/health")).toMatchObject({ status: 200, value: { ready: true, parts } });
  });
});

describe("ids that the store gives", () => {
  it("come before names that look like them", async () => {
    const store = await openObjectStorage({
      bucket: { directory: join(directory, "bucket") },
      database: `sqlite:${join(directory, "state.sqlite")}`,
      durability: "none",
    });
    closing.push(() => store.close());
    const { api, url } = await serve(store);
    const { value } = await api.call("POST", "/repositories", { json: { name: "app" } });
    const id = String(value?.["id"]);
    expect((await api.call("POST", "/repositories", { json: { name: id } })).status).toBe(201);
    expect((await api.call("GET", `/repositories/${id}`)).value).toEqual(value);
    const work = await workTree();
    await work.run("push", "-q", `${url}/repositories/${id}.git`, "main");
    expect(await work.run("ls-remote", `${url}/app.git`)).not.toBe("");
    // To Git alone, names are names.
    expect(await work.run("ls-remote", `${url}/${id}.git`)).toBe("");
    await api.call("DELETE", `/repositories/${id}`);
    expect(await api.call("GET", `/repositories/${id}`)).toMatchObject({ value: { name: id } });
  });
});

describe("many repositories", () => {
  it("are listed by pages, each once", async () => {
    const store = createMemoryRepositoryStore();
    const count = 10_000;
    for (let i = 0; i < count; i++) await store.create(`group-${i % 7}/app-${i}`);
    const { api } = await serve(store);
    const seen: string[] = [];
    let pages = 0;
    for (let query = "limit=1000"; query !== ""; pages++) {
      const answer = await api.call("GET", `/repositories?${query}`);
      seen.push(...namesIn(answer));
      const next = answer.value?.["next"];
      query = typeof next === "string" ? `limit=1000&cursor=${next}` : "";
    }
    expect([seen.length, new Set(seen).size, pages]).toEqual([count, count, 10]);
    expect(seen).toEqual(seen.toSorted());
  });
});

describe("a store of an application's own, which can do nothing beyond", () => {
  it("is listed by its names", async () => {
    const { entries: _e, rename: _r, ...store } = createMemoryRepositoryStore();
    for (const name of ["a", "b", "c"]) await store.create(name);
    const { api } = await serve(store);
    const first = await api.call("GET", "/repositories?limit=2");
    expect(namesIn(first)).toEqual(["a", "b"]);
    const second = await api.call("GET", `/repositories?limit=2&cursor=${String(first.value?.["next"])}`);
    expect(second.value).toEqual({ repositories: [{ id: "c", name: "c" }] });
    expect(problem(await api.call("PUT", "/repositories/a", { json: { name: "d" } }))).toEqual([
      501,
      "storage/cannot-rename",
    ]);
  });
});
