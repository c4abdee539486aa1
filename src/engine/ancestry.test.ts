import { afterAll, describe, expect, test } from "vitest";
import { openGitDirectory } from "./fetch/git-directory.test.support.js";
import {
  createRandom,
  createTestRepository,
  importHistory,
  type TestDirectory,
} from "./fetch/history.test.support.js";
import { isAncestor } from "./ancestry.js";
import { createNegotiation } from "./negotiation.js";
import { peelTag } from "./peel.js";
import { areReachable, checkWants } from "./reachability.js";

const removals: (() => void)[] = [];
afterAll(() => {
  for (const remove of removals) remove();
});

function history(seed: number, wrongClocks = false): { source: TestDirectory; commits: readonly string[] } {
  const source = createTestRepository();
  removals.push(source.remove);
  return { source, commits: importHistory(source, { seed, commits: 70, wrongClocks }) };
}

function open(source: TestDirectory): ReturnType<typeof openGitDirectory> {
  const snapshot = openGitDirectory(source.path);
  removals.push(snapshot.release);
  return snapshot;
}

const lines = (text: string): string[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .sort();

/** git's answer, and its exit status 1 for "none". */
function ask(source: TestDirectory, args: readonly string[]): string[] {
  try {
    return lines(source.git(args));
  } catch {
    return [];
  }
}

describe.each([
  ["one history", 31, false, false],
  ["wrong clocks", 32, true, false],
  ["a commit-graph", 33, false, true],
  ["wrong clocks and a commit-graph", 34, true, true],
] as const)("%s", (_name, seed, wrongClocks, graph) => {
  const { source, commits } = history(seed, wrongClocks);
  if (graph) source.git(["commit-graph", "write", "--reachable"]);
  const random = createRandom(seed);
  const pick = (): string => commits[random(commits.length)] as string;

  test("ancestors are git's", async () => {
    const { objects } = open(source);
    for (let round = 0; round < 40; round++) {
      const one = pick();
      const two = pick();
      const bases = ask(source, ["merge-base", "--all", one, two]);
      expect(await isAncestor(objects, one, two)).toBe(bases.includes(one));
    }
  });

  test("reachable commits, trees and blobs are git's", async () => {
    const snapshot = open(source);
    const all = lines(source.git(["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]));
    for (let round = 0; round < 6; round++) {
      const tips = [pick(), pick()];
      const reached = new Set(lines(source.git(["rev-list", "--objects", "--no-object-names", ...tips])));
      expect(await areReachable(snapshot, all, tips)).toEqual(all.filter((oid) => !reached.has(oid)));
      const asked = Array.from({ length: 5 }, pick);
      const reachedCommits = new Set(lines(source.git(["rev-list", ...tips])));
      expect(await areReachable(snapshot, asked, tips)).toEqual(
        asked.filter((oid) => !reachedCommits.has(oid)),
      );
      expect(await checkWants(snapshot, tips, tips)).toBe(true);
    }
    expect(await areReachable(snapshot, ["1".repeat(40)], [pick()])).toEqual(["1".repeat(40)]);
  });

  test("a negotiation is ready when every want leads to something common", async () => {
    const snapshot = open(source);
    for (let round = 0; round < 15; round++) {
      const wants = [pick(), pick()];
      const negotiation = createNegotiation({ snapshot, wants });
      expect(await negotiation.isReady()).toBe(false);
      const haves: string[] = [];
      for (let i = 0; i < 4; i++) {
        const have = pick();
        haves.push(have);
        expect(await negotiation.addHave(have)).toBe(true);
        expect(await negotiation.addHave("2".repeat(40))).toBe(false);
        const parents = lines(
          source.git(["log", "--no-walk", "--format=%P", ...haves]).replaceAll(" ", "\n"),
        );
        const leadTo = (goals: ReadonlySet<string>): boolean =>
          wants.every((want) => lines(source.git(["rev-list", want])).some((oid) => goals.has(oid)));
        const ready = await negotiation.isReady();
        // As in git, what is older than every have is not looked behind: a parent of a have may be missed.
        if (ready) expect(leadTo(new Set([...haves, ...parents]))).toBe(true);
        else if (!wrongClocks) expect(leadTo(new Set(haves))).toBe(false);
      }
      expect(negotiation.commons).toEqual([...new Set(haves)]);
    }
  });
});

test("tags are peeled to their end", async () => {
  const { source } = history(35);
  const { objects } = open(source);
  const parse = (rev: string): string => source.git(["rev-parse", rev]).trim();
  expect(await peelTag(objects, parse("tt1"))).toEqual({
    oid: parse("t1^{commit}"),
    type: "commit",
    tags: [parse("tt1"), parse("t1")],
  });
  expect(await peelTag(objects, parse("tree"))).toMatchObject({ oid: parse("tree^{tree}"), type: "tree" });
  expect(await peelTag(objects, parse("light0"))).toEqual({ oid: parse("light0"), type: "commit", tags: [] });
  expect(await peelTag(objects, "3".repeat(40))).toBeUndefined();
});
