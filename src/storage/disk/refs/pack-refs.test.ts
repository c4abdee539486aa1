/** Refs moved into packed-refs, beside git and beside transactions. */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RefStore } from "../../contracts/ref-store.js";
import { openDiskRepositoryAt } from "../disk-repository-store.js";
import type { Repository } from "../../contracts/repository.js";

let directory: string;
let repository: Repository;
let refs: RefStore;
let commit: string;
const git = (input: string, ...args: readonly string[]): string =>
  execFileSync("git", args, {
    cwd: directory,
    input,
    encoding: "utf8",
    env: {
      ...process.env,
      GIT_AUTHOR_NAME: "A",
      GIT_AUTHOR_EMAIL: "a@b",
      GIT_COMMITTER_NAME: "A",
      GIT_COMMITTER_EMAIL: "a@b",
    },
  }).trim();
const packed = (): string => readFileSync(join(directory, "packed-refs"), "utf8");
const files = (): string[] =>
  readdirSync(join(directory, "refs"), { recursive: true, withFileTypes: true, encoding: "utf8" })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)
    .sort();

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-pack-refs-"));
  git("", "init", "-q", "--bare", ".");
  const tree = git("", "mktree");
  commit = git("", "commit-tree", "-m", "one", tree);
  repository = await openDiskRepositoryAt(directory, { durability: "none" });
  ({ refs } = repository);
});
afterEach(async () => {
  await repository.close();
  rmSync(directory, { recursive: true });
});

const pack = (): ReturnType<NonNullable<RefStore["pack"]>> => {
  if (refs.pack === undefined) throw new Error("refs cannot be packed");
  return refs.pack({});
};

describe("packing refs", () => {
  it("writes what git writes, and leaves what git leaves", async () => {
    git("", "update-ref", "refs/heads/main", commit);
    git("", "update-ref", "refs/heads/deep/er/branch", commit);
    git("", "tag", "-a", "-m", "tag", "v1", commit);
    git("", "tag", "light", commit);
    git("", "symbolic-ref", "refs/heads/symbolic", "refs/heads/main");
    git("", "update-ref", "refs/bisect/bad", commit);
    writeFileSync(join(directory, "refs/heads/broken"), "nonsense\n");
    const other = `${directory}-git`;
    cpSync(directory, other, { recursive: true });
    try {
      rmSync(join(other, "refs/heads/broken"));
      execFileSync("git", ["pack-refs", "--all"], { cwd: other });
      expect(await pack()).toEqual({ kind: "packed", count: 4 });
      expect(packed()).toBe(readFileSync(join(other, "packed-refs"), "utf8"));
    } finally {
      rmSync(other, { recursive: true });
    }
    expect(files()).toEqual(["bad", "broken", "symbolic"]);
    expect(existsSync(join(directory, "refs/heads/deep"))).toBe(false);
    expect(readdirSync(join(directory, "refs")).sort()).toEqual(["bisect", "heads", "tags"]);
    expect((await refs.snapshot()).get("refs/tags/v1")?.peeled).toBe(commit);
    expect(git("", "rev-parse", "refs/heads/deep/er/branch")).toBe(commit);
    expect(await pack()).toEqual({ kind: "nothing to do" });
    expect(await refs.counts?.()).toMatchObject({ packed: 4 });
  });

  it("gives way to who holds the lock of packed-refs, or of a ref", async () => {
    git("", "update-ref", "refs/heads/main", commit);
    git("", "update-ref", "refs/heads/busy", commit);
    writeFileSync(join(directory, "packed-refs.lock"), "");
    expect(await pack()).toEqual({ kind: "left to others" });
    rmSync(join(directory, "packed-refs.lock"));
    writeFileSync(join(directory, "refs/heads/busy.lock"), "");
    expect(await pack()).toEqual({ kind: "packed", count: 2 });
    expect(files()).toEqual(["busy", "busy.lock"]);
    rmSync(join(directory, "refs/heads/busy.lock"));
    // What is packed already still has its file to be removed.
    expect(await pack()).toEqual({ kind: "packed", count: 1 });
    expect(files()).toEqual([]);
  });

  it("is safe beside transactions and git", async () => {
    const tree = git("", "mktree");
    const oids = Array.from({ length: 8 }, (_, i) => git("", "commit-tree", "-m", `${i}`, tree));
    const last = new Map<string, string | null>();
    let busy = true;
    const changing = (async () => {
      for (let i = 0; i < 60; i++) {
        const name = `refs/heads/b${i % 6}`;
        const before = last.get(name) ?? null;
        const newOid = i % 7 === 6 && before !== null ? null : (oids[i % 8] as string);
        const update = { name, oldOid: before, newOid };
        const [result] = await refs.transact({ updates: [update], atomic: false });
        expect(result).toEqual({ name, ok: true });
        last.set(name, newOid);
        if (i % 10 === 0) {
          git("", "update-ref", `refs/git/b${i}`, oids[i % 8] as string);
          last.set(`refs/git/b${i}`, oids[i % 8] as string);
        }
      }
    })().finally(() => (busy = false));
    while (busy) await pack();
    await changing;
    await pack();
    const found = new Map(
      git("", "for-each-ref", "--format=%(refname) %(objectname)")
        .split("\n")
        .map((line) => line.split(" ") as [string, string]),
    );
    const expected = [...last].filter(([, oid]) => oid !== null);
    expect(found).toEqual(new Map(expected));
    expect(files()).toEqual([]);
  });
});
