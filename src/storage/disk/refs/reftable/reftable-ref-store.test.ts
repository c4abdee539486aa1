import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "vitest";
import type { RefStore } from "../../../contracts/ref-store.js";
import { type RefStoreBackend, refStoreSuite } from "../../../contracts/suites/ref-store-suite.js";
import { createRefFiles } from "../create-ref-files.js";
import { openReftableRefStore } from "./reftable-ref-store.js";

const backend: RefStoreBackend = {
  name: "reftable",
  async open({ objectFormat, reflogs }) {
    const gitDirectory = await mkdtemp(join(tmpdir(), "gitwharf-reftable-"));
    await createRefFiles(gitDirectory, {
      refFormat: "reftable",
      defaultBranch: "main",
      objectFormat,
      sync: false,
    });
    const opened: RefStore[] = [];
    const open = (): RefStore => {
      const store = openReftableRefStore({
        gitDirectory,
        objectFormat,
        durability: "none",
        logAllRefUpdates: () => (reflogs ? "true" : "false"),
      });
      opened.push(store);
      return store;
    };
    return {
      store: open(),
      reopen: async () => open(),
      dispose: async () => {
        await Promise.all(opened.map((store) => store.close()));
        await rm(gitDirectory, { recursive: true });
      },
    };
  },
};

refStoreSuite({ describe, it }, backend, { objectFormat: "sha1" });
refStoreSuite({ describe, it }, backend, { objectFormat: "sha256" });
