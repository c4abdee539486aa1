/**
 * Which test files get a process to themselves. The others take turns in a few processes, so that the server, its libraries and
 * its worker threads are loaded a few times in a run and not with each of some hundred files. What a file changes or counts of its
 * whole process would be seen by those after it, and theirs by it; such a file is known by its text. Beside what a long one takes,
 * loading is little, and what it may leave behind is much.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { LONG_TEST_FILES } from "./long-test-files.js";

const CHANGES_OR_COUNTS = new RegExp(
  [
    String.raw`\bprocess\.(?:chdir|umask)\(`,
    String.raw`\bprocess\.env(?:\[[^\]]+\]|\.\w+) = `,
    String.raw`\bDate\.now = `,
    String.raw`\b(?:vi\.mock|syncBuiltinESMExports|setGlobalTracerProvider|closeWorkerPool)\(`,
    String.raw`\breaddirSync\("/proc/self/fd"\)`,
  ].join("|"),
);

/** @param compiled where compiled files are. @returns their paths */
export function filesWithOwnProcess(compiled: string): readonly string[] {
  return readdirSync(compiled, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.js"))
    .map((name) => join(compiled, name))
    .filter(
      (path) =>
        LONG_TEST_FILES.includes(basename(path, ".test.js")) ||
        CHANGES_OR_COUNTS.test(readFileSync(path, "utf8")),
    );
}
