/** The quick check of trees says what the whole one says, of every malformed tree and under every policy. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isGitwharfError } from "../../base/errors.js";
import type { FsckPolicy, FsckSeverity } from "../../object/fsck/fsck-message.js";
import { malformedObjects } from "../../object/fsck/malformed-objects.test.support.js";
import { MUTATED_OBJECT } from "../../object/fsck/mutated-objects.test.support.js";
import { checkObject, createFsckState } from "../../object/fsck/object-fsck.js";
import { hashObject } from "../../object/object-id.js";
import { TreeChecker } from "./tree-check.js";
import { outlineTree, type TreeOutline } from "./tree-outline.js";

function policyOf(
  strict: boolean,
  severities: readonly (readonly [string, FsckSeverity])[] = [],
): FsckPolicy {
  return { strict, skipList: new Set(), severities: new Map(severities) };
}

const POLICIES: readonly FsckPolicy[] = [
  policyOf(true),
  policyOf(false),
  policyOf(true, [["zeropaddedfilemode", "ignore"]]),
  policyOf(true, [["badfilemode", "ignore"]]),
  policyOf(true, [["treenotsorted", "ignore"]]),
  policyOf(true, [["duplicateentries", "ignore"]]),
  policyOf(true, [
    ["zeropaddedfilemode", "ignore"],
    ["badfilemode", "ignore"],
    ["nullsha1", "ignore"],
  ]),
];

/** What both say, for comparison: findings, and blobs that are named. @returns undefined: a push of it is refused */
function verdicts(data: Buffer, policy: FsckPolicy): { quick: unknown; whole: unknown } | undefined {
  const oid = hashObject("sha1", "tree", data);
  const wholeState = createFsckState();
  const findings = checkObject({ type: "tree", oid, data, objectFormat: "sha1", policy, state: wholeState });
  let starts: TreeOutline;
  try {
    starts = outlineTree(data, "sha1");
  } catch (error) {
    if (!isGitwharfError(error, "object/malformed")) throw error;
    return undefined;
  }
  const quickState = createFsckState();
  const verdict = new TreeChecker("sha1", policy, quickState).checkWhole({ data, starts, oid: () => oid });
  const named = (state: typeof wholeState): unknown => [
    [...state.gitmodules].toSorted(),
    [...state.gitattributes].toSorted(),
  ];
  if (verdict.clean) expect(findings).toEqual([]);
  return {
    quick: { findings: verdict.findings, named: named(quickState) },
    whole: { findings, named: named(wholeState) },
  };
}

describe("the quick check of trees", () => {
  const trees = malformedObjects().filter(({ type }) => type === "tree");

  it("agrees with the whole one on every tree of the table", () => {
    let refused = 0;
    for (const { title, data } of trees) {
      for (const policy of POLICIES) {
        const both = verdicts(data, policy);
        if (both === undefined) refused++;
        else expect([title, both.quick]).toEqual([title, both.whole]);
      }
    }
    expect(refused).toBeLessThan(trees.length);
  });

  it("does not outline what the whole one calls malformed, and a mode of more digits than any tree has", () => {
    for (const { title, data } of trees) {
      const refused = verdicts(data, policyOf(true)) === undefined;
      const found = checkObject({
        type: "tree",
        oid: "",
        data,
        objectFormat: "sha1",
        policy: policyOf(true),
        state: createFsckState(),
      });
      const malformed = found.some(({ id }) => id === "badTree") || title === "a mode with many zeros";
      expect([title, refused]).toEqual([title, malformed]);
    }
  });

  it("agrees with the whole one on random trees", () => {
    const objects = fc
      .sample(MUTATED_OBJECT, { seed: 7, numRuns: 6000 })
      .filter(({ type }) => type === "tree");
    let compared = 0;
    for (const { data } of objects) {
      for (const policy of POLICIES) {
        const both = verdicts(data, policy);
        if (both === undefined) continue;
        compared++;
        expect([data.toString("latin1"), both.quick]).toEqual([data.toString("latin1"), both.whole]);
      }
    }
    expect(compared).toBeGreaterThan(5000);
  });
});
