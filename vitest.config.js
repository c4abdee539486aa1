import { existsSync } from "node:fs";
import { defineConfig } from "vitest/config";

// The tests run what is shipped: the compiled files, worker threads and all.
const compiled = process.env.GITWHARF_COMPILED ?? "dist";

// `npm run build` makes the WebAssembly module too; after the TypeScript compiler alone it may not be there yet.
if (compiled === "dist" && !existsSync(new URL("dist/src/object/collision-detection.wasm", import.meta.url)))
  await import(new URL("dist/assembly/build/build.js", import.meta.url).href);

export default defineConfig({
  test: {
    include: [`${compiled}/**/*.test.js`],
    exclude: ["node_modules/**"],
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
