/**
 * For tests of the engine: a snapshot over a git directory that real git made, read once, as it is. Not a storage
 * backend (that is `storage/disk/`): no alternates' refs, no locks, no re-reading.
 */
import { execFileSync } from "node:child_process";
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { inflateSync } from "node:zlib";
import { FileRange } from "../../base/byte-range.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId, ObjectType } from "../../object/object-id.js";
import { PackBitmap } from "../../pack/bitmap.js";
import { CommitGraph } from "../../pack/commit-graph.js";
import { Pack } from "../../pack/pack.js";
import { PackIndex } from "../../pack/pack-index.js";
import type { GitObject } from "../../storage/contracts/object-reader.js";
import type { Ref, RefSnapshot } from "../../storage/contracts/ref-store.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { createObjectDatabase } from "../../storage/object-database.js";

function shared(path: string): SharedArrayBuffer {
  const bytes = readFileSync(path);
  const copy = new SharedArrayBuffer(bytes.length);
  Buffer.from(copy).set(bytes);
  return copy;
}

export interface OpenedDirectory extends Snapshot {
  readonly objectFormat: ObjectFormat;
}

export function openGitDirectory(
  gitDirectory: string,
  options: { blocking?: boolean } = {},
): OpenedDirectory {
  const git = (...args: string[]): string =>
    execFileSync("git", ["--git-dir", gitDirectory, ...args], { encoding: "utf8", maxBuffer: 1 << 28 });
  const objectFormat = git("rev-parse", "--show-object-format").trim() as ObjectFormat;
  const directories = [join(gitDirectory, "objects")];
  const alternates = join(directories[0] as string, "info/alternates");
  if (existsSync(alternates)) directories.push(...readFileSync(alternates, "utf8").trim().split("\n"));
  const fds: number[] = [];
  const packs: Pack[] = [];
  for (const directory of directories) {
    const packDirectory = join(directory, "pack");
    if (!existsSync(packDirectory)) continue;
    for (const name of readdirSync(packDirectory).sort()) {
      if (!name.endsWith(".idx")) continue;
      const path = join(packDirectory, name.slice(0, -4));
      const fd = openSync(`${path}.pack`, "r");
      fds.push(fd);
      const sizeBytes = fstatSync(fd).size;
      const bytes = new FileRange({ fd, sizeBytes, cacheKey: path }, { blocking: options.blocking ?? false });
      const index = PackIndex.parse(shared(`${path}.idx`), objectFormat);
      const bitmap = existsSync(`${path}.bitmap`) ? readFileSync(`${path}.bitmap`) : undefined;
      const openBitmap = async (): Promise<PackBitmap | undefined> =>
        bitmap === undefined ? undefined : PackBitmap.parse(bitmap, index);
      packs.push(new Pack({ key: path, index, bytes, openBitmap }));
    }
  }
  const readLoose = (oid: ObjectId): GitObject | undefined => {
    for (const directory of directories) {
      const path = join(directory, oid.slice(0, 2), oid.slice(2));
      if (!existsSync(path)) continue;
      const all = inflateSync(readFileSync(path));
      const end = all.indexOf(0);
      return {
        type: all.toString("latin1", 0, all.indexOf(0x20)) as ObjectType,
        data: all.subarray(end + 1),
      };
    }
    return undefined;
  };
  const graphFile = join(gitDirectory, "objects/info/commit-graph");
  const layers = existsSync(graphFile) ? [shared(graphFile)] : [];
  const objects = createObjectDatabase({
    objectFormat,
    packs,
    loose: {
      directories,
      read: readLoose,
      readHeader: (oid) => {
        const object = readLoose(oid);
        return object === undefined ? undefined : { type: object.type, sizeBytes: object.data.length };
      },
      has: (oid) => readLoose(oid) !== undefined,
      async *list() {},
    },
    commitGraph: layers.length > 0 ? CommitGraph.parse(layers, objectFormat) : undefined,
    commitGraphLayers: layers,
    bitmapPathOf: (pack) => (existsSync(`${pack.key}.bitmap`) ? `${pack.key}.bitmap` : undefined),
  });
  const all: Ref[] = git("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [name = "", oid = "", peeled = ""] = line.split(" ");
      return { name, oid, peelKnown: true, ...(peeled === "" ? {} : { peeled }) };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const refs: RefSnapshot = {
    head: {},
    all,
    get: (name) => all.find((ref) => ref.name === name),
    startingWith: (prefix) => all.filter((ref) => ref.name.startsWith(prefix)),
    broken: [],
    version: "1",
  };
  const shallowFile = join(gitDirectory, "shallow");
  return {
    version: "1",
    head: {},
    refs,
    objects,
    objectFormat,
    shallow: new Set(existsSync(shallowFile) ? readFileSync(shallowFile, "utf8").trim().split("\n") : []),
    alternateTips: [],
    release() {
      for (const fd of fds.splice(0)) closeSync(fd);
    },
  };
}
