/**
 * Loose refs: one file a ref below `refs/`. The tree of directories is kept in memory; a directory is read again
 * when its stamp changed or is too young to be trusted (every writer replaces ref files by renaming, which changes
 * the directory). Specification: gitrepository-layout.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { type ObjectFormat, hexLength } from "../../../object/object-format.js";
import { isObjectId, type ObjectId } from "../../../object/object-id.js";
import { checkRefName } from "../../../object/ref-name.js";
import { ioError, isAbsent } from "../file-errors.js";
import { type FileStamp, isRacy, readStamp, sameStamp } from "../file-stamp.js";
import { readSmallFile } from "../cached-file.js";

/** What a ref file says. "broken": it exists and cannot be understood. */
export type LooseValue = { readonly oid: ObjectId } | { readonly target: string } | "broken";

const REF_FILE_BYTES_MAX = 8192;

export function parseLooseRef(bytes: Buffer, format: ObjectFormat): LooseValue {
  const text = bytes.toString("utf8");
  if (text.startsWith("ref:")) {
    const target = text.slice(4).trim();
    return checkRefName(target, { oneLevel: true }) === undefined ? { target } : "broken";
  }
  const oid = text.slice(0, hexLength(format));
  return isObjectId(oid, format) && /^\s*$/.test(text.slice(oid.length, oid.length + 1)) ? { oid } : "broken";
}

/** undefined when there is no such file. @throws storage/io */
export async function readLooseRef(directory: string, name: string, format: ObjectFormat): Promise<LooseValue | undefined> {
  const path = join(directory, name);
  try {
    const bytes = await readSmallFile(path, REF_FILE_BYTES_MAX);
    return bytes === undefined ? undefined : parseLooseRef(bytes, format);
  } catch (error) {
    const stamp = await readStamp(path);
    if (stamp === undefined || stamp.isDirectory) return undefined;
    throw error;
  }
}

interface DirectoryNode {
  stamp: FileStamp | undefined;
  racy: boolean;
  readonly files: Map<string, { readonly stamp: FileStamp | undefined; readonly racy: boolean; readonly value: LooseValue }>;
  readonly directories: Map<string, DirectoryNode>;
}

export class LooseRefs {
  readonly #root: string;
  readonly #format: ObjectFormat;
  readonly #node: DirectoryNode = createNode();
  #changes = 0;

  /** @param root the directory that holds `refs/` */
  constructor(root: string, format: ObjectFormat) {
    this.#root = root;
    this.#format = format;
  }

  /** Grows when any loose ref changed. */
  get changes(): number {
    return this.#changes;
  }

  /** Looks what changed. Not to be run twice at once. @throws storage/io */
  async refresh(): Promise<void> {
    await this.#refreshDirectory("refs", this.#node);
  }

  forEach(visit: (name: string, value: LooseValue) => void): void {
    const walk = (prefix: string, node: DirectoryNode): void => {
      for (const [file, { value }] of node.files) visit(`${prefix}/${file}`, value);
      for (const [name, below] of node.directories) walk(`${prefix}/${name}`, below);
    };
    walk("refs", this.#node);
  }

  async #refreshDirectory(name: string, node: DirectoryNode): Promise<void> {
    const path = join(this.#root, name);
    const readAtMs = Date.now();
    const stamp = await readStamp(path);
    if (stamp === undefined || !stamp.isDirectory) {
      if (node.files.size + node.directories.size > 0) this.#changes++;
      node.files.clear();
      node.directories.clear();
      node.stamp = undefined;
      return;
    }
    if (node.racy || !sameStamp(stamp, node.stamp)) {
      await this.#list(name, path, node);
      node.stamp = stamp;
      node.racy = isRacy(stamp, readAtMs);
    }
    await inParallel([...node.directories], ([below, child]) => this.#refreshDirectory(`${name}/${below}`, child));
  }

  async #list(name: string, path: string, node: DirectoryNode): Promise<void> {
    let entries;
    try {
      entries = await readdir(path, { withFileTypes: true });
    } catch (cause) {
      if (isAbsent(cause)) return;
      throw ioError("listing", path, cause);
    }
    const directories = new Set<string>();
    const files: string[] = [];
    for (const entry of entries) {
      if (entry.isDirectory()) directories.add(entry.name);
      else if (!entry.name.endsWith(".lock") && checkRefName(`${name}/${entry.name}`) === undefined) files.push(entry.name);
    }
    for (const known of node.directories.keys()) if (!directories.has(known)) this.#forget(node.directories, known);
    for (const found of directories) if (!node.directories.has(found)) node.directories.set(found, createNode());
    const present = new Set(files);
    for (const known of node.files.keys()) if (!present.has(known)) this.#forget(node.files, known);
    await inParallel(files, (file) => this.#readFile(name, path, file, node));
  }

  async #readFile(name: string, path: string, file: string, node: DirectoryNode): Promise<void> {
    const readAtMs = Date.now();
    const stamp = await readStamp(join(path, file));
    const known = node.files.get(file);
    if (known !== undefined && !known.racy && sameStamp(stamp, known.stamp)) return;
    const value = await readLooseRef(this.#root, `${name}/${file}`, this.#format);
    if (value === undefined) return this.#forget(node.files, file);
    if (known === undefined || !sameValue(known.value, value)) this.#changes++;
    node.files.set(file, { stamp, racy: isRacy(stamp, readAtMs), value });
  }

  #forget(from: Map<string, unknown>, name: string): void {
    if (from.delete(name)) this.#changes++;
  }
}

function createNode(): DirectoryNode {
  return { stamp: undefined, racy: true, files: new Map(), directories: new Map() };
}

function sameValue(a: LooseValue, b: LooseValue): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Not more than 32 at once: there may be thousands of files. */
export async function inParallel<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) await run(items[next++] as T);
  };
  await Promise.all(Array.from({ length: Math.min(32, items.length) }, worker));
}
