/** Keys and certificates made by OpenSSH's own `ssh-keygen`. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface SshKeyFile {
  /** The private key; the public one is beside it with `.pub`. */
  readonly path: string;
  /** As in `authorized_keys`, with its comment. */
  readonly line: string;
  readonly blob: Buffer;
}

export function sshKeygen(args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync("ssh-keygen", args, { encoding: "utf8" });
  if (error !== undefined) throw new Error("OpenSSH's ssh-keygen is needed for this test", { cause: error });
  if (status !== 0) throw new Error(`ssh-keygen ${args.join(" ")} ended with ${status}: ${stderr}`);
  return stdout;
}

/** @param type of `ssh-keygen -t`, with the bits of `-b` behind a colon: `ed25519`, `ecdsa:384`, `rsa:3072` */
export function makeSshKey(directory: string, name: string, type = "ed25519"): SshKeyFile {
  const path = join(directory, name);
  const [algorithm = "", bits] = type.split(":");
  const size = bits === undefined ? [] : ["-b", bits];
  sshKeygen(["-q", "-t", algorithm, ...size, "-N", "", "-C", `${name}@test`, "-f", path]);
  return readSshKey(path);
}

function readSshKey(path: string): SshKeyFile {
  const line = readFileSync(`${path}.pub`, "utf8").trim();
  return { path, line, blob: Buffer.from(line.split(" ")[1] ?? "", "base64") };
}

/**
 * Signs a user certificate; it becomes `NAME-cert.pub` beside the key, where ssh looks for it.
 * @param options of `ssh-keygen -s`: `-n PRINCIPALS`, `-V VALIDITY`, `-z SERIAL`, `-O OPTION`
 */
export function certifySshKey(
  authority: SshKeyFile,
  key: SshKeyFile,
  options: readonly string[],
): Buffer<ArrayBuffer> {
  sshKeygen(["-q", "-s", authority.path, "-I", "test-id", ...options, `${key.path}.pub`]);
  return Buffer.from(readFileSync(`${key.path}-cert.pub`, "utf8").split(" ")[1] ?? "", "base64");
}
