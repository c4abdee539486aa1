/** A push whose client a test kills: git, with all that it has started. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { GitClient } from "./git-client.js";

export interface PushUnderWay {
  kill(): Promise<void>;
  signal(name: "SIGSTOP" | "SIGCONT"): void;
  /** By itself: its server has gone. */
  ended(): Promise<unknown>;
}

/** @param env besides: how to sign in over SSH */
export function startPush(
  app: GitClient,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): PushUnderWay {
  const client = spawn("git", ["push", "-q", ...args], {
    cwd: app.directory,
    env: { PATH: process.env["PATH"], HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1", ...env },
    stdio: "ignore",
    detached: true,
  });
  const gone = once(client, "exit");
  return {
    signal: (name) => void process.kill(-(client.pid ?? 0), name),
    async kill() {
      process.kill(-(client.pid ?? 0), "SIGKILL");
      await gone;
    },
    ended: () => gone,
  };
}
