/**
 * A directory that is there as long as a test run, for what the tests of several files begin with: a process that makes such a
 * thing keeps it for the files that come after. `mkdtempSync(join(inject("runDirectory"), "NAME-"))`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    readonly runDirectory: string;
  }
}

/** @returns what removes it after the run */
export function setup({ provide }: Pick<TestProject, "provide">): () => void {
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-test-run-"));
  provide("runDirectory", directory);
  return () => rmSync(directory, { recursive: true, force: true });
}
