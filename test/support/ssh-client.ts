/** OpenSSH's client and git over it: no configuration of the person or the machine, a known_hosts of its own. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import type { GitResult } from "./git-client.js";

export interface SshClientOptions {
  readonly directory: string;
  readonly port: number;
  /** Private key files, in the order in which they are offered. */
  readonly keys?: readonly string[];
  /** `NAME=VALUE` of ssh_config. */
  readonly options?: readonly string[];
}

export interface SshClient {
  /** For git: `{ env: client.environment }`; the port is in the URL. */
  readonly environment: NodeJS.ProcessEnv;
  readonly arguments: readonly string[];
  /** Runs ssh itself: `ssh("git@127.0.0.1", "command")`, with standard input. */
  ssh(args: readonly string[], input?: string | Buffer): Promise<GitResult & { readonly bytes: Buffer }>;
}

export function createSshClient({ directory, port, keys = [], options = [] }: SshClientOptions): SshClient {
  const args = [
    "-F",
    "none",
    // ssh takes the first that it reads of each.
    ...[
      ...options,
      "BatchMode=yes",
      "StrictHostKeyChecking=accept-new",
      `UserKnownHostsFile=${join(directory, "known_hosts")}`,
      "GlobalKnownHostsFile=none",
      "IdentityAgent=none",
      "IdentitiesOnly=yes",
      "LogLevel=ERROR",
    ].flatMap((option) => ["-o", option]),
    ...(keys.length === 0 ? ["-o", "IdentityFile=none"] : keys.flatMap((key) => ["-i", key])),
  ];
  return {
    arguments: args,
    environment: { GIT_SSH_COMMAND: ["ssh", ...args].join(" "), GIT_SSH_VARIANT: "ssh" },
    ssh: (more, input) =>
      new Promise((resolve, reject) => {
        const child = spawn("ssh", [...args, "-p", String(port), ...more], {
          env: { PATH: process.env["PATH"], HOME: directory },
        });
        const out: Buffer[] = [];
        const err: Buffer[] = [];
        child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
        child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
        child.on("error", reject);
        child.on("close", (status) => {
          const bytes = Buffer.concat(out);
          resolve({ status, bytes, stdout: bytes.toString(), stderr: Buffer.concat(err).toString() });
        });
        child.stdin.on("error", () => undefined);
        child.stdin.end(input);
      }),
  };
}
