/** What the bucket holds, network by network. A pack's row becomes a taken upload before its keys are deleted. */
import { randomUUID } from "node:crypto";
import { affect, all, type DatabaseWork } from "../../../database/database-work.js";
import type { PacksTable } from "../../../database/schema.js";
import type { MetadataDatabase } from "./metadata-database.js";
import { packOf, slices } from "./metadata-rows.js";
import type { ListedPack, MetadataStore } from "./metadata-store.js";

const PACKS_AT_ONCE = 500;

/** All of a network that has no repository any more. */
export function* packsToTakenUploads(
  database: MetadataDatabase,
  networkId: string,
  repositoryId: string,
): DatabaseWork<void> {
  const { db } = database;
  const rows = yield* all(
    db.deleteFrom("packs").where("network_id", "=", networkId).returning(["key", "side_key"]),
  );
  yield* affect(db.deleteFrom("chunks").where("network_id", "=", networkId));
  for (const some of slices(rows, PACKS_AT_ONCE))
    yield* insertTaken(
      database,
      { id: randomUUID(), networkId, repositoryId, owner: "purge" },
      some.flatMap(keysOfPack),
    );
}

/** They are to be deleted from the bucket. */
export function* insertTaken(
  { db, now }: MetadataDatabase,
  upload: {
    readonly id: string;
    readonly networkId: string;
    readonly repositoryId: string | null;
    readonly owner: string;
  },
  keys: readonly string[],
): DatabaseWork<void> {
  const { id, networkId, repositoryId, owner } = upload;
  const row = { id, network_id: networkId, repository_id: repositoryId, keys: JSON.stringify(keys), owner };
  yield* affect(db.insertInto("uploads").values({ ...row, state: "taken", touched_at: now() }));
}

function keysOfPack({ key, side_key: side }: Pick<PacksTable, "key" | "side_key">): readonly string[] {
  return side === null ? [key] : [key, side];
}

export function packRows(
  database: MetadataDatabase,
): Pick<
  MetadataStore,
  "listPacks" | "markUnnamed" | "dropPacks" | "listHolders" | "listNetworks" | "listKeptRoots"
> {
  const { db, run } = database;
  return {
    async listPacks(networkId, { after, limit }) {
      const packs = db.selectFrom("packs").selectAll().where("network_id", "=", networkId);
      const some = after === undefined ? packs : packs.where("id", ">", after);
      return (await run("read", () => all(some.orderBy("id").limit(limit)))).map(packOf);
    },
    async markUnnamed(networkId, packs) {
      const marked = { unnamed_at: database.now() };
      for (const { held, ids } of sameHeld(packs))
        await run("statement", () =>
          affect(
            db
              .updateTable("packs")
              .set(marked)
              .where("network_id", "=", networkId)
              .where("id", "in", ids)
              .where("held", "=", held)
              .where("unnamed_at", "is", null),
          ),
        );
    },
    async dropPacks(networkId, packs) {
      const uploads: string[] = [];
      for (const { held, ids } of sameHeld(packs)) {
        const id = randomUUID();
        const isThere = await run("transaction", function* (maybeDone) {
          const rows = yield* all(
            db
              .deleteFrom("packs")
              .where("network_id", "=", networkId)
              .where("id", "in", ids)
              .where("held", "=", held)
              .returning(["id", "key", "side_key"]),
          );
          if (rows.length === 0) {
            const mine = db.selectFrom("uploads").select("id").where("id", "=", id);
            return maybeDone && (yield* all(mine)).length > 0;
          }
          const gone = rows.map((row) => row.id);
          yield* affect(db.deleteFrom("chunks").where("container_id", "in", gone));
          yield* insertTaken(
            database,
            { id, networkId, repositoryId: null, owner: "drop" },
            rows.flatMap(keysOfPack),
          );
          return true;
        });
        if (isThere) uploads.push(id);
      }
      return uploads;
    },
    async listHolders({ kind, olderThanMs, after = "", limit }) {
      const networks = db
        .selectFrom("packs")
        .select("network_id")
        .where("kind", "=", kind)
        .where("created_at", "<=", database.now(-olderThanMs))
        .where("retired_at", "is", null);
      const holders = db
        .selectFrom("repositories")
        .select(["id", "name"])
        .where("state", "=", "live")
        .where("network_id", "in", networks)
        .where("id", ">", after)
        .orderBy("id")
        .limit(limit);
      const rows = await run("read", () => all(holders));
      return rows.flatMap(({ id, name }) => (name === null ? [] : [{ id, name }]));
    },
    async listNetworks({ after, limit }) {
      const networks = db.selectFrom("networks").select("id");
      const some = after === undefined ? networks : networks.where("id", ">", after);
      return (await run("read", () => all(some.orderBy("id").limit(limit)))).map(({ id }) => id);
    },
    async listKeptRoots(networkId, { besides } = {}) {
      const kept = db
        .selectFrom("generations")
        .innerJoin("repositories", "repositories.id", "generations.repository_id")
        .select("generations.root")
        .distinct()
        .where("repositories.network_id", "=", networkId);
      const some = besides === undefined ? kept : kept.where("repositories.id", "<>", besides);
      return (await run("read", () => all(some))).map(({ root }) => root);
    },
  };
}

/** Those that were held equally often, in parts. */
function* sameHeld(packs: readonly ListedPack[]): Generator<{ held: number; ids: readonly string[] }> {
  const groups = new Map<number, string[]>();
  for (const { id, held = 0 } of packs) {
    const ids = groups.get(held) ?? [];
    ids.push(id);
    groups.set(held, ids);
  }
  for (const [held, ids] of groups) for (const some of slices(ids, PACKS_AT_ONCE)) yield { held, ids: some };
}
