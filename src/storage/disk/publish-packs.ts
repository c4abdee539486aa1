/**
 * Moves finished packs from a quarantine into `objects/pack`, where every git finds them.
 *
 * A pack's files appear in the order keep, pack, reverse index, index: a pack counts from the moment that its index is
 * there. The `.keep` stands until the refs have moved (`removeKeepFiles`): a `git repack` that ran meanwhile would
 * find nobody who needs the objects, or, before 2.41, would see the pack without its index and delete it.
 *
 * A name is the pack's checksum; a file that stands under it already is never replaced: when its bytes are
 * the same it is kept (and made young, so that no garbage collection takes it; one of unreachable objects is none any more),
 * otherwise ours gets another name.
 */
import { randomBytes } from "node:crypto";
import { link, mkdir, rename, unlink, utimes, writeFile } from "node:fs/promises";
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
  /** False: the same pack stood there. */
  readonly isNew: boolean;
  /** Made by us, and to be removed by us; undefined when somebody else keeps the pack. */
  readonly keepPath: string | undefined;
}

/** What our `.keep` files say: by it a forgotten one is known. */
export const KEEP_TEXT = "gitwharf: a push is under way\n";
const COMPARED_AT_ONCE = 1024 * 1024;

/** @throws storage/io, storage/not-found */
export async function publishPacks(options: PublishPacksOptions): Promise<PublishedPack[]> {
  const { finished, directory, sync, shared, onLinked } = options;
  if (finished.length === 0) return [];
  const published: PublishedPack[] = [];
  try {
    await settleAll(
      finished.map(async (pack) => {
        if (shared !== "umask") {
          for (const ending of pack.endings) await applySharedMode(pack.file.path + ending, shared);
        }
        published.push(await publishOne(pack, options));
      }),
    );
    await Promise.all([sync ? syncDirectory(directory) : undefined, onLinked?.()]);
  } catch (error) {
    await removeKeepFiles(published);
    throw error;
  }
  return published;
}

/** From here on git may fold the packs into others. Never throws: a `.keep` that stays costs space, not objects. */
export async function removeKeepFiles(published: readonly PublishedPack[]): Promise<void> {
  await Promise.all(published.map(({ keepPath }) => removeKeepFile(keepPath)));
}

async function removeKeepFile(path: string | undefined): Promise<void> {
  if (path !== undefined) await unlink(path).catch(() => undefined);
}

async function publishOne(pack: FinishedPack, options: PublishPacksOptions): Promise<PublishedPack> {
  const { directory, objectFormat } = options;
  for (let name = pack.name; ; name = `pack-${randomBytes(hashBytes(objectFormat)).toString("hex")}`) {
    const stem = `${directory}/${name}`;
    const keepPath = await makeKeepFile(`${pack.file.path}.keep`, `${stem}.keep`, options);
    const [first = ".pack", ...rest] = pack.endings;
    let isNew = false;
    try {
      isNew = await putInPlace(pack.file.path + first, stem + first, options);
      if (!isNew && !(await sameContent(pack.file.path + first, stem + first))) {
        await removeKeepFile(keepPath);
        continue;
      }
      for (const ending of rest) await putInPlace(pack.file.path + ending, stem + ending, options);
    } catch (error) {
      // A pack without an index is of no use to anyone.
      if (isNew) await unlink(stem + first).catch(() => undefined);
      await removeKeepFile(keepPath);
      throw error;
    }
    const now = new Date();
    if (!isNew) await utimes(stem + first, now, now).catch(() => undefined);
    // Somebody needs its objects again.
    if (!isNew && !pack.endings.includes(".mtimes")) await unlink(`${stem}.mtimes`).catch(() => undefined);
    return { name, file: pack.file, isNew, keepPath };
  }
}

/**
 * undefined when there is one already. It appears with its text: one that a kill left empty could be anyone's, and
 * would stay for ever.
 */
async function makeKeepFile(
  from: string,
  to: string,
  options: PublishPacksOptions,
): Promise<string | undefined> {
  try {
    await writeFile(from, KEEP_TEXT);
  } catch (cause) {
    throw isAbsent(cause) ? deletedMeanwhile(options, cause) : ioError("writing", from, cause);
  }
  const isOurs = await putInPlace(from, to, options);
  await removeKeepFile(from);
  return isOurs ? to : undefined;
}

/** Waits for all of them, then throws the first error, if any: nothing goes on behind the caller's back. */
async function settleAll(work: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) if (result.status === "rejected") throw result.reason;
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
        if (attempt > 0 || (await readStamp(from)) === undefined) throw deletedMeanwhile(options, cause);
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

function deletedMeanwhile({ directory }: PublishPacksOptions, cause: unknown): GitwharfError {
  return new GitwharfError("storage/not-found", `the repository of ${directory} was deleted meanwhile`, {
    cause,
  });
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
