/** The metadata store over SQLite or PostgreSQL; `database` is its caller's to close. */
import type { Database } from "../../../database/open-database.js";
import { affect, first, Undone } from "../../../database/database-work.js";
import { randomUUID } from "node:crypto";
import { chunkRows } from "./chunk-rows.js";
import { commitRows } from "./commit-rows.js";
import { generationRows } from "./generation-rows.js";
import { leaseRows } from "./lease-rows.js";
import { metadataDatabase } from "./metadata-database.js";
import type { MetadataStore } from "./metadata-store.js";
import { nodeRows } from "./node-rows.js";
import { packRows } from "./pack-rows.js";
import { rebuildRows } from "./rebuild-rows.js";
import { repositoryRows } from "./repository-rows.js";
import { uploadRows } from "./upload-rows.js";
import { witnessRows } from "./witness-rows.js";

export function createMetadataStore(opened: Pick<Database, "db" | "run" | "engine" | "sql">): MetadataStore {
  const database = metadataDatabase(opened);
  const nodes = nodeRows(database);
  const forgetNodes = async (networkId: string): Promise<void> => {
    await nodes.sweepNodes(networkId, await nodes.beginSweep(networkId), () => false);
  };
  return {
    ...repositoryRows(database, forgetNodes),
    ...nodes,
    ...uploadRows(database),
    ...packRows(database),
    ...chunkRows(database),
    ...generationRows(database),
    ...commitRows(database),
    ...leaseRows(database),
    ...witnessRows(database),
    ...rebuildRows(database),
    async now() {
      const { db, run, now } = database;
      const row = await run("read", () => first(db.selectNoFrom(now().as("now"))));
      return row?.now ?? Date.now();
    },
    // Writes, and takes it back.
    probe: () =>
      database.run("transaction", function* () {
        const row = { id: randomUUID(), sweep: 0, created_at: database.now() };
        yield* affect(database.db.insertInto("networks").values(row));
        return new Undone(undefined);
      }),
  };
}
