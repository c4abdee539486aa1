import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism, freemem } from "node:os";
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

// Tests make small files by the hundred thousand: in memory, where there is room, that costs a fraction. TMPDIR=/tmp keeps
// them on the disk.
if (process.env.TMPDIR === undefined && holdsTests("/dev/shm")) process.env.TMPDIR = "/dev/shm";

/** It has room for the largest tests side by side, and what is in it may be run. */
function holdsTests(path) {
  const bytesMin = 4 * 1024 ** 3;
  let directory;
  try {
    const { bavail, bsize } = statfsSync(path);
    if (bavail * bsize < bytesMin || freemem() < bytesMin) return false;
    directory = mkdtempSync(join(path, "gitwharf-test-"));
    const program = join(directory, "program");
    writeFileSync(program, "#!/bin/sh\n", { mode: 0o700 });
    execFileSync(program, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  } finally {
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  }
}

const support = (name) => new URL(`${compiled}/test/support/${name}.js`, import.meta.url).href;
const { default: LongestFirst } = await import(support("longest-first"));
const { filesWithOwnProcess } = await import(support("own-process"));
const alone = filesWithOwnProcess(compiled);

const eachFile = {
  pool: "forks",
  // As they are shipped, and not read anew by Vite for each test file; but for those of which one test replaces a part, and what
  // is to run each time.
  server: {
    deps: {
      external: [
        new RegExp(
          `/${compiled}/(?!src/engine/ingest/|src/object/collision-detection|test/support/empty-caches).*(?<!\\.test)\\.js$`,
        ),
      ],
    },
  },
  testTimeout: 60_000,
  hookTimeout: 60_000,
  // What is polled for comes in its own time on a machine that is busy.
  expect: { poll: { timeout: 20_000 } },
};

export default defineConfig({
  test: {
    projects: [
      { test: { ...eachFile, name: "alone", include: alone } },
      {
        test: {
          ...eachFile,
          name: "in-turn",
          include: [`${compiled}/**/*.test.js`],
          exclude: ["node_modules/**", ...alone],
          isolate: false,
          setupFiles: [`./${compiled}/test/support/empty-caches.js`],
        },
      },
    ],
    globalSetup: ["host-keys", "run-directory", "ceph-run"].map(
      (name) => `./${compiled}/test/support/${name}.js`,
    ),
    // Half of a test is waiting: for a time-out, a lease, a process that starts.
    maxWorkers: Math.ceil(availableParallelism() * 1.5) + 1,
    sequence: { sequencer: LongestFirst },
    reporters: ["default", `./${compiled}/test/support/stalled-run.js`],
  },
});
