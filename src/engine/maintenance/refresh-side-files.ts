/**
 * Makes the commit-graph and the bitmap of a repository when they are missing or out of date, and has them kept. Requests
 * go on meanwhile.
 */
import { throwIfAborted } from "../../base/errors.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Repository, Snapshot } from "../../storage/contracts/repository.js";
import type { SideFileWork } from "../../storage/contracts/side-file-store.js";
import { peelTag } from "../peel.js";
import { WorkBudget } from "../fetch/work-budget.js";
import { makeCommitGraphLayer, makePackBitmap } from "./make-side-files.js";

export type SideFileOutcome =
  | {
      readonly kind: "written";
      readonly commitCount: number;
      readonly sizeBytes: number;
      /** Of a layer of a commit-graph: how many layers it stands upon, whose commits are not counted. */
      readonly layersBelow?: number;
    }
  | { readonly kind: "nothing to do" }
  /** Another process is at work, or was quicker. */
  | { readonly kind: "left to others" }
  /** The repository, or its configuration, does not allow one. */
  | { readonly kind: "impossible"; readonly why: string };

interface Options {
  readonly signal?: AbortSignal | undefined;
}

const NOTHING: SideFileOutcome = { kind: "nothing to do" };

/** @throws object/corrupt, storage/io, storage/not-found, base/aborted */
export async function refreshCommitGraph(
  repository: Repository,
  options: Options = {},
): Promise<SideFileOutcome> {
  if (!(await repository.settings()).sideFiles.commitGraph)
    return { kind: "impossible", why: "gc.writeCommitGraph is false" };
  return work(repository, options, async (files, snapshot) => {
    if (files.graphHindrance !== undefined) return { kind: "impossible", why: files.graphHindrance };
    if (snapshot.refs.startingWith("refs/replace/").length > 0)
      return { kind: "impossible", why: "replace refs change what commits say" };
    if (await isGraphComplete(snapshot, options.signal)) return NOTHING;
    const { graphLayers: layers } = files;
    const layer = await makeCommitGraphLayer(snapshot.objects, {
      tips: tipsOf(snapshot),
      layers,
      ...options,
    });
    if (layer === undefined) return NOTHING;
    throwIfAborted(options.signal);
    const { bytes, commitCount } = layer;
    const done =
      layer.upon.length === 0
        ? await files.writeCommitGraph(bytes)
        : await files.writeCommitGraphLayer(layer);
    return done
      ? { kind: "written", commitCount, sizeBytes: bytes.byteLength, layersBelow: layer.upon.length }
      : { kind: "left to others" };
  });
}

/** @throws object/corrupt, storage/io, storage/not-found, base/aborted */
export async function refreshBitmap(repository: Repository, options: Options = {}): Promise<SideFileOutcome> {
  if (!(await repository.settings()).sideFiles.bitmap)
    return { kind: "impossible", why: "repack.writeBitmaps is false, or not set where there is a work tree" };
  return work(repository, options, async (files, snapshot) => {
    const pack = files.packWithoutBitmap;
    if (pack === undefined) return NOTHING;
    if (snapshot.shallow.size > 0) return { kind: "impossible", why: "the repository is shallow" };
    const made = await makePackBitmap(pack, { tips: tipsOf(snapshot), ...options });
    if (made.kind === "impossible") return made;
    throwIfAborted(options.signal);
    if (!(await files.writeBitmap(pack, made.bytes))) return { kind: "left to others" };
    return { kind: "written", commitCount: made.commitCount, sizeBytes: made.bytes.length };
  });
}

/**
 * For a fold that may take packs with a bitmap: what the new bitmap is to be of. undefined: the repository wants none, and
 * packs with a bitmap are left alone.
 */
export async function bitmapTipsOf(repository: Repository): Promise<(() => Promise<ObjectId[]>) | undefined> {
  if (!(await repository.settings()).sideFiles.bitmap) return undefined;
  return async () => {
    const snapshot = await repository.snapshot();
    try {
      return snapshot.shallow.size > 0 ? [] : tipsOf(snapshot);
    } finally {
      snapshot.release();
    }
  };
}

async function work(
  repository: Repository,
  { signal }: Options,
  body: (files: SideFileWork, snapshot: Snapshot) => Promise<SideFileOutcome>,
): Promise<SideFileOutcome> {
  if (repository.sideFiles === undefined) return NOTHING;
  throwIfAborted(signal);
  const files = await repository.sideFiles.begin();
  if (files === undefined) return { kind: "left to others" };
  try {
    const snapshot = await repository.snapshot();
    try {
      return await body(files, snapshot);
    } finally {
      snapshot.release();
    }
  } finally {
    await files.release();
  }
}

/** What refs name, branches first. */
function tipsOf({ refs, head }: Pick<Snapshot, "refs" | "head">): ObjectId[] {
  const tips = new Set<ObjectId>();
  if (head.oid !== undefined) tips.add(head.oid);
  for (const { oid } of refs.startingWith("refs/heads/")) tips.add(oid);
  for (const { oid } of refs.all) tips.add(oid);
  return [...tips];
}

/** Every commit that a ref names is in it, and so is all behind. */
async function isGraphComplete(
  { refs, head, objects }: Snapshot,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const graph = objects.commitGraph;
  if (graph === undefined) return false;
  const budget = new WorkBudget({ signal });
  if (head.oid !== undefined && graph.find(head.oid) < 0) return false;
  for (const { oid, peeled = oid } of refs.all) {
    if (budget.spend(0.2)) await budget.pause();
    if (graph.find(peeled) >= 0) continue;
    // Of a ref in a file of its own it is not known what a tag stands for.
    const end = await peelTag(objects, peeled);
    if (end?.type === "commit" && graph.find(end.oid) < 0) return false;
  }
  return true;
}
