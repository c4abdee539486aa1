/**
 * One loose object: `objects/ab/cdef…`, a zlib stream of header and content. Reading it without and with blocking.
 * Specification: gitformat-loose (git: Documentation/gitformat-loose), gitrepository-layout.
 */
import * as fs from "node:fs";
import { inflate } from "node:zlib";
import { GitwharfError } from "../../base/errors.js";
import type { ObjectId } from "../../object/object-id.js";
import { parseLooseHeader, parseLooseObject } from "../../pack/loose-object.js";
import type { GitObject, ObjectHeader } from "../contracts/object-reader.js";
import { ioError, isAbsent } from "./file-errors.js";

/** Most commits and trees are smaller: one read takes all of them. */
const FIRST_READ_BYTES = 8192;
/** Enough for the longest header, `commit 18446744073709551615`, and zlib's own. */
const HEADER_READ_BYTES = 256;
/** Content beyond this is inflated on a thread of libuv's pool. */
const INLINE_INFLATE_BYTES = 64 * 1024;

export function looseObjectPath(directory: string, oid: ObjectId): string {
  return `${directory}/${oid.slice(0, 2)}/${oid.slice(2)}`;
}

/** undefined when there is no such file. @throws object/corrupt, storage/io */
export async function readLooseObject(path: string): Promise<GitObject | undefined> {
  const bytes = await readHead(path, Number.POSITIVE_INFINITY);
  if (bytes === undefined) return undefined;
  return naming(path, () => {
    const header = headerOf(bytes);
    return header.sizeBytes > INLINE_INFLATE_BYTES
      ? inflateAside(path, bytes, header)
      : parseLooseObject(bytes);
  });
}

/** Reads only the beginning of the file. undefined when there is no such file. */
export async function readLooseHeader(path: string): Promise<ObjectHeader | undefined> {
  const bytes = await readHead(path, HEADER_READ_BYTES);
  return bytes === undefined ? undefined : naming(path, () => headerOf(bytes));
}

/** For worker threads: the thread waits for the disk. */
export function readLooseObjectBlocking(path: string): GitObject | undefined {
  const bytes = readFileBlocking(path);
  return bytes === undefined ? undefined : naming(path, () => parseLooseObject(bytes));
}

export function readLooseHeaderBlocking(path: string): ObjectHeader | undefined {
  const bytes = readFileBlocking(path);
  return bytes === undefined ? undefined : naming(path, () => headerOf(bytes));
}

function headerOf(bytes: Buffer): ObjectHeader {
  const { type, sizeBytes } = parseLooseHeader(bytes);
  return { type, sizeBytes };
}

function readFileBlocking(path: string): Buffer | undefined {
  try {
    return fs.readFileSync(path);
  } catch (cause) {
    if (isAbsent(cause)) return undefined;
    throw ioError("reading", path, cause);
  }
}

/** The file's first bytes, or all of them; two turns through the thread pool for a small file. */
function readHead(path: string, bytesMax: number): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    fs.open(path, "r", (openError, fd) => {
      if (openError !== null) {
        if (isAbsent(openError)) resolve(undefined);
        else reject(ioError("opening", path, openError));
        return;
      }
      const done = (error: Error | null, bytes?: Buffer): void => {
        fs.close(fd, () => undefined);
        if (error !== null) reject(ioError("reading", path, error));
        else resolve(bytes);
      };
      const first = Buffer.allocUnsafe(Math.min(FIRST_READ_BYTES, bytesMax));
      fs.read(fd, first, 0, first.length, 0, (readError, n) => {
        if (readError !== null || n < first.length || first.length === bytesMax) {
          done(readError, first.subarray(0, n));
          return;
        }
        readRest(fd, first, done);
      });
    });
  });
}

function readRest(fd: number, first: Buffer, done: (error: Error | null, bytes?: Buffer) => void): void {
  fs.fstat(fd, (statError, stats) => {
    if (statError !== null) {
      done(statError);
      return;
    }
    const bytes = Buffer.allocUnsafeSlow(Math.max(stats.size, first.length));
    first.copy(bytes);
    const step = (at: number): void => {
      if (at === bytes.length) {
        done(null, bytes);
        return;
      }
      fs.read(fd, bytes, at, bytes.length - at, at, (error, n) => {
        if (error !== null) done(error);
        else if (n === 0) done(null, bytes.subarray(0, at));
        else step(at + n);
      });
    };
    step(first.length);
  });
}

function inflateAside(path: string, bytes: Buffer, header: ObjectHeader): Promise<GitObject> {
  const headerBytes = `${header.type} ${header.sizeBytes}\0`.length;
  return new Promise((resolve, reject) => {
    inflate(bytes, { maxOutputLength: headerBytes + header.sizeBytes }, (error, content) => {
      const data = error === null ? content.subarray(content.indexOf(0) + 1) : undefined;
      if (data?.length === header.sizeBytes) resolve({ type: header.type, data });
      else reject(corrupt(path, error ?? "its size is not what its header says"));
    });
  });
}

function naming<T>(path: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw corrupt(path, cause);
  }
}

function corrupt(path: string, cause: unknown): GitwharfError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new GitwharfError("object/corrupt", `the loose object ${path} cannot be read: ${why}`, { cause });
}
