/**
 * A layer of a commit-graph upon those that stand there. Layers that are not more than twice as large as what comes upon them
 * become part of it, as in git, so that a chain of n commits has no more than log₂ n layers.
 */
import { hashBytes } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import type { CommitGraph } from "../../pack/commit-graph.js";
import { formatCommitGraph } from "../../pack/commit-graph-writer.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { WorkBudget } from "../fetch/work-budget.js";
import { gatherCommits } from "./gather-commits.js";

export interface CommitGraphLayer {
  readonly bytes: SharedArrayBuffer;
  /** Its own, hexadecimal. */
  readonly checksum: string;
  /** Its commits alone. */
  readonly commitCount: number;
  /** Checksums of the layers that it stands upon, base layer first; empty: it is a graph of its own. */
  readonly upon: readonly string[];
}

/** A layer that is larger than so many times what comes upon it stays. */
const SIZE_MULTIPLE = 2;

/**
 * @param layers checksums of those that it may stand upon, base layer first
 * @returns undefined when there is no commit that they do not have
 */
export async function buildCommitGraphLayer(
  objects: ObjectReader,
  tips: readonly ObjectId[],
  layers: readonly string[],
  budget: WorkBudget,
): Promise<CommitGraphLayer | undefined> {
  const graph = usableBase(objects, layers);
  const { commits: fresh } = await gatherCommits(objects, tips, budget, graph);
  if (fresh.count === 0) return undefined;
  let kept = graph?.layerCount ?? 0;
  for (let count = fresh.count; kept > 0; kept--) {
    const size = graph?.countOfLayer(kept - 1) ?? 0;
    if (size > count * SIZE_MULTIPLE) break;
    count += size;
  }
  const base = kept === 0 ? undefined : graph?.lowest(kept);
  const commits =
    kept === graph?.layerCount ? fresh : (await gatherCommits(objects, tips, budget, base)).commits;
  const bytes = formatCommitGraph(commits, base);
  if (bytes === undefined) return undefined;
  const file = Buffer.from(bytes);
  const checksum = file.toString("hex", file.length - hashBytes(objects.objectFormat));
  return { bytes, checksum, commitCount: countOf(file), upon: base?.layerChecksums ?? [] };
}

/** The layers that stand there, as far as nothing is wrong with them. */
function usableBase(
  { commitGraph, objectFormat }: ObjectReader,
  layers: readonly string[],
): CommitGraph | undefined {
  // Upon levels alone a layer could have nothing better.
  if (commitGraph?.hasCorrectedDates !== true) return undefined;
  const differs = commitGraph.layerChecksums.findIndex((checksum, i) => checksum !== layers[i]);
  const same = differs < 0 ? commitGraph.layerCount : differs;
  const count = Math.min(same, commitGraph.countSound(objectFormat));
  return count === 0 ? undefined : commitGraph.lowest(count);
}

/** The last number of its fan-out, which is its first chunk. */
function countOf(file: Buffer): number {
  return file.readUInt32BE(Number(file.readBigUInt64BE(12)) + 1020);
}
