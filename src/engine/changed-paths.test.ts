/** Beside `git diff-tree`: random histories with merges, renames, files that become directories and submodules. */
import { afterAll, describe, expect, it } from "vitest";
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import { changedPaths } from "./changed-paths.js";
import { createCommitReader } from "./fetch/commit-reader.js";
import { openGitDirectory } from "./fetch/git-directory.test.support.js";
import { createRandom, createTestRepository, importHistory } from "./fetch/history.test.support.js";
import { unlimitedBudget } from "./fetch/work-budget.js";

const removals: (() => void)[] = [];
afterAll(() => {
  for (const remove of removals) remove();
});

async function treeOf(
  objects: ObjectReader,
  oid: ObjectId,
): Promise<{ tree: ObjectId; parents: readonly ObjectId[] }> {
  return (await createCommitReader(objects).read(oid)) ?? expect.fail();
}

describe("the paths that a commit changes", () => {
  it.each([1, 2, 3])("are git's (history %i)", async (seed) => {
    const source = createTestRepository();
    removals.push(source.remove);
    const imported = importHistory(source, { seed, commits: 60 });
    const random = createRandom(seed);
    // On top of it: names that change between file, directory and submodule.
    const blob = source.git(["hash-object", "-w", "--stdin"]).trim();
    const kinds = [
      `100644 blob ${blob}`,
      `100755 blob ${blob}`,
      `120000 blob ${blob}`,
      `160000 commit ${"1".repeat(40)}`,
    ];
    const trees: string[] = [];
    const makeTree = (depth: number): string => {
      const entries = ["a", "a.b", "b", "c"].filter(() => random(10) < 7);
      const head = (): string =>
        depth > 0 && random(10) < 4
          ? `040000 tree ${makeTree(depth - 1)}`
          : (kinds[random(kinds.length)] ?? "");
      const text = entries.map((name) => `${head()}\t${name}\n`).join("");
      return source.git(["mktree", "--missing"], text).trim();
    };
    for (let i = 0; i < 6; i++) trees.push(makeTree(2));
    const commits = trees.map((tree, i) => {
      const parents = [imported[0] ?? "", imported.at(-1) ?? ""].slice(0, i % 3);
      return source.git(["commit-tree", "-m", "x", ...parents.flatMap((oid) => ["-p", oid]), tree]).trim();
    });
    const between = commits.slice(1).map((oid, i) => {
      const { length } = commits;
      const parents = [commits[i] ?? "", commits[(i + 3) % length] ?? ""].filter((each) => each !== oid);
      const tree = source.git(["rev-parse", `${oid}^{tree}`]).trim();
      return source.git(["commit-tree", "-m", "y", ...parents.flatMap((each) => ["-p", each]), tree]).trim();
    });
    source.git(["update-ref", "refs/heads/made", between.at(-1) ?? ""]);
    const snapshot = openGitDirectory(source.path);
    removals.push(snapshot.release);
    const { objects } = snapshot;
    for (const oid of [...imported, ...commits, ...between]) {
      const { tree, parents } = await treeOf(objects, oid);
      const parentTrees: ObjectId[] = [];
      for (const parent of parents) parentTrees.push((await treeOf(objects, parent)).tree);
      const found = new Set<string>();
      const limits = { budget: unlimitedBudget(), counter: { left: 10_000 } };
      for await (const { path } of changedPaths(objects, tree, parentTrees, limits)) found.add(path);
      const options = ["--root", "-r", "-c", "--no-renames", "--no-commit-id", "--name-only", "-z"];
      const expected = source
        .git(["diff-tree", ...options, oid])
        .split("\0")
        .filter((path) => path !== "");
      expect([oid, [...found].sort()]).toEqual([oid, [...new Set(expected)].sort()]);
    }
  });

  it("end where the limit is", async () => {
    const source = createTestRepository();
    removals.push(source.remove);
    const [oid = ""] = importHistory(source, { seed: 4, commits: 3 });
    const { objects, release } = openGitDirectory(source.path);
    removals.push(release);
    const { tree } = await treeOf(objects, oid);
    const walk = async (left: number): Promise<void> => {
      const limits = { budget: unlimitedBudget(), counter: { left } };
      for await (const changed of changedPaths(objects, tree, [], limits)) expect(changed.path).not.toBe("");
    };
    await walk(1000);
    await expect(walk(0)).rejects.toMatchObject({ code: "base/limit-exceeded" });
  });
});
