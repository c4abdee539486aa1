/** Objects made to be slow or to run out of stack: names, headers and `.gitmodules` of millions of parts. */
import { describe, expect, it } from "vitest";
import { hashObject, type ObjectType } from "../object-id.js";
import type { FsckFinding } from "./fsck-message.js";
import { bytes, commitWith, GOOD, treeOf } from "./malformed-objects.test.support.js";
import { checkObject, createFsckState } from "./object-fsck.js";

function findings(type: ObjectType, data: Buffer): readonly FsckFinding[] {
  const oid = hashObject("sha1", type, data);
  const state = createFsckState();
  if (type === "blob") state.gitmodules.add(oid);
  const policy = { severities: new Map(), skipList: new Set<string>(), strict: true };
  return checkObject({ type, oid, data, objectFormat: "sha1", policy, state });
}

function ids(type: ObjectType, data: Buffer): readonly string[] {
  return [...new Set(findings(type, data).map(({ id }) => id))];
}

function modules(text: string): readonly string[] {
  return ids("blob", bytes(text));
}

const MANY = 1_500_000;

describe("objects that are made to be slow", () => {
  it("reads names of any length", () => {
    const ignored = "\xe2\x80\x8c".repeat(MANY);
    expect(ids("tree", treeOf(["100644", ignored]))).toEqual(["largePathname"]);
    expect(ids("tree", treeOf(["40000", `.git${ignored}`]))).toEqual(["hasDotgit", "largePathname"]);
    expect(ids("tree", treeOf(["100644", "x\\".repeat(MANY)]))).toEqual(["largePathname"]);
    expect(ids("tree", treeOf(["40000", `.git${". ".repeat(MANY)}`]))).toEqual([
      "hasDotgit",
      "largePathname",
    ]);
  });

  it("reads headers of any number of lines, and dates of any number of digits", () => {
    const head = GOOD.commit.toString("latin1").split("\n").slice(0, 3);
    expect(ids("commit", commitWith([...head, "x\n".repeat(MANY)]))).toEqual(["missingCommitter"]);
    const author = `author Ada <a@b> ${"9".repeat(MANY)} +0000`;
    expect(ids("commit", commitWith([head[0] ?? "", author]))).toEqual(["badDateOverflow"]);
  });

  it("reads .gitmodules of many parts", () => {
    expect(modules(`[submodule "${"a".repeat(MANY)}`)).toEqual(["gitmodulesParse"]);
    expect(modules(`[submodule "${"\\a".repeat(MANY)}"]\nurl = -a\n`)).toEqual(["gitmodulesUrl"]);
    expect(modules(`[submodule "${"../".repeat(MANY)}"]\nurl = a\n`)).toEqual(["gitmodulesName"]);
    expect(modules(`[submodule "a"]\nurl = ${"../".repeat(MANY)}:a\n`)).toEqual(["gitmodulesUrl"]);
    expect(modules(`[submodule "a"]\nurl = https://a/${"./".repeat(MANY)}../a\n`)).toEqual(["gitmodulesUrl"]);
    expect(modules(`[submodule "a"]\nurl = ${"a ".repeat(MANY)}\n`)).toEqual([]);
  });

  it("does not go through a long name for each of many entries", () => {
    expect(modules(`[submodule "${"a".repeat(MANY)}"]\n${"x\n".repeat(MANY)}`)).toEqual([]);
  });

  it("keeps so many findings, and the first error", () => {
    const text = `[submodule "a"]\n${"\turl = -a\n".repeat(5000)}`;
    expect(findings("blob", bytes(text))).toHaveLength(1000);
    const oid = hashObject("sha1", "blob", bytes(`${text}\tpath = -b\n`));
    const state = createFsckState();
    state.gitmodules.add(oid);
    const found = checkObject({
      type: "blob",
      oid,
      data: bytes(`${text}\tpath = -b\n`),
      objectFormat: "sha1",
      policy: { severities: new Map([["gitmodulesurl", "warn"]]), skipList: new Set(), strict: true },
      state,
    });
    expect(found.at(-1)).toMatchObject({ id: "gitmodulesPath", severity: "error" });
  });

  it("shows no more than the beginning of what is long", () => {
    const [finding] = findings("blob", bytes(`[submodule "a"]\nurl = -${"a".repeat(MANY)}\n`));
    expect(finding?.message.length).toBeLessThan(1200);
    expect(finding?.message).toMatch(/a\.\.\.$/);
  });

  it("does not look through a .gitmodules of more than 10 MiB", () => {
    const max = 10 * 1024 * 1024;
    expect(ids("blob", Buffer.alloc(max + 1, "\n"))).toEqual(["gitmodulesLarge"]);
    expect(ids("blob", Buffer.alloc(max, "\n"))).toEqual([]);
  });
});
