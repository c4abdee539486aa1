/**
 * Which chunks of large blobs are kept already, so that they are named again instead of written. A row goes with that of its
 * container. What it says is no promise: who names the container holds it in the commit.
 */
import { affect, all, type DatabaseWork } from "../../../database/database-work.js";
import type { ChunksTable } from "../../../database/schema.js";
import type { RecipeChunk } from "../chunks/recipe.js";
import type { MetadataDatabase } from "./metadata-database.js";
import { slices } from "./metadata-rows.js";
import type { MetadataStore } from "./metadata-store.js";

const ROWS_AT_ONCE = 500;

export function chunkRows(database: MetadataDatabase): Pick<MetadataStore, "findChunks" | "holdContainers"> {
  const { db, run } = database;
  return {
    async findChunks(networkId, ids) {
      const found = new Map<string, RecipeChunk>();
      for (const some of slices(ids, ROWS_AT_ONCE)) {
        const rows = db.selectFrom("chunks").selectAll().where("network_id", "=", networkId);
        for (const row of await run("read", () => all(rows.where("id", "in", some))))
          found.set(row.id, chunkOf(row));
      }
      return found;
    },
    async holdContainers(networkId, ids) {
      await run("transaction", () => holdContainers(database, networkId, ids));
    },
  };
}

/** In the order of their ids: of several who hold the same ones, none waits for another in a circle. @returns how many are there */
export function* holdContainers(
  { db }: MetadataDatabase,
  networkId: string,
  ids: readonly string[],
): DatabaseWork<number> {
  let count = 0;
  for (const id of [...ids].sort())
    count += yield* affect(
      db
        .updateTable("packs")
        .set((column) => ({ held: column("held", "+", 1), unnamed_at: null }))
        .where("network_id", "=", networkId)
        .where("id", "=", id),
    );
  return count;
}

/**
 * The last place counts: who writes a chunk that is found already could not read it there, or did so at the same time as another.
 */
export function* addChunks(
  { db }: MetadataDatabase,
  networkId: string,
  chunks: readonly RecipeChunk[],
): DatabaseWork<void> {
  const byId = new Map(chunks.map((chunk): [string, ChunksTable] => [chunk.id, rowOf(chunk, networkId)]));
  const rows = [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const some of slices(rows, ROWS_AT_ONCE))
    yield* affect(
      db
        .insertInto("chunks")
        .values(some)
        .onConflict((conflict) =>
          conflict.columns(["network_id", "id"]).doUpdateSet(({ ref }) => ({
            container_id: ref("excluded.container_id"),
            position: ref("excluded.position"),
            stored_bytes: ref("excluded.stored_bytes"),
          })),
        ),
    );
}

function rowOf(chunk: RecipeChunk, networkId: string): ChunksTable {
  return {
    network_id: networkId,
    id: chunk.id,
    container_id: chunk.containerKey,
    position: chunk.offset,
    stored_bytes: chunk.storedBytes,
    size_bytes: chunk.sizeBytes,
    adler32: chunk.adler32,
  };
}

function chunkOf(row: ChunksTable): RecipeChunk {
  return {
    id: row.id,
    containerKey: row.container_id,
    offset: row.position,
    storedBytes: row.stored_bytes,
    sizeBytes: row.size_bytes,
    adler32: row.adler32,
  };
}
