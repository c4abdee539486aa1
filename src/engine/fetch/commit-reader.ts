/**
 * Links of commits (tree, parents, date, generation) for walks: from the commit-graph where there is one, else from
 * the commit itself, with a cache that the whole thread shares.
 *
 * The cache is keyed by object id alone: what a commit says depends on nothing else. That the commit is in *this*
 * repository is looked up each time.
 */
import { LRUCache } from "lru-cache";
import { cacheOfProcess } from "../../base/process-caches.js";
import { isPromise, type MaybePromise } from "../../base/maybe-promise.js";
import { parseCommitLinks } from "../../object/commit.js";
import type { ObjectId } from "../../object/object-id.js";
import type { GitObject, ObjectReader } from "../../storage/contracts/object-reader.js";

export interface CommitLinks {
  readonly tree: ObjectId;
  readonly parents: readonly ObjectId[];
  /** Committer's time, seconds since 1970. */
  readonly dateSeconds: number;
  /** Greater than that of every ancestor; Infinity when it is not known. */
  readonly generation: number;
}

export interface CommitReader {
  /** undefined when the object is absent or is not a commit. */
  read(oid: ObjectId): MaybePromise<CommitLinks | undefined>;
}

/** About 300 bytes an entry. */
const parsed = cacheOfProcess(new LRUCache<ObjectId, CommitLinks>({ max: 65_536 }));
const NO_PARENTS: readonly ObjectId[] = [];

/**
 * @param cutAt commits whose parents are to be taken as absent (shallow boundaries)
 */
export function createCommitReader(objects: ObjectReader, cutAt?: ReadonlySet<ObjectId>): CommitReader {
  const graph = objects.commitGraph;
  const cut = (oid: ObjectId, links: CommitLinks): CommitLinks =>
    cutAt !== undefined && cutAt.has(oid) ? { ...links, parents: NO_PARENTS } : links;
  const parse = (oid: ObjectId, object: GitObject | undefined): CommitLinks | undefined => {
    if (object === undefined || object.type !== "commit") return undefined;
    const { tree, parents, committerSeconds } = parseCommitLinks(object.data, objects.objectFormat);
    const links = { tree, parents, dateSeconds: committerSeconds, generation: Number.POSITIVE_INFINITY };
    parsed.set(oid, links);
    return cut(oid, links);
  };
  return {
    read(oid) {
      if (graph !== undefined) {
        const at = graph.find(oid);
        if (at >= 0) {
          // Graph entries are not cached: the same commit has no generation in a repository without a graph.
          return cut(oid, {
            tree: graph.treeAt(at),
            parents: graph.parentsAt(at).map((parent) => graph.oidAt(parent)),
            dateSeconds: graph.dateSecondsAt(at),
            generation: graph.generationAt(at) || Number.POSITIVE_INFINITY,
          });
        }
      }
      if (objects.locate(oid) !== undefined) {
        const links = parsed.get(oid);
        if (links !== undefined) return cut(oid, links);
      }
      // The head first: what is asked for may be a blob of any size.
      const header = objects.readHeader(oid);
      const read = (type: string | undefined): MaybePromise<CommitLinks | undefined> => {
        const object = type === "commit" ? objects.read(oid) : undefined;
        return isPromise(object) ? object.then((o) => parse(oid, o)) : parse(oid, object);
      };
      return isPromise(header) ? header.then((h) => read(h?.type)) : read(header?.type);
    },
  };
}
