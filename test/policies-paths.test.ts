/** Rules about paths, with the real client: every way in which a push can touch a path. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";

let workspace: GitClient;
let app: GitClient;
let server: TestServer;
let base: string;
let count = 0;
let repository: string;

beforeAll(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  server = await createTestServer({
    authenticate: (credentials) => ({ user: "user" in credentials ? credentials.user : "" }),
    log: () => undefined,
    policies: [
      { effect: "allow", users: ["owner"] },
      { effect: "deny", paths: ["ops", "ops/**"], reason: "ops is the owner's" },
      { effect: "allow", users: ["@users"] },
    ],
  });
  for (const name of ["ops/run", "ops/deep/er/x", "docs/a", "tools"]) write(name, `${name}\n`.repeat(20));
  await commit("base");
  base = await app.run("rev-parse", "HEAD");
});
beforeEach(async () => {
  await app.run("checkout", "-q", "-f", "--detach", base);
  repository = `app${count++}`;
  await app.run("push", "-q", as("owner"), `${base}:refs/heads/main`);
});
afterEach(() => app.run("clean", "-qfd"));
afterAll(async () => {
  await server.close();
  removeDirectory(workspace);
});

function write(path: string, text: string): void {
  const file = join(app.directory, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

async function commit(message: string): Promise<void> {
  await app.run("add", "-A");
  await app.run("commit", "-q", "-m", message);
}

const as = (user: string): string => server.urlOf(repository).replace("://", `://${user}:x@`);
const push = (ref = "main"): Promise<GitResult> => app.try("push", "-q", as("ada"), `HEAD:refs/heads/${ref}`);

type Change = () => Promise<void> | void;
const CHANGES: readonly (readonly [string, Change])[] = [
  ["a new file", () => write("ops/new", "x")],
  ["a changed file", () => write("ops/run", "x")],
  ["a deleted file", () => rmSync(join(app.directory, "ops/run"))],
  ["a deleted directory", () => rmSync(join(app.directory, "ops"), { recursive: true })],
  ["a file that is moved out", async () => void (await app.run("mv", "ops/run", "docs/run"))],
  ["a file that is moved in", async () => void (await app.run("mv", "docs/a", "ops/a"))],
  ["a directory that is moved out", async () => void (await app.run("mv", "ops/deep", "docs/deep"))],
  ["a directory that is renamed", async () => void (await app.run("mv", "ops", "operations"))],
  ["a file that is copied in", () => write("ops/copy", "docs/a\n".repeat(20))],
  ["a mode", async () => void (await app.run("update-index", "--chmod=+x", "ops/run"))],
  [
    "a submodule",
    async () =>
      void (await app.run("update-index", "--add", "--cacheinfo", `160000,${"1".repeat(40)},ops/sub`)),
  ],
  [
    "a symbolic link in place of the directory",
    async () => {
      await app.run("rm", "-q", "-r", "ops");
      const { stdout } = await app.tryWith({ input: "docs" }, "hash-object", "-w", "--stdin");
      await app.run("update-index", "--add", "--cacheinfo", `120000,${stdout.trim()},ops`);
    },
  ],
  [
    "a submodule in place of the directory",
    async () => {
      await app.run("rm", "-q", "-r", "ops");
      await app.run("update-index", "--add", "--cacheinfo", `160000,${"2".repeat(40)},ops`);
    },
  ],
];

/** What was put into the index and is not in the work tree stays. */
async function make(change: Change): Promise<void> {
  await change();
  const staged = await app.run("diff", "--cached", "--name-only");
  if (staged === "") await app.run("add", "-A");
  await app.run("commit", "-q", "-m", "change");
}

describe("a rule that denies paths", () => {
  it.each(CHANGES)("sees %s", async (_, change) => {
    await make(change);
    expect((await push()).stderr).toContain("ops is the owner's");
    expect((await push("fresh")).stderr).toContain("ops is the owner's");
    expect(await app.run("ls-remote", as("owner"), "refs/heads/*")).toBe(`${base}\trefs/heads/main`);
  });

  it.each(CHANGES)("sees %s that a later commit of the push takes back", async (_, change) => {
    await make(change);
    await app.run("read-tree", "--reset", "-u", base);
    await app.run("commit", "-q", "-m", "back");
    expect((await push()).stderr).toContain("ops is the owner's");
  });

  it("lets everything else be: changes beside it, names that begin alike, submodules elsewhere", async () => {
    write("docs/b", "x");
    write("opsy/x", "x");
    await app.run("mv", "tools", "docs/tools");
    await app.run("add", "-A");
    await app.run("update-index", "--add", "--cacheinfo", `160000,${"1".repeat(40)},docs/sub`);
    await app.run("commit", "-q", "-m", "fine");
    expect(await push()).toMatchObject({ status: 0, stderr: "" });
    // What is there already is no change: of a new branch on it, and of a merge of it.
    expect(await push("branch")).toMatchObject({ status: 0, stderr: "" });
  });

  it("does not see what the owner has changed elsewhere and somebody merges, once it is in the repository", async () => {
    write("ops/run", "by the owner\n");
    await commit("ops");
    await app.run("push", "-q", as("owner"), "HEAD:refs/heads/ops");
    // For a ref that exists it is a change, wherever it comes from; a new one on it shows nothing new.
    expect((await push()).stderr).toContain("ops is the owner's");
    expect(await push("copy-of-ops")).toMatchObject({ status: 0, stderr: "" });
  });

  it("sees that a branch is put back to where the file was another", async () => {
    write("ops/run", "by the owner\n");
    await commit("ops");
    await app.run("push", "-q", as("owner"), "HEAD:refs/heads/main");
    expect((await app.try("push", "-q", as("ada"), `+${base}:refs/heads/main`)).stderr).toContain(
      "ops is the owner's",
    );
  });

  it("sees a file of the merge itself, and takes one that only joins what there is", async () => {
    write("docs/side", "x");
    await commit("side");
    const side = await app.run("rev-parse", "HEAD");
    await app.run("checkout", "-q", "-f", "--detach", base);
    write("docs/other", "x");
    await commit("other");
    await app.run("merge", "-q", "--no-commit", "--no-ff", side);
    write("ops/evil", "x");
    await commit("evil merge");
    expect((await push()).stderr).toContain("ops is the owner's");
    await app.run("reset", "-q", "--hard", "HEAD^");
    await app.run("merge", "-q", "--no-ff", "-m", "merge", side);
    expect(await push()).toMatchObject({ status: 0, stderr: "" });
  });

  it("sees a tag of a tree, and a commit without history", async () => {
    write("ops/new", "x");
    await app.run("add", "-A");
    const tree = await app.run("write-tree");
    await app.run("update-ref", "refs/tags/tree", tree);
    expect((await app.try("push", "-q", as("ada"), "refs/tags/tree")).stderr).toContain("ops is the owner's");
    const orphan = await app.run("commit-tree", "-m", "orphan", tree);
    expect((await app.try("push", "-q", as("ada"), `${orphan}:refs/heads/orphan`)).stderr).toContain(
      "ops is the owner's",
    );
    await app.run("update-ref", "-d", "refs/tags/tree");
  });
});
