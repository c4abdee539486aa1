/** Refs in files that real git changes at the same time. */
import * as fs from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RefStore, RefUpdate } from "../../contracts/ref-store.js";
import { type FilesRefStoreOptions, openFilesRefStore } from "./files-ref-store.js";
import { createGitRepository, describeRefs, type GitRepository } from "./git-refs.test.support.js";
import { delay, describeSharingWithGit } from "./shared-with-git.test.support.js";

const MAIN = "refs/heads/main";

let repository: GitRepository;
let store: RefStore;

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
});

afterEach(async () => {
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
});

describe("what git wrote", () => {
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

describe("git and a store", () => describeSharingWithGit("files"));
