/**
 * The commit-graph of one `objects` directory: `info/commit-graph`, or the chain of layers under
 * `info/commit-graphs/`. It only speeds things up: one that cannot be read is one that does not exist.
 */
import { GitwharfError } from "../../base/errors.js";
import { isObjectId } from "../../object/object-id.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { CommitGraph } from "../../pack/commit-graph.js";
import { type FileStamp, readStamp, sameStamp } from "./file-stamp.js";
import { oneAtATime } from "./one-at-a-time.js";
import { readShared } from "./pack-file.js";
import { readSmallFile } from "./cached-file.js";

const CHAIN_BYTES_MAX = 1024 * 1024;
const LAYERS_MAX = 4096;

export interface LoadedCommitGraph {
  readonly graph: CommitGraph;
  /** Base layer first. */
  readonly layers: readonly SharedArrayBuffer[];
}

export class CommitGraphFiles {
  readonly refresh: () => Promise<void>;
  readonly #objectsDirectory: string;
  readonly #objectFormat: ObjectFormat;
  #stamps: readonly [FileStamp | undefined, FileStamp | undefined] | undefined;
  #current: LoadedCommitGraph | undefined;

  constructor(objectsDirectory: string, objectFormat: ObjectFormat) {
    this.#objectsDirectory = objectsDirectory;
    this.#objectFormat = objectFormat;
    this.refresh = oneAtATime(() => this.#refresh());
  }

  /** Another object whenever it changes. */
  get current(): LoadedCommitGraph | undefined {
    return this.#current;
  }

  async #refresh(): Promise<void> {
    const single = `${this.#objectsDirectory}/info/commit-graph`;
    const chain = `${this.#objectsDirectory}/info/commit-graphs/commit-graph-chain`;
    const stamps = await Promise.all([readStamp(single), readStamp(chain)]);
    // Both files are replaced by renaming, never changed: the inode tells, and no grain of time matters.
    if (
      this.#stamps !== undefined &&
      sameStamp(stamps[0], this.#stamps[0]) &&
      sameStamp(stamps[1], this.#stamps[1])
    ) {
      return;
    }
    this.#current =
      (stamps[0] === undefined ? undefined : await this.#load(async () => [await readShared(single)])) ??
      (stamps[1] === undefined ? undefined : await this.#load(() => this.#readChain(chain)));
    this.#stamps = stamps;
  }

  async #load(readLayers: () => Promise<SharedArrayBuffer[]>): Promise<LoadedCommitGraph | undefined> {
    try {
      const layers = await readLayers();
      if (layers.length === 0) return undefined;
      const graph = CommitGraph.parseUsable(layers, this.#objectFormat);
      return { graph, layers: layers.slice(0, graph.layerCount) };
    } catch {
      return undefined;
    }
  }

  async #readChain(chain: string): Promise<SharedArrayBuffer[]> {
    const text = (await readSmallFile(chain, CHAIN_BYTES_MAX))?.toString("latin1") ?? "";
    const hashes = text.split("\n").filter((line) => line !== "");
    if (
      hashes.length === 0 ||
      hashes.length > LAYERS_MAX ||
      !hashes.every((hash) => isObjectId(hash, this.#objectFormat))
    ) {
      throw new GitwharfError("storage/unsupported", `${chain} is not a list of commit-graph layers`);
    }
    const layers: SharedArrayBuffer[] = [];
    try {
      for (const hash of hashes) {
        const layer = await readShared(`${this.#objectsDirectory}/info/commit-graphs/graph-${hash}.graph`);
        // Its checksum is its name.
        if (
          !Buffer.from(layer)
            .subarray(-hash.length / 2)
            .equals(Buffer.from(hash, "hex"))
        )
          break;
        layers.push(layer);
      }
    } catch (cause) {
      // Without this layer those below are as good as before.
      if (layers.length === 0) throw cause;
    }
    return layers;
  }
}
