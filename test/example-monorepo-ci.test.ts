/** examples/monorepo-ci: a push runs the tests of what it changes and of what needs that, and nothing else. */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GitServer } from "../src/index.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";

let workspace: GitClient;
let app: GitClient;
let before: string;
let temporary: string;
const temporaryBefore = process.env["TMPDIR"];
let git: GitServer;
let url: string;

beforeAll(async () => {
  workspace = createWorkspace();
  before = process.cwd();
  // The example keeps ./repositories; here that is a temporary directory.
  process.chdir(workspace.directory);
  process.env["PORT"] = "0";
  // Where receivers make their directories.
  temporary = join(workspace.directory, "temporary");
  mkdirSync(temporary);
  process.env["TMPDIR"] = temporary;
  const file = new URL("../../examples/monorepo-ci/server.js", import.meta.url).href;
  const example = (await import(/* @vite-ignore */ file)) as { git: GitServer; http: { url: string } };
  git = example.git;
  url = `${example.http.url}/mono.git`;
  await workspace.run("init", "-q", "mono");
  app = workspace.in("mono");
});
afterAll(async () => {
  process.chdir(before);
  if (temporaryBefore === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = temporaryBefore;
  await git.close({ graceMs: 0 });
  removeDirectory(workspace);
});

async function commit(message: string, files: Record<string, string>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    const file = join(app.directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  await app.run("add", "-A");
  await app.run("commit", "-q", "-m", message);
}

const manifest = (name: string, ...needs: readonly string[]): string =>
  JSON.stringify({
    name: `@acme/${name}`,
    scripts: { test: `echo "${name} is tested" && sh test.sh` },
    dependencies: Object.fromEntries(needs.map((need) => [`@acme/${need}`, "*"])),
  });

const push = (...refspecs: readonly string[]): Promise<GitResult> => app.try("push", url, ...refspecs);

/** Which packages were tested, in the order in which the pusher read of them. */
const tested = ({ stderr }: GitResult): readonly string[] =>
  [...stderr.matchAll(/remote: (\w+) is tested/g)].map((match) => match[1] as string);

describe("examples/monorepo-ci", () => {
  it("tests all of it when all of it is new", async () => {
    await commit("first", {
      "packages/core/package.json": manifest("core"),
      "packages/core/test.sh": "exit 0\n",
      "packages/web/package.json": manifest("web", "core"),
      "packages/web/test.sh": "test -f ../core/package.json\n",
      "packages/site/package.json": manifest("site", "web"),
      "packages/site/test.sh": "exit 0\n",
      "packages/docs/package.json": manifest("docs"),
      "packages/docs/test.sh": "exit 0\n",
      "README.md": "mono\n",
    });
    const first = await push("main");
    expect([first.status, tested(first).toSorted()]).toEqual([0, ["core", "docs", "site", "web"]]);
    expect(first.stderr).toContain("remote: CI: 4 of 4 packages pass.");
  });

  it("tests a changed package and what needs it, however far away", async () => {
    await commit("core changes", { "packages/core/index.js": "export {};\n" });
    const pushed = await push("main");
    expect([pushed.status, tested(pushed).toSorted()]).toEqual([0, ["core", "site", "web"]]);
    await commit("docs change", { "packages/docs/index.md": "# docs\n" });
    expect(tested(await push("main"))).toEqual(["docs"]);
  });

  it("runs nothing for a file beside the packages, and for a branch that brings nothing new", async () => {
    await commit("readme", { "README.md": "mono, once more\n" });
    expect((await push("main")).stderr).toContain("remote: CI: no package has changed.");
    expect((await push("main:again")).stderr).toContain("remote: CI: no package has changed.");
  });

  it("judges a new branch by what it changes since it left", async () => {
    await app.run("checkout", "-q", "-b", "topic");
    await commit("web changes", { "packages/web/index.js": "export {};\n" });
    expect(tested(await push("topic")).toSorted()).toEqual(["site", "web"]);
    await app.run("checkout", "-q", "main");
  });

  it("refuses a push whose tests fail, and leaves no files behind", async () => {
    await commit("web breaks", { "packages/web/test.sh": "echo web is broken >&2; exit 3\n" });
    const refused = await push("main");
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("remote: web is broken");
    expect(refused.stderr).toContain("[remote rejected] main -> main (tests fail: web)");
    expect(await app.run("ls-remote", url, "refs/heads/main")).not.toContain(
      await app.run("rev-parse", "main"),
    );
    await commit("web is mended", { "packages/web/test.sh": "exit 0\n" });
    expect(tested(await push("main")).toSorted()).toEqual(["site", "web"]);
    expect(await app.run("ls-remote", url, "refs/heads/main")).toContain(await app.run("rev-parse", "main"));
    expect(readdirSync(temporary).filter((name) => name.startsWith("gitwharf-receive-"))).toEqual([]);
  });
});
