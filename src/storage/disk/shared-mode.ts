/**
 * `core.sharedRepository`: which permissions the files of a repository get.
 */
import * as fs from "node:fs/promises";
import { ioError } from "./file-errors.js";
import type { RepositorySettings } from "../contracts/repository-settings.js";

export type SharedRepository = RepositorySettings["core"]["sharedRepository"];

/** The mode that a file or directory made with `mode` gets, as git reckons it. */
export function sharedMode(mode: number, shared: SharedRepository, isDirectory: boolean): number {
  if (shared === "umask") return mode;
  let tweak = shared === "group" ? 0o660 : shared === "all" ? 0o664 : shared;
  if ((mode & 0o200) === 0) tweak &= ~0o222;
  if ((mode & 0o100) !== 0) tweak |= (tweak & 0o444) >> 2;
  // A number replaces the bits; the words add to what the umask left.
  const adjusted = typeof shared === "number" ? (mode & ~0o777) | tweak : mode | tweak;
  if (!isDirectory) return adjusted;
  const searchable = adjusted | ((adjusted & 0o444) >> 2);
  return (searchable & 0o060) !== 0 ? searchable | 0o2000 : searchable;
}

/** Changes the mode of something just made, where the repository is shared. @throws storage/io */
export async function applySharedMode(path: string, shared: SharedRepository): Promise<void> {
  if (shared === "umask") return;
  try {
    const stats = await fs.stat(path);
    const mode = sharedMode(stats.mode & 0o7777, shared, stats.isDirectory());
    if (mode !== (stats.mode & 0o7777)) await fs.chmod(path, mode);
  } catch (cause) {
    throw ioError("setting the mode of", path, cause);
  }
}
