/**
 * Rows of repositories that are made again, network by network. A lease that never runs out says that a rebuild is under way: it goes with
 * the last step, and until then nobody serves what is there.
 */
import { GitwharfError } from "../../../base/errors.js";
import { affect, all, first, Undone } from "../../../database/database-work.js";
import type { RepositoriesTable } from "../../../database/schema.js";
import { addChunks } from "./chunk-rows.js";
import type { MetadataDatabase } from "./metadata-database.js";
import { rowOfPack, slices } from "./metadata-rows.js";
import { writeNodes } from "./node-rows.js";
import type { RebuiltNetwork, WitnessStore } from "./witness-store.js";

const LEASE_NAME = "rebuild";
const ROWS_AT_ONCE = 500;
const CHUNKS_AT_ONCE = 5000;
const TABLES = ["networks", "repositories", "nodes", "packs", "chunks", "uploads", "witnesses"] as const;

export function rebuildRows(
  database: MetadataDatabase,
): Pick<
  WitnessStore,
  | "rebuiltFrom"
  | "beginRebuild"
  | "writeRebuiltNodes"
  | "writeRebuiltChunks"
  | "hasNetwork"
  | "addRebuiltNetwork"
  | "endRebuild"
> {
  const { db, run } = database;
  const begun = () => first(db.selectFrom("leases").select("note").where("name", "=", LEASE_NAME));
  const networkRow = (id: string) => first(db.selectFrom("networks").select("id").where("id", "=", id));
  return {
    rebuiltFrom: async () => (await run("read", begun))?.note,
    async beginRebuild(bucketName) {
      const refusal = await run<string | undefined>("transaction", function* () {
        const before = yield* begun();
        if (before !== undefined)
          return before.note === bucketName
            ? undefined
            : `a rebuild from the bucket ${before.note} was begun in this database; end that one, or take an empty database`;
        for (const table of TABLES)
          if (
            (yield* all(db.selectFrom(table).select(db.fn.countAll().as("count")))).some(
              ({ count }) => Number(count) > 0,
            )
          )
            return "there are rows of an object store in the database already; a rebuild needs an empty one";
        const lease = { name: LEASE_NAME, owner: LEASE_NAME, note: bucketName };
        yield* affect(db.insertInto("leases").values({ ...lease, expires_at: Number.MAX_SAFE_INTEGER }));
        return undefined;
      });
      if (refusal !== undefined) throw new GitwharfError("storage/exists", refusal);
    },
    writeRebuiltNodes: (networkId, nodes) =>
      run("transaction", () => writeNodes(database, { id: networkId, sweep: 0 }, nodes)),
    async writeRebuiltChunks(networkId, chunks) {
      for (const some of slices(chunks, CHUNKS_AT_ONCE))
        await run("transaction", () => addChunks(database, networkId, some));
    },
    hasNetwork: async (networkId) => (await run("read", () => networkRow(networkId))) !== undefined,
    async addRebuiltNetwork(network) {
      const now = database.now();
      await run<undefined>("transaction", function* () {
        if ((yield* networkRow(network.id)) !== undefined) return new Undone(undefined);
        yield* affect(db.insertInto("networks").values({ id: network.id, sweep: 0, created_at: now }));
        for (const { record, generations, ...repository } of network.repositories) {
          yield* affect(db.insertInto("repositories").values(rowOf({ record, generations, ...repository })));
          for (const some of slices(generations, ROWS_AT_ONCE))
            yield* affect(
              db.insertInto("generations").values(
                some.map(({ generation, root, kind, timeMs: time, commitId, about }) => ({
                  repository_id: record.id,
                  generation,
                  root,
                  kind,
                  time,
                  commit_id: commitId,
                  about: about ?? null,
                })),
              ),
            );
          for (const some of slices(repository.witnesses, ROWS_AT_ONCE))
            yield* affect(
              db.insertInto("witnesses").values(
                some.map(({ key, number, sizeBytes }) => ({
                  key,
                  network_id: network.id,
                  repository_id: record.id,
                  number,
                  // The next one is whole: nothing is to be built on these.
                  generation: -1,
                  is_whole: 0,
                  size_bytes: sizeBytes,
                  created_at: now,
                })),
              ),
            );
        }
        for (const some of slices(network.packs, ROWS_AT_ONCE))
          yield* affect(db.insertInto("packs").values(some.map((pack) => rowOfPack(pack, network.id, now))));
        // Written by a rebuild that was begun before, when there was more in the bucket.
        yield* affect(
          db
            .deleteFrom("chunks")
            .where("network_id", "=", network.id)
            .where("container_id", "not in", (inner) =>
              inner.selectFrom("packs").select("id").where("network_id", "=", network.id),
            ),
        );
        return undefined;
      });
    },
    async endRebuild() {
      await run("statement", () => affect(db.deleteFrom("leases").where("name", "=", LEASE_NAME)));
    },
  };
}

function rowOf({ record, changedAtMs, number }: RebuiltNetwork["repositories"][number]): RepositoriesTable {
  return {
    id: record.id,
    network_id: record.networkId,
    name: record.name,
    former_name: record.formerName ?? null,
    object_format: record.objectFormat,
    state: record.state,
    generation: record.generation,
    root: record.root,
    prune_epoch: record.pruneEpoch,
    changed_at: changedAtMs,
    created_at: record.createdAtMs,
    hidden_at: record.deletedAtMs ?? null,
    forked_from: record.forkedFrom ?? null,
    change_count: number,
    witnessed_count: -1,
  };
}
