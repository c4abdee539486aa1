/**
 * Plain file descriptors with promises. (A `FileHandle` closes its descriptor when it is collected and cannot hand
 * it to a worker thread; these live until `closeDescriptor`.)
 */
import * as fs from "node:fs";
import { ioError } from "./file-errors.js";

/** Rejects with the error of the file system as it is. */
export function openDescriptor(path: string, flags: string | number, mode?: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, mode, (error, fd) => (error === null ? resolve(fd) : reject(error)));
  });
}

export function closeDescriptor(fd: number): Promise<void> {
  return new Promise((resolve) => {
    fs.close(fd, () => resolve());
  });
}

export function statDescriptor(fd: number): Promise<fs.Stats> {
  return new Promise((resolve, reject) => {
    fs.fstat(fd, (error, stats) => (error === null ? resolve(stats) : reject(error)));
  });
}

/** Fills `target` from the file; fewer bytes only at its end. Answers with how many. */
export function readDescriptor(fd: number, target: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const step = (done: number): void => {
      fs.read(fd, target, done, target.length - done, position + done, (error, n) => {
        if (error !== null) reject(error);
        else if (n === 0 || done + n === target.length) resolve(done + n);
        else step(done + n);
      });
    };
    if (target.length === 0) resolve(0);
    else step(0);
  });
}

export function writeDescriptor(fd: number, bytes: Uint8Array, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const step = (done: number): void => {
      if (done === bytes.length) {
        resolve();
        return;
      }
      fs.write(fd, bytes, done, bytes.length - done, position + done, (error, n) => {
        if (error === null) step(done + n);
        else reject(error);
      });
    };
    step(0);
  });
}

export function truncateDescriptor(fd: number, sizeBytes: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.ftruncate(fd, sizeBytes, (error) => (error === null ? resolve() : reject(error)));
  });
}

/** Waits until content and size of the file are on the disk. */
export function syncDescriptor(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.fsync(fd, (error) => (error === null ? resolve() : reject(error)));
  });
}

/** Makes names that were added to or removed from a directory durable. @throws storage/io */
export async function syncDirectory(path: string): Promise<void> {
  try {
    const fd = await openDescriptor(path, "r");
    try {
      await syncDescriptor(fd);
    } finally {
      await closeDescriptor(fd);
    }
  } catch (cause) {
    throw ioError("syncing", path, cause);
  }
}
