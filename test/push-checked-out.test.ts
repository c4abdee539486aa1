/**
 * Which branches count as checked out when they are pushed to: HEADs that are special, and work trees that have gone
 * away or are in the middle of something. Beside `git http-backend`.
 */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { GitClient } from "./support/git-client.js";
import { type PushBesideGit, startPushBesideGit } from "./support/push-beside-git.js";

let pair: PushBesideGit;
afterEach(() => pair.close());

async function inBoth(work: (repository: GitClient) => Promise<unknown>): Promise<void> {
  for (const { repository } of [pair.ours, pair.theirs]) await work(repository);
}

async function expectRefused(branch: string, refused: boolean): Promise<void> {
  const { stdout } = await pair.push(`two:${branch}`);
  expect(stdout.includes("[remote rejected] (branch is currently checked out)"), stdout).toBe(refused);
  await pair.refs();
}

describe("a branch that is pushed to is checked out", () => {
  it("when HEAD names it before it is born", async () => {
    pair = await startPushBesideGit({ bare: false });
    await pair.both("symbolic-ref", "HEAD", "refs/heads/unborn");
    await expectRefused("unborn", true);
    await expectRefused("main", false);
  });

  it("not when HEAD is detached at it", async () => {
    pair = await startPushBesideGit({ bare: false });
    await pair.both("checkout", "-q", "--detach", "main");
    await expectRefused("main", false);
    // Nor is it the current one.
    expect((await pair.push(":main")).status).toBe(0);
  });

  it("when core.bare is not set and there is a work tree", async () => {
    pair = await startPushBesideGit({ bare: false });
    // git, started inside the git directory, guesses that it is bare and lets the push through.
    await pair.ours.repository.run("config", "--unset", "core.bare");
    const refused = await pair.app.try("push", pair.ours.url, "two:main");
    expect(refused.stderr).toContain("[remote rejected] two -> main (branch is currently checked out)");
  });

  it("not when core.bare says that there is no work tree", async () => {
    pair = await startPushBesideGit({ bare: false });
    await pair.both("config", "core.bare", "true");
    await expectRefused("main", false);
  });

  it("while its rebase is under way", async () => {
    pair = await startPushBesideGit({ bare: false });
    await inBoth(async (repository) => {
      const write = (text: string) => writeFileSync(join(repository.directory, "file"), text);
      await repository.run("checkout", "-q", "-b", "topic");
      write("topic\n");
      await repository.run("add", "file");
      await repository.run("commit", "-q", "-m", "topic");
      await repository.run("checkout", "-q", "main");
      write("main\n");
      await repository.run("add", "file");
      await repository.run("commit", "-q", "-m", "main");
      await repository.run("checkout", "-q", "topic");
      expect((await repository.try("rebase", "main")).status).not.toBe(0);
    });
    const refused = await pair.push("--force", "two:topic");
    expect(refused.stdout).toContain("[remote rejected] (branch is currently checked out)");
    await inBoth((repository) => repository.run("rebase", "--abort"));
    await inBoth((repository) => repository.run("checkout", "-q", "main"));
    expect((await pair.push("--force", "two:topic")).status).toBe(0);
    await pair.refs();
  });

  it("while it is bisected", async () => {
    pair = await startPushBesideGit({ bare: false });
    await inBoth(async (repository) => {
      await repository.run("bisect", "start");
      await repository.run("checkout", "-q", "--detach", "main");
    });
    await expectRefused("main", true);
    await expectRefused("side", false);
  });

  it("in a linked work tree that has gone, until git forgets it", async () => {
    pair = await startPushBesideGit();
    await inBoth(async (repository) => {
      await repository.run("worktree", "add", "-q", `${repository.directory}-linked`, "side");
      rmSync(`${repository.directory}-linked`, { recursive: true });
    });
    await expectRefused("side", true);
    await pair.both("worktree", "prune");
    await expectRefused("side", false);
  });

  it("not in a linked work tree whose HEAD is detached", async () => {
    pair = await startPushBesideGit();
    await inBoth((repository) =>
      repository.run("worktree", "add", "-q", "--detach", `${repository.directory}-linked`, "side"),
    );
    await expectRefused("side", false);
  });

  it("not when another symbolic ref leads to it", async () => {
    pair = await startPushBesideGit({ bare: false });
    await pair.both("symbolic-ref", "refs/heads/alias", "refs/heads/main");
    await expectRefused("main", true);
    await expectRefused("alias", false);
  });
});
