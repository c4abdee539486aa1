/**
 * Fetching from a repository that is shallow itself, and shallow clones in every form on both backends until they are
 * whole. Git's own server is the judge: afterwards both clients have the same.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type GitHttpBackend, startGitHttpBackend } from "./support/git-http-backend.js";
import { createHistory, FIRST_COMMIT_SECONDS, SECONDS_BETWEEN_COMMITS } from "./support/history.js";

let workspace: GitClient;
let disk: TestServer;
let memory: TestServer;
let judge: GitHttpBackend;

beforeAll(async () => {
  workspace = createWorkspace();
  const app = await createHistory(workspace, "app.git", { commits: 24 });
  await workspace.run("clone", "-q", "--mirror", "--depth=9", `file://${app.directory}`, "cut.git");
  disk = await createTestServer({ repositories: workspace.directory });
  memory = await createTestServer();
  judge = await startGitHttpBackend(workspace.directory);
  await app.run("push", "-q", "--mirror", memory.urlOf("app"));
});
afterAll(async () => {
  await disk.close();
  await memory.close();
  await judge.close();
  removeDirectory(workspace);
});

const lines = (text: string): readonly string[] => text.split("\n").toSorted((a, b) => a.localeCompare(b));

interface State {
  readonly refs: string;
  readonly objects: readonly string[];
  readonly shallow: readonly string[];
}

async function stateOf(copy: GitClient): Promise<State> {
  const shallow = join(copy.directory, "shallow");
  return {
    refs: await copy.run("for-each-ref", "--format=%(refname) %(objectname)"),
    objects: lines(await copy.run("rev-list", "--objects", "--all", "--no-object-names")),
    shallow: existsSync(shallow) ? lines(readFileSync(shallow, "latin1").trim()) : [],
  };
}

const since = (commit: number): string =>
  `--shallow-since=${FIRST_COMMIT_SECONDS + commit * SECONDS_BETWEEN_COMMITS}`;

/** Options of the clone, then those of each fetch. */
const WAYS: readonly (readonly [clone: readonly string[], ...fetches: (readonly string[])[]])[] = [
  [["--depth=1"], ["--deepen=1"], ["--deepen=5"], ["--unshallow"]],
  [["--depth=4", "--no-single-branch"], ["--depth=2"], ["--depth=11"], ["--unshallow"]],
  [[since(20)], [since(12)], ["--depth=3"], ["--unshallow"]],
  [["--shallow-exclude=v19"], ["--shallow-exclude=v9"], ["--unshallow"]],
  [["--shallow-exclude=side", "--no-single-branch"], ["--deepen=2"], ["--unshallow"]],
  [["--depth=2", "-b", "v19"], ["--depth=5", "origin", "tag", "v9"], ["--unshallow"]],
];

async function walk(
  url: string,
  version: number,
  directory: string,
  [clone, ...fetches]: (typeof WAYS)[number],
): Promise<readonly State[]> {
  const protocol = ["-c", `protocol.version=${version}`];
  await workspace.run(...protocol, "clone", "-q", "--bare", ...clone, url, directory);
  const copy = workspace.in(directory);
  const states = [await stateOf(copy)];
  for (const options of fetches) {
    const remote = options.includes("origin") ? options : [...options, "origin"];
    await copy.run(...protocol, "fetch", "-q", ...remote);
    states.push(await stateOf(copy));
  }
  await copy.run("fsck", "--no-dangling");
  removeDirectory(copy);
  return states;
}

for (const version of [0, 2]) {
  describe(`shallow clones until they are whole, v${version}`, () => {
    for (const [i, way] of WAYS.entries()) {
      // The arithmetic is the same in both versions.
      if (version === 0 && i % 2 === 1) continue;
      it(way.map((options) => options.join(" ")).join(", then "), async () => {
        const expected = await walk(judge.urlOf("app.git"), version, "theirs", way);
        expect(await walk(disk.urlOf("app"), version, "ours-disk", way)).toEqual(expected);
        // What differs between the backends is where objects are found.
        if (version === 0 || i % 3 > 0) return;
        expect(await walk(memory.urlOf("app"), version, "ours-memory", way)).toEqual(expected);
      });
    }
  });
}

describe("a repository that is shallow itself", () => {
  for (const version of [0, 1, 2]) {
    it(`gives what it has, and says where it ends, in v${version}`, async () => {
      const ways = [
        [[]],
        [["--depth=3"], ["--deepen=2"], ["--depth=20"]],
        [["--depth=2"], ["--unshallow"]],
      ] as const;
      // Version 1 is version 0 behind a greeting.
      for (const way of version === 1 ? ways.slice(2) : ways) {
        expect(await walk(disk.urlOf("cut"), version, "ours", way)).toEqual(
          await walk(judge.urlOf("cut.git"), version, "theirs", way),
        );
      }
      if (version === 1) return;
      // Git's own server tells commits here that it does not send, and its client then gives up.
      const states = await walk(disk.urlOf("cut"), version, "ours", [
        [since(21)],
        [since(1)],
        ["--unshallow"],
      ]);
      const [whole] = await walk(disk.urlOf("cut"), version, "ours", [["--no-tags"]]);
      expect(states.at(-1)?.shallow).toEqual(whole?.shallow);
    });
  }

  it("is completed, and then clones are whole", async () => {
    await workspace.run("clone", "-q", "--bare", disk.urlOf("cut"), "before.git");
    const before = workspace.in("before.git");
    expect(await before.run("rev-parse", "--is-shallow-repository")).toBe("true");
    const cut = workspace.in("cut.git");
    await cut.run("fetch", "-q", "--unshallow", `file://${workspace.directory}/app.git`, "+refs/*:refs/*");
    await before.run("fetch", "-q", "--unshallow", "origin");
    expect(await before.run("rev-parse", "--is-shallow-repository")).toBe("false");
    await before.run("fsck");
    await workspace.run("clone", "-q", "--bare", disk.urlOf("cut"), "after.git");
    expect(await workspace.in("after.git").run("rev-list", "--count", "main")).toBe(
      await workspace.in("app.git").run("rev-list", "--count", "main"),
    );
  });
});
