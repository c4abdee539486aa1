/**
 * Nodes of roots' trees that were read or made lately. A node is named by its content, so that nothing here goes stale; it is
 * looked up within a network, so that nobody learns by a name that another network has the same.
 */
import { LRUCache } from "lru-cache";
import { GitwharfError } from "../../base/errors.js";
import type { MetadataStore } from "./metadata/metadata-store.js";
import type { FreshNodes, NodeId, NodeReader } from "./tree/node.js";

const BYTES_MAX = 64 * 1024 * 1024;

export class NodeCache {
  readonly #metadata: MetadataStore;
  readonly #nodes: LRUCache<string, Buffer>;

  constructor(metadata: MetadataStore, options: { readonly bytesMax?: number } = {}) {
    this.#metadata = metadata;
    this.#nodes = new LRUCache({
      maxSize: options.bytesMax ?? BYTES_MAX,
      sizeCalculation: (bytes) => bytes.length + 256,
    });
  }

  /** Those of a network. */
  of(networkId: string): NodeReader {
    return { read: (ids) => this.#read(networkId, ids) };
  }

  /** What was committed need not be read. */
  add(networkId: string, nodes: FreshNodes): void {
    for (const [id, bytes] of nodes) this.#nodes.set(`${networkId}/${id}`, bytes);
  }

  #read(networkId: string, ids: readonly NodeId[]): readonly Buffer[] | Promise<readonly Buffer[]> {
    const known = ids.map((id) => this.#nodes.get(`${networkId}/${id}`));
    const missing = ids.filter((_, i) => known[i] === undefined);
    if (missing.length === 0) return known as readonly Buffer[];
    return this.#metadata.readNodes(networkId, missing).then((found) => {
      this.add(networkId, found);
      return ids.map((id, i) => {
        const bytes = known[i] ?? found.get(id);
        if (bytes === undefined)
          throw new GitwharfError(
            "storage/io",
            `node ${id} of the repository's state is not in the database`,
          );
        return bytes;
      });
    });
  }
}
