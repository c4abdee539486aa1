/** The objects of one root, open for as long as somebody uses them. */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { createObjectDatabase, type ObjectDatabase } from "../composed-objects.js";
import { CommitGraph } from "../../pack/commit-graph.js";
import type { LentPack } from "./pack-shelf.js";

/** Beside its index. */
const PACK_BYTES = 1024;

export class ObjectsView {
  readonly reader: ObjectDatabase;
  readonly #packs: readonly LentPack[];
  #users = 1;

  /**
   * Has one user: who made it.
   * @param packs taken over; most recently written first
   * @param isShallow what a commit-graph says of parents is not so there
   */
  constructor(
    objectFormat: ObjectFormat,
    packs: readonly LentPack[],
    { previous, isShallow }: { readonly previous?: ObjectsView | undefined; readonly isShallow: boolean },
  ) {
    this.#packs = packs;
    const graph = isShallow ? undefined : readGraph(packs, objectFormat);
    this.reader = createObjectDatabase({
      objectFormat,
      packs: packs.map(({ pack }) => pack),
      previousLookup: previous?.reader.lookup,
      commitGraph: graph?.commitGraph,
      commitGraphLayers: graph?.layers,
    });
  }

  /** Of memory, about. */
  get residentBytes(): number {
    return this.#packs.reduce((sum, { pack }) => sum + PACK_BYTES + pack.index.bytes.byteLength, 0);
  }

  retain(): this {
    if (this.#users === 0) throw new GitwharfError("base/invariant", "objects are used after their release");
    this.#users++;
    return this;
  }

  release(): void {
    if (--this.#users > 0) return;
    for (const pack of this.#packs) pack.release();
  }
}

/** One that cannot be read is one that does not exist. */
function readGraph(
  packs: readonly LentPack[],
  objectFormat: ObjectFormat,
): { readonly commitGraph: CommitGraph; readonly layers: readonly SharedArrayBuffer[] } | undefined {
  for (const { commitGraph: bytes } of packs) {
    if (bytes === undefined) continue;
    try {
      return { commitGraph: CommitGraph.parse([bytes], objectFormat), layers: [bytes] };
    } catch (error) {
      if (!isGitwharfError(error)) throw error;
    }
  }
  return undefined;
}
