/** Connections to PostgreSQL, for users, keys and tokens and for counts that servers share. */
import type { Pool, PoolConfig } from "pg";

/** `bigint`: times and counts fit into a number, and pg would hand them out as text. */
const INT8_OID = 20;

/** Connects when it is asked something. The library is loaded when wanted: most servers have no PostgreSQL. */
export async function openPostgresPool(config: PoolConfig): Promise<Pool> {
  const { default: pg } = await import("pg");
  const pool = new pg.Pool({
    ...config,
    types: {
      getTypeParser: ((oid: number, format?: "text" | "binary") =>
        oid === INT8_OID
          ? Number
          : pg.types.getTypeParser(oid, format as "text")) as typeof pg.types.getTypeParser,
    },
  });
  // A connection that breaks while nobody uses it is made anew when one is wanted.
  pool.on("error", () => undefined);
  // And one that breaks in use fails what is asked on it; unheard, its event would end the process.
  pool.on("connect", (client) => void client.on("error", () => undefined));
  return pool;
}
