/**
 * The entries of an archive, in the order of the tree: directories when something is in them, what `.gitattributes`
 * takes out left out. One path is open and one file held at a time, however large the tree.
 */
import { GitwharfError } from "../../base/errors.js";
import type { Limits } from "../../base/limits.js";
import type { ObjectId } from "../../object/object-id.js";
import { MODE_GITLINK, MODE_SYMLINK, MODE_TREE } from "../../object/tree.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { WorkBudget } from "../fetch/work-budget.js";
import type { ArchiveEntry, ArchiveEntryKind } from "./archive-entry.js";
import { parseAttributeRules } from "./attribute-rules.js";
import { type AttributeLevel, attributesOf, type Attributes, WANTED_ATTRIBUTES } from "./attributes.js";
import { convertContent } from "./convert-content.js";
import type { FormatSubstitution } from "./format-substitution.js";
import type { PathSelection } from "./path-selection.js";
import { malformedTree, readObjectOf, readTreeRows, TREE_DEPTH_MAX, type TreeRow } from "./tree-rows.js";

export interface ArchiveWalk {
  readonly objects: ObjectReader;
  readonly tree: ObjectId;
  /** In front of every path; latin1. */
  readonly prefix: string;
  readonly selection: PathSelection;
  readonly limits: Pick<Limits, "archiveEntriesMax" | "archiveSizeBytesMax" | "objectSizeBytesMax">;
  readonly signal: AbortSignal;
  /** For files with `export-subst`; without it they stay as they are. */
  readonly substitution?: FormatSubstitution | undefined;
}

const ATTRIBUTES_BYTES_MAX = 4 * 1024 * 1024;
/** A zip cannot hold longer ones. */
const PATH_BYTES_MAX = 65_535;

interface Level {
  readonly rows: readonly TreeRow[];
  next: number;
  /** From the root, with its slash; "" for the root. */
  readonly directory: string;
  readonly oid: ObjectId;
  readonly attributes: readonly AttributeLevel[];
  isWritten: boolean;
}

/** @throws object/malformed, object/corrupt (an object is absent), base/limit-exceeded, base/aborted */
export async function* walkArchive(walk: ArchiveWalk): AsyncGenerator<ArchiveEntry, void, void> {
  const { prefix, selection, limits, signal } = walk;
  const budget = new WorkBudget({ signal });
  let entries = 0;
  let bytes = 0;
  const count = (): void => {
    if (++entries > limits.archiveEntriesMax)
      throw tooMuch(`${limits.archiveEntriesMax} entries`, "archiveEntriesMax");
  };
  const directoryEntry = (path: string, oid: ObjectId): ArchiveEntry => ({
    kind: "directory",
    path,
    oid,
    data: NO_BYTES,
    isText: undefined,
  });
  if (prefix.endsWith("/")) {
    let end = prefix.length;
    while (end > 1 && prefix[end - 2] === "/") end--;
    yield directoryEntry(prefix.slice(0, end), walk.tree);
  }
  const root = await openLevel(walk, walk.tree, undefined, {
    directory: "",
    rowsMax: limits.archiveEntriesMax,
  });
  root.isWritten = true;
  const levels = [root];
  let openRows = root.rows.length;
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const row = level.rows[level.next++];
    if (row === undefined) {
      openRows -= level.rows.length;
      levels.pop();
      continue;
    }
    count();
    const path = level.directory + row.name;
    if (path.length > PATH_BYTES_MAX) throw malformedTree(`a path is longer than ${PATH_BYTES_MAX} bytes`);
    if (budget.spend(1 + selection.cost(path.length))) await budget.pause();
    const isTree = row.mode === MODE_TREE;
    if (
      isTree
        ? !selection.mayHold(path)
        : !selection.matches(path, row.mode === MODE_GITLINK ? "submodule" : "file")
    )
      continue;
    const isDirectory = isTree || row.mode === MODE_GITLINK;
    const attributes = await attributesOf(level.attributes, path, { isDirectory, budget });
    const isLeftOut = attributes.get("export-ignore") === true;
    if (isTree) {
      if (isLeftOut) continue;
      if (levels.length > TREE_DEPTH_MAX)
        throw malformedTree(`its trees are nested deeper than ${TREE_DEPTH_MAX}`);
      const rowsMax = limits.archiveEntriesMax - openRows;
      const inner = await openLevel(walk, row.oid, level, { directory: `${path}/`, rowsMax });
      openRows += inner.rows.length;
      levels.push(inner);
      continue;
    }
    // As git: also the directories of a file that is left out.
    for (const outer of levels) {
      if (outer.isWritten) continue;
      outer.isWritten = true;
      yield directoryEntry(prefix + outer.directory, outer.oid);
    }
    if (isLeftOut) continue;
    const { entry, size } = await readEntry(walk, row, { path, attributes });
    bytes += size;
    if (bytes > limits.archiveSizeBytesMax)
      throw tooMuch(`${limits.archiveSizeBytesMax} bytes`, "archiveSizeBytesMax");
    yield entry;
  }
}

const NO_BYTES = Buffer.alloc(0);

async function readEntry(
  walk: ArchiveWalk,
  { mode, oid }: TreeRow,
  about: { readonly path: string; readonly attributes: Attributes },
): Promise<{ readonly entry: ArchiveEntry; readonly size: number }> {
  const { objects, prefix, substitution } = walk;
  const { attributes } = about;
  const path = prefix + about.path;
  const diff = attributes.get("diff");
  const isText = typeof diff === "boolean" ? diff : undefined;
  const kind = kindOf(mode);
  if (kind === "submodule") {
    return { entry: { kind, path: `${path}/`, oid, data: NO_BYTES, isText: undefined }, size: 0 };
  }
  await checkSize(walk, oid, path);
  const data = await readObjectOf(objects, oid, "blob");
  let content = kind === "symlink" ? data : convertContent(data, attributes, oid);
  if (kind !== "symlink" && attributes.get("export-subst") === true)
    content = (await substitution?.apply(content)) ?? content;
  return { entry: { kind, path, oid, data: content, isText }, size: content.length };
}

/** Before it is read: a file is held whole. */
async function checkSize({ objects, limits }: ArchiveWalk, oid: ObjectId, path: string): Promise<void> {
  const { objectSizeBytesMax: objectMax, archiveSizeBytesMax: archiveMax } = limits;
  const { sizeBytes = 0 } = (await objects.readHeader(oid)) ?? {};
  if (sizeBytes > archiveMax) throw tooMuch(`${archiveMax} bytes`, "archiveSizeBytesMax");
  if (sizeBytes <= objectMax) return;
  const shown = Buffer.from(path, "latin1").toString("utf8").slice(0, 300);
  throw new GitwharfError(
    "base/limit-exceeded",
    `the file '${shown}' has more than ${objectMax} bytes, the server's limit (objectSizeBytesMax)`,
  );
}

function kindOf(mode: number): ArchiveEntryKind {
  if (mode === MODE_GITLINK) return "submodule";
  if (mode === MODE_SYMLINK) return "symlink";
  return (mode & 0o100) === 0 ? "file" : "executable";
}

async function openLevel(
  walk: ArchiveWalk,
  oid: ObjectId,
  outer: Level | undefined,
  at: { readonly directory: string; readonly rowsMax: number },
): Promise<Level> {
  const { objects } = walk;
  const { directory } = at;
  const rows = await readTreeRows(objects, oid, at.rowsMax);
  const own = rows.find((row) => row.name === ".gitattributes" && (row.mode & 0o170000) === 0o100000);
  let attributes = outer?.attributes ?? [];
  if (own !== undefined) {
    const header = await objects.readHeader(own.oid);
    if ((header?.sizeBytes ?? 0) > ATTRIBUTES_BYTES_MAX)
      throw new GitwharfError("base/limit-exceeded", `${directory}.gitattributes is too large to be read`);
    const [outermost] = attributes;
    const wanted = new Set([...WANTED_ATTRIBUTES, ...(outermost?.file.macros.keys() ?? [])]);
    const file = parseAttributeRules(await readObjectOf(objects, own.oid, "blob"), wanted);
    if (file.rules.length > 0 || file.macros.size > 0) {
      attributes = [...attributes, { file, directoryLength: directory.length }];
    }
  }
  return { rows, next: 0, directory, oid, attributes, isWritten: false };
}

function tooMuch(what: string, limit: string): GitwharfError {
  return new GitwharfError(
    "base/limit-exceeded",
    `the archive has more than ${what}, the server's limit (${limit})`,
  );
}
