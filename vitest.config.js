import { existsSync, readdirSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

// The tests run what is shipped: the compiled files, worker threads and all.
const compiled = process.env.GITWHARF_COMPILED ?? "dist";

// `npm run build` makes the WebAssembly module too; after the TypeScript compiler alone it may be missing or old.
const wasm = new URL(`${compiled}/src/object/collision-detection.wasm`, import.meta.url);
const sources = readdirSync(new URL("assembly", import.meta.url), { recursive: true, withFileTypes: true });
const newest = Math.max(
  ...sources
    .filter((file) => file.isFile())
    .map((file) => statSync(join(file.parentPath, file.name)).mtimeMs),
);
if (!existsSync(wasm) || statSync(wasm).mtimeMs <= newest)
  await import(new URL(`${compiled}/assembly/build/build.js`, import.meta.url).href);

export default defineConfig({
  test: {
    include: [`${compiled}/**/*.test.js`],
    exclude: ["node_modules/**"],
    pool: "forks",
    // As they are shipped, and not read anew by Vite for each test file; but for those of which one test replaces a part.
    server: {
      deps: {
        external: [
          new RegExp(`/${compiled}/(?!src/engine/ingest/|src/object/collision-detection).*(?<!\\.test)\\.js$`),
        ],
      },
    },
    globalSetup: [`./${compiled}/test/support/host-keys.js`, `./${compiled}/test/support/ceph-run.js`],
    // A third of a test is waiting: for a time-out, a lease, a disk.
    maxWorkers: Math.max(2, Math.ceil(availableParallelism() * 1.5)),
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ["default", `./${compiled}/test/support/stalled-run.js`],
  },
});
