/**
 * Checks a whole repository: every index and pack, every object's hash and form, every ref and everything it leads
 * to. Memory: one object at a time, and the ids of all objects (about 100 bytes each).
 */
import { isGitwharfError, throwIfAborted } from "../base/errors.js";
import { forEachTreeEntry, MODE_GITLINK } from "../object/tree.js";
import { checkNamedBlob, checkObject, createFsckState } from "../object/fsck/object-fsck.js";
import type { FsckPolicy } from "../object/fsck/fsck-message.js";
import { createObjectHash, hashBytes } from "../object/object-format.js";
import { hashObject, type ObjectId, objectIdAt } from "../object/object-id.js";
import { parseCommitLinks } from "../object/commit.js";
import { parseTagLinks } from "../object/tag.js";
import type { Pack } from "../pack/pack.js";
import type { GitObject, ObjectReader } from "../storage/contracts/object-reader.js";
import type { Repository, Snapshot } from "../storage/contracts/repository.js";

export interface RepositoryFinding {
  /** "info": dangling objects and the like, nothing to mend. */
  readonly severity: "error" | "warn" | "info";
  readonly message: string;
}

export interface RepositoryFsckOptions {
  readonly onFinding: (finding: RepositoryFinding) => void;
  readonly signal?: AbortSignal;
  /** What no ref leads to may refer to what has gone, where packs stay for the sake of other repositories. @default false */
  readonly mayLackUnreachable?: boolean;
}

export interface RepositoryFsckSummary {
  readonly objectCount: number;
  readonly refCount: number;
}

const POLICY: FsckPolicy = { severities: new Map(), skipList: new Set(), strict: false };
const READ_BYTES = 1024 * 1024;

/** @throws storage/io, base/aborted */
export async function fsckRepository(
  repository: Repository,
  options: RepositoryFsckOptions,
): Promise<RepositoryFsckSummary> {
  const snapshot = await repository.snapshot();
  try {
    const { objects } = snapshot;
    for (const pack of objects.packs) await checkPackFile(pack, options);
    const links = await checkAllObjects(snapshot, options);
    checkConnectivity(snapshot, links, options);
    for (const name of snapshot.refs.broken)
      options.onFinding({ severity: "error", message: `${name}: broken ref` });
    return { objectCount: links.size, refCount: snapshot.refs.all.length };
  } finally {
    snapshot.release();
  }
}

async function checkPackFile(pack: Pack, { onFinding, signal }: RepositoryFsckOptions): Promise<void> {
  if (!pack.index.verifyChecksum())
    onFinding({ severity: "error", message: `${pack.name}: the index is damaged` });
  const h = hashBytes(pack.objectFormat);
  const end = pack.bytes.sizeBytes - h;
  const hash = createObjectHash(pack.objectFormat);
  for (let at = 0; at < end; at += READ_BYTES) {
    throwIfAborted(signal);
    hash.update(await pack.bytes.read(at, Math.min(READ_BYTES, end - at)));
  }
  const trailer = (await pack.bytes.read(end, h)).toString("hex");
  if (hash.digest("hex") !== trailer)
    onFinding({ severity: "error", message: `${pack.name}: the pack is damaged: its checksum is wrong` });
  if (trailer !== pack.index.packTrailer)
    onFinding({ severity: "error", message: `${pack.name}: the index belongs to another pack` });
}

/** What each object refers to. */
type Links = Map<ObjectId, readonly ObjectId[]>;

async function checkAllObjects(snapshot: Snapshot, options: RepositoryFsckOptions): Promise<Links> {
  const { objects } = snapshot;
  const state = createFsckState();
  const links: Links = new Map();
  const checkOne = async (oid: ObjectId): Promise<void> => {
    if (links.has(oid)) return;
    throwIfAborted(options.signal);
    const object = await readOrReport(objects, oid, options);
    if (object === undefined) return void links.set(oid, []);
    if (hashObject(objects.objectFormat, object.type, object.data) !== oid) {
      options.onFinding({ severity: "error", message: `${oid}: hash mismatch: the object is damaged` });
    }
    // What trees name is looked at when all trees are known.
    if (object.type === "blob") return void links.set(oid, []);
    const findings = checkObject({
      ...object,
      oid,
      objectFormat: objects.objectFormat,
      policy: POLICY,
      state,
    });
    for (const { severity, message } of findings)
      options.onFinding({ severity, message: `${object.type} ${message}` });
    links.set(oid, linksOf(object, snapshot, oid));
  };
  for (const pack of objects.packs) {
    const { offsets, index } = pack;
    // In the order of the pack: bases of deltas are met, and cached, just before they are needed.
    for (let rank = 0; rank < index.objectCount; rank++)
      await checkOne(index.oidAt(offsets.positionAtRank(rank)));
  }
  for await (const oid of objects.looseObjects()) await checkOne(oid);
  for (const oid of new Set([...state.gitmodules, ...state.gitattributes]))
    await recheckBlob(objects, oid, state, options);
  return links;
}

/** A blob or what else a tree names `.gitmodules` or `.gitattributes`. */
async function recheckBlob(
  objects: ObjectReader,
  oid: ObjectId,
  state: ReturnType<typeof createFsckState>,
  options: RepositoryFsckOptions,
): Promise<void> {
  const object = await readOrReport(objects, oid, options);
  for (const { severity, message } of checkNamedBlob({ oid, policy: POLICY, state }, object?.type))
    options.onFinding({ severity, message: `blob ${message}` });
  if (object?.type !== "blob") return;
  for (const { severity, message } of checkObject({
    ...object,
    oid,
    objectFormat: objects.objectFormat,
    policy: POLICY,
    state,
  })) {
    options.onFinding({ severity, message: `blob ${message}` });
  }
}

async function readOrReport(
  objects: ObjectReader,
  oid: ObjectId,
  options: RepositoryFsckOptions,
): Promise<GitObject | undefined> {
  try {
    return await objects.read(oid);
  } catch (error) {
    if (!isGitwharfError(error, "object/corrupt", "object/malformed")) throw error;
    options.onFinding({ severity: "error", message: `${oid}: ${error.message}` });
    return undefined;
  }
}

function linksOf({ type, data }: GitObject, snapshot: Snapshot, oid: ObjectId): readonly ObjectId[] {
  const { objectFormat } = snapshot.objects;
  try {
    switch (type) {
      case "commit": {
        const { tree, parents } = parseCommitLinks(data, objectFormat);
        return snapshot.shallow.has(oid) ? [tree] : [tree, ...parents];
      }
      case "tag":
        return [parseTagLinks(data, objectFormat).target];
      case "tree": {
        const children: ObjectId[] = [];
        forEachTreeEntry(data, objectFormat, (mode, _start, _end, at) => {
          if (mode !== MODE_GITLINK) children.push(objectIdAt(data, at, objectFormat));
        });
        return children;
      }
      case "blob":
        return [];
    }
  } catch {
    // Its form was reported already.
    return [];
  }
}

function checkConnectivity(
  snapshot: Snapshot,
  links: Links,
  { onFinding, mayLackUnreachable = false }: RepositoryFsckOptions,
): void {
  const reached = new Set<ObjectId>();
  const queue: ObjectId[] = [];
  const reach = (oid: ObjectId, from: string): void => {
    if (reached.has(oid)) return;
    reached.add(oid);
    if (links.has(oid)) queue.push(oid);
    else onFinding({ severity: "error", message: `missing ${oid}, which ${from} refers to` });
  };
  for (const ref of snapshot.refs.all) reach(ref.oid, ref.name);
  if (snapshot.head.oid !== undefined) reach(snapshot.head.oid, "HEAD");
  for (let oid = queue.pop(); oid !== undefined; oid = queue.pop()) {
    for (const child of links.get(oid) ?? []) reach(child, oid);
  }
  const severity = mayLackUnreachable ? "info" : "error";
  for (const [oid, children] of links) {
    if (reached.has(oid)) continue;
    for (const child of children) {
      if (!links.has(child)) onFinding({ severity, message: `missing ${child}, which ${oid} refers to` });
    }
  }
}
