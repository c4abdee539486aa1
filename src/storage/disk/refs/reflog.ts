/**
 * Reflogs: `logs/<ref>`, a line a change.
 *
 *     <old id> SP <new id> SP <name> SP < email > SP seconds SP zone TAB message LF
 */
import { appendFile, mkdir, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ReflogEntry } from "../../contracts/ref-store.js";
import { readSmallFile } from "../cached-file.js";
import { ioError } from "../file-errors.js";

const REFLOG_BYTES_MAX = 256 * 1024 * 1024;

export function formatReflogEntry(entry: ReflogEntry): string {
  const message = entry.message.replaceAll(/\s+/g, " ").trim();
  return `${entry.oldOid} ${entry.newOid} ${entry.committer}${message === "" ? "" : `\t${message}`}\n`;
}

export async function readReflog(directory: string, name: string): Promise<readonly ReflogEntry[]> {
  const bytes = await readSmallFile(join(directory, "logs", name), REFLOG_BYTES_MAX);
  const entries: ReflogEntry[] = [];
  for (const line of (bytes ?? Buffer.alloc(0)).toString("utf8").split("\n")) {
    const match = /^([0-9a-f]+) ([0-9a-f]+) ([^\t]*)(?:\t(.*))?$/.exec(line);
    if (match === null) continue;
    const [, oldOid = "", newOid = "", committer = "", message = ""] = match;
    entries.push({ oldOid, newOid, committer, message });
  }
  return entries;
}

/** Which refs get a log of their own when they have none: branches, remote branches, notes and HEAD. */
export function isLogged(name: string, policy: "always" | "true" | "false"): boolean {
  if (policy === "always") return true;
  return policy === "true" && (name === "HEAD" || /^refs\/(?:heads|remotes|notes)\//.test(name));
}

/** Appends when the log exists or `create` says so. @throws storage/io */
export async function appendReflog(directory: string, name: string, entry: ReflogEntry, create: boolean): Promise<void> {
  const path = join(directory, "logs", name);
  try {
    if (!create && !(await exists(path))) return;
    await mkdir(dirname(path), { recursive: true });
    await appendFile(path, formatReflogEntry(entry));
  } catch (cause) {
    throw ioError("writing", path, cause);
  }
}

export async function removeReflog(directory: string, name: string): Promise<void> {
  await rm(join(directory, "logs", name), { force: true });
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
