import { afterAll, describe, expect, test } from "vitest";
import { openGitDirectory } from "./fetch/git-directory.test.support.js";
import {
  createRandom,
  createTestRepository,
  importHistory,
  type TestDirectory,
} from "./fetch/history.test.support.js";
import { findMergeBase } from "./merge-base.js";

const removals: (() => void)[] = [];
afterAll(() => {
  for (const remove of removals) remove();
});

function repository(): TestDirectory {
  const source = createTestRepository();
  removals.push(source.remove);
  return source;
}

function open(source: TestDirectory): ReturnType<typeof openGitDirectory> {
  const snapshot = openGitDirectory(source.path);
  removals.push(snapshot.release);
  return snapshot;
}

/** git's answer; undefined with its exit status 1. */
function ask(source: TestDirectory, one: string, two: string): string | undefined {
  try {
    return source.git(["merge-base", one, two]).trim();
  } catch {
    return undefined;
  }
}

describe.each([
  ["one history", 41, false, false],
  ["wrong clocks", 42, true, false],
  ["a commit-graph", 43, false, true],
  ["wrong clocks and a commit-graph", 44, true, true],
] as const)("%s", (_name, seed, wrongClocks, graph) => {
  test("has git's merge bases", async () => {
    const source = repository();
    const commits = importHistory(source, { seed, commits: 70, wrongClocks });
    const asGit = commits.map((_, i) => i);
    const random = createRandom(seed);
    const pairs = Array.from({ length: 60 }, () => [
      commits[random(asGit.length)] as string,
      commits[random(asGit.length)] as string,
    ]);
    const wanted = pairs.map(([one = "", two = ""]) => ask(source, one, two));
    if (graph) source.git(["commit-graph", "write", "--reachable"]);
    const { objects } = open(source);
    const found: (string | undefined)[] = [];
    for (const [one = "", two = ""] of pairs) found.push(await findMergeBase(objects, one, two));
    expect(found).toEqual(wanted);
  });
});

/** A commit on the empty tree, so many seconds after a fixed time. */
function commit(source: TestDirectory, seconds: number, ...parents: readonly string[]): string {
  const tree = source.git(["hash-object", "-w", "-t", "tree", "/dev/null"]).trim();
  const date = `${1_600_000_000 + seconds} +0000`;
  const text = [
    `tree ${tree}`,
    ...parents.map((parent) => `parent ${parent}`),
    `author A <a@example.org> ${date}`,
    `committer A <a@example.org> ${date}`,
    "",
    `${seconds} ${parents.join(" ")}`,
  ].join("\n");
  return source.git(["hash-object", "-w", "-t", "commit", "--stdin"], text).trim();
}

describe("two histories that were merged into each other", () => {
  test.each([
    ["the first one later", 20, 10],
    ["the second one later", 10, 20],
    ["at the same time", 10, 10],
  ])("%s", async (_name, left, right) => {
    const source = repository();
    const root = commit(source, 0);
    const one = commit(source, left, root);
    const two = commit(source, right + 0, root, root);
    const mergedOne = commit(source, 30, one, two);
    const mergedTwo = commit(source, 31, two, one);
    const { objects } = open(source);
    for (const [a, b] of [
      [mergedOne, mergedTwo],
      [mergedTwo, mergedOne],
    ] as const) {
      const found = await findMergeBase(objects, a, b);
      expect(found).toBe(ask(source, a, b));
      expect([one, two]).toContain(found);
    }
  });

  test("is not fooled by a common ancestor that claims to be younger", async () => {
    const source = repository();
    const root = commit(source, 1000);
    const best = commit(source, 0, root);
    const one = commit(source, 2000, best, root);
    const two = commit(source, 2001, best, root);
    const { objects } = open(source);
    expect(await findMergeBase(objects, one, two)).toBe(best);
    expect(ask(source, one, two)).toBe(best);
  });
});

describe("what has none", () => {
  test("unrelated histories, blobs and absent commits", async () => {
    const source = repository();
    const one = commit(source, 0);
    const two = commit(source, 1);
    const blob = source.git(["hash-object", "-w", "--stdin"], "x").trim();
    const { objects } = open(source);
    expect(await findMergeBase(objects, one, two)).toBeUndefined();
    expect(await findMergeBase(objects, one, one)).toBe(one);
    expect(await findMergeBase(objects, one, blob)).toBeUndefined();
    expect(await findMergeBase(objects, blob, blob)).toBeUndefined();
    expect(await findMergeBase(objects, one, "1".repeat(40))).toBeUndefined();
  });

  test("and what is too far away is said to be", async () => {
    const source = repository();
    const root = commit(source, 0);
    const one = commit(source, 1, root);
    const two = commit(source, 2, root);
    const { objects } = open(source);
    expect(await findMergeBase(objects, one, two, { commitsMax: 3 })).toBe(root);
    await expect(findMergeBase(objects, one, two, { commitsMax: 2 })).rejects.toMatchObject({
      code: "base/limit-exceeded",
    });
  });
});
