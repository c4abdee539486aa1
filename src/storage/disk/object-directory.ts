/**
 * One `objects` directory with what stands in it: packs, loose objects, alternates file, commit-graph. Repositories
 * that borrow from the same directory share one (`ObjectDirectoryPool`).
 */
import { realpath } from "node:fs/promises";
import type { ObjectFormat } from "../../object/object-format.js";
import { parseAlternates } from "./alternates.js";
import { CachedFile } from "./cached-file.js";
import { CommitGraphFiles, type LoadedCommitGraph } from "./commit-graph-files.js";
import { DirectoryListing } from "./directory-listing.js";
import { ioError, isAbsent } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import { LooseDirectory } from "./loose-directory.js";
import { PackDirectory } from "./pack-directory.js";

const ALTERNATES_BYTES_MAX = 1024 * 1024;
const NONE: readonly string[] = [];

export class ObjectDirectory {
  readonly path: string;
  readonly packs: PackDirectory;
  readonly loose: LooseDirectory;
  readonly #info: DirectoryListing;
  readonly #alternates: CachedFile<readonly string[]>;
  readonly #commitGraph: CommitGraphFiles;
  #alternatePaths = NONE;
  #infoGeneration = 0;

  constructor(path: string, objectFormat: ObjectFormat) {
    this.path = path;
    this.packs = new PackDirectory(`${path}/pack`, objectFormat);
    this.loose = new LooseDirectory(path, objectFormat);
    this.#info = new DirectoryListing(`${path}/info`);
    this.#alternates = new CachedFile(`${path}/info/alternates`, {
      parse: (bytes) => (bytes === undefined ? NONE : parseAlternates(bytes.toString("utf8"), path)),
      sizeBytesMax: ALTERNATES_BYTES_MAX,
    });
    this.#commitGraph = new CommitGraphFiles(path, objectFormat);
  }

  /** Absolute paths as the file names them. */
  get alternatePaths(): readonly string[] {
    return this.#alternatePaths;
  }

  get commitGraph(): LoadedCommitGraph | undefined {
    return this.#commitGraph.current;
  }

  /** Two `stat` calls when nothing has changed and there are neither alternates nor layers of a commit-graph. */
  async refresh(): Promise<void> {
    await Promise.all([this.packs.refresh(), this.#refreshInfo()]);
  }

  async #refreshInfo(): Promise<void> {
    await this.#info.refresh();
    const { names, generation } = this.#info;
    const changed = generation !== this.#infoGeneration;
    await Promise.all([
      names.has("alternates") || changed ? this.#readAlternates() : undefined,
      names.has("commit-graph") || names.has("commit-graphs") || changed
        ? this.#commitGraph.refresh()
        : undefined,
    ]);
    this.#infoGeneration = generation;
  }

  async #readAlternates(): Promise<void> {
    this.#alternatePaths = await this.#alternates.read();
  }
}

/** Object directories in use, by real path. */
export class ObjectDirectoryPool {
  readonly #directories = new Map<string, ObjectDirectory>();
  readonly #users = new Map<ObjectDirectory, { readonly key: string; count: number }>();

  /**
   * undefined when there is no such directory. The caller gives it back with `release`.
   * @throws storage/io
   */
  async acquire(path: string, objectFormat: ObjectFormat): Promise<ObjectDirectory | undefined> {
    const real = await realDirectory(path);
    if (real === undefined) return undefined;
    const key = `${objectFormat}:${real}`;
    let directory = this.#directories.get(key);
    if (directory === undefined)
      this.#directories.set(key, (directory = new ObjectDirectory(real, objectFormat)));
    const users = this.#users.get(directory);
    if (users === undefined) this.#users.set(directory, { key, count: 1 });
    else users.count++;
    return directory;
  }

  release(directory: ObjectDirectory): void {
    const users = this.#users.get(directory);
    if (users === undefined || --users.count > 0) return;
    this.#users.delete(directory);
    this.#directories.delete(users.key);
    directory.packs.close();
  }
}

async function realDirectory(path: string): Promise<string | undefined> {
  try {
    const real = await realpath(path);
    return (await readStamp(real))?.isDirectory ? real : undefined;
  } catch (cause) {
    if (isAbsent(cause)) return undefined;
    throw ioError("resolving", path, cause);
  }
}
