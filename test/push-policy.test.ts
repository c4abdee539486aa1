/**
 * What a repository's configuration forbids to who pushes, and that without the key it is allowed: with the real
 * client, held against the same push to `git http-backend`.
 */
import { afterEach, describe, expect, it } from "vitest";
import { type PushBesideGit, startPushBesideGit } from "./support/push-beside-git.js";

let pair: PushBesideGit;
afterEach(() => pair.close());

const MAIN = "refs/heads/main";

async function tipOf(name: string): Promise<string> {
  return pair.app.run("rev-parse", name);
}

describe("receive.denyNonFastForwards", () => {
  for (const value of [undefined, "false", "true"] as const) {
    it(`${value ?? "not set"}: a branch ${value === "true" ? "only moves forward" : "moves anywhere"}`, async () => {
      pair = await startPushBesideGit();
      if (value !== undefined) await pair.configure({ "receive.denyNonFastForwards": value });
      await pair.push("two:main");
      const forced = await pair.push("--force", "other:main", "other:refs/tags/light", "two:side");
      expect(forced.stdout).toContain(
        value === "true"
          ? "!\trefs/heads/other:refs/heads/main\t[remote rejected] (non-fast-forward)"
          : "+\trefs/heads/other:refs/heads/main\t",
      );
      // Tags may be moved anywhere, and the branch that goes forward is not held back.
      expect(await pair.refs()).toEqual({
        [MAIN]: await tipOf(value === "true" ? "two" : "other"),
        "refs/heads/side": await tipOf("two"),
        "refs/tags/light": await tipOf("other"),
      });
    });
  }

  it("refuses the whole of an atomic push, and never a new branch", async () => {
    pair = await startPushBesideGit();
    await pair.configure({ "receive.denyNonFastForwards": "true" });
    await pair.push("two:main", "other:new");
    const before = await pair.refs();
    const refused = await pair.push("--force", "--atomic", "other:main", "two:side");
    expect(refused.stdout).toContain("[remote rejected] (atomic push failure)");
    expect(await pair.refs()).toEqual(before);
    expect(before["refs/heads/new"]).toBe(await tipOf("other"));
  });
});

describe("receive.denyDeletes", () => {
  for (const value of [undefined, "false", "true"] as const) {
    it(`${value ?? "not set"}: branches ${value === "true" ? "stay" : "may be deleted"}, tags may be always`, async () => {
      pair = await startPushBesideGit();
      if (value !== undefined) await pair.configure({ "receive.denyDeletes": value });
      const result = await pair.push(":side", ":refs/tags/light");
      if (value === "true") expect(result.stdout).toContain("[remote rejected] (deletion prohibited)");
      else expect(result.status).toBe(0);
      expect(Object.keys(await pair.refs())).toEqual(value === "true" ? [MAIN, "refs/heads/side"] : [MAIN]);
    });
  }
});

describe("receive.denyDeleteCurrent", () => {
  for (const value of [undefined, "refuse", "true", "updateInstead", "warn", "ignore", "false"] as const) {
    const goes = value === "warn" || value === "ignore" || value === "false";
    it(`${value ?? "not set"}: the branch that HEAD names ${goes ? "may be deleted" : "stays"}`, async () => {
      pair = await startPushBesideGit();
      if (value !== undefined) await pair.configure({ "receive.denyDeleteCurrent": value });
      const result = await pair.push(":main");
      if (!goes)
        expect(result.stdout).toContain("[remote rejected] (deletion of the current branch prohibited)");
      expect(/deleting the current branch/.test(result.stderr)).toBe(value === "warn");
      expect(Object.keys(await pair.refs()).includes(MAIN)).toBe(!goes);
      // Any other branch is not meant.
      expect((await pair.push(":side")).status).toBe(0);
    });
  }

  for (const current of ["refuse", "warn", "ignore"] as const) {
    for (const value of ["refuse", "warn", "ignore"] as const) {
      it(`${value} beside denyCurrentBranch=${current}, in a repository with a work tree`, async () => {
        pair = await startPushBesideGit({ bare: false });
        await pair.configure({
          "receive.denyDeleteCurrent": value,
          "receive.denyCurrentBranch": current,
        });
        await pair.push(":main");
        const stays = value === "refuse" || current === "refuse";
        expect(Object.keys(await pair.refs()).includes(MAIN)).toBe(stays);
      });
    }
  }
});

describe("receive.denyCurrentBranch", () => {
  for (const value of [undefined, "refuse", "true", "warn", "ignore", "false"] as const) {
    const goes = value === "warn" || value === "ignore" || value === "false";
    it(`${value ?? "not set"}: the branch of the work tree ${goes ? "moves" : "stays"}, others move`, async () => {
      pair = await startPushBesideGit({ bare: false });
      if (value !== undefined) await pair.configure({ "receive.denyCurrentBranch": value });
      const result = await pair.push("two:main", "two:side", "two:new");
      if (goes) expect(result.status).toBe(0);
      else expect(result.stdout).toContain("[remote rejected] (branch is currently checked out)");
      expect(/warning: updating the current branch/.test(result.stderr)).toBe(value === "warn");
      expect(/refusing to update checked out branch: refs\/heads\/main/.test(result.stderr)).toBe(!goes);
      expect(await pair.refs()).toMatchObject({
        [MAIN]: await tipOf(goes ? "two" : "one"),
        "refs/heads/side": await tipOf("two"),
        "refs/heads/new": await tipOf("two"),
      });
    });
  }

  it("does not matter in a bare repository", async () => {
    pair = await startPushBesideGit();
    await pair.configure({ "receive.denyCurrentBranch": "refuse" });
    await pair.push("two:main");
    expect((await pair.refs())[MAIN]).toBe(await tipOf("two"));
  });

  for (const bare of [true, false]) {
    it(`holds for the HEAD of a worktree of a ${bare ? "bare" : "non-bare"} repository`, async () => {
      pair = await startPushBesideGit({ bare });
      for (const { repository } of [pair.ours, pair.theirs])
        await repository.run("worktree", "add", "-q", `${repository.directory}-linked`, "side");
      const refused = await pair.push("two:side");
      expect(refused.stdout).toContain("[remote rejected] (branch is currently checked out)");
      await pair.push(":side");
      expect((await pair.refs())["refs/heads/side"]).toBe(await tipOf("one"));
      await pair.configure({ "receive.denyCurrentBranch": "ignore" });
      await pair.push("two:side");
      expect((await pair.refs())["refs/heads/side"]).toBe(await tipOf("two"));
      await pair.push(":side");
      for (const { repository } of [pair.ours, pair.theirs])
        await repository.run("worktree", "remove", "--force", `${repository.directory}-linked`);
      await pair.push(":side");
      expect(Object.keys(await pair.refs())).not.toContain("refs/heads/side");
    });
  }

  it("holds for a worktree that has the branch of a bare repository's own HEAD", async () => {
    pair = await startPushBesideGit();
    for (const { repository } of [pair.ours, pair.theirs])
      await repository.run("worktree", "add", "-q", `${repository.directory}-linked`, "main");
    const refused = await pair.push("two:main", "two:side");
    expect(refused.stdout).toContain("[remote rejected] (branch is currently checked out)");
    expect((await pair.refs())[MAIN]).toBe(await tipOf("one"));
  });

  it("updateInstead is refused in words that say so, for the work tree's branch alone", async () => {
    pair = await startPushBesideGit({ bare: false });
    await pair.ours.repository.run("config", "receive.denyCurrentBranch", "updateInstead");
    const refused = await pair.app.try("push", "--porcelain", pair.ours.url, "two:main", "two:side");
    expect(refused.status).toBe(1);
    expect(refused.stdout).toMatch(
      /\[remote rejected\] \(receive\.denyCurrentBranch=updateInstead is not supported/,
    );
    const refs = await pair.ours.repository.run("for-each-ref", "--format=%(refname:short) %(objectname)");
    expect(refs).toContain(`main ${await tipOf("one")}`);
    expect(refs).toContain(`side ${await tipOf("two")}`);
    expect(await pair.ours.repository.run("status", "--porcelain")).toBe("");
  });

  it("updateInstead asks a handler once nothing else forbids the push", async () => {
    const asked: string[] = [];
    pair = await startPushBesideGit({
      bare: false,
      server: {
        handlers: {
          update: (_push, { newOid }) => (newOid === other ? "not this one" : undefined),
          pushToCheckout: (_push, { name, newOid }, workTree) => {
            asked.push(`${name} ${newOid} ${workTree}`);
            return newOid === two ? undefined : "the work tree is not clean";
          },
        },
      },
    });
    const { ours, app } = pair;
    const [two, other] = [await tipOf("two"), await tipOf("other")];
    await ours.repository.run("config", "receive.denyCurrentBranch", "updateInstead");
    await ours.repository.run("config", "receive.denyNonFastForwards", "true");
    await app.run("push", "-q", ours.url, "two:main", "two:side");
    const taken = [`${MAIN} ${two} ${ours.repository.directory}`];
    expect(asked).toEqual(taken);
    await app.run("checkout", "-q", "two");
    await app.run("commit", "-q", "--allow-empty", "-m", "three");
    for (const [refspec, why] of [
      ["one:main", "non-fast-forward"],
      ["other:main", "non-fast-forward"],
      [":main", "deletion of the current branch prohibited"],
    ] as const) {
      const refused = await app.try("push", "--force", ours.url, refspec);
      expect(refused.stderr).toContain(
        `[remote rejected] ${refspec.replace(/^:/, "").replace(":", " -> ")} (${why})`,
      );
    }
    await ours.repository.run("config", "receive.denyNonFastForwards", "false");
    expect((await app.try("push", "--force", ours.url, "other:main")).stderr).toContain("(not this one)");
    expect(asked).toEqual(taken);
    const dirty = await app.try("push", ours.url, "HEAD:main");
    expect(dirty.stderr).toContain("[remote rejected] HEAD -> main (the work tree is not clean)");
    expect(await ours.repository.run("rev-parse", "main")).toBe(two);
  });

  it("with a value that means nothing makes the repository unreadable, and names the key", async () => {
    pair = await startPushBesideGit({ bare: false });
    await pair.ours.repository.run("config", "receive.denyCurrentBranch", "perhaps");
    const refused = await pair.app.try("push", pair.ours.url, "two:side");
    expect(refused.status).toBe(128);
    expect(pair.logged.map(({ error }) => String(error)).join()).toContain("receive.denycurrentbranch");
    await pair.ours.repository.run("config", "receive.denyCurrentBranch", "refuse");
    await pair.app.run("push", "-q", pair.ours.url, "two:side");
  });
});
