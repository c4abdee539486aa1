/** One SSH connection of OpenSSH's client that stands, and commands over it: what was signed in with may change meanwhile. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { GitResult } from "./git-client.js";
import type { SshClient } from "./ssh-client.js";

export interface SshMaster {
  ssh(...command: readonly string[]): Promise<GitResult>;
  end(): Promise<void>;
}

/** @param host `git@127.0.0.1` @param socket a short path: systems bound those of sockets */
export async function openSshMaster(
  client: SshClient,
  about: { readonly host: string; readonly port: number; readonly socket: string },
): Promise<SshMaster> {
  const { host, port, socket } = about;
  const args = [...client.arguments, "-o", `ControlPath=${socket}`, "-p", String(port)];
  // It says so once it is signed in.
  const child = spawn(
    "ssh",
    [...args, "-v", "-o", "LogLevel=DEBUG1", "-o", "ControlMaster=yes", "-N", host],
    {
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  const closed = once(child, "close");
  let text = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes("Entering interactive session")) resolve();
    });
    child.once("close", (status) => reject(new Error(`ssh ended with ${status}: ${text}`)));
  });
  return {
    ssh: (...command) => client.ssh(["-o", `ControlPath=${socket}`, host, ...command]),
    async end() {
      child.kill("SIGTERM");
      await closed;
    },
  };
}
