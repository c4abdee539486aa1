/** Blobs that some pack of a repository has as chunks already. */
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { Recipe } from "./chunks/recipe.js";
import { spliceHead } from "./chunks/splice-entry.js";
import type { ObjectsView } from "./objects-view.js";
import type { StoredCore } from "./stored-core.js";
import type { OpenLeaf, OpenSplice } from "./stored-pack.js";

export interface KnownBlob {
  readonly recipe: Recipe;
  readonly pack: Pack;
  /** In its index. */
  readonly position: number;
  /** Where its kept chunks begin in the pack. */
  readonly start: number;
}

export class KnownBlobs {
  readonly #view: ObjectsView;
  readonly #leaves: ReadonlyMap<string, OpenLeaf>;
  readonly #splices = new Map<string, ReadonlyMap<number, OpenSplice>>();

  private constructor(view: ObjectsView, leaves: readonly OpenLeaf[]) {
    this.#view = view;
    this.#leaves = new Map(leaves.map((leaf) => [leaf.key, leaf]));
  }

  /** The caller releases them. @throws storage/io */
  static async open(core: StoredCore): Promise<KnownBlobs> {
    const { state } = await core.current();
    return new KnownBlobs(await core.view(state), state.packs);
  }

  async find(oid: ObjectId, sizeBytes: number): Promise<KnownBlob | undefined> {
    for (const { pack, position } of this.#view.reader.lookup.locateAll(oid)) {
      const leaf = this.#leaves.get(pack.key);
      if (leaf?.splices === undefined) continue;
      const start = pack.index.offsetAt(position) + spliceHead(sizeBytes).length;
      const splice = (await this.#splicesOf(leaf)).get(start);
      if (splice === undefined) continue;
      const recipe = await splice.recipe();
      if (recipe.sizeBytes === sizeBytes) return { recipe, pack, position, start };
    }
    return undefined;
  }

  release(): void {
    this.#view.release();
  }

  async #splicesOf(leaf: OpenLeaf): Promise<ReadonlyMap<number, OpenSplice>> {
    let splices = this.#splices.get(leaf.key);
    if (splices === undefined) {
      splices = new Map(((await leaf.splices?.()) ?? []).map((splice) => [splice.start, splice]));
      this.#splices.set(leaf.key, splices);
    }
    return splices;
  }
}
