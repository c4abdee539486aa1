/**
 * Histories cut by time where lines of different ages meet: every commit that the client is told is shallow is one
 * that it gets, so that it can deepen again. Git tells more and its own client then fails.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

const BASE_SECONDS = 1_600_000_000;

/**
 *     old (100) ──── far (400) ── mid (500) ─┐
 *       └── left (200) ──────────────────────┴── merge (600) ── tip (700)
 *
 * Since 300: `merge` ends there for the sake of `left`, and with it the only line that leads to `mid` and `far`.
 */
const COMMITS: readonly (readonly [name: string, seconds: number, ...parents: string[]])[] = [
  ["old", 100],
  ["far", 400, "old"],
  ["mid", 500, "far"],
  ["left", 200, "old"],
  ["merge", 600, "mid", "left"],
  ["tip", 700, "merge"],
];

let workspace: GitClient;
let disk: TestServer;
let memory: TestServer;

beforeAll(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "--bare", "app.git");
  const app = workspace.in("app.git");
  const marks = COMMITS.map(([name]) => name);
  const stream = COMMITS.map(([name, seconds, first, ...others], i) =>
    [
      `commit refs/heads/main\nmark :${i + 1}`,
      `committer Ada <ada@example.org> ${BASE_SECONDS + seconds} +0000`,
      `data ${name.length}\n${name}`,
      ...(first === undefined ? [] : [`from :${marks.indexOf(first) + 1}`]),
      ...others.map((parent) => `merge :${marks.indexOf(parent) + 1}`),
      `M 100644 inline ${name}\ndata ${name.length}\n${name}\n`,
    ].join("\n"),
  );
  const imported = await app.tryWith({ input: stream.join("\n") }, "fast-import", "--quiet");
  expect(imported.stderr).toBe("");
  disk = await createTestServer({ repositories: workspace.directory });
  memory = await createTestServer();
  await app.run("push", "-q", memory.urlOf("app"), "main");
});
afterAll(async () => {
  await disk.close();
  await memory.close();
  removeDirectory(workspace);
});

for (const name of ["disk", "memory"] as const) {
  for (const version of [0, 2] as const) {
    describe(`${name}, v${version}`, () => {
      const url = (): string => (name === "disk" ? disk : memory).urlOf("app");
      const protocol = ["-c", `protocol.version=${version}`];
      const cloneSince = async (seconds: number): Promise<GitClient> => {
        const directory = `since-${seconds}-${name}-v${version}`;
        removeDirectory(workspace.in(directory));
        const since = `--shallow-since=${BASE_SECONDS + seconds}`;
        await workspace.run(...protocol, "clone", "-q", since, url(), directory);
        return workspace.in(directory);
      };
      const subjects = async (copy: GitClient): Promise<string[]> =>
        (await copy.run("log", "--format=%s", "--all")).split("\n").toSorted((a, b) => a.localeCompare(b));
      const shallow = (copy: GitClient): string[] =>
        readFileSync(join(copy.directory, ".git", "shallow"), "latin1")
          .trim()
          .split("\n");

      it("tells only of boundary commits that it sends", async () => {
        const copy = await cloneSince(300);
        expect(await subjects(copy)).toEqual(["merge", "tip"]);
        expect(shallow(copy)).toEqual([await copy.run("rev-parse", "main~1")]);
      });

      it("lets the client deepen afterwards, by each way", async () => {
        for (const [how, expected] of [
          ["--deepen=1", ["left", "merge", "mid", "tip"]],
          ["--depth=2", ["merge", "tip"]],
          [`--shallow-since=${BASE_SECONDS + 150}`, ["far", "left", "merge", "mid", "tip"]],
          ["--unshallow", ["far", "left", "merge", "mid", "old", "tip"]],
        ] as const) {
          const copy = await cloneSince(300);
          await copy.run(...protocol, "fetch", "-q", how);
          expect(await subjects(copy), how).toEqual(expected);
          await copy.run("fsck", "--no-dangling");
          await copy.run(...protocol, "fetch", "-q", "--deepen=9");
          expect(await subjects(copy), `${how}, deepened`).toHaveLength(COMMITS.length);
          await copy.run("fsck", "--no-dangling");
        }
      });

      it("walks on from what is new enough only", async () => {
        // `far` and `mid` are newer than this, but what leads to them is cut before.
        const copy = await cloneSince(450);
        expect(await subjects(copy)).toEqual(["merge", "tip"]);
        const refused = await workspace.try(
          ...protocol,
          "clone",
          `--shallow-since=${BASE_SECONDS + 800}`,
          url(),
          `none-${name}-v${version}`,
        );
        expect(refused.status).not.toBe(0);
        expect(refused.stderr).toContain("no commits selected for shallow requests");
      });
    });
  }
}
