/** One line a request, with an id that the client and the log share, and no secret in it: with git and with curl's means. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createSshClient } from "./support/ssh-client.js";

const UUID = /^[0-9a-f]{8}-[0-9a-f-]{27}$/;
const SECRET = "s3cret-of-ada";

let workspace: GitClient;
let work: GitClient;
let server: GitServer | undefined;
let entries: ServiceLogEntry[];

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "work");
  work = workspace.in("work");
  await work.run("commit", "-q", "--allow-empty", "-m", "first");
  entries = [];
});
afterEach(async () => {
  await server?.close({ graceMs: 0 });
  removeDirectory(workspace);
});

async function start(
  options: Partial<GitServerOptions> = {},
): Promise<{ readonly url: string; readonly sshPort: number }> {
  server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    log: (entry) => void entries.push(entry),
    ...options,
  });
  const { http, ssh } = await server.listen({ http: 0, ssh: 0 });
  return { url: http.url, sshPort: ssh?.port ?? 0 };
}

const lines = (): readonly NonNullable<ServiceLogEntry["fields"]>[] =>
  entries.flatMap(({ fields }) => (fields?.["outcome"] === undefined ? [] : [fields]));
const of = (service: string): NonNullable<ServiceLogEntry["fields"]> | undefined =>
  lines().find((fields) => fields["service"] === service);

/** The line of a request follows its answer: a client may have read that before. */
async function line(service: string): Promise<NonNullable<ServiceLogEntry["fields"]>> {
  return expect
    .poll(() => of(service))
    .toBeDefined()
    .then(() => of(service) ?? {});
}

describe("the log", () => {
  it("has who, what, how much and how it ended, over HTTP", async () => {
    const { url } = await start({ authenticate: () => ({ user: "ada" }) });
    const own = url.replace("//", `//ada:${SECRET}@`);
    await work.run("push", "-q", `${own}/team/app.git`, "main");
    await workspace.run("clone", "-q", `${own}/team/app.git`, "copy");
    expect(await line("receive-pack")).toMatchObject({
      transport: "http",
      user: "ada",
      repository: "team/app",
      address: "127.0.0.1",
      outcome: "ok",
      pushedObjects: 2,
      requestId: expect.stringMatching(UUID) as string,
    });
    expect(of("receive-pack")?.["bytesIn"]).toBeGreaterThan(100);
    expect((await line("upload-pack"))["bytesOut"]).toBeGreaterThan(100);
    expect(of("upload-pack-refs")).toMatchObject({ outcome: "unauthenticated" });
    expect(new Set(lines().map(({ requestId }) => requestId)).size).toBe(lines().length);
    expect(JSON.stringify(entries)).not.toContain(SECRET);
  });

  it("has the same over SSH", async () => {
    const { sshPort } = await start();
    const client = createSshClient({ directory: workspace.directory, port: sshPort });
    const url = `ssh://git@127.0.0.1:${sshPort}/app.git`;
    const pushed = await work.tryWith({ env: client.environment }, "push", "-q", url, "main");
    expect(pushed).toMatchObject({ status: 0 });
    const fields = await line("receive-pack");
    expect(fields).toMatchObject({ transport: "ssh", repository: "app", outcome: "ok", pushedObjects: 2 });
    expect(fields["requestId"]).toMatch(UUID);
    expect(fields["bytesIn"]).toBeGreaterThan(100);
    expect(fields["bytesOut"]).toBeGreaterThan(100);
  });

  it("has the same over git://", async () => {
    server = createGitServer({
      repositories: createMemoryRepositoryStore(),
      autoCreate: "push",
      gitDaemon: { exportAll: true, receivePack: true },
      log: (entry) => void entries.push(entry),
    });
    const { git } = await server.listen({ http: 0, git: 0 });
    await work.run("push", "-q", `${git?.url}/app.git`, "main");
    const fields = await line("receive-pack");
    expect(fields).toMatchObject({ transport: "git", repository: "app", outcome: "ok", pushedObjects: 2 });
    expect(fields["bytesIn"]).toBeGreaterThan(100);
    expect((await work.try("ls-remote", `${git?.url}/none.git`)).status).toBe(128);
    await expect.poll(() => lines().map(({ outcome }) => outcome)).toEqual(["ok", "not-found"]);
  });

  it("holds no secret that came in a target or a header", async () => {
    const { url } = await start({ authenticate: () => undefined });
    const authorization = `Basic ${Buffer.from(`ada:${SECRET}`).toString("base64")}`;
    const answers = await Promise.all([
      fetch(`${url}/app.git/info/refs?service=git-upload-pack&access_token=${SECRET}`, {
        headers: { authorization },
      }),
      fetch(`${url}/x:${SECRET}@host/app.git/info/refs?service=git-upload-pack`),
      fetch(`${url}/app.git/info/refs?private_token=${SECRET}`, { headers: { authorization: SECRET } }),
    ]);
    await Promise.all(answers.map((answer) => answer.text()));
    await expect.poll(() => lines().length).toBe(3);
    const all = JSON.stringify(entries);
    expect(all).not.toContain(SECRET);
    expect(all).not.toContain(authorization);
  });
});

describe("the id of a request", () => {
  it("is sent back, and is a trusted proxy's own", async () => {
    const trustedUserHeader = { header: "X-Forwarded-User", proxies: ["127.0.0.1"] };
    const { url } = await start({ trustedUserHeader });
    const headers = { "X-Request-Id": "edge-7", "X-Forwarded-User": "ada" };
    const answer = await fetch(`${url}/none.git/HEAD`, { headers });
    expect(answer.headers.get("x-request-id")).toBe("edge-7");
    expect(await line("files")).toMatchObject({ requestId: "edge-7", outcome: "not-found" });
  });

  it("is made when a stranger sends one", async () => {
    const { url } = await start();
    const answer = await fetch(`${url}/none.git/HEAD`, { headers: { "X-Request-Id": "edge-7" } });
    expect(answer.headers.get("x-request-id")).toMatch(UUID);
    expect((await line("files"))["requestId"]).toBe(answer.headers.get("x-request-id"));
  });

  it("is shown to the pusher when the server is at fault, and stands in its log", async () => {
    const store = createMemoryRepositoryStore();
    const { url } = await start({
      repositories: { ...store, open: () => Promise.reject(new Error("the disk is on fire")) },
    });
    const { stderr } = await work.try("push", `${url}/app.git`, "main");
    const [, id = ""] = /remote: internal error.*\(request ([0-9a-f-]+)\)/.exec(stderr) ?? [];
    expect(id).toMatch(UUID);
    const failure = entries.find(({ level }) => level === "error");
    expect(failure?.fields).toMatchObject({ requestId: id });
    expect(String(failure?.error)).toContain("on fire");
    expect(lines().find(({ requestId }) => requestId === id)).toMatchObject({ outcome: "failed" });
  });

  it("is not shown for what is the pusher's doing", async () => {
    const { url } = await start({ authorize: () => ({ allowed: false, reason: "not on Sundays" }) });
    const { stderr } = await work.try("push", `${url}/app.git`, "main");
    expect(stderr).toContain("not on Sundays");
    expect(stderr).not.toContain("(request");
    expect(await line("receive-pack-refs")).toMatchObject({ outcome: "denied" });
  });
});
