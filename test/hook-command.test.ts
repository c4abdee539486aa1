/** `gitwharf hook`: scripts in the hooks/ of repositories, beside those that people have put there. */
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { runGitwharf } from "./support/run-gitwharf.js";

let workspace: GitClient;
let app: GitClient;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "first");
  for (const name of ["app", "team/deep/app"])
    await workspace.run("init", "-q", "--bare", `served/${name}.git`);
});
afterEach(() => removeDirectory(workspace));

function script(name: string, body: string): string {
  const file = `${workspace.directory}/${name}`;
  writeFileSync(file, `#!/bin/sh\n${body}\n`);
  return file;
}
const hook = (...args: readonly string[]): Promise<GitResult> =>
  runGitwharf(["hook", ...args], { cwd: workspace.directory });
async function install(name: string, file: string, ...args: readonly string[]): Promise<void> {
  const { status, stderr } = await hook("install", name, file, "-d", "served", ...args);
  expect(status, stderr).toBe(0);
}
const hooksOf = (name: string): string => `${workspace.directory}/served/${name}.git/hooks`;
/** Past every server, as `git push` on the same machine does. */
const push = (name: string, ...refspecs: readonly string[]): Promise<GitResult> =>
  app.try("push", `${workspace.directory}/served/${name}.git`, ...refspecs);
const said = ({ stderr }: GitResult): readonly string[] =>
  [...stderr.matchAll(/^remote: (.*?) *$/gm)].map(([, text = ""]) => text);

function writeOwn(name: string, hookName: string, body: string): string {
  const path = `${hooksOf(name)}/${hookName}`;
  writeFileSync(path, `#!/bin/sh\n${body}\n`, { mode: 0o750 });
  chmodSync(path, 0o750);
  return path;
}

describe("gitwharf hook install", () => {
  it("reaches nested repositories, pushes past the server and pushes through it", async () => {
    await install("pre-receive", script("check.sh", 'echo "checks $(cat)"'));
    const oid = await app.run("rev-parse", "main");
    const expected = `checks ${"0".repeat(40)} ${oid} refs/heads`;
    for (const name of ["app", "team/deep/app"])
      expect(said(await push(name, "main"))).toEqual([`${expected}/main`]);
    const server = await createTestServer({
      repositories: `${workspace.directory}/served`,
      durability: "none",
      repositoryHooks: true,
    });
    try {
      const pushed = await app.try("push", server.urlOf("team/deep/app"), "main:b");
      expect(said(pushed)).toEqual([`${expected}/b`]);
    } finally {
      await server.close();
    }
  });

  it("leaves a person's own hook as it is: it runs after ours, and is back in its place in the end", async () => {
    const own = writeOwn("app", "pre-receive", 'echo "own $(wc -l)"');
    const before = statSync(own);
    const text = readFileSync(own, "utf8");
    await install("pre-receive", script("check.sh", "echo one"));
    expect(said(await push("app", "main:a"))).toEqual(["one", "own 1"]);
    await install("pre-receive", script("check.sh", "echo another"));
    expect(said(await push("app", "main:b"))).toEqual(["another", "own 1"]);
    expect(readFileSync(`${own}.own`, "utf8")).toBe(text);
    const { status, stdout } = await hook("remove", "pre-receive", "check.sh", "-d", "served");
    expect([status, stdout]).toEqual([0, expect.stringMatching(/^app +pre-receive +check.sh +removed$/m)]);
    const after = statSync(own);
    expect([after.ino, after.mode, readFileSync(own, "utf8")]).toEqual([before.ino, before.mode, text]);
    expect(
      readdirSync(hooksOf("app")).filter((name) => name.includes("gitwharf") || name.endsWith(".own")),
    ).toEqual([]);
    expect(existsSync(`${hooksOf("team/deep/app")}/pre-receive`)).toBe(false);
    expect(said(await push("app", "main:c"))).toEqual(["own 1"]);
  });

  it("runs several in the order of their names, each with the whole input, up to the first that refuses", async () => {
    writeOwn("app", "pre-receive", "echo own");
    await install("pre-receive", script("a", 'echo "a $(wc -l)"'));
    await install("pre-receive", script("b", "echo b; exit 0"));
    await install("pre-receive", script("c", 'echo "c $(wc -l)"; ! grep -q refs/heads/no'), "--as", "7-c");
    expect(said(await push("app", "main:x", "main:y"))).toEqual(["c 2", "a 2", "b", "own"]);
    script("c", 'echo "c"; ! grep -q refs/heads/no');
    await install("pre-receive", `${workspace.directory}/c`, "--as", "7-c");
    const refused = await push("app", "main:no");
    expect(said(refused)).toEqual(["c"]);
    expect(refused.stderr).toContain("(pre-receive hook declined)");
  });

  it("runs all of what cannot refuse, and gives update its arguments", async () => {
    await install("post-receive", script("a", "echo a; exit 3"));
    await install("post-receive", script("b", 'echo "b $(wc -l)"'));
    await install("update", script("names", 'echo "$1"; test "$1" != refs/heads/no'));
    const { status, stderr } = await push("app", "main:yes", "main:no");
    expect([status, stderr]).toEqual([1, expect.stringContaining("main -> no (hook declined)")]);
    expect(said({ status, stderr, stdout: "" }).filter((line) => !line.startsWith("error:"))).toEqual([
      "refs/heads/yes",
      "refs/heads/no",
      "a",
      "b 1",
    ]);
  });

  it("lets reference-transaction stop what is prepared, and tells it the end", async () => {
    const log = `${workspace.directory}/log`;
    await install("reference-transaction", script("a", `echo "a $1" >> ${log}; test "$1" != prepared`));
    await install("reference-transaction", script("b", `echo "b $1" >> ${log}`));
    expect((await push("app", "main")).status).not.toBe(0);
    const lines = readFileSync(log, "utf8").trim().split("\n");
    expect(lines).toContain("a prepared");
    expect(lines).not.toContain("b prepared");
    expect(lines).toContain("b aborted");
  });

  it("takes patterns of names, and says what is there", async () => {
    await install("update", script("check.sh", "exit 0"), "team/**");
    writeOwn("app", "post-receive", "exit 0");
    const list = await hook("list", "-d", "served", "--json");
    expect(JSON.parse(list.stdout)).toEqual([
      { repository: "app", hook: "post-receive", done: "own" },
      { repository: "team/deep/app", hook: "update", label: "check.sh", done: "installed" },
    ]);
    const none = await hook("install", "update", `${workspace.directory}/check.sh`, "-d", "served", "none/*");
    expect([none.status, none.stderr]).toEqual([1, expect.stringContaining("no repository in")]);
  });

  it("copies a script as it is, whatever its letters are written in", async () => {
    const bytes = Buffer.from("#!/bin/sh\n# \xe9t\xe9\nexit 0\n", "latin1");
    writeFileSync(`${workspace.directory}/check.sh`, bytes);
    await install("update", `${workspace.directory}/check.sh`);
    expect(readFileSync(`${hooksOf("app")}/update.gitwharf/check.sh`)).toEqual(bytes);
  });

  it("takes nothing that is no script, no odd name, and no hook of which only one can be", async () => {
    const file = script("check.sh", "exit 0");
    writeFileSync(`${workspace.directory}/text`, "exit 0\n");
    for (const [args, why] of [
      [["update", `${workspace.directory}/text`], 'does not begin with "#!"'],
      [["update", `${workspace.directory}/none`], "cannot be read"],
      [["update", file, "--as", "../x"], "cannot name a hook's script"],
      [["proc-receive", file], "Allowed choices"],
    ] as const) {
      const { status, stderr } = await hook("install", ...args, "-d", "served");
      expect([status, stderr]).toEqual([2, expect.stringContaining(why)]);
    }
    expect(readdirSync(hooksOf("app")).every((name) => name.endsWith(".sample"))).toBe(true);
  });
});

describe("what gitwharf hook install does not touch", () => {
  it("a second hook of a person's: it is told of, and other repositories are served", async () => {
    const own = writeOwn("app", "update", "echo newer");
    writeFileSync(`${own}.own`, "#!/bin/sh\necho older\n");
    const { status, stderr } = await hook("install", "update", script("a", "echo a"), "-d", "served");
    expect([status, stderr]).toEqual([1, expect.stringMatching(/app: both .*move one of them away/)]);
    expect(readdirSync(hooksOf("app")).filter((name) => name.includes("gitwharf"))).toEqual([]);
    const list = await hook("list", "app", "-d", "served", "--json");
    expect(JSON.parse(list.stdout)).toEqual([{ repository: "app", hook: "update", done: "own" }]);
    expect([readFileSync(own, "utf8"), readFileSync(`${own}.own`, "utf8")]).toEqual([
      "#!/bin/sh\necho newer\n",
      "#!/bin/sh\necho older\n",
    ]);
    expect(said(await push("team/deep/app", "main"))).toEqual(["a"]);
  });

  it("what a person keeps under the name of a second hook, without a first", async () => {
    const own = writeOwn("app", "update.own", "echo put aside");
    const { status, stderr } = await hook("install", "update", script("a", "echo a"), "app", "-d", "served");
    expect([status, stderr]).toEqual([1, expect.stringContaining("and would be run: move it away")]);
    expect(readFileSync(own, "utf8")).toContain("put aside");
    expect(said(await push("app", "main"))).toEqual([]);
  });

  it("a hook that a person has put over ours", async () => {
    await install("update", script("a", "echo a"));
    const own = writeOwn("app", "update", "echo mine");
    expect((await hook("remove", "update", "a", "app", "-d", "served")).status).toBe(0);
    expect(readFileSync(own, "utf8")).toContain("echo mine");
  });

  it("what a link leads to", async () => {
    const shared = `${workspace.directory}/shared`;
    mkdirSync(shared);
    writeFileSync(`${shared}/update`, "#!/bin/sh\necho shared\n", { mode: 0o755 });
    symlinkSync(`${shared}/update`, `${hooksOf("app")}/update`);
    await install("update", script("a", "echo a"));
    expect(said(await push("app", "main"))).toEqual(["a", "shared"]);
    expect(readFileSync(`${shared}/update`, "utf8")).toBe("#!/bin/sh\necho shared\n");
    renameSync(hooksOf("team/deep/app"), `${workspace.directory}/elsewhere`);
    symlinkSync(`${workspace.directory}/elsewhere`, hooksOf("team/deep/app"));
    const { status, stderr } = await hook("install", "update", script("b", "echo b"), "-d", "served");
    expect([status, stderr]).toEqual([1, expect.stringContaining("install where it leads to")]);
  });

  it("and an installation that broke off in the middle goes on where it was", async () => {
    const own = writeOwn("app", "update", "echo own");
    linkSync(own, `${own}.own`);
    await install("update", script("a", "echo a"));
    expect(said(await push("app", "main"))).toEqual(["a", "own"]);
  });

  it("nor is anything left when what broke off in the middle is removed", async () => {
    const own = writeOwn("app", "update", "echo own");
    linkSync(own, `${own}.own`);
    mkdirSync(`${own}.gitwharf`);
    writeFileSync(`${own}.gitwharf/a`, "#!/bin/sh\necho a\n", { mode: 0o755 });
    expect((await hook("remove", "update", "a", "app", "-d", "served")).status).toBe(0);
    expect(readdirSync(hooksOf("app")).filter((name) => !name.endsWith(".sample"))).toEqual(["update"]);
    expect(said(await push("app", "main"))).toEqual(["own"]);
  });
});
