/**
 * Nodes of trees as rows. Each bears the number of the last sweep that had begun when it was written, so that a sweep
 * tells those that nothing needs from those that a commit at work is about to need.
 */
import { othersTurn } from "../../../base/others-turn.js";
import { all, affect, type DatabaseWork, first } from "../../../database/database-work.js";
import type { MetadataDatabase } from "./metadata-database.js";
import { slices } from "./metadata-rows.js";
import type { MetadataStore } from "./metadata-store.js";

/** A bound on what one statement holds in memory beside what its caller does. */
const BYTES_AT_ONCE = 4 * 1024 * 1024;
const ROWS_AT_ONCE = 1000;
const SWEPT_AT_ONCE = 2000;

/** In the transaction that makes them needed, which holds the network's row shared since before it read its sweep. */
export function* writeNodes(
  { db }: MetadataDatabase,
  network: { readonly id: string; readonly sweep: number },
  nodes: ReadonlyMap<string, Uint8Array>,
): DatabaseWork<void> {
  // In one order in all transactions, so that two that write the same do not wait for each other.
  const ids = [...nodes.keys()].toSorted();
  let rows: { network_id: string; hash: Buffer; sweep: number; body: Buffer }[] = [];
  let bytes = 0;
  for (const [i, id] of ids.entries()) {
    const body = nodes.get(id) ?? new Uint8Array();
    rows.push({
      network_id: network.id,
      hash: Buffer.from(id, "hex"),
      sweep: network.sweep,
      body: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
    });
    bytes += body.byteLength;
    if (i < ids.length - 1 && rows.length < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE) continue;
    yield* affect(
      db
        .insertInto("nodes")
        .values(rows)
        .onConflict((conflict) =>
          conflict
            .columns(["network_id", "hash"])
            .doUpdateSet({ sweep: network.sweep })
            .where("nodes.sweep", "<", network.sweep),
        ),
    );
    rows = [];
    bytes = 0;
  }
}

export function nodeRows(
  database: MetadataDatabase,
): Pick<MetadataStore, "readNodes" | "beginSweep" | "sweepNodes"> {
  const { db, run, locked } = database;
  const sweepSome = async (
    networkId: string,
    sweep: number,
    after: Buffer,
    keep: (id: string) => boolean,
  ): Promise<{ readonly last: Buffer | undefined; readonly removed: number }> => {
    const found = await run("read", () =>
      all(
        db
          .selectFrom("nodes")
          .select("hash")
          .where("network_id", "=", networkId)
          .where("hash", ">", after)
          .where("sweep", "<", sweep)
          .orderBy("hash")
          .limit(SWEPT_AT_ONCE),
      ),
    );
    const last = found.length < SWEPT_AT_ONCE ? undefined : found.at(-1)?.hash;
    const unneeded = found.map(({ hash }) => hash).filter((hash) => !keep(hash.toString("hex")));
    if (unneeded.length === 0) return { last, removed: 0 };
    const removed = await run("statement", () =>
      affect(
        db
          .deleteFrom("nodes")
          .where("network_id", "=", networkId)
          .where("hash", "in", unneeded)
          // One that was written again meanwhile is needed.
          .where("sweep", "<", sweep),
      ),
    );
    return { last, removed };
  };
  /** It can get no repository any more: a fork has a parent that is live. */
  const removeEmptyNetwork = (networkId: string): Promise<void> =>
    run("transaction", function* () {
      yield* all(locked(db.selectFrom("networks").select("id").where("id", "=", networkId)));
      const tables = ["repositories", "nodes", "packs"] as const;
      for (const table of tables) {
        const rows = db.selectFrom(table).select("network_id").where("network_id", "=", networkId).limit(1);
        if ((yield* first(rows)) !== undefined) return;
      }
      yield* affect(db.deleteFrom("networks").where("id", "=", networkId));
    });

  return {
    async readNodes(networkId, ids) {
      const found = new Map<string, Buffer>();
      for (const some of slices([...new Set(ids)], ROWS_AT_ONCE)) {
        const hashes = some.map((id) => Buffer.from(id, "hex"));
        const rows = await run("read", () =>
          all(
            db
              .selectFrom("nodes")
              .select(["hash", "body"])
              .where("network_id", "=", networkId)
              .where("hash", "in", hashes),
          ),
        );
        for (const { hash, body } of rows) found.set(hash.toString("hex"), body);
      }
      return found;
    },
    async beginSweep(networkId) {
      // Waits for the commits at work, which hold the row shared.
      const begun = await run("statement", () =>
        first(
          db
            .updateTable("networks")
            .set((column) => ({ sweep: column("sweep", "+", 1) }))
            .where("id", "=", networkId)
            .returning("sweep"),
        ),
      );
      return begun?.sweep ?? 0;
    },
    async sweepNodes(networkId, sweep, keep) {
      let count = 0;
      for (let after: Buffer | undefined = Buffer.alloc(0); after !== undefined; ) {
        await othersTurn();
        const { last, removed } = await sweepSome(networkId, sweep, after, keep);
        count += removed;
        after = last;
      }
      await removeEmptyNetwork(networkId);
      return count;
    },
  };
}
