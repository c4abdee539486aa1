/** What a server writes into its audit log, with the real client over HTTP, SSH and git://, and what it does without one. */
import { mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import type { AuditEntry } from "../src/access/audit/audit-entry.js";
import type { AuditOptions } from "../src/access/audit/audit-options.js";
import { verifyAudit } from "../src/access/audit/verify-audit.js";
import { switchPanicOff, switchPanicOn } from "../src/access/panic-switch.js";
import { createGitServer, type GitServer, type Listening } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey, type SshKeyFile } from "./support/ssh-keygen.js";

const NULL = "0".repeat(40);
const UNWRITABLE = "the server cannot write its audit log, and takes no pushes until it can";

interface Line extends Record<string, unknown> {
  readonly event: string;
  readonly refs?: readonly Record<string, unknown>[];
}

let workspace: GitClient;
let app: GitClient;
let key: SshKeyFile;
let server: GitServer | undefined;
let listening: Listening;
let file: string;
let logged: ServiceLogEntry[];

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  file = join(workspace.directory, "audit", "log.jsonl");
  key = makeSshKey(workspace.directory, "ada");
  logged = [];
});
afterEach(async () => {
  await server?.close({ graceMs: 0 });
  server = undefined;
  removeDirectory(workspace);
});

async function serve(
  options: Partial<GitServerOptions> = {},
  audit: Partial<AuditOptions> = {},
): Promise<void> {
  server = createGitServer({
    repositories: join(workspace.directory, "repositories"),
    autoCreate: "push",
    durability: "none",
    sshServer: { hostKeyDirectory: inject("hostKeyDirectory") },
    audit: { ...(audit.sink === undefined ? { file } : {}), ...audit },
    gitDaemon: { exportAll: true, receivePack: true },
    log: (entry) => void logged.push(entry),
    authenticate: (credentials) => {
      if (credentials.kind === "ssh-key")
        return { user: "ada", method: "ssh-key", credentialId: credentials.fingerprint };
      return credentials.kind === "basic" && credentials.password === "right"
        ? { user: credentials.user, method: "password" }
        : undefined;
    },
    authorize: ({ repository, identity, transport }) => {
      if (identity.user === undefined && transport === "http")
        return { allowed: false, reason: "sign in", answer: "challenge" };
      return repository.startsWith("closed/")
        ? { allowed: false, reason: "closed on Sundays" }
        : { allowed: true };
    },
    ...options,
  });
  listening = await server.listen({ http: 0, ssh: 0, git: 0 });
}

const http = (path: string, user = "ada", password = "right"): string =>
  `${listening.http.url.replace("//", `//${user}:${password}@`)}/${path}`;
const ssh = (path: string): string => `ssh://git@127.0.0.1:${listening.ssh?.port}/${path}`;
const git = (path: string): string => `${listening.git?.url}/${path}`;

function push(url: string, ...refs: readonly string[]): Promise<GitResult> {
  const { environment: env } = createSshClient({
    directory: workspace.directory,
    port: listening.ssh?.port ?? 0,
    keys: [key.path],
  });
  return app.tryWith({ env }, "push", url, ...refs);
}

function lines(of = file): readonly Line[] {
  return readFileSync(of, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((text) => JSON.parse(text) as Line);
}

/** A line that follows the answer, once it is there. */
async function line(event: string, more: object = {}): Promise<Line> {
  const find = (): Line | undefined =>
    lines().findLast((each) => each.event === event && Object.entries(more).every(([k, v]) => each[k] === v));
  await expect.poll(find).toBeDefined();
  return find() as Line;
}

async function expectWhole(...files: readonly string[]): Promise<void> {
  const findings: unknown[] = [];
  await verifyAudit(files.length === 0 ? [file] : files, {
    onFinding: (finding) => void findings.push(finding),
  });
  expect(findings).toEqual([]);
}

/** In place of the file, something that cannot be written. */
function breakLog(): void {
  renameSync(file, `${file}.1`);
  mkdirSync(file);
}

describe("the audit log of a server", () => {
  it("has who did what, from where, with what outcome, over HTTP, SSH and git://", async () => {
    await serve();
    const oid = await app.run("rev-parse", "HEAD");
    for (const url of [http("a.git"), ssh("b.git"), git("c.git")])
      expect(await push(url, "main")).toMatchObject({ status: 0 });
    await workspace.run("clone", "-q", http("a.git", "ben"), "copy");
    const refs = [{ name: "refs/heads/main", old: NULL, new: oid, kind: "create" }];
    const common = { address: "127.0.0.1", requestId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string };
    const overHttp = { ...common, transport: "http", user: "ada", method: "password", repository: "a" };
    await line("fetch");
    const pushes = lines().filter(({ event }) => event.startsWith("push"));
    expect(pushes).toHaveLength(6);
    expect(pushes[0]).toMatchObject({ ...overHttp, event: "push-begin", refs });
    const accepted = refs.map((ref) => ({ ...ref, outcome: "accepted" }));
    expect(pushes[1]).toMatchObject({ ...overHttp, event: "push", outcome: "ok", refs: accepted });
    expect(pushes[1]?.["requestId"]).toBe(pushes[0]?.["requestId"]);
    expect(pushes[3]).toMatchObject({
      ...common,
      transport: "ssh",
      user: "ada",
      method: "ssh-key",
      credentialId: expect.stringMatching(/^SHA256:/) as string,
      repository: "b",
      refs: accepted,
    });
    expect(pushes[5]).toMatchObject({ ...common, transport: "git", repository: "c", refs: accepted });
    expect(pushes[5]).not.toHaveProperty("user");
    expect(await line("fetch")).toMatchObject({ ...overHttp, user: "ben", outcome: "ok" });
    await server?.close();
    expect(lines()[0]).toMatchObject({ event: "server-start", sequence: 1, details: { pid: process.pid } });
    expect(lines().at(-1)).toMatchObject({ event: "server-stop" });
    await expectWhole();
  });

  it("says of every ref what was done to it, and why not", async () => {
    await serve({
      handlers: {
        update: (_push, { name }) => (name.endsWith("/no") ? "not\tthis\u001b[31m one" : undefined),
      },
    });
    await push(http("a.git"), "main", "main:refs/heads/gone", "main:refs/tags/v1");
    const one = await app.run("rev-parse", "HEAD");
    await app.run("commit", "-q", "--allow-empty", "-m", "two");
    const two = await app.run("rev-parse", "HEAD");
    await push(http("a.git"), "main", ":gone", "main:no");
    const partial = await line("push", { outcome: "partial" });
    const refs = [...(partial.refs ?? [])].sort((a, b) => String(a["name"]).localeCompare(String(b["name"])));
    expect(refs).toEqual([
      { name: "refs/heads/gone", old: one, new: NULL, kind: "delete", outcome: "accepted" },
      { name: "refs/heads/main", old: one, new: two, kind: "update", outcome: "accepted" },
      {
        name: "refs/heads/no",
        old: NULL,
        new: two,
        kind: "create",
        outcome: "refused",
        reason: "not\\u{9}this\\u{1b}[31m one",
      },
    ]);
    const begun = lines().findLast(({ event }) => event === "push-begin");
    expect(begun?.refs?.map(({ name }) => name).sort()).toEqual(["refs/heads/gone", "refs/heads/main"]);
    await app.run("reset", "-q", "--hard", "HEAD~");
    await app.run("commit", "-q", "--allow-empty", "-m", "other");
    await push(http("a.git"), "+main");
    expect((await line("push", { outcome: "ok" })).refs).toMatchObject([
      { kind: "force", old: two, outcome: "accepted" },
    ]);
    await push(http("a.git"), "--atomic", "main:new", "main:no");
    expect((await line("push", { outcome: "refused" })).refs).toHaveLength(2);
    await expectWhole();
  });

  it("has refusals before any work: sign-in, authorization, panic, names", async () => {
    await serve();
    await push(http("a.git"), "main");
    expect((await push(http("a.git", "ada", "wrong"), "main")).status).toBe(128);
    expect(await line("sign-in")).toMatchObject({
      transport: "http",
      address: "127.0.0.1",
      outcome: "unauthenticated",
      code: "access/unauthenticated",
      details: { authenticator: "callback" },
    });
    expect((await push(http("closed/a.git"), "main")).status).toBe(128);
    expect(await line("push", { outcome: "denied" })).toMatchObject({
      user: "ada",
      repository: "closed/a",
      code: "access/denied",
      reason: "closed on Sundays",
    });
    expect((await push(ssh("closed/a.git"), "main")).status).toBe(128);
    expect(await line("push", { transport: "ssh", outcome: "denied" })).toMatchObject({ method: "ssh-key" });
    expect((await push(git("closed/a.git"), "main")).status).toBe(128);
    expect(await line("push", { transport: "git", outcome: "denied" })).toMatchObject({
      repository: "closed/a",
    });
    await workspace.try("clone", http("none.git"), "none");
    expect(await line("fetch", { outcome: "not-found" })).toMatchObject({ user: "ada", repository: "none" });
    const panicFile = join(workspace.directory, "repositories", ".gitwharf", "panic.json");
    await switchPanicOn(panicFile, { reads: false, message: "stop" });
    // One that was under way when the switch was looked at is refused later, as a push whose refs are known.
    const suspended = (): unknown => lines().find(({ code }) => code === "access/suspended");
    for (let tries = 0; suspended() === undefined && tries < 100; tries++)
      expect((await push(http("a.git"), "main:x")).stderr).toMatch(/stop|new branch|up-to-date/);
    await switchPanicOff(panicFile);
    expect(suspended()).toMatchObject({ event: "push", reason: "stop" });
    // The first request of a client, which has not shown anything yet, is none.
    const challenged = lines().filter(({ outcome }) => outcome === "unauthenticated");
    expect(new Set(challenged.map(({ event }) => event))).toEqual(new Set(["sign-in"]));
    await expectWhole();
  });

  it("names the refs of a push that authorization refuses once it knows them", async () => {
    await serve({
      authorize: ({ commands }) =>
        commands === undefined ? { allowed: true } : { allowed: false, reason: "not these" },
    });
    for (const url of [http("a.git"), ssh("a.git"), git("a.git")]) {
      expect((await push(url, "main")).status).not.toBe(0);
      const { transport, refs } = await line("push", { transport: url.split(":")[0] });
      expect({ transport, refs }).toEqual({
        transport: url.split(":")[0],
        refs: [expect.objectContaining({ name: "refs/heads/main", outcome: "refused", reason: "not these" })],
      });
    }
  });

  it("has a key that does not get in over SSH, and a certificate that is none", async () => {
    await serve({ authenticate: () => undefined });
    expect((await push(ssh("a.git"), "main")).status).toBe(128);
    expect(await line("sign-in")).toMatchObject({
      transport: "ssh",
      credentialId: expect.stringMatching(/^SHA256:/) as string,
      outcome: "unauthenticated",
      address: "127.0.0.1",
    });
  });

  it("has a push whose pack is refused, with the reason", async () => {
    await serve({ limits: { packSizeBytesMax: 10 } });
    expect((await push(http("a.git"), "main")).status).toBe(1);
    expect(await line("push")).toMatchObject({
      outcome: "refused",
      code: "base/limit-exceeded",
      refs: [{ outcome: "refused", reason: "unpacker error" }],
    });
  });

  it("has the intention on file before a ref moves, and the outcome before the pusher is told", async () => {
    const seen: string[][] = [];
    const look = (): void => void seen.push(lines().map(({ event }) => event));
    await serve({
      handlers: {
        preReceive: () => {
          look();
          return undefined;
        },
        referenceTransaction: (_push, state) => {
          if (state === "prepared") look();
          return true;
        },
        postReceive: () => look(),
      },
    });
    expect((await push(http("a.git"), "main")).status).toBe(0);
    expect(seen).toEqual([
      ["server-start"],
      ["server-start", "push-begin"],
      ["server-start", "push-begin", "push"],
    ]);
  });

  it("has the refs that proc-receive moved in place of those that were pushed", async () => {
    await serve({
      handlers: {
        procReceive: async (push, commands) => {
          const answers = [];
          for (const { name, oldOid, newOid } of commands) {
            const refName = "refs/changes/1";
            const updates = [{ name: refName, oldOid: null, newOid, reflogMessage: "push" }];
            await push.repository.refs.transact({
              updates,
              atomic: true,
              committer: { name: "x", email: "x", timeSeconds: 0 },
              onState: () => true,
              signal: push.signal,
            });
            answers.push({ name, refName, oldOid, newOid });
          }
          return answers;
        },
      },
    });
    await push(http("a.git"), "main");
    await workspace.run(
      "--git-dir",
      join(workspace.directory, "repositories", "a.git"),
      "config",
      "receive.procReceiveRefs",
      "refs/for",
    );
    expect((await push(http("a.git"), "main:refs/for/main")).status).toBe(0);
    expect((await line("push")).refs).toMatchObject([
      { name: "refs/changes/1", pushedAs: "refs/for/main", kind: "create", outcome: "accepted" },
    ]);
  });

  it("goes on in a new file when the old one is moved away", async () => {
    await serve();
    await push(http("a.git"), "main");
    renameSync(file, `${file}.1`);
    await push(http("b.git"), "main");
    await expectWhole(`${file}.1`, file);
    expect(lines().map(({ event }) => event)).toEqual(["push-begin", "push"]);
  });

  it("does not have reads that were served when it is told so, but refused ones", async () => {
    await serve({}, { reads: false });
    await push(http("a.git"), "main");
    await workspace.run("clone", "-q", http("a.git"), "copy");
    await workspace.try("clone", "-q", http("closed/a.git"), "other");
    await line("fetch", { outcome: "denied" });
    await server?.close();
    expect(lines().filter(({ event }) => event === "fetch")).toHaveLength(1);
  });

  it("writes so many refusals of strangers and counts the others; users are written always", async () => {
    await serve({ rates: false, authorize: () => ({ allowed: true }) });
    const ask = (user: string): Promise<Response> =>
      fetch(`${listening.http.url}/none.git/info/refs?service=git-upload-pack`, {
        headers:
          user === "" ? {} : { authorization: `Basic ${Buffer.from(`${user}:right`).toString("base64")}` },
      });
    for (let i = 0; i < 50; i++) await (await ask("")).text();
    for (let i = 0; i < 40; i++) await (await ask("ada")).text();
    await server?.close();
    expect(lines().filter(({ user, event }) => event === "fetch" && user === undefined)).toHaveLength(30);
    expect(lines().filter(({ user, event }) => event === "fetch" && user === "ada")).toHaveLength(40);
    expect(lines().find(({ event }) => event === "refusals-omitted")).toMatchObject({
      details: { count: 20 },
    });
  });
});

describe("an audit log that cannot be written", () => {
  it("keeps a server from starting", async () => {
    mkdirSync(file, { recursive: true });
    await expect(serve()).rejects.toMatchObject({ code: "access/audit-failed" });
  });

  it("refuses pushes with a clear message on every transport, and lets reads be", async () => {
    await serve();
    await push(http("a.git"), "main");
    breakLog();
    await app.run("commit", "-q", "--allow-empty", "-m", "two");
    // Nothing has been tried since: this one finds out.
    expect((await push(http("a.git"), "main")).stderr).toContain(
      `[remote rejected] main -> main (${UNWRITABLE}`,
    );
    for (const url of [http("a.git"), ssh("a.git"), git("a.git")]) {
      const { status, stderr } = await push(url, "main");
      expect(stderr).toContain(UNWRITABLE);
      expect(status).not.toBe(0);
    }
    expect((await workspace.try("clone", "-q", http("a.git"), "copy")).status).toBe(0);
    expect(await workspace.in("copy").run("log", "--format=%s")).toBe("one");
    expect(logged.filter(({ level }) => level === "error").map(({ message }) => message)[0]).toContain(file);
    expect(await server?.readiness()).toMatchObject({ ready: false, parts: { audit: "unavailable" } });
    expect(await server?.metrics()).toContain("gitwharf_audit_failing 1");
    rmSync(file, { recursive: true });
    expect((await push(http("a.git"), "main")).status).toBe(0);
    expect(await server?.metrics()).toContain("gitwharf_audit_failing 0");
    expect(await line("push", { outcome: "ok" })).toMatchObject({ repository: "a" });
    await expectWhole(`${file}.1`, file);
  });

  it("does not keep pushes when it is told to go on without, and says later what it lacks", async () => {
    await serve({}, { onFailure: "continue" });
    await push(http("a.git"), "main");
    breakLog();
    expect((await push(http("b.git"), "main")).status).toBe(0);
    rmSync(file, { recursive: true });
    expect((await push(http("c.git"), "main")).status).toBe(0);
    expect(lines().map(({ event, repository }) => [event, repository])).toEqual([
      ["push-begin", "b"],
      ["push", "b"],
      ["push-begin", "c"],
      ["push", "c"],
    ]);
    await expectWhole(`${file}.1`, file);
  });

  it("warns the pusher when the outcome could not be written, which is written later", async () => {
    await serve({
      handlers: {
        referenceTransaction: (_push, state) => {
          if (state === "committed") breakLog();
          return true;
        },
      },
    });
    const { status, stderr } = await push(http("a.git"), "main");
    expect(stderr).toContain("warning: the server could not write into its audit log");
    expect(status).toBe(0);
    rmSync(file, { recursive: true });
    await server?.close();
    expect(lines().map(({ event }) => event)).toEqual(["push", "server-stop"]);
    await expectWhole(`${file}.1`, file);
  });
});

describe("a sink of the application's", () => {
  it("gets the entries in place of a file, and refuses pushes by throwing", async () => {
    const entries: AuditEntry[] = [];
    let isFull = false;
    await serve(
      {},
      {
        sink: async (entry) => {
          if (isFull) throw new Error("no more room, and the password is s3cret");
          entries.push(entry);
        },
      },
    );
    expect((await push(http("a.git"), "main")).status).toBe(0);
    expect(entries).toMatchObject([
      { event: "server-start" },
      { event: "push-begin", user: "ada", time: expect.any(Number) as number },
      { event: "push", outcome: "ok", refs: [{ name: "refs/heads/main", outcome: "accepted" }] },
    ]);
    isFull = true;
    const refused = await push(http("b.git"), "main");
    expect(refused.stderr).toContain(UNWRITABLE);
    expect(refused.stderr).not.toContain("s3cret");
  });
});
