/**
 * The files of loose objects in one `objects` directory, for who packs them: listing all, counting about, removing what is packed.
 * Specification: gitrepository-layout ("objects/[0-9a-f][0-9a-f]").
 */
import { readdir, rmdir, unlink } from "node:fs/promises";
import { hexLength, type ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import { ioError, isAbsent } from "./file-errors.js";
import { looseObjectPath } from "./loose-object-file.js";

const SHARD = /^[0-9a-f]{2}$/;
/** As git estimates: ids are spread evenly, so one directory of 256 tells of the others. */
const SAMPLE = "17";
const SHARDS = 256;
const REMOVED_AT_ONCE = 16;

/** Memory: all ids. @throws storage/io */
export async function listLooseFiles(directory: string, format: ObjectFormat): Promise<ObjectId[]> {
  const found: ObjectId[] = [];
  for (const shard of await namesIn(directory)) {
    if (!SHARD.test(shard)) continue;
    for (const oid of await looseIn(directory, shard, format)) found.push(oid);
  }
  return found;
}

/** How many there are, from one look into one directory. @throws storage/io */
export async function estimateLooseFiles(directory: string, format: ObjectFormat): Promise<number> {
  return (await looseIn(directory, SAMPLE, format)).length * SHARDS;
}

/** Directories that are empty then go as well. One that cannot be removed stays: it costs space, not objects. */
export async function removeLooseFiles(directory: string, oids: readonly ObjectId[]): Promise<void> {
  for (let at = 0; at < oids.length; at += REMOVED_AT_ONCE) {
    const some = oids.slice(at, at + REMOVED_AT_ONCE);
    await Promise.all(some.map((oid) => unlink(looseObjectPath(directory, oid)).catch(() => undefined)));
  }
  for (const shard of new Set(oids.map((oid) => oid.slice(0, 2))))
    await rmdir(`${directory}/${shard}`).catch(() => undefined);
}

async function looseIn(directory: string, shard: string, format: ObjectFormat): Promise<ObjectId[]> {
  const rest = hexLength(format) - 2;
  const oids: ObjectId[] = [];
  for (const name of await namesIn(`${directory}/${shard}`))
    if (name.length === rest && /^[0-9a-f]+$/.test(name)) oids.push(shard + name);
  return oids;
}

async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (cause) {
    if (isAbsent(cause)) return [];
    throw ioError("listing", path, cause);
  }
}
