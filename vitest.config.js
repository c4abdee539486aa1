import { defineConfig } from "vitest/config";

// The tests run what is shipped: the compiled files, worker threads and all.
const compiled = process.env.GITWHARF_COMPILED ?? "dist";

export default defineConfig({
  test: {
    include: [`${compiled}/**/*.test.js`],
    exclude: ["node_modules/**"],
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
