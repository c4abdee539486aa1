/** Finding what a repository was: by the number of a generation, or by the time at which it was current. */
import { GitwharfError } from "../../base/errors.js";
import type { PointInTime } from "../contracts/past-name.js";
import { type GenerationAbout, parseAbout } from "./generation-about.js";
import type {
  GenerationKind,
  GenerationRecord,
  MetadataStore,
  RepositoryRecord,
} from "./metadata/metadata-store.js";
import { readState, type RepositoryState } from "./repository-state.js";
import type { NodeId, NodeReader } from "./tree/node.js";

/** One state a repository was in. */
export interface Generation {
  readonly generation: number;
  /** Names all of it: equal roots are equal repositories. */
  readonly root: NodeId;
  readonly kind: GenerationKind;
  readonly timeMs: number;
  readonly about: GenerationAbout;
}

export function generationOf({ generation, root, kind, timeMs, about }: GenerationRecord): Generation {
  return { generation, root, kind, timeMs, about: parseAbout(about) };
}

/** @throws storage/not-found, storage/io */
export async function findGeneration(
  metadata: MetadataStore,
  { id, name }: RepositoryRecord,
  at: PointInTime,
): Promise<GenerationRecord> {
  const found =
    "generation" in at
      ? await metadata.getGeneration(id, at.generation)
      : await metadata.generationAt(id, at.timeMs);
  if (found !== undefined) return found;
  const [newest] = await metadata.listGenerations(id, { limit: 1 });
  const what =
    "generation" in at ? `generation ${at.generation}` : `a state of ${new Date(at.timeMs).toISOString()}`;
  throw new GitwharfError(
    "storage/not-found",
    `repository '${name ?? id}' has no ${what}, or keeps it no more${
      newest === undefined ? "" : `; the newest is ${newest.generation}`
    }`,
  );
}

/** @throws storage/not-found when the generation was forgotten meanwhile, storage/corrupt, storage/io */
export async function readPastState(
  metadata: MetadataStore,
  nodes: NodeReader,
  record: RepositoryRecord,
  { generation, root }: GenerationRecord,
): Promise<RepositoryState> {
  try {
    return await readState(nodes, root);
  } catch (error) {
    await findGeneration(metadata, record, { generation });
    throw error;
  }
}
