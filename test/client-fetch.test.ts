/**
 * Our own client against gitwharf and against git itself, in protocol v2 and v0: what it lists is what git lists, and what it
 * fetches passes git's checks.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type FetchRequest,
  openRemote,
  type RemoteOptions,
  type RemoteRepository,
} from "../src/client/index.js";
import type { ObjectFormat } from "../src/object/object-format.js";
import type { Repository, RepositoryStore } from "../src/storage/contracts/repository.js";
import type { RefUpdate } from "../src/storage/contracts/ref-store.js";
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
let copies = 0;
const opened: { close(): unknown }[] = [];

beforeAll(async () => {
  workspace = createWorkspace();
  app = await createHistory(workspace, "app.git", { commits: 40 });
  await app.run("branch", "old", "main~25");
  await app.run("config", "uploadpack.allowFilter", "true");
  await createHistory(workspace, "wide.git", { commits: 6, objectFormat: "sha256" });
  await workspace.run("init", "-q", "--bare", "-b", "trunk", "empty.git");
  server = await createTestServer({ repositories: workspace.directory });
  judge = await startGitHttpBackend(workspace.directory);
  store = createDiskRepositoryStore({ directory: join(workspace.directory, "copies") });
});
afterAll(async () => {
  for (const one of opened) await one.close();
  await store.close();
  await judge.close();
  await server.close();
  removeDirectory(workspace);
});

function remoteOf(url: string, options: RemoteOptions = {}): RemoteRepository {
  const remote = openRemote(url, options);
  opened.push(remote);
  return remote;
}

async function makeCopy(
  objectFormat: ObjectFormat = "sha1",
): Promise<{ repository: Repository; git: GitClient }> {
  const name = `copy${++copies}`;
  const repository = await store.create(name, { objectFormat });
  opened.push(repository);
  return { repository, git: workspace.in(`copies/${name}.git`) };
}

async function refsOf(repository: GitClient): Promise<string> {
  return repository.run("for-each-ref", "--format=%(objectname) %(refname)");
}

const made = (refs: readonly { readonly name: string; readonly oid: string }[]): RefUpdate[] =>
  refs.map(({ name, oid }) => ({ name, oldOid: null, newOid: oid }));

describe.each([
  ["gitwharf", 2],
  ["gitwharf", 0],
  ["git http-backend", 2],
  ["git http-backend", 0],
] as const)("%s in protocol %i", (which, protocol) => {
  const urlOf = (name: string): string =>
    which === "gitwharf" ? server.urlOf(name) : judge.urlOf(`${name}.git`);
  const open = (name = "app", options: RemoteOptions = {}): RemoteRepository =>
    remoteOf(urlOf(name), { protocol, ...options });
  /** One branch, fetched into a repository. */
  const fetchBranch = async (
    repository: Repository,
    branch: string,
    about: Partial<FetchRequest> & { readonly oldOid?: string } = {},
  ) => {
    const remote = open();
    const name = `refs/heads/${branch}`;
    const { refs } = await remote.listRefs({ prefixes: [name] });
    const oid = refs.find((ref) => ref.name === name)?.oid ?? "";
    const { oldOid = null, ...request } = about;
    const result = await remote.fetch({
      into: repository,
      wants: [oid],
      updates: [{ name: "refs/heads/main", oldOid, newOid: oid }],
      ...request,
    });
    expect(result.refs).toEqual([{ name: "refs/heads/main", ok: true }]);
    return { ...result, oid };
  };

  it("lists refs", async () => {
    const { refs, head, omitted, objectFormat } = await open().listRefs();
    expect(refs.map(({ name, oid }) => `${oid} ${name}`).join("\n")).toBe(await refsOf(app));
    expect(head).toEqual({ symbolicTarget: "refs/heads/main", oid: await app.run("rev-parse", "main") });
    expect({ omitted, objectFormat }).toEqual({ omitted: [], objectFormat: "sha1" });
    expect(refs.find(({ name }) => name === "refs/tags/nested")?.peeled).toBe(
      await app.run("rev-parse", "nested^{}"),
    );
    const tags = await open().listRefs({ prefixes: ["refs/tags/"] });
    expect(tags.refs).toEqual(refs.filter(({ name }) => name.startsWith("refs/tags/")));
  });

  it("lists nothing of a repository without commits", async () => {
    const { refs, head } = await open("empty").listRefs();
    expect(refs).toEqual([]);
    // In v0 nobody tells.
    expect(head).toEqual(protocol === 2 ? { symbolicTarget: "refs/heads/trunk" } : undefined);
  });

  it.each(["sha1", "sha256"] as const)("fetches everything (%s)", async (objectFormat) => {
    const source = objectFormat === "sha1" ? "app" : "wide";
    const remote = open(source);
    const { repository, git } = await makeCopy(objectFormat);
    const { refs } = await remote.listRefs();
    let printed = "";
    const result = await remote.fetch({
      into: repository,
      wants: refs.map(({ oid }) => oid),
      updates: made(refs),
      onRemoteText: (text) => (printed += text),
    });
    expect(result.refs.every(({ ok }) => ok)).toBe(true);
    await git.run("fsck", "--strict");
    expect(await refsOf(git)).toBe(await refsOf(workspace.in(`${source}.git`)));
    expect(printed).toContain("Total ");
    const again = await remote.fetch({ into: repository, wants: refs.map(({ oid }) => oid) });
    expect(again.objectCount).toBe(0);
  });

  it("fetches what is new, and no more", async () => {
    const { repository, git } = await makeCopy();
    const { oid: old } = await fetchBranch(repository, "old");
    const { objectCount } = await fetchBranch(repository, "main", { oldOid: old });
    await git.run("fsck", "--strict");
    const news = await app.run("rev-list", "--objects", "--count", "main", "^old");
    expect(objectCount).toBeLessThanOrEqual(Number(news));
  });

  it("finds what is common in a history that has gone its own way", async () => {
    const { repository, git } = await makeCopy();
    const { oid: old } = await fetchBranch(repository, "old");
    const tree = await git.run("rev-parse", `${old}^{tree}`);
    let tip = old;
    for (let i = 0; i < 40; i++) tip = await git.run("commit-tree", "-p", tip, "-m", `ours ${i}`, tree);
    await git.run("update-ref", "refs/heads/ours", tip);
    await git.run("update-ref", "-d", "refs/heads/main");
    const fresh = (await store.open(repository.name)) as Repository;
    opened.push(fresh);
    const { objectCount } = await fetchBranch(fresh, "main");
    const news = await app.run("rev-list", "--objects", "--count", "main", "^old");
    expect(objectCount).toBeLessThanOrEqual(Number(news));
    await git.run("fsck", "--strict");
  });

  it("fetches a shallow history, and deepens it", async () => {
    const { repository, git } = await makeCopy();
    const { oid, shallow } = await fetchBranch(repository, "main", { depth: 2 });
    await workspace.run(
      "clone",
      "-q",
      "--bare",
      "--depth=2",
      "--single-branch",
      urlOf("app"),
      `shallow${copies}`,
    );
    const judged = workspace.in(`shallow${copies}`);
    const boundary = (directory: string): string[] =>
      readFileSync(join(directory, "shallow"), "utf8").trim().split("\n").toSorted();
    expect(boundary(git.directory)).toEqual(boundary(judged.directory));
    expect(shallow.toSorted()).toEqual(boundary(git.directory));
    await git.run("fsck", "--strict");
    const deeper = await fetchBranch(repository, "main", { depth: 5, oldOid: oid });
    expect(deeper.unshallow.toSorted()).toEqual(shallow.toSorted());
    await judged.run("fetch", "-q", "--depth=5", urlOf("app"), "main");
    expect(boundary(git.directory)).toEqual(boundary(judged.directory));
    expect(await git.run("rev-list", "main")).toBe(await judged.run("rev-list", "FETCH_HEAD"));
    await git.run("fsck", "--strict");
    // As `git fetch --unshallow`.
    const whole = await fetchBranch(repository, "main", { depth: 0x7fff_ffff, oldOid: oid });
    expect(whole.unshallow.toSorted()).toEqual(deeper.shallow.toSorted());
    expect(existsSync(join(git.directory, "shallow"))).toBe(false);
    expect(await git.run("rev-list", "main")).toBe(await app.run("rev-list", "main"));
    await git.run("fsck", "--strict");
  });

  it("does not shorten a history that is here", async () => {
    const { repository, git } = await makeCopy();
    const { oid } = await fetchBranch(repository, "main");
    const { shallow } = await fetchBranch(repository, "main", { depth: 1, oldOid: oid });
    expect(shallow).toEqual([]);
    expect(await git.run("rev-list", "main")).toBe(await app.run("rev-list", "main"));
  });

  it("fetches without blobs", async () => {
    const { repository, git } = await makeCopy();
    await fetchBranch(repository, "main", { filter: "blob:none" });
    const listed = await git.run("rev-list", "--objects", "--missing=print", "main");
    expect(listed).toMatch(/^\?[0-9a-f]{40}$/m);
    const types = await git.run("cat-file", "--batch-check=%(objecttype)", "--batch-all-objects");
    expect(new Set(types.split("\n"))).toEqual(new Set(["commit", "tree"]));
  });

  it("says when there is no such repository", async () => {
    await expect(open("absent").listRefs()).rejects.toMatchObject({
      code: "client/refused",
      message: expect.stringContaining(`${urlOf("absent")}: the other side has no such repository`),
    });
  });

  it("does not fetch objects of another format", async () => {
    const { repository } = await makeCopy("sha256");
    await expect(open().fetch({ into: repository, wants: ["1".repeat(64)] })).rejects.toMatchObject({
      code: "protocol/unsupported",
    });
  });
});
