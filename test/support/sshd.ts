/** A stock OpenSSH server on a free port, as the user who runs the tests, without the machine's configuration. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { installDebianPackage } from "./debian-package.js";
import { makeSshKey } from "./ssh-keygen.js";

export interface Sshd {
  readonly port: number;
  /** `USER@127.0.0.1` */
  readonly host: string;
  readonly printed: () => string;
  end(): Promise<void>;
}

const PROGRAM = "/usr/sbin/sshd";

/** @param configuration lines of sshd_config */
export async function startSshd(directory: string, configuration: readonly string[]): Promise<Sshd> {
  await installDebianPackage("openssh-server", () => existsSync(PROGRAM));
  // Started by root it separates privileges, and wants this directory for it.
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  const port = await freePort();
  const key = makeSshKey(directory, "sshd-host-key");
  const file = join(directory, "sshd_config");
  const lines = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${key.path}`,
    "PidFile none",
    "UsePAM no",
    "StrictModes no",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    "PermitRootLogin yes",
    // Bash takes itself for the shell below the one that was signed in to, and leaves the person's `.bashrc` alone.
    "SetEnv SHLVL=1",
    ...configuration,
  ];
  writeFileSync(file, `${lines.join("\n")}\n`);
  const child = spawn(PROGRAM, ["-D", "-e", "-f", file], { stdio: ["ignore", "pipe", "pipe"] });
  const closed = once(child, "close");
  let text = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes("Server listening on")) resolve();
    });
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`sshd ended with ${code}: ${text}`)));
  });
  return {
    port,
    host: `${userInfo().username}@127.0.0.1`,
    printed: () => text,
    async end() {
      child.kill("SIGTERM");
      await closed;
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
