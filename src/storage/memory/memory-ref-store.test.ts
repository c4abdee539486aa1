import { describe, it } from "vitest";
import { type RefStoreBackend, refStoreSuite } from "../contracts/suites/ref-store-suite.js";
import { createMemoryRefStore } from "./memory-ref-store.js";

const backend: RefStoreBackend = {
  name: "memory",
  async open(options) {
    const store = createMemoryRefStore(options);
    return { store, reopen: async () => store, dispose: async () => undefined };
  },
};

refStoreSuite({ describe, it }, backend, { objectFormat: "sha1" });
refStoreSuite({ describe, it }, backend, { objectFormat: "sha256" });
