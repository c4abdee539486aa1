import { describe, expect, it } from "vitest";
import {
  packMaintenanceSuite,
  repositoryStoreSuite,
  repositorySuite,
  type StoreBackend,
} from "../contracts/suites/index.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../repository-settings-defaults.js";
import { createMemoryRepositoryStore } from "./memory-repository-store.js";

const backend: StoreBackend = {
  name: "memory",
  async open() {
    const store = createMemoryRepositoryStore();
    return { store, reopen: async () => store, dispose: () => store.close() };
  },
};

repositoryStoreSuite({ describe, it }, backend);
repositorySuite({ describe, it }, backend, { objectFormat: "sha1" });
packMaintenanceSuite({ describe, it }, backend);
repositorySuite({ describe, it }, backend, { objectFormat: "sha256" });

describe("createMemoryRepositoryStore", () => {
  it("asks for settings whenever they are needed", async () => {
    let denyDeletes = false;
    const store = createMemoryRepositoryStore({
      settings: () => ({
        ...DEFAULT_REPOSITORY_SETTINGS,
        receive: { ...DEFAULT_REPOSITORY_SETTINGS.receive, denyDeletes },
      }),
    });
    const repository = await store.create("app");
    expect((await repository.settings()).receive.denyDeletes).toBe(false);
    denyDeletes = true;
    expect((await repository.settings()).receive.denyDeletes).toBe(true);
  });
});
