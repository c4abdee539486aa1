/**
 * A delta between two versions of a tree, made by laying them side by side: no index of blocks is needed, since
 * entries are in order. The format is `pack/delta.ts`'s.
 */
import { DeltaBuilder } from "../../pack/delta-encode.js";
import type { ParsedTree } from "./parsed-tree.js";
import { compareTwoTrees } from "./tree-comparison.js";

/** @returns undefined when it would be longer than `maxBytes`. @throws object/corrupt */
export function encodeTreeDelta(
  baseTree: ParsedTree,
  targetTree: ParsedTree,
  hashBytes: number,
  maxBytes: number,
): Buffer | undefined {
  const base = baseTree.data;
  const target = targetTree.data;
  const out = new DeltaBuilder(256);
  out.size(base.length);
  out.size(target.length);
  // What is to be copied from the base and was not written yet.
  let copyFrom = 0;
  let copyLength = 0;
  /** Up to where each tree is dealt with. */
  let inTarget = 0;
  let inBase = 0;
  const copy = (from: number, length: number): void => {
    if (length === 0) return;
    if (copyFrom + copyLength !== from) {
      if (copyLength > 0) out.copy(copyFrom, copyLength);
      copyFrom = from;
      copyLength = 0;
    }
    copyLength += length;
  };
  const insert = (start: number, end: number): void => {
    if (copyLength > 0) out.copy(copyFrom, copyLength);
    copyLength = 0;
    out.insert(target, start, end);
  };
  compareTwoTrees(targetTree, baseTree, hashBytes, {
    gone(old) {
      const equal = old.start - inBase;
      copy(inBase, equal);
      inTarget += equal;
      inBase = old.nextAt;
    },
    changed(entry, old) {
      const equal = entry.start - inTarget;
      copy(inBase, equal);
      inBase += equal;
      if (
        old !== undefined &&
        old.mode === entry.mode &&
        old.oidAt - old.start === entry.oidAt - entry.start
      ) {
        copy(old.start, old.oidAt - old.start);
        insert(entry.oidAt, entry.nextAt);
      } else insert(entry.start, entry.nextAt);
      inTarget = entry.nextAt;
    },
  });
  copy(inBase, target.length - inTarget);
  if (copyLength > 0) out.copy(copyFrom, copyLength);
  return out.length > maxBytes ? undefined : out.finish();
}
