import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "vitest";
import {
  packMaintenanceSuite,
  repositoryStoreSuite,
  repositorySuite,
  type StoreBackend,
} from "../contracts/suites/index.js";
import type { RepositoryStore } from "../contracts/repository.js";
import { createDiskRepositoryStore } from "./disk-repository-store.js";

const backend: StoreBackend = {
  name: "disk",
  async open() {
    const directory = await mkdtemp(join(tmpdir(), "gitwharf-store-"));
    const stores: RepositoryStore[] = [];
    const open = (): RepositoryStore => {
      const store = createDiskRepositoryStore({ directory, durability: "none" });
      stores.push(store);
      return store;
    };
    return {
      store: open(),
      reopen: async () => open(),
      async dispose() {
        for (const store of stores) await store.close();
        await rm(directory, { recursive: true });
      },
    };
  },
};

repositoryStoreSuite({ describe, it }, backend);
repositorySuite({ describe, it }, backend, { objectFormat: "sha1" });
repositorySuite({ describe, it }, backend, { objectFormat: "sha256" });
packMaintenanceSuite({ describe, it }, backend, { objectFormat: "sha1" });
packMaintenanceSuite({ describe, it }, backend, { objectFormat: "sha256" });
