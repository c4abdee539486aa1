/** Refs in files that real git changes at the same time. */
import { type ChildProcess, fork } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RefStore, RefUpdate } from "../../contracts/ref-store.js";
import { type FilesRefStoreOptions, openFilesRefStore } from "./files-ref-store.js";
import {
  createGitRepository,
  createRandom,
  describeRefs,
  type GitRepository,
} from "./git-refs.test.support.js";
import type { ChangeRefsTask } from "./change-refs.test.support.js";

const MAIN = "refs/heads/main";

let repository: GitRepository;
let store: RefStore;
let children: ChildProcess[];

const open = (options: Partial<FilesRefStoreOptions> = {}): RefStore =>
  openFilesRefStore({
    gitDirectory: repository.directory,
    objectFormat: "sha1",
    durability: "none",
    ...options,
  });
const commit = (i: number): string => repository.commits[i] ?? "";
const put = async (...updates: readonly RefUpdate[]): Promise<void> => {
  const results = await store.transact({ updates, atomic: false });
  expect(results.filter(({ ok }) => !ok)).toEqual([]);
};
const set = (name: string, newOid: string | null): RefUpdate => ({ name, oldOid: undefined, newOid });
const path = (name: string): string => join(repository.directory, name);

beforeEach(() => {
  repository = createGitRepository();
  store = open();
  children = [];
});

afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  await store.close();
  repository.remove();
});

describe("what git reads", () => {
  it("is what was written: loose, packed and symbolic", async () => {
    await put(
      set(MAIN, commit(0)),
      set("refs/heads/a/b", commit(1)),
      set("refs/tags/v1", repository.tags[0] ?? ""),
    );
    await put({ name: "refs/remotes/o/HEAD", oldOid: null, newOid: null, symbolicTarget: MAIN });
    await put(...Array.from({ length: 100 }, (_, i) => set(`refs/changes/${i}`, commit(i % 6))));
    expect(fs.existsSync(path("packed-refs"))).toBe(true);
    expect(describeRefs(await store.snapshot())).toEqual(repository.refs());
    repository.git("fsck", "--strict");
    repository.git("pack-refs", "--all", "--prune");
    expect(describeRefs(await store.snapshot())).toEqual(repository.refs());
    const peeled = (await store.snapshot()).get("refs/tags/v1");
    expect(peeled).toMatchObject({ peeled: commit(0), peelKnown: true });
  });

  it("is packed-refs as git itself writes it", async () => {
    const { tags } = repository;
    await store.close();
    const peels = new Map([
      [tags[0], commit(0)],
      [tags[1], commit(0)],
    ]);
    store = open({ peel: (oid) => peels.get(oid) });
    const updates = Array.from({ length: 50 }, (_, i) => set(`refs/heads/b${i}`, commit(i % 6)));
    await put(...updates, set("refs/tags/v1", tags[0] ?? ""), set("refs/tags/v2", tags[1] ?? ""));
    const ours = fs.readFileSync(path("packed-refs"), "utf8");
    expect(fs.readdirSync(path("refs/heads"))).toEqual([]);
    fs.unlinkSync(path("packed-refs"));
    for (const { name, newOid } of [
      ...updates,
      set("refs/tags/v1", tags[0] ?? ""),
      set("refs/tags/v2", tags[1] ?? ""),
    ]) {
      repository.git("update-ref", name, newOid ?? "");
    }
    repository.git("pack-refs", "--all", "--prune");
    expect(ours).toBe(fs.readFileSync(path("packed-refs"), "utf8"));
  });

  it("is HEAD", async () => {
    await put(
      { name: "HEAD", oldOid: undefined, newOid: null, symbolicTarget: "refs/heads/other" },
      set("refs/heads/other", commit(2)),
    );
    expect(repository.git("symbolic-ref", "HEAD")).toBe("refs/heads/other");
    expect(repository.git("rev-parse", "HEAD")).toBe(commit(2));
    repository.git("update-ref", "--no-deref", "HEAD", commit(3));
    expect((await store.snapshot()).head).toEqual({ oid: commit(3) });
    await put({ name: "HEAD", oldOid: commit(3), newOid: commit(4) });
    expect(repository.git("rev-parse", "HEAD")).toBe(commit(4));
    expect(fs.readFileSync(path("HEAD"), "utf8")).toBe(`${commit(4)}\n`);
  });

  it("is the reflog", async () => {
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
        repository.git("reflog", "show", "--date=unix", "--format=%H %gd %gs %gn %ge", name).split("\n"),
      ).toEqual([
        `${commit(1)} ${name.replace("refs/heads/", "")}@{1700000123} push: again P. Usher p@example.com`,
        `${commit(0)} ${name.replace("refs/heads/", "")}@{1700000123} push P. Usher p@example.com`,
      ]);
    }
    expect(repository.git("rev-parse", "main@{1}")).toBe(commit(0));
    repository.git("update-ref", "-m", "by hand", MAIN, commit(2));
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
    expect(fs.existsSync(path("logs/refs/heads/main"))).toBe(false);
  });
});

describe("what git wrote", () => {
  it("is seen after each of many steps, whoever makes them", async () => {
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
      const attempt = (...args: string[]): void => {
        try {
          repository.git(...args);
        } catch {
          // In conflict with another name: git refuses, and so do we.
        }
      };
      const action = random(8);
      if (action === 0) attempt("update-ref", name, name.startsWith("refs/heads/") ? commit(0) : oid);
      else if (action === 1) attempt("update-ref", "-d", name);
      else if (action === 2) attempt("pack-refs", "--all", "--prune");
      else if (action === 3) attempt("pack-refs", "--all", "--no-prune");
      else if (action === 4) attempt("symbolic-ref", "refs/remotes/o/HEAD", name);
      else if (action === 5) attempt("symbolic-ref", "HEAD", name.startsWith("refs/heads/") ? name : MAIN);
      else if (action === 6) await store.transact({ updates: [set(name, null)], atomic: false });
      else
        await store.transact({
          updates: [set(name, name.startsWith("refs/heads/") ? commit(1) : oid)],
          atomic: false,
        });
      const snapshot = await store.snapshot();
      expect(describeRefs(snapshot), `step ${step}: action ${action} on ${name}`).toEqual(repository.refs());
      expect(snapshot.head.symbolicTarget).toBe(repository.git("symbolic-ref", "HEAD"));
    }
    expect(describeRefs(await open().snapshot())).toEqual(repository.refs());
  });

  it("is seen in a linked worktree: its own HEAD and refs, and the shared ones", async () => {
    await put(set(MAIN, commit(0)), set("refs/heads/side", commit(1)), set("refs/bisect/bad", commit(2)));
    repository.git("worktree", "add", "-q", "linked", "side");
    const gitDirectory = path("worktrees/linked");
    const linked = open({ gitDirectory, commonDirectory: repository.directory });
    repository.git("-C", "linked", "update-ref", "refs/bisect/good", commit(3));
    repository.git("-C", "linked", "update-ref", "refs/worktree/own", commit(3));
    const snapshot = await linked.snapshot();
    expect(snapshot.head).toEqual({ symbolicTarget: "refs/heads/side", oid: commit(1) });
    expect(describeRefs(snapshot)).toEqual(
      repository.git("-C", "linked", "for-each-ref", "--format=%(refname) %(objectname)").split("\n"),
    );
    expect(describeRefs(await store.snapshot())).toEqual(repository.refs());
    const results = await linked.transact({
      updates: [set("HEAD", commit(4)), set("refs/worktree/mine", commit(5))],
      atomic: true,
    });
    expect(results.every(({ ok }) => ok)).toBe(true);
    expect(repository.git("rev-parse", "refs/heads/side")).toBe(commit(4));
    expect(repository.git("-C", "linked", "rev-parse", "refs/worktree/mine")).toBe(commit(5));
    expect((await store.snapshot()).get("refs/worktree/mine")).toBeUndefined();
  });

  it("is seen when it is made against the protocol, in place", async () => {
    await put(set(MAIN, commit(0)), set("refs/heads/a", commit(0)));
    await store.snapshot();
    await delay(2200);
    await store.snapshot();
    fs.writeFileSync(path(MAIN), `${commit(1)}\n`);
    await delay(1100);
    expect((await store.snapshot()).get(MAIN)?.oid).toBe(commit(1));
  });

  it("may be a symbolic link, and is not followed out of the refs", async () => {
    await put(set(MAIN, commit(0)));
    fs.symlinkSync(MAIN, path("refs/heads/link"));
    fs.writeFileSync(path("secret"), `${commit(1)}\n`);
    fs.symlinkSync("../../secret", path("refs/heads/out"));
    fs.symlinkSync("../..", path("refs/heads/up"));
    const snapshot = await store.snapshot();
    expect(snapshot.get("refs/heads/link")).toEqual({
      name: "refs/heads/link",
      oid: commit(0),
      symbolicTarget: MAIN,
    });
    expect(snapshot.broken).toEqual(["refs/heads/out", "refs/heads/up"]);
  });

  it("may be broken: empty, cut short, of another format, with names that are none", async () => {
    await put(set(MAIN, commit(0)));
    const broken = {
      empty: "",
      short: commit(0).slice(1),
      long: `${commit(0)}0\n`,
      zero: "0".repeat(40),
      "a..b": `${commit(0)}\n`,
      text: "hello\n",
    };
    for (const [name, content] of Object.entries(broken))
      fs.writeFileSync(path(`refs/heads/${name}`), content);
    fs.writeFileSync(Buffer.from(`${path("refs/heads/")}\xff`, "latin1"), `${commit(0)}\n`);
    const snapshot = await store.snapshot();
    expect(snapshot.all.map(({ name }) => name)).toEqual([MAIN]);
    expect(new Set(snapshot.broken)).toEqual(
      new Set([...Object.keys(broken), "\ufffd"].map((name) => `refs/heads/${name}`)),
    );
    const update = async (
      name: string,
      oldOid: string | null | undefined,
      newOid: string | null,
    ): Promise<boolean | undefined> =>
      (await store.transact({ updates: [{ name: `refs/heads/${name}`, oldOid, newOid }], atomic: false }))[0]
        ?.ok;
    expect(await update("empty", undefined, commit(1))).toBe(false);
    expect(await update("empty", null, commit(1))).toBe(false);
    expect(await update("empty", undefined, null)).toBe(true);
    expect(await update("empty", null, commit(1))).toBe(true);
  });

  it("a HEAD that says nothing is an error that says what to do", async () => {
    fs.writeFileSync(path("HEAD"), "");
    await expect(store.snapshot()).rejects.toMatchObject({
      code: "storage/bad-ref",
      message: expect.stringContaining("HEAD"),
    });
    fs.unlinkSync(path("HEAD"));
    await expect(store.snapshot()).rejects.toMatchObject({ code: "storage/bad-ref" });
    fs.writeFileSync(path("HEAD"), "ref: refs/heads/main\n");
    expect((await store.snapshot()).head.symbolicTarget).toBe(MAIN);
  });
});

describe("locks", () => {
  it("that a process left behind are named, and refuse only what they lock", async () => {
    await put(set(MAIN, commit(0)));
    fs.writeFileSync(path("refs/heads/main.lock"), "");
    const results = await store.transact({
      updates: [set(MAIN, commit(1)), set("refs/heads/b", commit(1))],
      atomic: false,
    });
    expect(results[0]).toMatchObject({
      ok: false,
      code: "locked",
      reason: expect.stringContaining("refs/heads/main.lock exists for 0 s"),
    });
    expect(JSON.stringify(results)).not.toContain(repository.directory);
    expect(results[1]?.ok).toBe(true);
    fs.unlinkSync(path("refs/heads/main.lock"));
    fs.writeFileSync(path("packed-refs.lock"), "");
    const quick = open({ packedRefsTimeoutMs: 10 });
    const more = await quick.transact({
      updates: [set(MAIN, null), set("refs/heads/c", commit(1))],
      atomic: false,
    });
    expect(more[0]).toMatchObject({
      ok: false,
      code: "locked",
      reason: expect.stringContaining("packed-refs.lock"),
    });
    expect(more[1]?.ok).toBe(true);
    fs.unlinkSync(path("packed-refs.lock"));
    await put(set(MAIN, commit(2)));
    expect(fs.readdirSync(path("refs/heads"))).toEqual(["b", "c", "main"]);
  });

  it("are waited for", async () => {
    await put(set(MAIN, commit(0)));
    fs.writeFileSync(path("refs/heads/main.lock"), "");
    setTimeout(() => fs.unlinkSync(path("refs/heads/main.lock")), 40);
    await put(set(MAIN, commit(1)));
  });

  it("of refs that were refused are gone, and so are their directories", async () => {
    await put(set(MAIN, commit(0)));
    const updates = [
      set("refs/heads/x/y/z", commit(0)),
      { name: MAIN, oldOid: commit(3), newOid: commit(1) },
    ];
    await store.transact({ updates, atomic: true });
    expect(fs.readdirSync(path("refs/heads"))).toEqual(["main"]);
    await store.transact({
      updates: [set("refs/heads/x/y/z", commit(0))],
      atomic: true,
      onState: () => false,
    });
    expect(fs.readdirSync(path("refs/heads"))).toEqual(["main"]);
  });

  it("take names that are too long for a file as a refusal", async () => {
    const [result] = await store.transact({
      updates: [set(`refs/heads/${"x".repeat(252)}`, commit(0))],
      atomic: false,
    });
    expect(result).toMatchObject({
      ok: false,
      code: "rejected",
      reason: expect.stringContaining("too long"),
    });
  });

  it("and directories get the modes of a shared repository", async () => {
    const shared = open({ sharedRepository: () => "group", logAllRefUpdates: () => "true" });
    await shared.transact({ updates: [set("refs/heads/team/x", commit(0))], atomic: true });
    const mode = (name: string): number => fs.statSync(path(name)).mode & 0o7777;
    expect(mode("refs/heads/team/x") & 0o660).toBe(0o660);
    expect(mode("refs/heads/team") & 0o2070).toBe(0o2070);
    expect(mode("logs/refs/heads/team/x") & 0o660).toBe(0o660);
    const exact = open({ sharedRepository: () => 0o640 });
    await exact.transact({ updates: [set("refs/heads/team/y", commit(0))], atomic: true });
    expect(mode("refs/heads/team/y") & 0o777).toBe(0o640);
  });
});

describe("at the same time", () => {
  const task = (about: Partial<ChangeRefsTask>): ChangeRefsTask => ({
    gitDirectory: repository.directory,
    commits: repository.commits,
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
    for (let round = 0; won < 60 && round < 2000; round++) {
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
    }
    running = false;
    await gits;
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
      repository.git("fsck", "--no-dangling");
      const quick = open({ packedRefsTimeoutMs: 5, refLockTimeoutMs: 5 });
      for (const name of ["refs/heads/churn/1", "refs/heads/churn/2"]) {
        const [result] = await quick.transact({ updates: [set(name, null)], atomic: false });
        if (result?.ok === false) expect(result.reason).toMatch(/(?:packed-refs|churn\/\d)\.lock exists/);
      }
      for (const file of fs.readdirSync(repository.directory, { recursive: true, encoding: "utf8" })) {
        if (file.endsWith(".lock")) fs.unlinkSync(path(file));
      }
      await put(set("refs/heads/churn/1", commit(2)));
    }
  }, 60_000);
});

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
