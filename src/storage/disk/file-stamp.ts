/**
 * Telling by `stat` whether a file or directory is what was read before.
 *
 * Time stamps of files have a grain: what is changed twice within one grain looks unchanged the second time. So a
 * stamp is trusted only when the last change was some time before the reading (`isRacy`); within that time the
 * content itself is compared. (Git knows the same trap from its index: "racy git".)
 */
import * as fs from "node:fs";
import { ioError, isAbsent, leadsNowhere } from "./file-errors.js";
import { stampGrainMs } from "./refs/stamp-grain.js";

export interface FileStamp {
  readonly device: number;
  readonly inode: number;
  /** Milliseconds since 1970; 0 where the file system does not keep it. */
  readonly bornMs: number;
  readonly modifiedMs: number;
  readonly changedMs: number;
  readonly sizeBytes: number;
  readonly isDirectory: boolean;
}

/** The coarsest grain that is met in practice is 2 s (FAT). */
const COARSE_GRAIN_MS = 2100;
/** By device. */
const grains = new Map<number, number>();

/** undefined when it does not exist. @throws storage/io */
export function readStamp(path: string): Promise<FileStamp | undefined> {
  return new Promise((resolve, reject) => {
    fs.stat(path, (error, stats) => {
      if (error === null) resolve(stampOf(stats));
      else if (leadsNowhere(error)) resolve(undefined);
      else reject(ioError("looking at", path, error));
    });
  });
}

/** The same, waiting for the disk. @throws storage/io */
export function readStampSync(path: string): FileStamp | undefined {
  try {
    const stats = fs.statSync(path, { throwIfNoEntry: false });
    return stats === undefined ? undefined : stampOf(stats);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw ioError("looking at", path, error);
  }
}

export function stampOf(stats: fs.Stats): FileStamp {
  return {
    device: stats.dev,
    inode: stats.ino,
    bornMs: stats.birthtimeMs,
    modifiedMs: stats.mtimeMs,
    changedMs: stats.ctimeMs,
    sizeBytes: stats.size,
    isDirectory: stats.isDirectory(),
  };
}

export function sameStamp(a: FileStamp | undefined, b: FileStamp | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.inode === b.inode &&
    a.modifiedMs === b.modifiedMs &&
    a.changedMs === b.changedMs &&
    a.sizeBytes === b.sizeBytes &&
    a.device === b.device &&
    a.bornMs === b.bornMs
  );
}

/**
 * True when a change right after the reading could have left the same stamp.
 * @param readAtMs the wall clock when the stamp was taken
 */
export function isRacy(stamp: FileStamp | undefined, readAtMs: number, path: string): boolean {
  if (stamp === undefined) return false;
  const changedMs = Math.max(stamp.modifiedMs, stamp.changedMs);
  // A whole second may be all that an inode of the small, old kind can hold.
  const grainMs = changedMs % 1000 === 0 ? COARSE_GRAIN_MS : grainOf(stamp.device, path);
  return readAtMs - changedMs < grainMs;
}

function grainOf(device: number, path: string): number {
  let grainMs = grains.get(device);
  if (grainMs === undefined) grains.set(device, (grainMs = stampGrainMs(path)));
  return grainMs;
}

/** The same file or directory, whatever happened to its content. A repository made anew has another identity. */
export function identityOf(stamp: FileStamp): string {
  return `${stamp.device.toString(36)}-${stamp.inode.toString(36)}-${stamp.bornMs}`;
}
