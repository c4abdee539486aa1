/** The command line, run once: what it was given, and what came of it. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { GitResult } from "./git-client.js";

export const CLI = fileURLToPath(new URL("../../src/cli/gitwharf.js", import.meta.url));

export interface RunOptions {
  readonly cwd?: string;
  /** In place of this process's. */
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
}

export function runGitwharf(
  args: readonly string[],
  { cwd, env, input = "" }: RunOptions = {},
): Promise<GitResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...args], { cwd, env });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, stdout, stderr }));
    // It may end before it has read all.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}
