/** `gitwharf import URL NAME` into directories and object stores: whole or not at all, and no password anywhere. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { importRepository } from "../src/server/import-repository.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createGitClient, createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import type { GitResult } from "./support/git-runner.js";
import { createHistory } from "./support/history.js";
import { CLI, runGitwharf } from "./support/run-gitwharf.js";
import {
  band,
  lines,
  RESULT,
  type ScriptedServer,
  startScripted,
  v2Script,
} from "./support/scripted-server.js";

const SECRET = "sesame-open";
let workspace: GitClient;
let app: GitClient;
let server: TestServer;
let directory: string;

beforeAll(async () => {
  workspace = createWorkspace();
  app = await createHistory(workspace, "served/app.git", { commits: 20 });
  await app.run("notes", "add", "-m", "a note", "main");
  await app.run("symbolic-ref", "refs/heads/alias", "refs/heads/main");
  await workspace.run("init", "-q", "--bare", "-b", "trunk", "served/empty.git");
  server = await createTestServer({
    repositories: join(workspace.directory, "served"),
    authenticate: (credentials) =>
      credentials.kind === "basic" && credentials.password === SECRET
        ? { user: credentials.user }
        : undefined,
  });
});
afterAll(async () => {
  await server.close();
  removeDirectory(workspace);
});
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const run = (...args: readonly string[]): Promise<GitResult> =>
  runGitwharf(["import", ...args, "-d", directory], { cwd: workspace.directory, input: `${SECRET}\n` });
const signedIn = (url: string): string => url.replace("://", `://ada:${SECRET}@`);
const onDisk = ["--storage", "disk"];

async function refNames(git: GitClient): Promise<readonly string[]> {
  return (await git.run("for-each-ref", "--format=%(refname)")).split("\n");
}

function isUsual(name: string): boolean {
  return /^refs\/(?:heads|tags|notes)\//.test(name);
}

describe("gitwharf import URL", () => {
  it("takes branches, tags and notes into a directory", async () => {
    const names = (await refNames(app)).filter(isUsual);
    const { status, stdout, stderr } = await run(signedIn(server.urlOf("app")), "team/copy", ...onDisk);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(new RegExp(`^imported team/copy: ${names.length} refs, \\d+ objects\n$`));
    const copy = createGitClient(join(directory, "team/copy.git"));
    await copy.run("fsck", "--strict");
    const listing = ["for-each-ref", "--format=%(objectname) %(refname) %(symref)"];
    const all = (await app.run(...listing)).split("\n");
    expect((await copy.run(...listing)).split("\n")).toEqual(
      all.filter((line) => isUsual(line.split(" ")[1] ?? "")),
    );
    expect(await copy.run("symbolic-ref", "HEAD")).toBe("refs/heads/main");
    const again = await run(signedIn(server.urlOf("app")), "team/copy", ...onDisk);
    expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining("exists already") });
  });

  it("takes all refs when it is told to", async () => {
    const args = ["--all-refs", "--user", "ada", "--token-file", "-", "--json", ...onDisk];
    const { status, stdout, stderr } = await run(server.urlOf("app"), "copy", ...args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({ refs: (await refNames(app)).length, omitted: [] });
  });

  it("takes them into an object store", async () => {
    const token = join(directory, "token");
    writeFileSync(token, `${SECRET}\n`);
    const imported = await run(server.urlOf("app"), "copy", "--token-file", token, "--json");
    expect(imported).toMatchObject({ status: 0, stderr: "" });
    const verified = await runGitwharf(["verify", "copy", "--deep", "--json", "-d", directory]);
    expect(verified).toMatchObject({ status: 0 });
    expect(JSON.parse(verified.stdout)).toMatchObject({ findings: [] });
  });

  it("takes a repository without commits", async () => {
    const { status } = await run(signedIn(server.urlOf("empty")), "copy", ...onDisk);
    expect(status).toBe(0);
    expect(readFileSync(join(directory, "copy.git", "HEAD"), "utf8")).toBe("ref: refs/heads/trunk\n");
  });

  it("says what went wrong, without the password, in the audit log, too", async () => {
    const log = join(directory, "audit.log");
    const url = server.urlOf("absent");
    const refused = await run(signedIn(url), "copy", "--audit-log", log, ...onDisk);
    expect(refused).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(`${url}: the other side has no such repository`),
    });
    const wrong = await run(server.urlOf("app").replace("://", "://ada:wrong-guess@"), "copy", ...onDisk);
    expect(wrong).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("does not take the credentials"),
    });
    expect(readFileSync(log, "utf8")).toContain(url);
    for (const text of [refused.stderr, wrong.stderr, readFileSync(log, "utf8")])
      expect(text).not.toMatch(/sesame|guess/);
    expect(existsSync(join(directory, "copy.git"))).toBe(false);
  });

  it.each([
    [["ssh://example.com/x.git", "x"], "has another scheme than https and http"],
    [["file:///etc", "x"], "has another scheme than https and http"],
    [["https://example.com/x.git?a=b", "x"], "has a query or a fragment"],
    [["https://example.com/x.git", "x", "--user", "ada"], "--user goes with --token-file"],
    [["https://example.com/x.git", "x", "--ca", "absent.pem"], "absent.pem cannot be read"],
    [["served/app.git", "x", "--all-refs"], "go with a URL"],
    [["https://example.com/x.git", "x", "--limit", "packBytes=1"], "there is no limit 'packBytes'"],
  ])("refuses %j", async (args, expected) => {
    expect(await run(...args, ...onDisk)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(expected),
    });
  });

  it("holds what comes to its limits", async () => {
    const args = ["--limit", "packSizeBytesMax=1000", ...onDisk];
    expect(await run(signedIn(server.urlOf("app")), "copy", ...args)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("packSizeBytesMax"),
    });
    expect(readdirSync(directory).filter((name) => name !== ".gitwharf")).toEqual([]);
  });
});

describe("an import that is stopped", () => {
  let stalled: ScriptedServer;
  let isAsked: Promise<void>;

  beforeEach(async () => {
    let asked = (): void => undefined;
    isAsked = new Promise((resolve) => {
      asked = resolve;
    });
    const refs = Buffer.concat([lines(`${"1".repeat(40)} refs/heads/main\n`), Buffer.from("0000")]);
    stalled = await startScripted(
      v2Script({
        refs,
        fetch: (_request, response) => {
          response.writeHead(200, RESULT);
          // A pack of three objects, of which not one is whole.
          const head = Buffer.from("5041434b0000000200000003", "hex");
          response.write(Buffer.concat([lines("packfile\n"), band(2, "Counting\n"), band(1, head)]), asked);
        },
      }),
    );
  });
  afterEach(() => stalled.close());

  it.each([["disk"], ["object-store"]])("leaves nothing (%s)", async (storage) => {
    const args = ["import", `${stalled.url}/app.git`, "team/copy", "-d", directory, "--storage", storage];
    const child = spawn(process.execPath, [CLI, ...args], { stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const closed = once(child, "close");
    await isAsked;
    child.kill("SIGINT");
    const [status] = (await closed) as [number | null];
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: "gitwharf: stopped: nothing was left half done\n",
    });
    const left = readdirSync(directory, { recursive: true, encoding: "utf8" });
    expect(left.filter((name) => /copy|\.pack$/.test(name))).toEqual([]);
  });
});

it("an import tells what the other server says, and what has come", async () => {
  let said = "";
  let done = "";
  const { objects } = await importRepository(
    createMemoryRepositoryStore(),
    signedIn(server.urlOf("app")),
    "copy",
    { onRemoteText: (text) => (said += text), onProgress: (text) => (done += text) },
  );
  expect(said).toContain(`Total ${objects}`);
  expect(done).toMatch(/Receiving pack: \d+\.\d\d MiB\n/);
});
