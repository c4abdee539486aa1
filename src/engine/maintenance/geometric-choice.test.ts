/** Which packs are folded: what the choice promises, and that git chooses the same. */
import { randomBytes } from "node:crypto";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createWorkspace, removeDirectory } from "../../../test/support/git-client.js";
import { chooseGeometrically } from "./geometric-choice.js";

function countsAfter(counts: readonly number[]): number[] {
  const chosen = new Set(chooseGeometrically(counts));
  const left = counts.filter((_, i) => !chosen.has(i));
  const sum = counts.filter((_, i) => chosen.has(i)).reduce((a, b) => a + b, 0);
  return [...left, ...(sum > 0 ? [sum] : [])].sort((a, b) => a - b);
}

describe("choosing packs geometrically", () => {
  it.each([
    [[], []],
    [[5], [5]],
    [
      [1, 2, 4, 8],
      [1, 2, 4, 8],
    ],
    [[3, 3, 3], [9]],
    [
      [100, 3, 3],
      [6, 100],
    ],
    [[10, 3, 3], [16]],
    [
      [1000, 20, 10, 3, 3],
      [36, 1000],
    ],
    [
      [1000, 400, 3, 3],
      [6, 400, 1000],
    ],
  ])("of %j leaves %j", (before, after) => {
    expect(countsAfter(before)).toEqual(after);
  });

  it("folds empty packs", () => {
    expect(chooseGeometrically([0, 0, 0])).toHaveLength(3);
  });

  it("rewrites an object about log2(n) times over many pushes, and leaves few packs", () => {
    let counts: number[] = [];
    let rewritten = 0;
    const pushes = 20_000;
    for (let i = 0; i < pushes; i++) {
      counts.push(3);
      if (counts.length <= 50) continue;
      for (const k of chooseGeometrically(counts)) rewritten += counts[k] as number;
      counts = countsAfter(counts);
    }
    expect(rewritten / (pushes * 3)).toBeLessThan(Math.log2(pushes));
    expect(counts.length).toBeLessThanOrEqual(51);
    expect(counts.reduce((a, b) => a + b, 0)).toBe(pushes * 3);
  });

  it("chooses what git chooses", async () => {
    const workspace = createWorkspace();
    try {
      for (const counts of [
        [1, 1, 7, 30],
        [2, 3, 40, 50, 300],
        [4, 9, 19],
        [1, 5, 5, 12, 90],
      ]) {
        const directory = `repository-${counts.join("-")}`;
        await workspace.run("init", "-q", "--bare", directory);
        const repository = workspace.in(directory);
        for (const count of counts) {
          const oids: string[] = [];
          for (let i = 0; i < count; i++) {
            const path = join(workspace.directory, `${i}`);
            writeFileSync(path, randomBytes(20));
            oids.push(path);
          }
          const hashed = await repository.tryWith(
            { input: `${oids.join("\n")}\n` },
            "hash-object",
            "-w",
            "--stdin-paths",
          );
          await repository.tryWith({ input: hashed.stdout }, "pack-objects", "-q", "objects/pack/pack");
          await repository.run("prune-packed", "-q");
        }
        await repository.run("repack", "-q", "--geometric=2", "-d");
        const found: number[] = [];
        const packs = join(repository.directory, "objects/pack");
        for (const name of readdirSync(packs)) {
          if (!name.endsWith(".idx")) continue;
          const listed = await repository.run("verify-pack", "-v", join(packs, name));
          found.push(Number(/^non delta: (\d+)/m.exec(listed)?.[1]));
        }
        expect(found.sort((a, b) => a - b)).toEqual(countsAfter(counts));
      }
    } finally {
      removeDirectory(workspace);
    }
  });
});
