/** The object store's metadata, on SQLite and on PostgreSQL. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { createMetadataStore } from "../src/storage/object-store/metadata/create-metadata-store.js";
import {
  metadataStoreSuite,
  type OpenedMetadata,
} from "../src/storage/object-store/metadata/metadata-store-suite.js";
import { SKIP_POSTGRES, startPostgres, type TestPostgres } from "./support/postgres.js";

let directory: string;
let postgres: TestPostgres | undefined;
let made = 0;
let location: string | undefined;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  if (!SKIP_POSTGRES) postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function open(location: string): Promise<OpenedMetadata> {
  const databases: Database[] = [];
  const another = async () => {
    const database = await openDatabase(parseDatabaseLocation(location));
    databases.push(database);
    return createMetadataStore(database);
  };
  return {
    store: await another(),
    reopen: another,
    dispose: async () => {
      for (const database of databases) await database.close();
    },
  };
}

/** One database for all tests: to make one takes longer than most of them. */
async function openEmptied(): Promise<OpenedMetadata> {
  location ??= (await postgres?.createDatabase()) ?? "";
  const database = await openDatabase(parseDatabaseLocation(location));
  await database.sql`truncate networks, repositories, generations, nodes, packs, uploads, leases`.execute(
    database.db,
  );
  await database.close();
  return open(location);
}

metadataStoreSuite(
  { describe, it },
  { name: "SQLite", open: () => open(`sqlite:${join(directory, `${++made}.sqlite`)}`) },
);
metadataStoreSuite(
  { describe: SKIP_POSTGRES ? describe.skip : describe, it },
  { name: "PostgreSQL", open: openEmptied },
);
