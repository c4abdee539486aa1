/** Rows of the database as records, and back. */
import type {
  GenerationsTable,
  PacksTable,
  RepositoriesTable,
  UploadsTable,
} from "../../../database/schema.js";
import type {
  GenerationKind,
  GenerationRecord,
  NewPack,
  PackKind,
  PackRecord,
  RepositoryRecord,
  UploadRecord,
} from "./metadata-store.js";

export function repositoryOf(row: RepositoriesTable): RepositoryRecord {
  return {
    id: row.id,
    networkId: row.network_id,
    name: row.name,
    objectFormat: row.object_format,
    state: row.state,
    generation: row.generation,
    root: row.root,
    pruneEpoch: row.prune_epoch,
    createdAtMs: row.created_at,
    ...(row.former_name === null ? {} : { formerName: row.former_name }),
    ...(row.state === "deleted" && row.hidden_at !== null ? { deletedAtMs: row.hidden_at } : {}),
    ...(row.forked_from === null ? {} : { forkedFrom: row.forked_from }),
  };
}

export function generationOf(row: GenerationsTable): GenerationRecord {
  return {
    repositoryId: row.repository_id,
    generation: row.generation,
    root: row.root,
    kind: row.kind as GenerationKind,
    timeMs: row.time,
    commitId: row.commit_id,
    ...(row.about === null ? {} : { about: row.about }),
  };
}

export function packOf(row: PacksTable): PackRecord {
  return {
    id: row.id,
    networkId: row.network_id,
    key: row.key,
    kind: row.kind as PackKind,
    sizeBytes: row.size_bytes,
    createdAtMs: row.created_at,
    ...(row.side_key === null ? {} : { sideKey: row.side_key }),
    ...(row.retired_at === null ? {} : { retiredAtMs: row.retired_at }),
    ...(row.unnamed_at === null ? {} : { unnamedAtMs: row.unnamed_at }),
    ...(row.held === 0 ? {} : { held: row.held }),
  };
}

export function rowOfPack<Time>(
  pack: NewPack,
  networkId: string,
  now: Time,
): Omit<PacksTable, "created_at"> & { readonly created_at: Time } {
  return {
    id: pack.id,
    network_id: networkId,
    key: pack.key,
    side_key: pack.sideKey ?? null,
    kind: pack.kind,
    size_bytes: pack.sizeBytes,
    created_at: now,
    retired_at: null,
    unnamed_at: null,
    held: 0,
  };
}

export function uploadOf(row: UploadsTable): UploadRecord {
  return {
    id: row.id,
    networkId: row.network_id,
    keys: keysOf(row),
    owner: row.owner,
    state: row.state,
    touchedAtMs: row.touched_at,
    ...(row.repository_id === null ? {} : { repositoryId: row.repository_id }),
  };
}

export function keysOf(row: Pick<UploadsTable, "keys">): readonly string[] {
  return JSON.parse(row.keys) as string[];
}

/** Lists of at most so many: SQLite takes 32,766 values in a statement, PostgreSQL 65,535. */
export function* slices<Item>(items: readonly Item[], max: number): Generator<readonly Item[]> {
  for (let at = 0; at < items.length; at += max) yield items.slice(at, at + max);
}
