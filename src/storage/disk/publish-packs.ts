/**
 * Moves finished packs from a quarantine into `objects/pack`, where every git finds them.
 *
 * A pack's files appear in the order pack, reverse index, index: a pack counts from the moment that its index is
 * there. A name is the pack's checksum; a file that stands under it already is never replaced: when its bytes are
 * the same it is kept (and made young, so that no garbage collection takes it), otherwise ours gets another name.
 */
import { randomBytes } from "node:crypto";
import { link, mkdir, rename, rm, utimes } from "node:fs/promises";
import { dirname } from "node:path";
import { GitwharfError } from "../../base/errors.js";
import { hashBytes, type ObjectFormat } from "../../object/object-format.js";
import {
  closeDescriptor,
  openDescriptor,
  readDescriptor,
  statDescriptor,
  syncDirectory,
} from "./descriptor.js";
import type { FinishedPack } from "./disk-pack-sink.js";
import { errorCode, ioError, isAbsent } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import type { PackFile } from "./pack-file.js";
import { applySharedMode, type SharedRepository } from "./shared-mode.js";

export interface PublishPacksOptions {
  readonly finished: readonly FinishedPack[];
  /** `objects/pack` */
  readonly directory: string;
  readonly objectFormat: ObjectFormat;
  readonly sync: boolean;
  readonly shared: SharedRepository;
  /** Called when all names stand in the directory, before that is durable; awaited. */
  readonly onLinked?: () => Promise<void>;
}

export interface PublishedPack {
  /** The name under which it stands in the directory now. */
  readonly name: string;
  readonly file: PackFile;
}

const COMPARED_AT_ONCE = 1024 * 1024;

/** @returns those that were moved, not those that stood there already. @throws storage/io, storage/not-found */
export async function publishPacks(options: PublishPacksOptions): Promise<PublishedPack[]> {
  const { finished, directory, sync, shared, onLinked } = options;
  if (finished.length === 0) return [];
  const published: PublishedPack[] = [];
  await Promise.all(
    finished.map(async (pack) => {
      if (shared !== "umask") {
        for (const ending of pack.endings) await applySharedMode(pack.file.path + ending, shared);
      }
      const name = await publishOne(pack, options);
      if (name !== undefined) published.push({ name, file: pack.file });
    }),
  );
  await Promise.all([sync ? syncDirectory(directory) : undefined, onLinked?.()]);
  return published;
}

/** undefined: the same pack stood there. */
async function publishOne(pack: FinishedPack, options: PublishPacksOptions): Promise<string | undefined> {
  const { directory, objectFormat } = options;
  let name = pack.name;
  const first = pack.endings[0] ?? ".pack";
  let stood = false;
  while (!(await putInPlace(pack.file.path + first, `${directory}/${name}${first}`, options))) {
    if (await sameContent(pack.file.path + first, `${directory}/${name}${first}`)) {
      stood = true;
      break;
    }
    name = `pack-${randomBytes(hashBytes(objectFormat)).toString("hex")}`;
  }
  try {
    for (const ending of pack.endings.slice(1)) {
      await putInPlace(pack.file.path + ending, `${directory}/${name}${ending}`, options);
    }
  } catch (error) {
    // A pack without an index is of no use to anyone.
    if (!stood) await rm(`${directory}/${name}${first}`, { force: true }).catch(() => undefined);
    throw error;
  }
  if (!stood) return name;
  const now = new Date();
  await utimes(`${directory}/${name}${first}`, now, now).catch(() => undefined);
  return undefined;
}

/** False when something stands there already. Atomic: of two who try, one succeeds. */
async function putInPlace(from: string, to: string, options: PublishPacksOptions): Promise<boolean> {
  for (let attempt = 0; ; attempt++) {
    try {
      await link(from, to);
      return true;
    } catch (cause) {
      const code = errorCode(cause);
      if (code === "EEXIST") return false;
      if (isAbsent(cause)) {
        if (attempt > 0 || (await readStamp(from)) === undefined) {
          throw new GitwharfError(
            "storage/not-found",
            `the repository of ${options.directory} was deleted meanwhile`,
            { cause },
          );
        }
        await makePackDirectory(options);
        continue;
      }
      // File systems without hard links.
      if (code !== "EPERM" && code !== "ENOTSUP" && code !== "ENOSYS" && code !== "EMLINK")
        throw ioError("publishing", to, cause);
    }
    try {
      if ((await readStamp(to)) !== undefined) return false;
      await rename(from, to);
      return true;
    } catch (cause) {
      throw ioError("publishing", to, cause);
    }
  }
}

async function makePackDirectory({ directory, shared, sync }: PublishPacksOptions): Promise<void> {
  try {
    await mkdir(directory);
    await applySharedMode(directory, shared);
    if (sync) await syncDirectory(dirname(directory));
  } catch (cause) {
    if (errorCode(cause) !== "EEXIST") throw ioError("making", directory, cause);
  }
}

async function sameContent(a: string, b: string): Promise<boolean> {
  const fds: number[] = [];
  try {
    const left = await openDescriptor(a, "r");
    fds.push(left);
    const right = await openDescriptor(b, "r");
    fds.push(right);
    const { size } = await statDescriptor(left);
    if (size !== (await statDescriptor(right)).size) return false;
    const leftBytes = Buffer.allocUnsafeSlow(Math.min(size, COMPARED_AT_ONCE));
    const rightBytes = Buffer.allocUnsafeSlow(leftBytes.length);
    for (let at = 0; at < size; at += leftBytes.length) {
      const n = await readDescriptor(left, leftBytes, at);
      await readDescriptor(right, rightBytes, at);
      if (!leftBytes.subarray(0, n).equals(rightBytes.subarray(0, n))) return false;
    }
    return true;
  } catch (cause) {
    // It was there a moment ago and has gone: then ours goes under another name.
    if (isAbsent(cause)) return false;
    throw ioError("comparing", b, cause);
  } finally {
    await Promise.all(fds.map(closeDescriptor));
  }
}
