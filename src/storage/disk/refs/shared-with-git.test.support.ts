/** What git and a ref store see of each other's changes, whichever format the refs are kept in. */
import { type ChildProcess, fork } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RefStore, RefUpdate } from "../../contracts/ref-store.js";
import type { ChangeRefsTask } from "./change-refs.test.support.js";
import { type FilesRefStoreOptions, openFilesRefStore } from "./files-ref-store.js";
import {
  createGitRepository,
  createRandom,
  describeRefs,
  type GitRepository,
} from "./git-refs.test.support.js";
import { openReftableRefStore } from "./reftable/reftable-ref-store.js";

const MAIN = "refs/heads/main";

export function describeSharingWithGit(refFormat: "files" | "reftable"): void {
  let repository: GitRepository;
  let store: RefStore;
  let opened: RefStore[];
  let children: ChildProcess[];

  const open = (options: Partial<FilesRefStoreOptions> = {}): RefStore => {
    const openStore = refFormat === "files" ? openFilesRefStore : openReftableRefStore;
    const common = { gitDirectory: repository.directory, objectFormat: "sha1", durability: "none" } as const;
    const made = openStore({ ...common, ...options });
    opened.push(made);
    return made;
  };
  const commit = (i: number): string => repository.commits[i] ?? "";
  const put = async (...updates: readonly RefUpdate[]): Promise<void> => {
    const results = await store.transact({ updates, atomic: false });
    expect(results.filter(({ ok }) => !ok)).toEqual([]);
  };
  const set = (name: string, newOid: string | null): RefUpdate => ({ name, oldOid: undefined, newOid });
  const path = (name: string): string => join(repository.directory, name);

  beforeEach(() => {
    repository = createGitRepository(refFormat === "files" ? {} : { refFormat });
    opened = [];
    store = open();
    children = [];
  });

  afterEach(async () => {
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(opened.map((one) => one.close()));
    repository.remove();
  });

  describe("one after the other", () => {
    it("change HEAD", async () => {
      await put(
        { name: "HEAD", oldOid: undefined, newOid: null, symbolicTarget: "refs/heads/other" },
        set("refs/heads/other", commit(2)),
      );
      expect(await repository.gitAsync("symbolic-ref", "HEAD")).toBe("refs/heads/other");
      expect(await repository.gitAsync("rev-parse", "HEAD")).toBe(commit(2));
      await repository.gitAsync("update-ref", "--no-deref", "HEAD", commit(3));
      expect((await store.snapshot()).head).toEqual({ oid: commit(3) });
      await put({ name: "HEAD", oldOid: commit(3), newOid: commit(4) });
      expect(await repository.gitAsync("rev-parse", "HEAD")).toBe(commit(4));
    });

    it("write the reflog", async () => {
      const logged = open({ logAllRefUpdates: () => "always" });
      const committer = { name: "P. Usher", email: "p@example.com", timeSeconds: 1_700_000_123 };
      for (const [oldOid, newOid, text] of [
        [null, commit(0), "push"],
        [commit(0), commit(1), "push: again"],
      ] as const) {
        await logged.transact({
          updates: [{ name: MAIN, oldOid, newOid, reflogMessage: text }],
          atomic: true,
          committer,
        });
      }
      for (const name of ["HEAD", MAIN]) {
        expect(
          (
            await repository.gitAsync("reflog", "show", "--date=unix", "--format=%H %gd %gs %gn %ge", name)
          ).split("\n"),
        ).toEqual([
          `${commit(1)} ${name.replace("refs/heads/", "")}@{1700000123} push: again P. Usher p@example.com`,
          `${commit(0)} ${name.replace("refs/heads/", "")}@{1700000123} push P. Usher p@example.com`,
        ]);
      }
      expect(await repository.gitAsync("rev-parse", "main@{1}")).toBe(commit(0));
      await repository.gitAsync("update-ref", "-m", "by hand", MAIN, commit(2));
      const entries = await logged.readReflog(MAIN);
      expect(entries.map(({ message }) => message)).toEqual(["push", "push: again", "by hand"]);
      expect(entries[2]).toEqual({
        oldOid: commit(1),
        newOid: commit(2),
        committer: "C <c@example.com> 1700000000 +0000",
        message: "by hand",
      });
      // A log that exists is continued, even where none is begun.
      await store.transact({ updates: [{ name: MAIN, oldOid: commit(2), newOid: commit(3) }], atomic: true });
      expect(await logged.readReflog(MAIN)).toHaveLength(4);
      await logged.transact({ updates: [{ name: MAIN, oldOid: commit(3), newOid: null }], atomic: true });
      expect(await logged.readReflog(MAIN)).toEqual([]);
      await expect(repository.gitAsync("rev-parse", "--verify", "-q", "main@{0}")).rejects.toThrow();
    });
    it("make many steps, and each is seen", async () => {
      const random = createRandom(7);
      const names = [
        "refs/heads/main",
        "refs/heads/a",
        "refs/heads/a/b",
        "refs/heads/c/d",
        "refs/heads/c/e",
        "refs/tags/t",
        "refs/notes/x/y",
      ];
      for (let step = 0; step < 120; step++) {
        const name = names[random(names.length)] ?? MAIN;
        const oid = [...repository.commits, ...repository.tags][random(8)] ?? "";
        // In conflict with another name: git refuses, and so do we.
        const attempt = (...args: string[]): Promise<unknown> => repository.gitAsync(...args).catch(() => "");
        const action = random(8);
        if (action === 0) await attempt("update-ref", name, name.startsWith("refs/heads/") ? commit(0) : oid);
        else if (action === 1) await attempt("update-ref", "-d", name);
        else if (action === 2) await attempt("pack-refs", "--all", "--prune");
        else if (action === 3) await attempt("pack-refs", "--all", "--no-prune");
        else if (action === 4) await attempt("symbolic-ref", "refs/remotes/o/HEAD", name);
        else if (action === 5)
          await attempt("symbolic-ref", "HEAD", name.startsWith("refs/heads/") ? name : MAIN);
        else if (action === 6) await store.transact({ updates: [set(name, null)], atomic: false });
        else
          await store.transact({
            updates: [set(name, name.startsWith("refs/heads/") ? commit(1) : oid)],
            atomic: false,
          });
        const snapshot = await store.snapshot();
        expect(describeRefs(snapshot), `step ${step}: action ${action} on ${name}`).toEqual(
          repository.refs(),
        );
        expect(snapshot.head.symbolicTarget).toBe(await repository.gitAsync("symbolic-ref", "HEAD"));
      }
      expect(describeRefs(await open().snapshot())).toEqual(repository.refs());
    });

    it("share a linked worktree: its own HEAD and refs, and those of all", async () => {
      await put(set(MAIN, commit(0)), set("refs/heads/side", commit(1)), set("refs/bisect/bad", commit(2)));
      await repository.gitAsync("worktree", "add", "-q", "linked", "side");
      const gitDirectory = path("worktrees/linked");
      const linked = open({ gitDirectory, commonDirectory: repository.directory });
      await repository.gitAsync("-C", "linked", "update-ref", "refs/bisect/good", commit(3));
      await repository.gitAsync("-C", "linked", "update-ref", "refs/worktree/own", commit(3));
      const snapshot = await linked.snapshot();
      expect(snapshot.head).toEqual({ symbolicTarget: "refs/heads/side", oid: commit(1) });
      expect(describeRefs(snapshot)).toEqual(
        (
          await repository.gitAsync("-C", "linked", "for-each-ref", "--format=%(refname) %(objectname)")
        ).split("\n"),
      );
      expect(describeRefs(await store.snapshot())).toEqual(repository.refs());
      const results = await linked.transact({
        updates: [set("HEAD", commit(4)), set("refs/worktree/mine", commit(5))],
        atomic: true,
      });
      expect(results.every(({ ok }) => ok)).toBe(true);
      expect(await repository.gitAsync("rev-parse", "refs/heads/side")).toBe(commit(4));
      expect(await repository.gitAsync("-C", "linked", "rev-parse", "refs/worktree/mine")).toBe(commit(5));
      expect((await store.snapshot()).get("refs/worktree/mine")).toBeUndefined();
    });
  });

  describe("at the same time", () => {
    const task = (about: Partial<ChangeRefsTask>): ChangeRefsTask => ({
      gitDirectory: repository.directory,
      commits: repository.commits,
      refFormat,
      action: "count",
      rounds: 30,
      seed: 1,
      ...about,
    });
    const start = (
      about: Partial<ChangeRefsTask>,
    ): Promise<{ readonly won: number; readonly signal: NodeJS.Signals | null }> => {
      const child = fork(new URL("./change-refs.test.support.js", import.meta.url), [
        JSON.stringify(task(about)),
      ]);
      children.push(child);
      let won = 0;
      child.on("message", (message) => {
        won = Number(message);
      });
      return new Promise((resolve) => child.on("exit", (_code, signal) => resolve({ won, signal })));
    };

    it("processes that swap one ref: each round has one winner", async () => {
      await put(set(MAIN, commit(0)));
      const { length } = repository.commits;
      // Each process swaps commit i for commit i + 1 whenever it finds it, so the number of steps is the number of wins.
      const results = await Promise.all([start({ seed: 1 }), start({ seed: 2 }), start({ seed: 3 })]);
      const total = results.reduce((sum, { won }) => sum + won, 0);
      expect(total).toBe(90);
      expect((await store.snapshot()).get(MAIN)?.oid).toBe(commit(total % length));
    }, 60_000);

    it("git packs, deletes and makes refs while ours are changed: none is lost", async () => {
      await put(set(MAIN, commit(0)), set("refs/heads/still", commit(5)));
      let running = true;
      const git = async (): Promise<void> => {
        for (let i = 0; running; i++) {
          await repository.gitAsync("pack-refs", "--all", "--prune").catch(() => "");
          await repository.gitAsync("update-ref", `refs/heads/git${i % 3}`, commit(i % 6)).catch(() => "");
          if (i % 4 === 3)
            await repository.gitAsync("update-ref", "-d", `refs/heads/git${i % 3}`).catch(() => "");
        }
      };
      const gits = git();
      let won = 0;
      const change = async (round: number): Promise<void> => {
        const snapshot = await store.snapshot();
        expect(snapshot.get("refs/heads/still")?.oid).toBe(commit(5));
        expect(snapshot.get(MAIN)?.oid).toBe(commit(won % 6));
        const [result] = await store.transact({
          updates: [{ name: MAIN, oldOid: commit(won % 6), newOid: commit((won + 1) % 6) }],
          atomic: false,
        });
        if (result?.ok === true) won++;
        await store.transact({
          updates: [set(`refs/heads/own/${round % 5}`, round % 2 === 0 ? commit(1) : null)],
          atomic: false,
        });
        await delay(2);
      };
      try {
        for (let round = 0; won < 60 && round < 2000; round++) await change(round);
      } finally {
        running = false;
        await gits;
      }
      expect(won).toBe(60);
      expect(describeRefs(await store.snapshot())).toEqual(repository.refs());
    }, 60_000);

    it("many refs are made by several processes: each by one", async () => {
      const results = await Promise.all([
        start({ action: "create-many", seed: 1 }),
        start({ action: "create-many", seed: 2 }),
      ]);
      const snapshot = await store.snapshot();
      expect(snapshot.all).toHaveLength(400);
      expect(results[0]?.won ?? 0).toBeGreaterThanOrEqual(0);
      // Each process makes them with its own commit, so what is there says who won.
      const made = [1, 2].map((seed) => snapshot.all.filter(({ oid }) => oid === commit(seed)).length);
      expect(results.map(({ won }) => won)).toEqual(made);
      expect(describeRefs(snapshot)).toEqual(repository.refs());
    }, 60_000);

    it("a process that is killed breaks no ref", async () => {
      await put(set(MAIN, commit(0)));
      for (let round = 0; round < 6; round++) {
        const running = start({ action: "churn", rounds: 100_000, seed: round });
        await delay(250 + round * 40);
        children.at(-1)?.kill("SIGKILL");
        expect((await running).signal).toBe("SIGKILL");
        const snapshot = await open().snapshot();
        expect(snapshot.broken).toEqual([]);
        expect(describeRefs(snapshot)).toEqual(repository.refs());
        expect(snapshot.all.filter(({ oid }) => !repository.commits.includes(oid))).toEqual([]);
        await repository.gitAsync("fsck", "--no-dangling");
        const quick = open({ packedRefsTimeoutMs: 5, refLockTimeoutMs: 5 });
        for (const name of ["refs/heads/churn/1", "refs/heads/churn/2"]) {
          const [result] = await quick.transact({ updates: [set(name, null)], atomic: false });
          if (result?.ok === false)
            expect(result.reason).toMatch(/(?:packed-refs|churn\/\d|tables\.list)\.lock exists/);
        }
        for (const file of fs.readdirSync(repository.directory, { recursive: true, encoding: "utf8" })) {
          if (file.endsWith(".lock")) fs.unlinkSync(path(file));
        }
        await put(set("refs/heads/churn/1", commit(2)));
      }
    }, 60_000);
  });
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
