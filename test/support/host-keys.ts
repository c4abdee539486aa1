/**
 * One directory of SSH host keys for a whole test run. Making an RSA key takes longer than most tests, and a server on disk
 * makes its own where it is not told of one: `sshServer: { hostKeyDirectory: inject("hostKeyDirectory") }`. The first
 * server that listens makes them.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    readonly hostKeyDirectory: string;
  }
}

/** @returns what removes it after the run */
export function setup({ provide }: Pick<TestProject, "provide">): () => void {
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-test-host-keys-"));
  provide("hostKeyDirectory", directory);
  return () => rmSync(directory, { recursive: true, force: true });
}
