/** The examples of docs/hooks.md and examples/hello-hook: what a person copies from there runs. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import type { GitServer } from "../src/index.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";

const BLOCKS = [
  ...readFileSync(new URL("../../docs/hooks.md", import.meta.url), "utf8").matchAll(/^```js\n([^]*?)^```$/gm),
].map((match) => match[1] as string);
/** Inside the package, where `gitwharf` means the package itself. */
const modules = fileURLToPath(new URL(`./hooks-page-${process.pid}/`, import.meta.url));
const tried = new Set<string>();

let workspace: GitClient;
let app: GitClient;
let before: string;
let git: GitServer;
let url: string;

beforeEach(async () => {
  workspace = createWorkspace();
  before = process.cwd();
  process.chdir(workspace.directory);
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "first");
});
afterEach(async () => {
  process.chdir(before);
  await git.close({ graceMs: 0 });
  removeDirectory(workspace);
  rmSync(modules, { recursive: true, force: true });
});

async function serve(text: string): Promise<void> {
  const [block, ...others] = BLOCKS.filter((one) => one.includes(text));
  if (block === undefined || others.length > 0) throw new Error(`not one example has ${text}`);
  tried.add(block);
  mkdirSync(modules, { recursive: true });
  const file = `${modules}${randomBytes(6).toString("hex")}.mjs`;
  writeFileSync(file, `${block}\nexport { git };`);
  ({ git } = (await import(/* @vite-ignore */ file)) as { git: GitServer });
  url = (await git.listen({ http: 0 })).http.url;
}

const push = (name: string, ...refspecs: readonly string[]): Promise<GitResult> =>
  app.try("push", `${url}/${name}.git`, ...refspecs);

async function commit(message: string, files: Record<string, string> = {}): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(`${app.directory}/${path}`), { recursive: true });
    writeFileSync(`${app.directory}/${path}`, text);
  }
  await app.run("add", "-A");
  await app.run("commit", "-q", "--allow-empty", "-m", message);
}

describe("docs/hooks.md", () => {
  it("refuses by a handler in ten lines", async () => {
    await serve('startsWith("WIP")');
    expect((await push("app", "main")).stderr).toContain("remote: main looks good.");
    await commit("WIP: half of it");
    expect((await push("app", "main")).stderr).toMatch(
      /remote rejected.*\w{7} is not finished: WIP: half of it/,
    );
  });

  it("refuses single refs", async () => {
    await serve("history stays");
    await commit("second");
    expect((await push("app", "main")).status).toBe(0);
    await commit("third", { "secrets/key": "x" });
    const mixed = await push("app", "main:leak", "+main~2:main", "main~1:refs/heads/good");
    expect(mixed.stderr).toContain("main -> leak (secrets/key does not belong here)");
    expect(mixed.stderr).toContain("main~2 -> main (history stays)");
    expect(mixed.stderr).toContain("main~1 -> good");
  });

  it("takes pushes for reviews", async () => {
    await serve("procReceiveRefs");
    expect((await push("app", "main:refs/for/main")).stderr).toContain("main -> refs/changes/main");
  });

  it("runs scripts", async () => {
    await serve("Hello $GITWHARF_REPOSITORY");
    expect((await push("app", "main:release")).stderr).toMatch(/remote: Hello app *\n/);
    const team = await push("team/a", "main:release", "main:topic");
    expect(team.stderr).toMatch(/remote: Hello team\/a *\nremote: refs\/heads\/topic *\n/);
    expect(team.stderr).toContain("main -> release (hook declined)");
  });

  it("hands over the pushed files", async () => {
    await serve("createReceiver({");
    expect((await push("app", "main")).stderr).toContain("(a README.md is needed)");
    await commit("readme", { "README.md": "hello" });
    const { stderr } = await push("app", "main", "main:feature/x", "main:wild");
    expect(stderr).toContain("remote: main has a README of 5 characters.");
    expect(stderr).toContain("remote: feature/x has a README of 5 characters.");
    expect(stderr).toContain("main -> wild (only main, feature/* may be pushed here)");
  });

  afterAll(() => expect(tried.size).toBe(BLOCKS.length));
});

describe("examples/hello-hook", () => {
  it("greets a push into a repository that was cloned before it was there", async () => {
    process.env["PORT"] = "0";
    const file = new URL("../../examples/hello-hook/server.js", import.meta.url).href;
    const example = (await import(/* @vite-ignore */ file)) as { git: GitServer; http: { url: string } };
    ({ git } = example);
    const cloned = await workspace.try("clone", `${example.http.url}/test.git`);
    expect(cloned.stderr).toContain("warning: You appear to have cloned an empty repository.");
    const test = workspace.in("test");
    await test.run("commit", "-q", "--allow-empty", "-m", "First commit");
    const { status, stderr } = await test.try("push", "origin", "HEAD");
    expect([status, stderr]).toEqual([0, expect.stringMatching(/^remote: Hello World! *$/m)]);
  });
});
