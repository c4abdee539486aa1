/** The objects of one root, open for as long as somebody uses them. */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { createObjectDatabase, type ObjectDatabase } from "../composed-objects.js";
import type { LentPack } from "./pack-shelf.js";

/** Beside its index. */
const PACK_BYTES = 1024;

export class ObjectsView {
  readonly reader: ObjectDatabase;
  readonly #packs: readonly LentPack[];
  #users = 1;

  /** Has one user: who made it. @param packs taken over; most recently written first */
  constructor(objectFormat: ObjectFormat, packs: readonly LentPack[], previous: ObjectsView | undefined) {
    this.#packs = packs;
    this.reader = createObjectDatabase({
      objectFormat,
      packs: packs.map(({ pack }) => pack),
      previousLookup: previous?.reader.lookup,
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
