/** Files and directories of a commit, by path. Paths are UTF-8 here; bytes that are none cannot be asked for. */
import { GitwharfError, throwIfAborted } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { isNullObjectId, type ObjectId } from "../../object/object-id.js";
import { MODE_GITLINK, MODE_SYMLINK, MODE_TREE } from "../../object/tree.js";
import { findTreeAt } from "../archive/find-path.js";
import { readTreeRows } from "../archive/tree-rows.js";
import { createCommitReader } from "../fetch/commit-reader.js";
import { peelTag } from "../peel.js";
import type { PushedEntry, PushedFile } from "../push.js";
import type { PushedObjects } from "./pushed-base.js";

const PIECE_BYTES = 64 * 1024;
const FILE_BYTES_MAX = 16 * 1024 * 1024;

/** The tree that a commit, a tag or a tree leads to, and the commit on the way. */
export interface TreeBehind {
  readonly tree: ObjectId;
  readonly commit: ObjectId | undefined;
  readonly seconds: number | undefined;
}

/** undefined: there is none: the ref is deleted, or names a file. */
export async function treeBehind(from: PushedObjects, oid: ObjectId): Promise<TreeBehind | undefined> {
  if (isNullObjectId(oid)) return undefined;
  const peeled = await peelTag(from.objects, oid);
  if (peeled === undefined) return undefined;
  if (peeled.type === "tree") return { tree: peeled.oid, commit: undefined, seconds: undefined };
  const links = await createCommitReader(from.objects).read(peeled.oid);
  if (links === undefined) return undefined;
  return { tree: links.tree, commit: peeled.oid, seconds: links.dateSeconds };
}

export async function findFile(
  from: PushedObjects,
  oid: ObjectId,
  path: string,
): Promise<PushedFile | undefined> {
  const found = await findAt(from, oid, path);
  if (found === undefined || found.mode === MODE_TREE || found.mode === MODE_GITLINK) return undefined;
  const { objects } = from;
  const header = objects.readHeader(found.oid);
  const sizeBytes = (isPromise(header) ? await header : header)?.sizeBytes;
  if (sizeBytes === undefined) throw new GitwharfError("object/corrupt", `the blob ${found.oid} is absent`);
  const read = async (): Promise<Buffer> => {
    throwIfAborted(from.signal);
    const object = objects.read(found.oid);
    const data = (isPromise(object) ? await object : object)?.data;
    if (data === undefined) throw new GitwharfError("object/corrupt", `the blob ${found.oid} is absent`);
    return data;
  };
  const bytes = async ({
    maxBytes = FILE_BYTES_MAX,
  }: {
    readonly maxBytes?: number;
  } = {}): Promise<Buffer> => {
    if (sizeBytes > maxBytes)
      throw new GitwharfError("base/limit-exceeded", `${path} has more than ${maxBytes} bytes`);
    // A copy: caches share what was read.
    return Buffer.from(await read());
  };
  return {
    path,
    kind: found.mode === MODE_SYMLINK ? "symlink" : (found.mode & 0o100) === 0 ? "file" : "executable",
    oid: found.oid,
    sizeBytes,
    bytes,
    text: async (options) => (await bytes(options)).toString("utf8"),
    async *stream() {
      checkFileSize(from, path, sizeBytes);
      const data = await read();
      for (let at = 0; at < data.length; at += PIECE_BYTES) {
        throwIfAborted(from.signal);
        yield Uint8Array.from(data.subarray(at, at + PIECE_BYTES));
      }
    },
  };
}

/** Before it is read: a file is held whole. @throws base/limit-exceeded */
export function checkFileSize({ limits }: PushedObjects, path: string, sizeBytes: number): void {
  const max = limits.objectSizeBytesMax;
  if (sizeBytes <= max) return;
  throw new GitwharfError(
    "base/limit-exceeded",
    `the file '${path.slice(0, 300)}' has more than ${max} bytes, the server's limit (objectSizeBytesMax)`,
  );
}

export async function listDirectory(
  from: PushedObjects,
  oid: ObjectId,
  path: string,
): Promise<readonly PushedEntry[] | undefined> {
  const found = await findAt(from, oid, path);
  if (found?.mode !== MODE_TREE) return undefined;
  const directory = path
    .split("/")
    .filter((part) => part !== "")
    .join("/");
  const rows = await readTreeRows(from.objects, found.oid, from.limits.archiveEntriesMax);
  return rows.map(({ mode, name: bytes, oid: entry }) => {
    const name = Buffer.from(bytes, "latin1").toString("utf8");
    return { name, path: directory === "" ? name : `${directory}/${name}`, kind: kindOf(mode), oid: entry };
  });
}

async function findAt(
  from: PushedObjects,
  oid: ObjectId,
  path: string,
): Promise<{ readonly mode: number; readonly oid: ObjectId } | undefined> {
  throwIfAborted(from.signal);
  const behind = await treeBehind(from, oid);
  if (behind === undefined) return undefined;
  const bytes = Buffer.from(path).toString("latin1");
  return findTreeAt(from.objects, behind.tree, bytes, from.limits.archiveEntriesMax);
}

function kindOf(mode: number): PushedEntry["kind"] {
  if (mode === MODE_TREE) return "directory";
  if (mode === MODE_GITLINK) return "submodule";
  if (mode === MODE_SYMLINK) return "symlink";
  return (mode & 0o100) === 0 ? "file" : "executable";
}
