/**
 * What stands beside a pack so that it is read quickly: the commit-graph and the reachability bitmaps, made by a worker.
 * (The reverse index is `formatReverseIndex` of `pack/reverse-index.ts`: a sort, made wherever the index is.)
 * Nothing here stores anything.
 */
import { runInWorker } from "../../base/worker-pool.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { CommitGraphLayer } from "./build-commit-graph-layer.js";
import type { PackBitmapOutcome } from "./build-pack-bitmap.js";
import type { SideFileTask } from "./side-files-worker.js";

export type { CommitGraphLayer } from "./build-commit-graph-layer.js";
export type { PackBitmapOutcome } from "./build-pack-bitmap.js";

export interface SideFileOptions {
  /** Objects that refs name, branches first: tags are followed, what is no commit in the end is passed over. */
  readonly tips: readonly ObjectId[];
  /** Ends the work: then base/aborted is thrown. */
  readonly signal?: AbortSignal | undefined;
}

const WORKER = new URL("./side-files-worker.js", import.meta.url);

/**
 * A commit-graph (`objects/info/commit-graph`) of all commits that the tips lead to, as `git commit-graph write` makes it.
 * Not for shallow repositories, nor where grafts or replace refs change what commits say.
 * About 150 bytes of memory a commit, and what the caches of a thread take.
 * @returns undefined when there is no commit
 * @throws object/corrupt when a commit is missing or unreadable, storage/io, base/aborted
 */
export function makeCommitGraph(
  objects: ObjectReader,
  { tips, signal }: SideFileOptions,
): Promise<SharedArrayBuffer | undefined> {
  return run<SharedArrayBuffer | undefined>(
    { make: "commit-graph", objects: objects.describe(), tips },
    signal,
  );
}

/**
 * The same as a layer upon those that stand there, as `git commit-graph write --split` makes it: of the commits that they do not
 * have, and of those layers that are not worth keeping. Costs as much as what is new.
 * @param options.layers checksums of the layers that stand there, base layer first
 * @returns undefined when there is no new commit
 * @throws object/corrupt when a commit is missing or unreadable, storage/io, base/aborted
 */
export function makeCommitGraphLayer(
  objects: ObjectReader,
  { tips, layers, signal }: SideFileOptions & { readonly layers: readonly string[] },
): Promise<CommitGraphLayer | undefined> {
  return run<CommitGraphLayer | undefined>(
    { make: "commit-graph-layer", objects: objects.describe(), tips, layers },
    signal,
  );
}

/**
 * The bitmap (`.bitmap`) of one pack that holds everything that its tips lead to. Tips that are not in it are passed over.
 * About 60 bytes of memory an object, 4 for each reference between objects, and 64 MiB.
 * @throws object/corrupt, storage/io, base/aborted
 */
export function makePackBitmap(pack: Pack, { tips, signal }: SideFileOptions): Promise<PackBitmapOutcome> {
  const { key, name, index, bytes, objectFormat } = pack;
  const described = { key, name, index: index.bytes, bytes: bytes.describe() };
  const objects = { objectFormat, packs: [described], looseDirectories: [], commitGraph: [] };
  return run<PackBitmapOutcome>({ make: "bitmap", objects, tips }, signal);
}

function run<Answer>(task: SideFileTask, signal: AbortSignal | undefined): Promise<Answer> {
  return runInWorker<SideFileTask, Answer>(WORKER, task, { signal, isBackground: true });
}
