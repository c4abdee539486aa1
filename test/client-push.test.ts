/** Our own client pushes to gitwharf and to git itself. */
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openRemote, type PushRequest, type PushUpdate, type RemoteRepository } from "../src/client/index.js";
import type { Repository, RepositoryStore, Snapshot } from "../src/storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type GitHttpBackend, startGitHttpBackend } from "./support/git-http-backend.js";
import { createHistory } from "./support/history.js";

let workspace: GitClient;
let app: GitClient;
let server: TestServer;
let judge: GitHttpBackend;
let store: RepositoryStore;
let repository: Repository;
let snapshot: Snapshot;
const seen: { options: readonly string[] }[] = [];

beforeAll(async () => {
  workspace = createWorkspace();
  app = await createHistory(workspace, "app.git", { commits: 30 });
  await app.run("branch", "old", "main~10");
  await app.run("branch", "aside", "main~11");
  // A commit beside main: neither is behind the other.
  const tree = await app.run("rev-parse", "main^{tree}");
  await app.run("branch", "beside", await app.run("commit-tree", "-p", "main~10", "-m", "beside", tree));
  server = await createTestServer({
    repositories: join(workspace.directory, "served"),
    autoCreate: "push",
    handlers: {
      preReceive(push) {
        seen.push({ options: push.options });
        for (const update of push.updates) if (update.name.includes("closed")) update.reject("it is closed");
      },
    },
  });
  judge = await startGitHttpBackend(join(workspace.directory, "served"));
  store = createDiskRepositoryStore({ directory: workspace.directory });
  repository = (await store.open("app")) as Repository;
  snapshot = await repository.snapshot();
});
afterAll(async () => {
  snapshot.release();
  await repository.close();
  await store.close();
  await judge.close();
  await server.close();
  removeDirectory(workspace);
});

const oidOf = (name: string): Promise<string> => app.run("rev-parse", name);

describe.each(["gitwharf", "git http-backend"] as const)("pushing to %s", (which) => {
  let number = 0;
  let there: GitClient;
  let remote: RemoteRepository;

  beforeEach(async () => {
    const name = `${which.replaceAll(/\W/g, "-")}-${++number}`;
    await workspace.run("init", "-q", "--bare", `served/${name}.git`);
    there = workspace.in(`served/${name}.git`);
    await there.run("config", "http.receivepack", "true");
    await there.run("config", "receive.advertisePushOptions", "true");
    remote = openRemote(which === "gitwharf" ? server.urlOf(name) : judge.urlOf(`${name}.git`));
    return () => remote.close();
  });

  const push = (updates: readonly PushUpdate[], more: Partial<PushRequest> = {}) =>
    remote.push({ from: snapshot, updates, ...more });
  const done = { ok: true, isUpToDate: false, substitutes: [] };

  it("makes, moves and removes refs", async () => {
    const [old, main, tag] = [await oidOf("old"), await oidOf("main"), await oidOf("refs/tags/v19")];
    const first = await push([
      { name: "refs/heads/main", newOid: old },
      { name: "refs/tags/v19", newOid: tag },
    ]);
    expect(first.updates).toEqual([
      { name: "refs/heads/main", ...done },
      { name: "refs/tags/v19", ...done },
    ]);
    const second = await push([
      { name: "refs/heads/main", newOid: main, expected: old },
      { name: "refs/tags/v19", newOid: tag },
    ]);
    expect(second.updates).toEqual([
      { name: "refs/heads/main", ...done },
      { name: "refs/tags/v19", ...done, isUpToDate: true },
    ]);
    await there.run("fsck", "--strict");
    expect(await there.run("rev-parse", "main", "v19")).toBe(`${main}\n${tag}`);
    const third = await push([{ name: "refs/tags/v19", newOid: null }]);
    expect(third.updates).toEqual([{ name: "refs/tags/v19", ...done }]);
    expect(await there.run("for-each-ref", "--format=%(refname)")).toBe("refs/heads/main");
  });

  it("sends a thin pack, and what is new alone", async () => {
    const text: string[] = [];
    const [old, main] = [await oidOf("old"), await oidOf("main")];
    await push([{ name: "refs/heads/main", newOid: old }]);
    await push([{ name: "refs/heads/main", newOid: main }], { onProgress: (line) => void text.push(line) });
    const news = await app.run("rev-list", "--objects", "--count", "main", "^old");
    expect(text.join("")).toContain(`Enumerating objects: ${news}, done.`);
    await there.run("fsck", "--strict");
  });

  it("refuses here what would lose commits there", async () => {
    const [main, beside] = [await oidOf("main"), await oidOf("beside")];
    await push([
      { name: "refs/heads/main", newOid: main },
      { name: "refs/tags/v", newOid: main },
    ]);
    const report = await push([
      { name: "refs/heads/main", newOid: beside },
      { name: "refs/tags/v", newOid: beside },
      { name: "refs/heads/gone", newOid: null },
      { name: "refs/heads/new", newOid: beside, expected: main },
    ]);
    const by = "client";
    expect(report.updates).toEqual([
      { name: "refs/heads/main", ok: false, by, reason: "non-fast-forward" },
      { name: "refs/tags/v", ok: false, by, reason: "already exists" },
      { name: "refs/heads/gone", ok: false, by, reason: "remote ref does not exist" },
      { name: "refs/heads/new", ok: false, by, reason: "stale info" },
    ]);
    const foreign = await there.run(
      "commit-tree",
      "-m",
      "theirs",
      await there.run("rev-parse", "main^{tree}"),
    );
    await there.run("update-ref", "refs/heads/main", foreign);
    expect((await push([{ name: "refs/heads/main", newOid: main }])).updates).toEqual([
      { name: "refs/heads/main", ok: false, by, reason: "fetch first" },
    ]);
    expect((await push([{ name: "refs/heads/main", newOid: main, force: true }])).updates).toEqual([
      { name: "refs/heads/main", ...done },
    ]);
  });

  it("moves all or none", async () => {
    const main = await oidOf("main");
    await push([{ name: "refs/heads/main", newOid: main }]);
    const report = await push(
      [
        { name: "refs/heads/other", newOid: main },
        { name: "refs/heads/main", newOid: await oidOf("beside") },
      ],
      { atomic: true },
    );
    expect(report.updates).toEqual([
      { name: "refs/heads/other", ok: false, by: "client", reason: "atomic push failed" },
      { name: "refs/heads/main", ok: false, by: "client", reason: "non-fast-forward" },
    ]);
    expect(await there.run("for-each-ref", "--format=%(refname)")).toBe("refs/heads/main");
  });
});

describe("pushing to gitwharf", () => {
  it("tells what its handlers say", async () => {
    await workspace.run("init", "-q", "--bare", "served/handled.git");
    await workspace.in("served/handled.git").run("config", "receive.advertisePushOptions", "true");
    const remote = openRemote(server.urlOf("handled"));
    const main = await oidOf("main");
    seen.length = 0;
    const report = await remote.push({
      from: snapshot,
      updates: [
        { name: "refs/heads/main", newOid: main },
        { name: "refs/heads/closed", newOid: main },
      ],
      pushOptions: ["reviewer=ada", "b"],
    });
    expect(report.updates).toEqual([
      { name: "refs/heads/main", ok: true, isUpToDate: false, substitutes: [] },
      { name: "refs/heads/closed", ok: false, by: "server", reason: "it is closed" },
    ]);
    expect(seen).toEqual([{ options: ["reviewer=ada", "b"] }]);
    remote.close();
  });

  it("says what the server does not offer", async () => {
    await workspace.run("init", "-q", "--bare", "served/plain.git");
    await workspace.in("served/plain.git").run("config", "receive.denyDeletes", "true");
    const remote = openRemote(server.urlOf("plain"));
    const newOid = await oidOf("main");
    const updates = [{ name: "refs/heads/main", newOid }];
    await expect(remote.push({ from: snapshot, updates, pushOptions: ["a"] })).rejects.toMatchObject({
      code: "protocol/unsupported",
      message: `${server.urlOf("plain")} does not offer push options`,
    });
    await remote.push({ from: snapshot, updates });
    const removed = await remote.push({
      from: snapshot,
      updates: [{ name: "refs/heads/main", newOid: null }],
    });
    expect(removed.updates).toMatchObject([{ ok: false }]);
    remote.close();
  });

  it.each([
    [[{ name: "refs/heads/../x", newOid: "1".repeat(40) }], "is no ref name"],
    [[{ name: "refs/heads/x", newOid: "0".repeat(40) }], "is no object id"],
    [
      [
        { name: "refs/heads/x", newOid: null },
        { name: "refs/heads/x", newOid: null },
      ],
      "is to be pushed twice",
    ],
  ])("asks for nothing that makes no sense (%#)", async (updates, expected) => {
    const remote = openRemote(server.urlOf("handled"));
    await expect(remote.push({ from: snapshot, updates })).rejects.toThrow(expected);
    remote.close();
  });
});
