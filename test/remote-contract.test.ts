/** Our own remote contract as it is described: real questions fit the OpenAPI description, and secrets can be changed. */
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readAuthenticateAnswer, readAuthorizeAnswer } from "../src/access/remote/remote-answers.js";
import { signatureOf, verifyRemoteSignature } from "../src/access/remote/remote-signature.js";
import { createGitServer, type GitServer, type Listening } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type Schema, whatIsWrong } from "./support/json-schema.js";
import { send } from "./support/raw-http.js";
import {
  type Question,
  type RemoteTestApplication,
  SECRET,
  startRemoteApplication,
} from "./support/remote-application.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey } from "./support/ssh-keygen.js";

const OLD = SECRET;
const NEW = "another secret, which is long enough";
const DESCRIPTION = JSON.parse(
  readFileSync(new URL("../../docs/remote-contract.openapi.json", import.meta.url), "utf8"),
) as Schema;

let workspace: GitClient;
let app: GitClient;
const servers: GitServer[] = [];
const applications: RemoteTestApplication[] = [];

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close({ graceMs: 0 });
  for (const application of applications.splice(0)) await application.close();
  removeDirectory(workspace);
});

async function start(secret?: string | readonly string[]): Promise<RemoteTestApplication> {
  const application = await startRemoteApplication(secret);
  applications.push(application);
  application.answer = allowAll;
  return application;
}

function allowAll({ path, body }: Question): unknown {
  if (path.endsWith("/authenticate"))
    return { identity: { user: "ada", credentialId: "7", attributes: { team: "core" } } };
  if (path.endsWith("/resolve")) return { repository: String(body["name"]) };
  // git signs in over HTTP when it is asked to.
  const { user } = body["identity"] as { readonly user: string | null };
  if (user === null && body["operation"] === "push")
    return { allowed: false, reason: "sign in to push", answer: "challenge" };
  return { allowed: true };
}

function serve(
  { url }: RemoteTestApplication,
  secret: string | readonly string[],
  options: Partial<GitServerOptions> = {},
): Promise<Listening> {
  const server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    remote: { url, secret, retries: 0, resolve: true, exactActions: true },
    gitDaemon: { exportAll: true },
    log: () => undefined,
    ...options,
  });
  servers.push(server);
  return server.listen({ http: 0, ssh: 0, git: 0 });
}

/** As described, and nothing that is not: a member that the description forgot would go unseen. */
function strict(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(strict);
  if (typeof value !== "object" || value === null) return value;
  const copy = Object.fromEntries(Object.entries(value).map(([key, each]) => [key, strict(each)]));
  const isClosed = !("properties" in copy) || "additionalProperties" in copy;
  return isClosed ? copy : { ...copy, additionalProperties: false };
}

const STRICT = strict(DESCRIPTION) as Schema;
const schemaOf = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });
const wrongWith = (value: unknown, name: string): string => whatIsWrong(value, schemaOf(name), STRICT);

interface Described {
  readonly components: {
    readonly parameters: Readonly<Record<string, { readonly name: string; readonly schema: Schema }>>;
  };
}

const QUESTIONS: Readonly<Record<string, string>> = {
  "/git/authenticate": "AuthenticateQuestion",
  "/git/authorize": "AuthorizeQuestion",
  "/git/resolve": "ResolveQuestion",
};

describe("the OpenAPI description", () => {
  it("fits what real clients make the server ask, over HTTP, SSH and git://", async () => {
    const application = await start();
    const { http, ssh, git } = await serve(application, SECRET);
    const as = http.url.replace("://", "://ada:x@");
    await app.run("push", "-q", `${as}/app.git`, "main", "main:gone");
    await app.run("commit", "-q", "--allow-empty", "-m", "two");
    await app.run("push", "-q", `${as}/app.git`, "main", ":gone");
    await app.run("push", "-q", "--force", `${as}/app.git`, "main~1:main");
    await workspace.run("clone", "-q", `${http.url}/app.git`, "copy");
    const discovery = `${http.url}/app.git/info/refs?service=git-upload-pack`;
    await send(discovery, { headers: { Authorization: "Bearer a.token" } });
    await send(`${http.url}/app.git/HEAD`);
    await workspace.run("ls-remote", `${git?.url}/app.git`);
    const { directory } = workspace;
    const client = createSshClient({
      directory,
      port: ssh?.port ?? 0,
      keys: [makeSshKey(directory, "key").path],
    });
    const env = client.environment;
    const sshUrl = `ssh://git@127.0.0.1:${ssh?.port}/app.git`;
    expect(await workspace.tryWith({ env }, "archive", `--remote=${sshUrl}`, "main")).toMatchObject({
      status: 0,
    });
    expect(await app.tryWith({ env }, "push", "-q", sshUrl, "main:ssh")).toMatchObject({ status: 0 });

    const { parameters } = (DESCRIPTION as unknown as Described).components;
    for (const { path, body, headers } of application.asked) {
      expect([path, wrongWith(body, QUESTIONS[path] ?? "")]).toEqual([path, ""]);
      for (const { name, schema } of Object.values(parameters))
        expect(whatIsWrong(headers[name.toLowerCase()], schema, DESCRIPTION)).toBe("");
    }
    // All of it has been there: else nothing was looked at.
    const seen = (path: string, member: string): unknown[] =>
      application.asked
        .filter((asked) => asked.path === `/git/${path}`)
        .map(({ body }) => JSON.stringify(body[member]));
    expect(new Set(seen("authorize", "operation"))).toEqual(
      new Set(['"fetch"', '"push"', '"create"', '"archive"']),
    );
    expect(new Set(seen("authorize", "transport"))).toEqual(new Set(['"http"', '"ssh"', '"git"']));
    const actions = seen("authorize", "refs").join("\n");
    for (const action of ["create", "update", "force", "delete"])
      expect(actions).toContain(`"action":"${action}"`);
    expect(seen("authenticate", "credentials").join("\n")).toMatch(
      /"kind":"basic"[^]*"kind":"bearer"[^]*"kind":"ssh-key"/,
    );
    expect(seen("resolve", "name").length).toBeGreaterThan(5);
    expect(application.refused).toEqual([]);
  });

  it("would tell of a question that does not fit", async () => {
    const application = await start();
    const { http } = await serve(application, SECRET);
    await app.run("push", "-q", http.url.replace("://", "://ada:x@") + "/app.git", "main");
    const question = application.asked.find(({ body }) => body["refs"] !== undefined)?.body ?? {};
    expect(wrongWith(question, "AuthorizeQuestion")).toBe("");
    const { address: _, ...without } = question;
    const [ref] = question["refs"] as readonly Record<string, unknown>[];
    for (const odd of [
      without,
      { ...question, more: 1 },
      { ...question, version: 2 },
      { ...question, transport: "gopher" },
      { ...question, refs: [{ ...ref, action: "push" }] },
      { ...question, refs: [{ name: "x" }] },
      { ...question, identity: { user: 7, method: null, credentialId: null, attributes: {} } },
    ])
      expect(wrongWith(odd, "AuthorizeQuestion")).not.toBe("");
  });

  it.each<[string, unknown]>([
    ["AuthorizeAnswer", { allowed: true }],
    ["AuthorizeAnswer", { allowed: false, reason: "no" }],
    ["AuthorizeAnswer", { allowed: false, reason: "no", answer: "hide" }],
    ["AuthenticateAnswer", { refused: "unknown" }],
    ["AuthenticateAnswer", { identity: { user: "ada", grant: { operations: ["read"], refs: [] } } }],
  ])("has the answers that are understood: %s %j", (name, answer) => {
    expect(wrongWith(answer, name)).toBe("");
    expect(() => readerOf(name)(answer)).not.toThrow();
  });

  it.each<[string, unknown]>([
    ["AuthorizeAnswer", { allowed: "true" }],
    ["AuthorizeAnswer", { allowed: false }],
    ["AuthorizeAnswer", { allowed: false, reason: "" }],
    ["AuthorizeAnswer", { allowed: false, reason: "no", answer: "allow" }],
    ["AuthorizeAnswer", []],
    ["AuthenticateAnswer", {}],
    ["AuthenticateAnswer", { identity: {} }],
    ["AuthenticateAnswer", { identity: { user: "a b" } }],
    ["AuthenticateAnswer", { identity: { user: "ada", grant: { repos: [] } } }],
    ["AuthenticateAnswer", { identity: { user: "ada" }, refused: "no" }],
  ])("has none that is not: %s %j", (name, answer) => {
    expect(wrongWith(answer, name)).not.toBe("");
    expect(() => readerOf(name)(answer)).toThrow();
  });
});

function readerOf(name: string): (value: unknown) => unknown {
  return name === "AuthorizeAnswer" ? readAuthorizeAnswer : readAuthenticateAnswer;
}

describe("the secret", () => {
  it("is changed while pushes go on: both, then the application, then the new one alone", async () => {
    const before = await start(OLD);
    const after = await start(NEW);
    const store = createMemoryRepositoryStore();
    let branch = 0;
    const push = async (to: RemoteTestApplication, secret: string | readonly string[]): Promise<number> => {
      const { http } = await serve(to, secret, { repositories: store });
      const url = `${http.url.replace("://", "://ada:x@")}/app.git`;
      return (await app.try("push", "-q", url, `main:b${branch++}`)).status ?? -1;
    };
    expect(await push(before, OLD)).toBe(0);
    expect(await push(after, OLD)).not.toBe(0);
    expect(await push(before, [NEW, OLD])).toBe(0);
    expect(await push(after, [NEW, OLD])).toBe(0);
    expect(await push(after, NEW)).toBe(0);
    expect(await push(before, NEW)).not.toBe(0);
    // An application that changes first.
    expect(await push(await start([OLD, NEW]), OLD)).toBe(0);
    expect(JSON.stringify([before.asked, after.asked])).not.toMatch(/secret/);
  });

  it("fits with one signature of a few, and no more are looked at", () => {
    const parts = { timestamp: String(Math.floor(Date.now() / 1000)), id: "x", body: "{}" };
    const good = signatureOf(OLD, parts);
    const other = signatureOf(NEW, parts);
    const verify = (signature: string): boolean => verifyRemoteSignature(OLD, { ...parts, signature });
    expect(verify(good)).toBe(true);
    expect(verify(`${other}, ${good}`)).toBe(true);
    expect(verify(`${other},${other},${other},${other},${good}`)).toBe(false);
    for (const odd of ["", ",", other, good.slice(0, -1), `${good}0`, good.replace("v1=", "")])
      expect(verify(odd)).toBe(false);
  });

  it.each<[string, unknown]>([
    ["an empty list", []],
    ["a list with a short one", [NEW, "short"]],
    ["too many", [OLD, OLD, OLD, OLD, OLD]],
    ["a number", 12],
  ])("is not %s", (_, secret) => {
    const remote = { url: "https://app.example.org", secret } as unknown as NonNullable<
      GitServerOptions["remote"]
    >;
    expect(() => createGitServer({ repositories: createMemoryRepositoryStore(), remote })).toThrow(
      "the secret is a text of at least 16 characters",
    );
  });
});
