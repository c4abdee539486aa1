/** Looking a path up in a tree, and whether a pathspec matches anything at all. */
import type { ObjectId } from "../../object/object-id.js";
import { MODE_GITLINK, MODE_TREE } from "../../object/tree.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { WorkBudget } from "../fetch/work-budget.js";
import type { PathSelection } from "./path-selection.js";
import { malformedTree, readTreeRows, TREE_DEPTH_MAX, type TreeRow } from "./tree-rows.js";

/** @param path latin1; "" is the tree itself */
export async function findTreeAt(
  objects: ObjectReader,
  tree: ObjectId,
  path: string,
  entriesMax: number,
): Promise<Pick<TreeRow, "mode" | "oid"> | undefined> {
  let at: Pick<TreeRow, "mode" | "oid"> = { mode: MODE_TREE, oid: tree };
  const segments = path.split("/").filter((segment) => segment !== "");
  if (segments.length > TREE_DEPTH_MAX) return undefined;
  for (const segment of segments) {
    if (at.mode !== MODE_TREE) return undefined;
    const found = (await readTreeRows(objects, at.oid, entriesMax)).find(({ name }) => name === segment);
    if (found === undefined) return undefined;
    at = found;
  }
  return at;
}

/** @throws object/malformed, object/corrupt, base/aborted; "too many" after `entriesMax` entries counts as a match */
export async function matchesAnything(
  objects: ObjectReader,
  tree: ObjectId,
  options: {
    readonly selection: PathSelection;
    readonly entriesMax: number;
    readonly signal: AbortSignal;
  },
): Promise<boolean> {
  const { selection, entriesMax, signal } = options;
  const budget = new WorkBudget({ signal });
  const open = [{ rows: await readTreeRows(objects, tree, entriesMax), next: 0, directory: "" }];
  let openRows = open[0]?.rows.length ?? 0;
  let entries = 0;
  for (let level = open.at(-1); level !== undefined; level = open.at(-1)) {
    const row = level.rows[level.next++];
    if (row === undefined) {
      openRows -= level.rows.length;
      open.pop();
      continue;
    }
    // The archive itself will break off there.
    if (++entries > entriesMax) return true;
    if (budget.spend(1 + selection.cost(level.directory.length))) await budget.pause();
    const path = level.directory + row.name;
    const kind = row.mode === MODE_TREE ? "directory" : row.mode === MODE_GITLINK ? "submodule" : "file";
    if (selection.matches(path, kind)) return true;
    if (kind !== "directory" || !selection.mayHold(path)) continue;
    if (open.length > TREE_DEPTH_MAX)
      throw malformedTree(`its trees are nested deeper than ${TREE_DEPTH_MAX}`);
    const rows = await readTreeRows(objects, row.oid, entriesMax - openRows);
    openRows += rows.length;
    open.push({ rows, next: 0, directory: `${path}/` });
  }
  return false;
}
