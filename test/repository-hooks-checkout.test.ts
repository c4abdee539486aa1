/** The push-to-checkout hook, with the real client, beside git http-backend. */
import { existsSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import type { GitClient } from "./support/git-client.js";
import { type PushBesideGit, startPushBesideGit } from "./support/push-beside-git.js";
import { RECORD, readRecord, type Recorded, writeHook } from "./support/record-hooks.js";

const CHECK_OUT = `${RECORD}\ngit read-tree -u -m HEAD "$1"`;
let pair: PushBesideGit;

afterEach(() => pair.close());

async function start(options: { readonly bare?: boolean } = {}): Promise<void> {
  pair = await startPushBesideGit({ bare: false, ...options, server: { repositoryHooks: true } });
  await pair.configure({ "receive.denyCurrentBranch": "updateInstead" });
}

/** The git directory; the hook's directory too. */
const inGit = (repository: GitClient): GitClient =>
  existsSync(`${repository.directory}/.git`) ? repository.in(".git") : repository;
const hook = (name: string, script: string, mode = 0o755): void => {
  for (const { repository } of [pair.ours, pair.theirs]) writeHook(inGit(repository), name, script, mode);
};
/** Without the options and the certificate, of which git tells this hook nothing. */
function recordOf(repository: GitClient): readonly Recorded[] {
  const tree = realpathSync(repository.directory);
  return readRecord(inGit(repository)).map((record) => ({
    ...record,
    environment: record.environment
      .filter((line) => !line.startsWith("GIT_PUSH_OPTION"))
      .map((line) => line.replaceAll(tree, "TREE").replace(/\/\.$/, "")),
  }));
}
const subjects = async (workTree: (repository: GitClient) => GitClient): Promise<readonly string[]> =>
  Promise.all(
    [pair.ours, pair.theirs].map(async ({ repository }) => {
      const tree = workTree(repository);
      expect(await tree.run("status", "--porcelain")).toBe("");
      return tree.run("log", "-1", "--format=%s");
    }),
  );

describe("a push-to-checkout hook, beside git http-backend", () => {
  it("updates the work tree, and is told the same", async () => {
    await start();
    hook("push-to-checkout", CHECK_OUT);
    await pair.app.run("checkout", "-q", "two");
    writeFileSync(`${pair.app.directory}/file`, "three\n");
    await pair.app.run("add", "file");
    await pair.app.run("commit", "-q", "-m", "three");
    const pushed = await pair.push("HEAD:main", "two:side");
    expect(pushed.status, pushed.stderr).toBe(0);
    await pair.refs();
    expect(await subjects((repository) => repository)).toEqual(["three", "three"]);
    expect(readFileSync(`${pair.ours.repository.directory}/file`, "utf8")).toBe("three\n");
    const [ours, theirs] = [recordOf(pair.ours.repository), recordOf(pair.theirs.repository)];
    expect(ours).toEqual(theirs);
    expect(ours).toEqual([
      {
        name: "push-to-checkout",
        args: await pair.app.run("rev-parse", "HEAD"),
        cwd: "REPOSITORY",
        input: "",
        environment: ["GIT_DIR=REPOSITORY", "GIT_WORK_TREE=TREE"],
      },
    ]);
  });

  it("refuses the push", async () => {
    await start();
    hook("push-to-checkout", "exit 1");
    const refused = await pair.push("two:main", "two:side");
    expect(refused.stdout).toMatch(
      /refs\/heads\/main\t\[remote rejected\] \(push-to-checkout hook declined\)/,
    );
    expect(await pair.refs()).toMatchObject({ "refs/heads/side": await pair.app.run("rev-parse", "two") });
    const atomic = await pair.push("--atomic", "two:main", "two:new");
    expect(atomic.stdout).toContain("push-to-checkout hook declined");
    expect(Object.keys(await pair.refs())).not.toContain("refs/heads/new");
  });

  it("runs after update, and not for what update refuses", async () => {
    await start();
    hook("update", `${RECORD}\n[ "$1" != refs/heads/main ]`);
    hook("push-to-checkout", CHECK_OUT);
    const refused = await pair.push("two:main");
    expect(refused.stdout).toContain("(hook declined)");
    for (const { repository } of [pair.ours, pair.theirs])
      expect(recordOf(repository).map(({ name }) => name)).toEqual(["update"]);
    hook("update", RECORD);
    await pair.push("two:main");
    for (const { repository } of [pair.ours, pair.theirs])
      expect(recordOf(repository).map(({ name }) => name)).toEqual(["update", "update", "push-to-checkout"]);
  });

  it.each([true, false])("knows a linked work tree, of a bare repository: %s", async (bare) => {
    await start({ bare });
    for (const { repository } of [pair.ours, pair.theirs])
      await repository.run("worktree", "add", "-q", `${repository.directory}-linked`, "side");
    hook("push-to-checkout", `echo "$GIT_DIR $GIT_WORK_TREE" > seen\n${CHECK_OUT}`);
    const pushed = await pair.push("two:side");
    expect(pushed.status, pushed.stderr).toBe(0);
    expect(
      await subjects((repository) => repository.in("../app" + (bare ? ".git" : "") + "-linked")),
    ).toEqual(["two", "two"]);
    const seen = [pair.ours, pair.theirs].map(({ repository }) =>
      readFileSync(`${inGit(repository).directory}/seen`, "utf8").replaceAll(
        realpathSync(repository.directory),
        "REPOSITORY",
      ),
    );
    expect(seen[0]).toBe(seen[1]);
    expect(seen[0]).toMatch(/\/worktrees\/app(\.git)?-linked REPOSITORY-linked\n$/);
  });
});

describe("a push-to-checkout hook", () => {
  it("that is not executable is as none: the push is refused, since the server checks nothing out itself", async () => {
    await start();
    hook("push-to-checkout", CHECK_OUT, 0o644);
    const refused = await pair.app.try("push", pair.ours.url, "two:main");
    expect(refused.stderr).toMatch(/hint: the 'push-to-checkout' hook was ignored/);
    expect(refused.stderr).toContain("updateInstead is not supported without a push-to-checkout hook");
  });

  it("finds the objects published, and the refs where they were", async () => {
    await start();
    hook(
      "push-to-checkout",
      'git cat-file -p "$1" && git log -1 --format=%s refs/heads/main --; ls objects >&2',
    );
    const { stderr } = await pair.app.try("push", pair.ours.url, "two:main");
    expect(stderr).toMatch(/^remote: tree .*/m);
    expect(stderr).toMatch(/^remote: one *$/m);
    expect(stderr).not.toMatch(/^remote: (tmp_|incoming|quarantine)/im);
  });
});
