/**
 * Partial clones as people use them: with a work tree, so that missing objects are fetched when they are needed, and
 * every kind of filter; and what `uploadpackfilter.*` forbids. Git is the judge of what is missing.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type GitHttpBackend, startGitHttpBackend } from "./support/git-http-backend.js";
import { createHistory } from "./support/history.js";

let workspace: GitClient;
let disk: TestServer;
let memory: TestServer;
let judge: GitHttpBackend;

beforeAll(async () => {
  workspace = createWorkspace();
  const repository = await createHistory(workspace, "app.git", { commits: 16 });
  await repository.run("config", "uploadpack.allowFilter", "true");
  await repository.run("config", "uploadpack.allowAnySHA1InWant", "true");
  // What a sparse:oid filter names: a blob of patterns on a branch of its own.
  await workspace.run("clone", "-q", repository.directory, "patterns");
  const patterns = workspace.in("patterns");
  writeFileSync(join(patterns.directory, "only-dir1"), "/dir1/\n/README\n!/dir1/sub/file2.txt\n");
  await patterns.run("checkout", "-q", "--orphan", "patterns");
  await patterns.run("rm", "-rqf", "--cached", ".");
  await patterns.run("add", "only-dir1");
  await patterns.run("commit", "-q", "-m", "patterns");
  await patterns.run("push", "-q", "origin", "patterns");
  disk = await createTestServer({ repositories: workspace.directory });
  memory = await createTestServer();
  await repository.run("push", "-q", "--mirror", memory.urlOf("app"));
  judge = await startGitHttpBackend(workspace.directory);
});
afterAll(async () => {
  await disk.close();
  await memory.close();
  await judge.close();
  removeDirectory(workspace);
});

const FILTERS: readonly (readonly string[])[] = [
  ["sparse:oid=patterns:only-dir1"],
  ["sparse:oid=refs/heads/patterns:only-dir1"],
  ["combine:blob:limit=10+tree:3"],
  ["combine:blob:none+tree:2"],
  ["combine:sparse:oid=patterns:only-dir1+blob:limit=1k"],
  ["blob:none", "object:type=commit"],
  ["object:type=blob"],
  ["object:type=tag"],
  ["tree:1"],
  ["blob:limit=0"],
  ["blob:limit=14"],
];

async function objectsOf(url: string, directory: string, options: readonly string[]): Promise<string> {
  await workspace.run(...options, url, directory);
  const copy = workspace.in(directory);
  const objects = await copy.run("cat-file", "--batch-all-objects", "--batch-check");
  removeDirectory(copy);
  return objects;
}

for (const name of ["disk", "memory"] as const) {
  for (const version of [0, 2] as const) {
    // In v0 a client asks for single objects only where the server's configuration says that it may.
    if (version === 0 && name === "memory") continue;
    describe(`${name}, v${version}`, () => {
      const url = (): string => (name === "disk" ? disk : memory).urlOf("app");
      const protocol = ["-c", `protocol.version=${version}`] as const;

      it("sends what git sends for every filter", async () => {
        for (const filters of FILTERS) {
          const options = [...protocol, "clone", "-q", "--bare", ...filters.map((f) => `--filter=${f}`)];
          const ours = await objectsOf(url(), `ours-${name}-${version}.git`, options);
          const theirs = await objectsOf(judge.urlOf("app.git"), `theirs-${name}-${version}.git`, options);
          expect(ours, filters.join()).toBe(theirs);
        }
      });

      it("fetches missing blobs, and trees, for a checkout", async () => {
        for (const filter of ["blob:none", "tree:0", "combine:blob:limit=10+tree:2"]) {
          const directory = `lazy-${name}-${version}-${filter.replaceAll(/\W/g, "-")}`;
          await workspace.run(...protocol, "clone", "-q", `--filter=${filter}`, url(), directory);
          const copy = workspace.in(directory);
          const missing = async (): Promise<number> =>
            (await copy.run("rev-list", "--objects", "--all", "--missing=print"))
              .split("\n")
              .filter((line) => line.startsWith("?")).length;
          const before = await missing();
          expect(before).toBeGreaterThan(0);
          await copy.run(...protocol, "checkout", "-q", "main~9");
          expect(readFileSync(join(copy.directory, "README"), "utf8")).toBe("version 6\n");
          await copy.run(...protocol, "log", "-p", "-2");
          expect(await missing()).toBeLessThan(before);
          await copy.run(...protocol, "fetch", "-q", "--refetch", "--no-filter");
          expect(await copy.run("count-objects", "-v")).toContain("garbage: 0");
          await copy.run("fsck");
        }
      });
    });
  }
}

describe("uploadpackfilter", () => {
  const REFUSALS: readonly (readonly [config: Record<string, string>, filter: string, message: string])[] = [
    [{ "uploadpackfilter.allow": "false" }, "blob:none", "filter 'blob:none' not supported"],
    [{ "uploadpackfilter.blob:limit.allow": "false" }, "blob:limit=9", "filter 'blob:limit' not supported"],
    [{ "uploadpackfilter.tree.allow": "false" }, "tree:1", "filter 'tree' not supported"],
    [{ "uploadpackfilter.tree.maxDepth": "2" }, "tree:3", "tree filter allows max depth 2, but got 3"],
    [
      { "uploadpackfilter.combine.allow": "false" },
      "combine:blob:none+tree:1",
      "filter 'combine' not supported",
    ],
    [
      { "uploadpackfilter.object:type.allow": "false" },
      "combine:tree:1+object:type=tag",
      "filter 'object:type' not supported",
    ],
    [
      { "uploadpackfilter.sparse:oid.allow": "false" },
      "sparse:oid=patterns:only-dir1",
      "filter 'sparse:oid' not supported",
    ],
  ];

  for (const [config, filter, message] of REFUSALS) {
    it(`${Object.entries(config).flat().join("=")} refuses ${filter}, as git does, and nothing else`, async () => {
      const app = workspace.in("app.git");
      for (const [key, value] of Object.entries(config)) await app.run("config", key, value);
      try {
        for (const version of [0, 2]) {
          const protocol = ["-c", `protocol.version=${version}`];
          const clone = (url: string, spec: string) =>
            workspace.try(...protocol, "clone", "-q", "--bare", `--filter=${spec}`, url, "filtered.git");
          for (const url of [disk.urlOf("app"), judge.urlOf("app.git")]) {
            const refused = await clone(url, filter);
            expect(refused.status).not.toBe(0);
            expect(refused.stderr).toContain(message);
            if (config["uploadpackfilter.allow"] === "false") continue;
            const allowed = await clone(url, "blob:none");
            expect(allowed.status, allowed.stderr).toBe(0);
            removeDirectory(workspace.in("filtered.git"));
          }
        }
      } finally {
        for (const key of Object.keys(config)) await app.run("config", "--unset", key);
      }
    });
  }

  it("allows one by name where all others are refused", async () => {
    const app = workspace.in("app.git");
    await app.run("config", "uploadpackfilter.allow", "false");
    await app.run("config", "uploadpackfilter.tree.maxDepth", "1");
    await app.run("config", "uploadpackfilter.tree.allow", "true");
    try {
      for (const url of [disk.urlOf("app"), judge.urlOf("app.git")]) {
        await workspace.run("clone", "-q", "--bare", "--filter=tree:1", url, "named.git");
        removeDirectory(workspace.in("named.git"));
        expect(
          (await workspace.try("clone", "-q", "--bare", "--filter=tree:2", url, "named.git")).status,
        ).not.toBe(0);
      }
    } finally {
      await app.run("config", "--remove-section", "uploadpackfilter");
      await app.run("config", "--remove-section", "uploadpackfilter.tree");
    }
  });

  it("is off altogether with uploadpack.allowFilter=false: the client is warned and gets everything", async () => {
    const app = workspace.in("app.git");
    await app.run("config", "uploadpack.allowFilter", "false");
    try {
      for (const version of [0, 2]) {
        const cloned = await workspace.try(
          "-c",
          `protocol.version=${version}`,
          "clone",
          "-q",
          "--bare",
          "--filter=blob:none",
          disk.urlOf("app"),
          "whole.git",
        );
        expect(cloned.stderr).toContain("filtering not recognized by server, ignoring");
        await workspace.in("whole.git").run("fsck", "--no-dangling");
        removeDirectory(workspace.in("whole.git"));
      }
    } finally {
      await app.run("config", "uploadpack.allowFilter", "true");
    }
  });
});
