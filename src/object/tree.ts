/**
 * Tree objects. Specification: gitglossary (tree), git-mktree.
 *
 *     OFFSET  SIZE    MEANING (one entry)
 *     0       5..6    mode, octal digits; then SP
 *     …       1..     name, without NUL and slash; then NUL
 *     …       20|32   id, raw
 */
import { GitwharfError } from "../base/errors.js";
import { hashBytes, type ObjectFormat } from "./object-format.js";
import { type ObjectId, objectIdAt } from "./object-id.js";

export const MODE_TREE = 0o040000;
export const MODE_GITLINK = 0o160000;
export const MODE_SYMLINK = 0o120000;

export interface TreeEntry {
  readonly mode: number;
  /** UTF-8 where the bytes are; a name that is not survives in `parseTree` only lossily. */
  readonly name: string;
  readonly oid: ObjectId;
}

/** @returns false from `visit` ends the walk. */
export type VisitTreeEntry = (
  mode: number,
  nameStart: number,
  nameEnd: number,
  oidOffset: number,
) => boolean | void;

/**
 * Every entry in order, nothing allocated; names and ids are offsets into `data`.
 * @throws object/malformed
 */
export function forEachTreeEntry(data: Buffer, format: ObjectFormat, visit: VisitTreeEntry): void {
  const h = hashBytes(format);
  const end = data.length;
  let at = 0;
  while (at < end) {
    let mode = 0;
    let byte = data[at++];
    while (byte !== undefined && byte !== 0x20) {
      if (byte < 0x30 || byte > 0x37) throw malformed("a mode is not octal");
      mode = mode * 8 + byte - 0x30;
      byte = data[at++];
    }
    const nameStart = at;
    const nameEnd = data.indexOf(0, at);
    if (byte === undefined || nameEnd <= nameStart || nameEnd + 1 + h > end)
      throw malformed("an entry is not whole");
    if (visit(mode, nameStart, nameEnd, nameEnd + 1) === false) return;
    at = nameEnd + 1 + h;
  }
}

/** @throws object/malformed */
export function parseTree(data: Buffer, format: ObjectFormat): TreeEntry[] {
  const entries: TreeEntry[] = [];
  forEachTreeEntry(data, format, (mode, nameStart, nameEnd, oidOffset) => {
    entries.push({
      mode,
      name: data.toString("utf8", nameStart, nameEnd),
      oid: objectIdAt(data, oidOffset, format),
    });
  });
  return entries;
}

/** Sorted as Git sorts: a directory's name counts as if it ended in a slash. */
export function formatTree(entries: readonly TreeEntry[]): Buffer {
  const sortKey = (entry: TreeEntry): Buffer =>
    Buffer.from(entry.mode === MODE_TREE ? `${entry.name}/` : entry.name);
  const sorted = entries.toSorted((a, b) => Buffer.compare(sortKey(a), sortKey(b)));
  return Buffer.concat(
    sorted.flatMap((entry) => [
      Buffer.from(`${entry.mode.toString(8)} ${entry.name}\0`),
      Buffer.from(entry.oid, "hex"),
    ]),
  );
}

function malformed(why: string): GitwharfError {
  return new GitwharfError("object/malformed", `a tree is malformed: ${why}`);
}
