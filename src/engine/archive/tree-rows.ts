/** Trees as archives read them: names as bytes, modes as git knows them, names that no index takes refused. */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import { forEachTreeEntry, MODE_GITLINK, MODE_SYMLINK, MODE_TREE } from "../../object/tree.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";

/** As git's `core.maxTreeDepth`. */
export const TREE_DEPTH_MAX = 2048;

export interface TreeRow {
  /** 0100644, 0100755, 0120000, 040000 or 0160000. */
  readonly mode: number;
  /** Bytes one a character (latin1). */
  readonly name: string;
  readonly oid: ObjectId;
}

/** @throws object/malformed, object/corrupt, base/limit-exceeded */
export async function readTreeRows(
  objects: ObjectReader,
  oid: ObjectId,
  rowsMax: number,
): Promise<readonly TreeRow[]> {
  const data = await readObjectOf(objects, oid, "tree");
  const rows: TreeRow[] = [];
  forEachTreeEntry(data, objects.objectFormat, (mode, nameStart, nameEnd, oidOffset) => {
    const name = data.toString("latin1", nameStart, nameEnd);
    if (name === "." || name === ".." || /^\.git$/i.test(name) || name.includes("/"))
      throw malformedTree(`an entry is called '${name.slice(0, 60)}'`);
    if (rows.length >= rowsMax) {
      throw new GitwharfError(
        "base/limit-exceeded",
        "the trees on one path have more entries than the server's limit (archiveEntriesMax)",
      );
    }
    rows.push({ mode: canonicalMode(mode), name, oid: objectIdAt(data, oidOffset, objects.objectFormat) });
  });
  return rows;
}

/** Borrowed: nobody changes it. @throws object/malformed, object/corrupt */
export async function readObjectOf(
  objects: ObjectReader,
  oid: ObjectId,
  type: "tree" | "blob",
): Promise<Buffer> {
  const read = objects.read(oid);
  const object = isPromise(read) ? await read : read;
  if (object === undefined) throw new GitwharfError("object/corrupt", `the ${type} ${oid} is absent`);
  if (object.type !== type) throw malformedTree(`${oid} is no ${type}`);
  return object.data;
}

export function malformedTree(why: string): GitwharfError {
  return new GitwharfError("object/malformed", `the tree cannot be archived: ${why}`);
}

function canonicalMode(mode: number): number {
  switch (mode & 0o170000) {
    case 0o100000:
      return mode & 0o100 ? 0o100755 : 0o100644;
    case MODE_SYMLINK:
      return MODE_SYMLINK;
    case MODE_TREE:
      return MODE_TREE;
    default:
      return MODE_GITLINK;
  }
}
