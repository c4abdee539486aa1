/**
 * What stands beside a pack so that it is read quickly: the commit-graph and the reachability bitmaps, made by a worker.
 * (The reverse index is `formatReverseIndex` of `pack/reverse-index.ts`: a sort, made wherever the index is.)
 * Nothing here stores anything.
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";

export interface SideFileOptions {
  /** Objects that refs name, branches first: tags are followed, what is no commit in the end is passed over. */
  readonly tips: readonly ObjectId[];
  /** Ends the work: then base/aborted is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A commit-graph (`objects/info/commit-graph`) of all commits that the tips lead to, as `git commit-graph write` makes it.
 * Not for shallow repositories, nor where grafts or replace refs change what commits say.
 * About 120 bytes of memory a commit.
 * @returns undefined when there is no commit
 * @throws object/corrupt when a commit is missing or unreadable, base/aborted
 */
export function makeCommitGraph(
  _objects: ObjectReader,
  _options: SideFileOptions,
): Promise<SharedArrayBuffer | undefined> {
  throw new GitwharfError("base/invariant", "commit-graphs are not made yet");
}

export type PackBitmapOutcome =
  | { readonly kind: "made"; readonly bytes: Uint8Array<SharedArrayBuffer>; readonly commitCount: number }
  /** It cannot have one: what a tip leads to is not all in it, or a delta stands before its base. Says why. */
  | { readonly kind: "impossible"; readonly why: string };

/**
 * The bitmap (`.bitmap`) of one pack that holds everything that its tips lead to. Tips that are not in it are passed over.
 * About 40 bytes of memory an object, 4 for each reference between objects, and 64 MiB.
 * @throws object/corrupt, storage/io, base/aborted
 */
export function makePackBitmap(_pack: Pack, _options: SideFileOptions): Promise<PackBitmapOutcome> {
  throw new GitwharfError("base/invariant", "bitmaps are not made yet");
}
