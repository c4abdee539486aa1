/**
 * Our own client as one who holds a part of an upstream uses it: a tip without history and trees in a quarantine, what was
 * contributed beside it, and a thin pack of that alone, for the server has the rest.
 */
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "../src/base/limits.js";
import { openRemote } from "../src/client/index.js";
import { ingestPack } from "../src/engine/ingest/ingest-pack.js";
import type { Quarantine } from "../src/storage/contracts/quarantine.js";
import type { Repository, RepositoryStore, Snapshot } from "../src/storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type GitHttpBackend, startGitHttpBackend } from "./support/git-http-backend.js";
import { createHistory } from "./support/history.js";

let workspace: GitClient;
let server: TestServer;
let judge: GitHttpBackend;
let store: RepositoryStore;

beforeAll(async () => {
  workspace = createWorkspace();
  const served = join(workspace.directory, "served");
  server = await createTestServer({ repositories: served });
  judge = await startGitHttpBackend(served);
  store = createDiskRepositoryStore({ directory: join(workspace.directory, "caches") });
});
afterAll(async () => {
  await store.close();
  await judge.close();
  await server.close();
  removeDirectory(workspace);
});

interface Contribution {
  readonly commit: string;
  readonly tree: string;
  readonly blob: string;
  /** A file. */
  readonly pack: string;
}

/** One line of a large file changed, by somebody with a clone. */
async function contribute(upstream: GitClient, name: string): Promise<Contribution> {
  await workspace.run("clone", "-q", "--bare", upstream.directory, `${name}-clone`);
  const clone = workspace.in(`${name}-clone`);
  const made = async (input: string, ...args: readonly string[]): Promise<string> =>
    (await clone.tryWith({ input }, ...args)).stdout.trim();
  const large = await clone.run("cat-file", "blob", "main:large.txt");
  const blob = await made(large.replace("line 777\n", "line 777, changed\n"), "hash-object", "-w", "--stdin");
  const entries = await clone.run("ls-tree", "main");
  const tree = await made(`${entries.replace(/blob [0-9a-f]+(?=\tlarge\.txt)/, `blob ${blob}`)}\n`, "mktree");
  const commit = await clone.run("commit-tree", "-p", "main", "-m", "Change a line", tree);
  const pack = await made(`${commit}\n${tree}\n${blob}\n`, "pack-objects", "-q", "contribution");
  return { commit, tree, blob, pack: join(clone.directory, `contribution-${pack}.pack`) };
}

async function takeIn(quarantine: Quarantine, snapshot: Snapshot, pack: string): Promise<void> {
  await ingestPack({
    quarantine,
    objects: snapshot.objects,
    source: createReadStream(pack),
    objectFormat: "sha1",
    limits: DEFAULT_LIMITS,
    collisionDetection: true,
    maxInputSizeBytes: Infinity,
  });
}

describe.each([["gitwharf"], ["git http-backend"]] as const)("beside %s", (which) => {
  it("what was contributed goes on, without more of the upstream than its tip", async () => {
    const name = which.replaceAll(/\W/g, "-");
    const upstream = await createHistory(workspace, `served/${name}.git`, { commits: 14 });
    await upstream.run("config", "http.receivepack", "true");
    await upstream.run("config", "uploadpack.allowFilter", "true");
    const remote = openRemote(which === "gitwharf" ? server.urlOf(name) : judge.urlOf(`${name}.git`));
    const cache: Repository = await store.create(name);
    const snapshot = await cache.snapshot();
    const quarantine = await cache.openQuarantine();
    try {
      const { refs } = await remote.listRefs({ prefixes: ["refs/heads/main"] });
      const main = refs[0]?.oid ?? "";
      const into = { quarantine, snapshot };
      const tip = await remote.receive({ ...into, wants: [main], depth: 1, filter: "tree:0" });
      expect(tip).toEqual({ objectCount: 1, shallow: [main], unshallow: [] });
      const before = await upstream.run("rev-parse", "main:large.txt");
      const base = await remote.receive({ ...into, wants: [before], filter: "blob:none" });
      expect(base).toEqual({ objectCount: 1, shallow: [], unshallow: [] });

      const { commit, tree, blob, pack } = await contribute(upstream, name);
      await takeIn(quarantine, snapshot, pack);
      const report = await remote.push({
        from: {
          head: snapshot.head,
          refs: snapshot.refs,
          objects: quarantine.objects,
          shallow: new Set(tip.shallow),
        },
        updates: [{ name: "refs/heads/contribution", newOid: commit, expected: null }],
        listed: { oids: [commit, tree, blob], previous: new Map([[blob, before]]) },
      });
      expect(report.updates).toEqual([
        { name: "refs/heads/contribution", ok: true, isUpToDate: false, substitutes: [] },
      ]);
      expect(await upstream.run("rev-parse", "contribution")).toBe(commit);
      expect(await upstream.run("rev-list", "--objects", "--count", "contribution", "^main")).toBe("3");
      await upstream.run("fsck", "--strict");

      // An update of it, which loses nothing, is seen from here as well.
      const again = await remote.push({
        from: {
          head: snapshot.head,
          refs: snapshot.refs,
          objects: quarantine.objects,
          shallow: new Set([main]),
        },
        updates: [
          { name: "refs/heads/contribution", newOid: commit },
          { name: "refs/heads/other", newOid: main, expected: null },
        ],
        listed: { oids: [] },
      });
      expect(again.updates).toMatchObject([
        { ok: true, isUpToDate: true },
        { ok: true, isUpToDate: false },
      ]);
    } finally {
      await quarantine.discard();
      snapshot.release();
      remote.close();
    }
    const after = await cache.snapshot();
    expect({ packs: after.objects.packs, shallow: after.shallow.size }).toEqual({ packs: [], shallow: 0 });
    after.release();
    await cache.close();
  });
});
