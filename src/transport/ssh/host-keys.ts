/**
 * The server's own keys, by which clients know it again: Ed25519, ECDSA and RSA in one directory, made when missing,
 * never overwritten. The files have OpenSSH's names and form.
 */
import { randomBytes } from "node:crypto";
import { link, mkdir, open, readFile, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import ssh2 from "ssh2";
import { fingerprintOf } from "../../access/ssh-public-key.js";
import { GitwharfError } from "../../base/errors.js";
import { makeOpensshKey, type OpensshKeyKind } from "./openssh-private-key.js";

export interface SshHostKey {
  /** `ssh-ed25519` */
  readonly type: string;
  /** `SHA256:…` */
  readonly fingerprint: string;
  readonly privateKey: Buffer;
}

const KINDS = ["ed25519", "ecdsa", "rsa"] as const satisfies readonly OpensshKeyKind[];
const COMMENT = "gitwharf";

/** @throws server/bad-configuration when a key cannot be read, is open to others or cannot be written */
export async function readHostKeys(directory: string): Promise<readonly SshHostKey[]> {
  const keys: SshHostKey[] = [];
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const made = KINDS.map(async (kind) => {
      const file = join(directory, `ssh_host_${kind}_key`);
      if (!(await exists(file))) await makeKey(file, kind);
      return readKey(file);
    });
    // All have ended before a failure of one is told.
    await Promise.allSettled(made);
    keys.push(...(await Promise.all(made)));
  } catch (cause) {
    if (cause instanceof GitwharfError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GitwharfError(
      "server/bad-configuration",
      `SSH host keys cannot be kept in ${directory}: ${why}`,
      {
        cause,
      },
    );
  }
  return keys;
}

/** For a server that keeps nothing: clients will not know it again. */
export async function makeTransientHostKeys(): Promise<readonly SshHostKey[]> {
  const keys: SshHostKey[] = [];
  for (const kind of KINDS.slice(0, 2)) {
    const { privateKey } = await makeOpensshKey(kind, COMMENT);
    keys.push(parseKey(Buffer.from(privateKey), "a new SSH host key"));
  }
  return keys;
}

async function readKey(file: string): Promise<SshHostKey> {
  const { mode } = await stat(file);
  if ((mode & 0o077) !== 0 && process.platform !== "win32") {
    throw new GitwharfError(
      "server/bad-configuration",
      `the SSH host key ${file} can be read by others (mode ${(mode & 0o777).toString(8)}); run: chmod 600 ${file}`,
    );
  }
  return parseKey(await readFile(file), file);
}

function parseKey(privateKey: Buffer, what: string): SshHostKey {
  const parsed = ssh2.utils.parseKey(privateKey);
  if (parsed instanceof Error) {
    throw new GitwharfError("server/bad-configuration", `${what} is no private SSH key: ${parsed.message}`);
  }
  const key = Array.isArray(parsed) ? parsed[0] : parsed;
  if (key === undefined || !key.isPrivateKey()) {
    throw new GitwharfError("server/bad-configuration", `${what} is no private SSH key`);
  }
  return { type: key.type, fingerprint: fingerprintOf(key.getPublicSSH()), privateKey };
}

/** Whole or not at all; of several servers that start at once the first one's key stays. */
async function makeKey(file: string, kind: OpensshKeyKind): Promise<void> {
  const made = await makeOpensshKey(kind, COMMENT);
  const unfinished = `${file}.${randomBytes(6).toString("hex")}`;
  const handle = await open(unfinished, "wx", 0o600);
  try {
    await handle.writeFile(made.privateKey);
    await handle.sync();
  } finally {
    await handle.close();
  }
  try {
    await link(unfinished, file);
    await writeFile(`${file}.pub`, `${made.publicLine}\n`);
  } catch (error) {
    if (!(await exists(file))) throw error;
  } finally {
    await unlink(unfinished);
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}
