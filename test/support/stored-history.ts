/** Small histories for tests of repository stores: pushed as a server pushes them, and read back to the last object. */
import type { ObjectId } from "../../src/object/object-id.js";
import type { ObjectReader } from "../../src/storage/contracts/object-reader.js";
import type { RefUpdate } from "../../src/storage/contracts/ref-store.js";
import type { Repository } from "../../src/storage/contracts/repository.js";
import { formatSamplePack, sampleObject } from "../../src/storage/contracts/suites/sample-objects.js";

/** A commit, and the pack that brings it with its tree and its file. */
export interface MadeCommit {
  readonly oid: ObjectId;
  readonly pack: ReturnType<typeof formatSamplePack>;
}

/** Refs of a repository by name. */
export type Refs = Readonly<Record<string, ObjectId>>;

const PERSON = "A U Thor <author@example.com> 1700000000 +0000";
const FILE_ENTRY = "100644 file\0";

/** @param content of its one file */
export function makeCommit(
  label: string,
  parents: readonly ObjectId[] = [],
  content: Uint8Array = Buffer.from(`content of ${label}\n`),
): MadeCommit {
  const blob = sampleObject("sha1", "blob", content);
  const entry = Buffer.concat([Buffer.from(FILE_ENTRY), Buffer.from(blob.oid, "hex")]);
  const tree = sampleObject("sha1", "tree", entry);
  const head = [`tree ${tree.oid}`, ...parents.map((parent) => `parent ${parent}`)];
  const text = [...head, `author ${PERSON}`, `committer ${PERSON}`, "", `${label}\n`].join("\n");
  const commit = sampleObject("sha1", "commit", Buffer.from(text));
  return { oid: commit.oid, pack: formatSamplePack("sha1", [commit, tree, blob]) };
}

/**
 * Quarantine, publish, refs, discard. @param commit undefined: nothing is brought
 * @returns whether the refs have moved: all or none
 */
export async function pushCommit(
  repository: Repository,
  commit: MadeCommit | undefined,
  updates: readonly RefUpdate[],
): Promise<boolean> {
  const quarantine = commit === undefined ? undefined : await repository.openQuarantine();
  try {
    if (commit !== undefined && quarantine !== undefined) {
      const { bytes, index, trailer } = commit.pack;
      const sink = await quarantine.createPack();
      await sink.append(bytes);
      // The sink takes it over.
      await sink.finish({ trailer, index: index.slice(0) });
      await quarantine.publish();
    }
    const results = await repository.refs.transact({ updates, atomic: true });
    return results.every(({ ok }) => ok);
  } finally {
    await quarantine?.discard();
  }
}

/** Refs of one instant; every object that they lead to is read. */
export async function readRefs(repository: Repository): Promise<Refs> {
  const snapshot = await repository.snapshot();
  try {
    const refs: Record<string, ObjectId> = {};
    for (const { name, oid } of snapshot.refs.all) {
      refs[name] = oid;
      await readAll(snapshot.objects, oid);
    }
    return refs;
  } finally {
    snapshot.release();
  }
}

async function readAll(objects: ObjectReader, tip: ObjectId): Promise<void> {
  const open = [tip];
  for (let oid = open.pop(); oid !== undefined; oid = open.pop()) {
    const object = await objects.read(oid);
    if (object === undefined) throw new Error(`${oid}, which a ref leads to, is not there`);
    const { type, data } = object;
    if (type === "tree") open.push(data.toString("hex", FILE_ENTRY.length, FILE_ENTRY.length + 20));
    if (type !== "commit") continue;
    for (const [, id = ""] of data.toString("latin1").matchAll(/^(?:tree|parent) ([0-9a-f]{40})$/gm))
      open.push(id);
  }
}
