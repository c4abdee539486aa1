/** What every repository store keeps, kept by the object store. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { type ObjectStorageOptions, openObjectStorage } from "../src/server/object-storage.js";
import type { RepositoryStore } from "../src/storage/contracts/repository.js";
import {
  packMaintenanceSuite,
  refStoreSuite,
  repositoryStoreSuite,
  repositorySuite,
  type StoreBackend,
} from "../src/storage/contracts/suites/index.js";
import { CEPH_START_MS } from "./support/ceph-bucket.js";
import { embeddedStorages, servedStorages, type TestStorages } from "./support/object-storages.js";

async function openStores(storages: TestStorages): Promise<{
  readonly open: () => Promise<RepositoryStore>;
  readonly dispose: () => Promise<void>;
}> {
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  const opened: RepositoryStore[] = [];
  const options: ObjectStorageOptions = {
    ...(await storages.open(directory)),
    localDirectory: join(directory, "local"),
  };
  return {
    async open() {
      const store = await openObjectStorage(options);
      opened.push(store);
      return store;
    },
    async dispose() {
      for (const store of opened) await store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

for (const storages of [embeddedStorages(), servedStorages(inject("cephSocket"))]) {
  describe.skipIf(storages.isSkipped)(storages.name, () => {
    beforeAll(async () => {
      const { dispose } = await openStores(storages);
      await dispose();
    }, CEPH_START_MS);
    afterAll(() => storages.close());

    const backend: StoreBackend = {
      name: "object store",
      async open() {
        const { open, dispose } = await openStores(storages);
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
        name: "object store",
        keepsReflogs: false,
        async open({ objectFormat }) {
          const { open, dispose } = await openStores(storages);
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
  });
}
