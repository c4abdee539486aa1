import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "vitest";
import { type Database, openDatabase } from "../../database/open-database.js";
import {
  packMaintenanceSuite,
  repositoryStoreSuite,
  repositorySuite,
  type StoreBackend,
} from "../contracts/suites/index.js";
import type { RepositoryStore } from "../contracts/repository.js";
import { refStoreSuite } from "../contracts/suites/ref-store-suite.js";
import { openDirectoryBucket } from "./bucket/directory-bucket.js";
import { createMetadataStore } from "./metadata/create-metadata-store.js";
import { openObjectStore } from "./object-store.js";

async function openStores(): Promise<{
  readonly open: () => Promise<RepositoryStore>;
  readonly dispose: () => Promise<void>;
}> {
  const directory = await mkdtemp(join(tmpdir(), "gitwharf-object-store-test-"));
  const opened: { readonly store: RepositoryStore; readonly database: Database }[] = [];
  return {
    async open() {
      const database = await openDatabase({
        engine: "sqlite",
        path: join(directory, "state", "state.sqlite"),
      });
      const bucket = await openDirectoryBucket({ directory: join(directory, "bucket"), sync: false });
      const store = await openObjectStore({
        bucket,
        metadata: createMetadataStore(database),
        localDirectory: join(directory, "local"),
      });
      opened.push({ store, database });
      return store;
    },
    async dispose() {
      for (const { store, database } of opened) {
        await store.close();
        await database.close();
      }
      await rm(directory, { recursive: true, force: true });
    },
  };
}

const backend: StoreBackend = {
  name: "object store in a directory and SQLite",
  async open() {
    const { open, dispose } = await openStores();
    return { store: await open(), reopen: open, dispose };
  },
};

repositoryStoreSuite({ describe, it }, backend);
repositorySuite({ describe, it }, backend, { objectFormat: "sha1" });
repositorySuite({ describe, it }, backend, { objectFormat: "sha256" });
packMaintenanceSuite({ describe, it }, backend);
refStoreSuite(
  { describe, it },
  {
    name: backend.name,
    keepsReflogs: false,
    async open({ objectFormat }) {
      const { open, dispose } = await openStores();
      const repository = await (await open()).create("app", { objectFormat });
      return {
        store: repository.refs,
        async reopen() {
          const other = await (await open()).open("app");
          if (other === undefined) throw new Error("it has gone");
          return other.refs;
        },
        dispose,
      };
    },
  },
);
