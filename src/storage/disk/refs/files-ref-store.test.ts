import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "vitest";
import { type RefStoreBackend, refStoreSuite } from "../../contracts/suites/ref-store-suite.js";
import { createRefFiles } from "./create-ref-files.js";
import { openFilesRefStore } from "./files-ref-store.js";

const backend: RefStoreBackend = {
  name: "files",
  async open({ objectFormat, reflogs }) {
    const gitDirectory = await mkdtemp(join(tmpdir(), "gitwharf-refs-"));
    await createRefFiles(gitDirectory, { refFormat: "files", defaultBranch: "main", objectFormat });
    const open = () =>
      openFilesRefStore({
        gitDirectory,
        objectFormat,
        durability: "none",
        logAllRefUpdates: () => (reflogs ? "true" : "false"),
      });
    return {
      store: open(),
      reopen: async () => open(),
      dispose: () => rm(gitDirectory, { recursive: true }),
    };
  },
};

refStoreSuite({ describe, it }, backend, { objectFormat: "sha1" });
refStoreSuite({ describe, it }, backend, { objectFormat: "sha256" });
