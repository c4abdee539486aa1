/**
 * What leads to objects of a repository on disk beside its refs: HEADs and refs of linked work trees, reflogs, what commands at work
 * note (`ORIG_HEAD`, `FETCH_HEAD`, `MERGE_HEAD`, an interrupted rebase), indexes. Whatever looks like an id in these files
 * counts as one: that keeps too much rather than too little. Specification: gitrepository-layout, git-gc ("NOTES").
 */
import { readdir } from "node:fs/promises";
import type { Dirent } from "node:fs";
import { GitwharfError } from "../../base/errors.js";
import { hexLength, type ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import type { RefFormat } from "../contracts/repository.js";
import { readSmallFile } from "./cached-file.js";
import { ioError, isAbsent } from "./file-errors.js";
import { openRefStore } from "./open-ref-store.js";
import { WORKTREE_DIRECTORIES } from "./refs/ref-paths.js";

export interface SweepRootsOptions {
  readonly commonDirectory: string;
  readonly objectFormat: ObjectFormat;
  readonly refFormat: RefFormat;
}

export interface SweepRoots {
  readonly roots: readonly ObjectId[];
  /** Indexes as they are. */
  readonly rawRoots: readonly Uint8Array[];
}

const FILE_BYTES_MAX = 512 * 1024 * 1024;
const DEPTH_MAX = 64;
/** Others have their turn after so many. */
const IDS_AT_ONCE = 10_000;
/** `HEAD`, `ORIG_HEAD`, `BISECT_EXPECTED_REV` … */
const PSEUDOREF = /^[A-Z][A-Z_-]*$/;
const INDEX = /^(?:index|sharedindex\.[0-9a-f]+|next-index-.*)$/;
/** Of commands at work, below a git directory. */
const STATE_DIRECTORIES = ["rebase-merge", "rebase-apply", "sequencer"];

/** @throws storage/io, storage/unsupported when one of the files is larger than 512 MiB */
export async function readSweepRoots(options: SweepRootsOptions): Promise<SweepRoots> {
  const { commonDirectory, objectFormat } = options;
  const found = new Found(objectFormat);
  const linked = (await entriesOf(`${commonDirectory}/worktrees`))
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => `${commonDirectory}/worktrees/${name}`);
  await found.takeGitDirectory(commonDirectory);
  // Those of the main work tree: a repository that is served by a linked one has its own in their place.
  for (const own of WORKTREE_DIRECTORIES) await found.takeAll(`${commonDirectory}/refs/${own}`);
  for (const directory of linked) {
    await found.takeGitDirectory(directory);
    await found.takeAll(`${directory}/refs`);
  }
  if (options.refFormat === "reftable")
    for (const directory of [commonDirectory, ...linked]) await takeTables(found, directory, options);
  return found;
}

class Found implements SweepRoots {
  readonly rawRoots: Uint8Array[] = [];
  readonly #oids = new Set<ObjectId>();
  readonly #pattern: RegExp;

  constructor(format: ObjectFormat) {
    this.#pattern = new RegExp(`(?<![0-9a-f])[0-9a-f]{${hexLength(format)}}(?![0-9a-f])`, "g");
  }

  get roots(): readonly ObjectId[] {
    return [...this.#oids];
  }

  add(oid: ObjectId): void {
    if (!/^0+$/.test(oid)) this.#oids.add(oid);
  }

  async takeGitDirectory(directory: string): Promise<void> {
    for (const entry of await entriesOf(directory)) {
      const path = `${directory}/${entry.name}`;
      if (PSEUDOREF.test(entry.name) && !entry.isDirectory()) await this.#takeText(path);
      else if (INDEX.test(entry.name)) await this.#takeRaw(path);
    }
    for (const name of ["logs", ...STATE_DIRECTORIES]) await this.takeAll(`${directory}/${name}`);
  }

  async takeAll(directory: string, depth = 0): Promise<void> {
    if (depth > DEPTH_MAX)
      throw new GitwharfError(
        "storage/unsupported",
        `${directory} is nested too deeply to be looked through`,
      );
    for (const entry of await entriesOf(directory)) {
      const path = `${directory}/${entry.name}`;
      if (entry.isDirectory()) await this.takeAll(path, depth + 1);
      else if (entry.isFile()) await this.#takeText(path);
    }
  }

  async #takeText(path: string): Promise<void> {
    const text = (await readSmallFile(path, FILE_BYTES_MAX))?.toString("latin1") ?? "";
    let count = 0;
    for (const [oid] of text.matchAll(this.#pattern)) {
      this.add(oid);
      if (++count % IDS_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #takeRaw(path: string): Promise<void> {
    const bytes = await readSmallFile(path, FILE_BYTES_MAX);
    if (bytes !== undefined) this.rawRoots.push(bytes);
  }
}

/** Where refs are in tables, so are logs. */
async function takeTables(found: Found, gitDirectory: string, options: SweepRootsOptions): Promise<void> {
  const { commonDirectory, objectFormat, refFormat } = options;
  const store = openRefStore({ gitDirectory, commonDirectory, objectFormat, refFormat, durability: "none" });
  try {
    const { head, all } = await store.snapshot();
    if (head.oid !== undefined) found.add(head.oid);
    for (const { name, oid } of [{ name: "HEAD", oid: head.oid }, ...all]) {
      if (oid !== undefined) found.add(oid);
      for (const entry of await store.readReflog(name)) {
        found.add(entry.oldOid);
        found.add(entry.newOid);
      }
    }
  } finally {
    await store.close();
  }
}

async function entriesOf(directory: string): Promise<Dirent[]> {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (cause) {
    if (isAbsent(cause)) return [];
    throw ioError("listing", directory, cause);
  }
}
