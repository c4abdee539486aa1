/** What a handle has published and not committed: durable in the bucket, seen through this handle alone. */
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { LentPack } from "./pack-shelf.js";
import type { StateChange } from "./repository-state.js";
import type { Draft } from "./stored-core.js";
import type { StoredPack } from "./stored-pack.js";

export interface StagedUpload {
  /** undefined: nothing was uploaded, only shallow commits are to be added. */
  readonly uploadId: string | undefined;
  readonly packs: readonly { readonly stored: StoredPack; readonly lent: LentPack }[];
  readonly shallow: readonly ObjectId[];
}

export class StagedPacks {
  readonly #uploads = new Set<StagedUpload>();

  add(upload: StagedUpload): void {
    this.#uploads.add(upload);
  }

  has(upload: StagedUpload): boolean {
    return this.#uploads.has(upload);
  }

  /** Most recently published first. */
  get packs(): readonly Pack[] {
    return [...this.#uploads].flatMap(({ packs }) => packs.map(({ lent }) => lent.pack)).reverse();
  }

  get shallow(): readonly ObjectId[] {
    return [...this.#uploads].flatMap(({ shallow }) => shallow);
  }

  /** Changes whenever what is staged does. */
  get version(): string {
    return [...this.#uploads].map(({ uploadId = "" }) => `+${uploadId}`).join("");
  }

  /** All of it with a change of refs, or without. */
  draft(change: Pick<StateChange, "refs"> = {}): Draft {
    const uploads = [...this.#uploads];
    return {
      change: { ...change, addedShallow: this.shallow },
      packs: uploads.flatMap(({ packs }) => packs.map(({ stored }) => stored)),
      uploads: uploads.flatMap(({ uploadId }) => (uploadId === undefined ? [] : [uploadId])),
    };
  }

  /** It was committed, or never will be. */
  clear(): void {
    for (const { packs } of this.#uploads) for (const { lent } of packs) lent.release();
    this.#uploads.clear();
  }
}
