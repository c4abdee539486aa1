/** What a handle has published and not committed: durable in the bucket, seen through this handle alone. */
import { joinShallow, type ShallowChange } from "../shallow-change.js";
import type { LentPack } from "./pack-shelf.js";
import type { StateChange } from "./repository-state.js";
import type { Draft } from "./stored-core.js";
import type { StoredPack } from "./stored-pack.js";

export interface StagedUpload {
  /** Of the intents; none: nothing was uploaded, only the list of shallow commits is to be changed. */
  readonly uploadIds: readonly string[];
  readonly packs: readonly { readonly stored: StoredPack; readonly lent: LentPack }[];
  readonly shallow: ShallowChange;
}

/** What is staged at a moment, for as long as somebody reads it. */
export interface StagedView {
  /** Changes whenever what is staged does. */
  readonly version: string;
  /** Most recently published first; the caller releases them. */
  readonly packs: readonly LentPack[];
  readonly shallow: ShallowChange;
}

export class StagedPacks {
  readonly #uploads = new Set<StagedUpload>();

  add(upload: StagedUpload): void {
    this.#uploads.add(upload);
  }

  get isEmpty(): boolean {
    return this.#uploads.size === 0;
  }

  has(upload: StagedUpload): boolean {
    return this.#uploads.has(upload);
  }

  /** The packs are lent once more: they stay readable when they are committed, or given up. */
  view(): StagedView {
    const uploads = [...this.#uploads];
    return {
      version: uploads.map(({ uploadIds }) => `+${uploadIds.join("+")}`).join(""),
      packs: uploads.flatMap(({ packs }) => packs.map(({ lent }) => lent.retain())).reverse(),
      shallow: joinShallow(uploads.map(({ shallow }) => shallow)),
    };
  }

  /** With a change of refs, or without. What is staged until it is committed is not part of it. @param uploads @default all */
  draft(
    change: Pick<StateChange, "refs"> = {},
    uploads: readonly StagedUpload[] = [...this.#uploads],
  ): Draft {
    return {
      change: { ...change, shallow: joinShallow(uploads.map(({ shallow }) => shallow)) },
      packs: uploads.flatMap(({ packs }) => packs.map(({ stored }) => stored)),
      uploads: uploads.flatMap(({ uploadIds }) => uploadIds),
      onCommitted: () => uploads.forEach((upload) => this.remove(upload)),
    };
  }

  /** It was committed, or never will be. Idempotent. */
  remove(upload: StagedUpload): void {
    if (!this.#uploads.delete(upload)) return;
    for (const { lent } of upload.packs) lent.release();
  }
}
