/**
 * Files of `objects` directories as a worker thread reads them: the thread waits for the disk.
 */
import * as fs from "node:fs";
import { basename } from "node:path";
import { FileRange } from "../../base/byte-range.js";
import { isGitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import { PackBitmap } from "../../pack/bitmap.js";
import { Pack } from "../../pack/pack.js";
import { PackIndex } from "../../pack/pack-index.js";
import { reverseIndexBytes } from "../../pack/reverse-index.js";
import type { GitObject, ObjectHeader } from "../contracts/object-reader.js";
import type { LooseObjects } from "../composed-objects.js";
import { ioError, isAbsent } from "./file-errors.js";
import { identityOf, stampOf } from "./file-stamp.js";
import { looseObjectPath, readLooseHeaderBlocking, readLooseObjectBlocking } from "./loose-object-file.js";

export function createBlockingLooseObjects(directories: readonly string[]): LooseObjects {
  const first = <T>(oid: ObjectId, read: (path: string) => T | undefined): T | undefined => {
    for (const directory of directories) {
      const value = read(looseObjectPath(directory, oid));
      if (value !== undefined) return value;
    }
    return undefined;
  };
  return {
    directories,
    read: (oid): GitObject | undefined => first(oid, readLooseObjectBlocking),
    readHeader: (oid): ObjectHeader | undefined => first(oid, readLooseHeaderBlocking),
    has: (oid) => first(oid, (path) => fs.existsSync(path) || undefined) === true,
    async *list() {
      for (const directory of directories) {
        for (const shard of namesIn(directory)) {
          if (!/^[0-9a-f]{2}$/.test(shard)) continue;
          for (const name of namesIn(`${directory}/${shard}`))
            if (/^[0-9a-f]{38,62}$/.test(name)) yield shard + name;
        }
      }
    },
  };
}

/** Descriptors of packs that a worker opened itself go with the objects that use them. */
const descriptors = new FinalizationRegistry<number>((fd) => fs.closeSync(fd));

/**
 * Packs that came into being after the descriptor was made: another program moved objects into them.
 * @param known names of packs that are open
 */
export function createNewPackFinder(
  directories: readonly string[],
  objectFormat: ObjectFormat,
  known: Iterable<string>,
): () => readonly Pack[] | undefined {
  const seen = new Set(known);
  const modified = new Map<string, number>();
  return () => {
    const added: Pack[] = [];
    for (const directory of directories) {
      const path = `${directory}/pack`;
      const modifiedMs = modifiedMsOf(path);
      if (modified.get(path) === modifiedMs && Date.now() - modifiedMs > 2100) continue;
      modified.set(path, modifiedMs);
      for (const name of namesIn(path)) {
        const stem = name.slice(0, -4);
        if (!name.endsWith(".idx") || seen.has(stem)) continue;
        seen.add(stem);
        const pack = openPackBlocking(`${path}/${stem}`, objectFormat);
        if (pack !== undefined) added.push(pack);
      }
    }
    return added.length > 0 ? added : undefined;
  };
}

function openPackBlocking(path: string, objectFormat: ObjectFormat): Pack | undefined {
  try {
    const content = fs.readFileSync(`${path}.idx`);
    const index = new SharedArrayBuffer(content.length);
    content.copy(Buffer.from(index));
    const fd = fs.openSync(`${path}.pack`, "r");
    const stamp = stampOf(fs.fstatSync(fd));
    const key = `${identityOf(stamp)}-${stamp.modifiedMs}-${stamp.sizeBytes}`;
    const bytes = new FileRange({ fd, sizeBytes: stamp.sizeBytes, cacheKey: key }, { blocking: true });
    descriptors.register(bytes, fd);
    return new Pack({ key, name: basename(path), index: PackIndex.parse(index, objectFormat), bytes });
  } catch (cause) {
    if (isAbsent(cause) || isGitwharfError(cause, "pack/bad-index")) return undefined;
    throw ioError("opening", path, cause);
  }
}

/** A bitmap that cannot be read is one that does not exist. */
export function readBitmapBlocking(path: string, index: PackIndex): PackBitmap | undefined {
  try {
    return PackBitmap.parse(fs.readFileSync(path), index);
  } catch {
    return undefined;
  }
}

/**
 * The `.rev` file of a pack. Read where it stands and at once, also on the main thread: it takes far less than
 * sorting. One that cannot be read is one that does not exist.
 */
export function readReverseIndexBlocking(path: string, index: PackIndex): Buffer | undefined {
  let fd: number;
  try {
    fd = fs.openSync(path, "r");
  } catch {
    return undefined;
  }
  try {
    return fs.fstatSync(fd).size === reverseIndexBytes(index) ? fs.readFileSync(fd) : undefined;
  } catch {
    return undefined;
  } finally {
    fs.closeSync(fd);
  }
}

function modifiedMsOf(path: string): number {
  try {
    return fs.statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  } catch (cause) {
    throw ioError("looking at", path, cause);
  }
}

function namesIn(path: string): string[] {
  try {
    return fs.readdirSync(path);
  } catch (cause) {
    if (isAbsent(cause)) return [];
    throw ioError("listing", path, cause);
  }
}
