/** Who may do what over the API: the one authorization point, grants, the panic switch, rates, and what the audit log tells. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AuditEntry } from "../src/access/audit/audit-entry.js";
import { switchPanicOn } from "../src/access/panic-switch.js";
import type { AuthorizationRequest } from "../src/engine/authorization.js";
import type { Grant } from "../src/engine/identity.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import type { RepositoryStore } from "../src/storage/contracts/repository.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { type ApiAnswer, type ApiClient, createApiClient, passwordOf } from "./support/api-client.js";

let directory: string;
let store: RepositoryStore;
let server: GitServer | undefined;
const GRANTS: Readonly<Record<string, Grant>> = {
  reader: { operations: ["read"] },
  narrow: { repositories: ["team/app"] },
};

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-api-"));
  store = createMemoryRepositoryStore();
  for (const name of ["team/app", "team/other", "public/app", "secret"]) await store.create(name);
});
afterEach(async () => {
  await server?.close({ graceMs: 0 });
  server = undefined;
  rmSync(directory, { recursive: true, force: true });
});

async function serve(options: Partial<GitServerOptions> = {}): Promise<ApiClient> {
  server = createGitServer({
    repositories: store,
    api: true,
    authenticate: (credentials) => {
      if (credentials.kind !== "basic" || credentials.password !== passwordOf(credentials.user))
        return undefined;
      const grant = GRANTS[credentials.user];
      return { user: credentials.user, ...(grant === undefined ? {} : { grant }) };
    },
    log: () => undefined,
    ...options,
  });
  return createApiClient((await server.listen({ http: 0 })).http.url);
}

const problem = ({ status, value }: ApiAnswer): readonly unknown[] => [status, value?.["code"]];
const namesIn = ({ value }: ApiAnswer): readonly string[] => {
  const repositories = (value?.["repositories"] ?? []) as readonly { readonly name: string }[];
  return repositories.map(({ name }) => name);
};

const ALL: readonly (readonly [string, string, unknown])[] = [
  ["GET", "/repositories", undefined],
  ["POST", "/repositories", { name: "new" }],
  ["GET", "/repositories/team/app", undefined],
  ["GET", "/repositories/absent", undefined],
  ["PUT", "/repositories/team/app", { name: "new" }],
  ["PUT", "/repositories/absent", { name: "new" }],
  ["DELETE", "/repositories/team/app", undefined],
  ["DELETE", "/repositories/absent", undefined],
];

async function allNames(): Promise<readonly string[]> {
  const all: string[] = [];
  for await (const name of store.list()) all.push(name);
  return all;
}

describe("who has not signed in", () => {
  it.each(ALL)("is asked to: %s %s", async (method, path, json) => {
    const api = await serve();
    const before = await allNames();
    const refused = await api.call(method, path, { json });
    expect(problem(refused)).toEqual([401, "access/unauthenticated"]);
    expect(refused.headers["www-authenticate"]).toMatch(/^Basic /);
    const wrong = await api.call(method, path, { json, headers: { Authorization: "Basic YWRhOnh4" } });
    expect(problem(wrong)).toEqual([401, "access/unauthenticated"]);
    expect(await allNames()).toEqual(before);
  });

  it("reads of health and of the API's description what anyone may", async () => {
    const api = await serve();
    for (const path of ["/health", "/openapi.json"]) {
      expect((await api.call("GET", path)).status).toBe(200);
      // Credentials that nobody looks at do no harm.
      const headers = { Authorization: "Basic YWRhOnh4" };
      expect((await api.call("GET", path, { headers })).status).toBe(200);
    }
  });

  it("sees public repositories and nothing else", async () => {
    const api = await serve({ anonymousRead: ["public/**"] });
    expect(namesIn(await api.call("GET", "/repositories"))).toEqual(["public/app"]);
    expect((await api.call("GET", "/repositories/public/app")).status).toBe(200);
    for (const [method, json] of [["PUT", { name: "public/new" }], ["DELETE"]] as const)
      expect((await api.call(method, "/repositories/public/app", { json })).status).toBe(401);
  });

  it("is not asked to sign in where there is simply nothing", async () => {
    store = createMemoryRepositoryStore();
    const api = await serve();
    expect((await api.call("GET", "/repositories")).value).toEqual({ repositories: [] });
  });
});

describe("who has signed in", () => {
  it("may do everything, unless somebody says otherwise", async () => {
    const api = await serve();
    const statuses: number[] = [];
    for (const [method, path, json] of ALL.filter(([, each]) => !each.endsWith("absent")))
      statuses.push((await api.call(method, path, { json, user: "ada" })).status);
    expect(statuses).toEqual([200, 201, 200, 409, 204]);
  });

  it("is held to what the credentials are for", async () => {
    const api = await serve();
    expect((await api.call("GET", "/repositories/team/app", { user: "reader" })).status).toBe(200);
    for (const [method, path, json] of [
      ["POST", "/repositories", { name: "new" }],
      ["PUT", "/repositories/team/app", { name: "new" }],
      ["DELETE", "/repositories/team/app"],
    ] as const)
      expect(problem(await api.call(method, path, { json, user: "reader" }))).toEqual([403, "access/denied"]);
    expect(namesIn(await api.call("GET", "/repositories", { user: "narrow" }))).toEqual(["team/app"]);
    expect((await api.call("DELETE", "/repositories/secret", { user: "narrow" })).status).toBe(404);
    const moved = await api.call("PUT", "/repositories/team/app", { json: { name: "x" }, user: "narrow" });
    expect(moved.status).toBe(403);
    expect((await allNames()).length).toBe(4);
  });
});

describe("rules", () => {
  const policies: GitServerOptions["policies"] = [
    { effect: "allow", users: ["root"] },
    { effect: "deny", repositories: ["secret"], reason: "not this one" },
    {
      effect: "allow",
      users: ["ada"],
      repositories: ["team/**"],
      operations: ["read", "push", "create", "rename"],
    },
    { effect: "allow", users: ["eve"], repositories: ["team/app"], operations: ["read"] },
    // About pushes alone: it lets nobody delete a repository.
    { effect: "allow", users: ["eve"], refs: ["refs/heads/**"], actions: ["delete"] },
  ];

  it("decide on each operation apart", async () => {
    const api = await serve({ policies });
    expect(namesIn(await api.call("GET", "/repositories", { user: "ada" }))).toEqual([
      "team/app",
      "team/other",
    ]);
    expect(namesIn(await api.call("GET", "/repositories", { user: "eve" }))).toEqual(["team/app"]);
    const as = (user: string) => async (method: string, path: string, json?: unknown) =>
      problem(await api.call(method, path, { json, user }));
    const [ada, eve, root] = [as("ada"), as("eve"), as("root")];
    expect(await ada("DELETE", "/repositories/team/app")).toEqual([403, "access/denied"]);
    expect(await eve("DELETE", "/repositories/team/app")).toEqual([403, "access/denied"]);
    expect(await eve("PUT", "/repositories/team/app", { name: "team/new" })).toEqual([403, "access/denied"]);
    // Who may not read it does not learn whether it is there.
    for (const name of ["secret", "absent"])
      for (const [method, json] of [["GET"], ["DELETE"], ["PUT", { name: "x" }]] as const)
        expect(await eve(method, `/repositories/${name}`, json)).toEqual([404, "storage/not-found"]);
    // A name that is somebody else's to give.
    expect(await ada("PUT", "/repositories/team/app", { name: "public/mine" })).toEqual([
      403,
      "access/denied",
    ]);
    expect(await ada("POST", "/repositories", { name: "public/mine" })).toEqual([403, "access/denied"]);
    expect(await ada("POST", "/repositories", { name: "public/app" })).toEqual([403, "access/denied"]);
    expect(await allNames()).toEqual(["public/app", "secret", "team/app", "team/other"]);
    expect(await ada("PUT", "/repositories/team/app", { name: "team/new" })).toEqual([200, undefined]);
    expect(await ada("POST", "/repositories", { name: "team/app" })).toEqual([201, undefined]);
    expect(await root("DELETE", "/repositories/secret")).toEqual([204, undefined]);
  });

  it("say no more of a branch than its readers see", async () => {
    const hiding: GitServerOptions["policies"] = [
      { effect: "deny", users: ["eve"], operations: ["read"], refs: ["refs/heads/main"] },
      { effect: "allow" },
    ];
    const api = await serve({ policies: hiding });
    const shown = async (user: string): Promise<unknown> =>
      (await api.call("GET", "/repositories/team/app", { user })).value?.["defaultBranch"];
    expect([await shown("ada"), await shown("eve")]).toEqual(["main", null]);
  });

  it("that are code are asked about each operation by its name, and fail closed", async () => {
    const asked: AuthorizationRequest[] = [];
    const api = await serve({
      authorize: (request) => {
        asked.push(request);
        if (request.repository === "broken") throw new Error("failed");
        return { allowed: true };
      },
    });
    await api.call("POST", "/repositories", { json: { name: "new" }, user: "ada" });
    await api.call("GET", "/repositories/new", { user: "ada" });
    await api.call("PUT", "/repositories/new", { json: { name: "newer" }, user: "ada" });
    await api.call("DELETE", "/repositories/newer", { user: "ada" });
    expect(asked.map(({ operation, repository }) => [operation, repository])).toEqual([
      ["create", "new"],
      ["fetch", "new"],
      ["rename", "new"],
      ["create", "newer"],
      ["delete", "newer"],
    ]);
    const refused = await api.call("POST", "/repositories", { json: { name: "broken" }, user: "ada" });
    expect(problem(refused)).toEqual([403, "access/denied"]);
    expect(await store.open("broken")).toBeUndefined();
  });
});

describe("the panic switch", () => {
  it.each([
    [false, 200],
    [true, 503],
  ])("stops changes, and reading if it says so (%s)", async (reads, reading) => {
    const panicFile = join(directory, "panic.json");
    await switchPanicOn(panicFile, { reads, message: "closed" });
    const api = await serve({ panicFile });
    for (const [method, path, json] of ALL.filter(([, each]) => !each.endsWith("absent"))) {
      const answer = await api.call(method, path, { json, user: "ada" });
      expect(answer.status).toBe(method === "GET" ? reading : 503);
      if (answer.status === 503) expect(problem(answer)).toEqual([503, "access/suspended"]);
    }
    expect((await allNames()).length).toBe(4);
  });
});

describe("rates", () => {
  it("count changes as pushes", async () => {
    const api = await serve({ rates: { pushesPerUser: { max: 2, seconds: 3600 } } });
    const make = async (name: string): Promise<readonly unknown[]> =>
      problem(await api.call("POST", "/repositories", { json: { name }, user: "ada" }));
    expect([await make("a"), await make("b"), await make("c")]).toEqual([
      [201, undefined],
      [201, undefined],
      [429, "access/too-many-requests"],
    ]);
  });
});

describe("the audit log", () => {
  const summary = ({ event, user, repository, outcome, code, details }: AuditEntry): unknown => ({
    event,
    user,
    repository,
    outcome,
    ...(code === undefined ? {} : { code }),
    ...(details === undefined ? {} : { details }),
  });

  it("tells of each change before it is made and when it is over, and of refusals", async () => {
    const entries: AuditEntry[] = [];
    const api = await serve({
      audit: (entry) => void entries.push(entry),
      authorize: ({ operation, repository }) =>
        operation === "delete" && repository === "secret"
          ? { allowed: false, reason: "no" }
          : { allowed: true },
    });
    const user = "ada";
    await api.call("POST", "/repositories", { json: { name: "new" }, user });
    await api.call("PUT", "/repositories/new", { json: { name: "newer" }, user });
    await api.call("DELETE", "/repositories/newer", { user });
    await api.call("DELETE", "/repositories/secret", { user });
    await api.call("POST", "/repositories", { json: { name: "secret" }, user });
    await api.call("GET", "/repositories", { user });
    await server?.close();
    expect(entries.filter(({ event }) => event.startsWith("repository-")).map(summary)).toEqual([
      { event: "repository-create", user, repository: "new", outcome: "begun" },
      { event: "repository-create", user, repository: "new", outcome: "ok" },
      { event: "repository-rename", user, repository: "new", outcome: "begun", details: { to: "newer" } },
      { event: "repository-rename", user, repository: "new", outcome: "ok" },
      { event: "repository-delete", user, repository: "newer", outcome: "begun" },
      { event: "repository-delete", user, repository: "newer", outcome: "ok" },
      { event: "repository-delete", user, repository: "secret", outcome: "denied", code: "access/denied" },
      { event: "repository-create", user, repository: "secret", outcome: "begun" },
      {
        event: "repository-create",
        user,
        repository: "secret",
        outcome: "bad-request",
        code: "storage/exists",
      },
    ]);
    const ids = entries.filter(({ repository }) => repository === "newer").map(({ requestId }) => requestId);
    expect(new Set(ids).size).toBe(1);
  });

  it("that cannot be written lets nothing be changed, unless it may", async () => {
    let isFull = false;
    const audit = { sink: () => (isFull ? Promise.reject(new Error("full")) : undefined) };
    const about = { json: { name: "new" }, user: "ada" };
    const first = await serve({ audit: { ...audit, onFailure: "continue" } });
    isFull = true;
    expect((await first.call("POST", "/repositories", about)).status).toBe(201);
    await server?.close({ graceMs: 0 });
    isFull = false;
    const second = await serve({ audit });
    isFull = true;
    const refused = await second.call("DELETE", "/repositories/new", { user: "ada" });
    expect(problem(refused)).toEqual([503, "access/audit-failed"]);
    expect(await store.open("new")).toBeDefined();
  });
});
