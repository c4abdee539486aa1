/**
 * What a filter lets through: compiled from an `ObjectFilter`, asked during the walk. Objects that were asked for
 * by id are sent whatever the filter says; that is the caller's (`object-count.ts`), as in git.
 *
 * Differs from git: in a `combine:` of a path-dependent and another filter git forgets an object that the second
 * filter let through at a path which the first refused, and then leaves it out at a path which the first allows.
 * Here an object is sent when all filters allow it at one and the same path.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import type { ObjectId, ObjectType } from "../../object/object-id.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { ObjectFilter } from "../filter.js";
import {
  parseSparsePatterns,
  SPARSE_BYTES_MAX,
  type SparsePatterns,
  tooLargeSparse,
} from "./sparse-patterns.js";

export interface ObjectGate {
  readonly commits: boolean;
  readonly tags: boolean;
  /** False: no tree below a commit is sent nor looked into. */
  readonly anyTrees: boolean;
  /** False: no blob is sent, whatever its path. */
  readonly anyBlobs: boolean;
  readonly showTrees: boolean;
  /** Trees and blobs at this depth and below are left out, a commit's tree being 0. */
  readonly depthMax: number;
  /** Blobs of so many bytes and more are left out; Infinity when sizes need not be known. */
  readonly blobSizeMax: number;
  /** Decisions depend on the path: the same tree must be looked into again at another path. */
  readonly sparse: readonly SparsePatterns[];
}

export const OPEN_GATE: ObjectGate = {
  commits: true,
  tags: true,
  anyTrees: true,
  anyBlobs: true,
  showTrees: true,
  depthMax: Number.POSITIVE_INFINITY,
  blobSizeMax: Number.POSITIVE_INFINITY,
  sparse: [],
};

/** The sparse specifications of a filter, resolved to blobs' ids, in order of appearance. */
export async function compileFilter(
  filter: ObjectFilter | undefined,
  objects: ObjectReader,
  sparseBlobs: readonly ObjectId[],
): Promise<ObjectGate> {
  if (filter === undefined) return OPEN_GATE;
  const gate = { ...OPEN_GATE, sparse: [] as SparsePatterns[] };
  const blobs = [...sparseBlobs];
  const stack: ObjectFilter[] = [filter];
  const byType = (type: ObjectType): void => {
    gate.commits &&= type === "commit";
    gate.tags &&= type === "tag";
    gate.showTrees &&= type === "tree";
    gate.anyTrees &&= type === "tree" || type === "blob";
    gate.anyBlobs &&= type === "blob";
  };
  let sparseBytes = 0;
  for (let one = stack.pop(); one !== undefined; one = stack.pop()) {
    switch (one.kind) {
      case "blob-none":
        gate.anyBlobs = false;
        break;
      case "blob-limit":
        gate.blobSizeMax = Math.min(gate.blobSizeMax, one.limitBytes);
        break;
      case "tree-depth":
        gate.depthMax = Math.min(gate.depthMax, one.depth);
        break;
      case "object-type":
        byType(one.type);
        break;
      case "sparse-oid": {
        const oid = blobs.pop();
        // Its size first: it is not read only to be found too large.
        const header = oid === undefined ? undefined : await objects.readHeader(oid);
        sparseBytes += header?.sizeBytes ?? 0;
        if (sparseBytes > SPARSE_BYTES_MAX) throw tooLargeSparse();
        const read = oid === undefined || header?.type !== "blob" ? undefined : objects.read(oid);
        const blob = isPromise(read) ? await read : read;
        if (blob === undefined) {
          throw new GitwharfError(
            "protocol/bad-request",
            `unable to access sparse blob in '${one.name.slice(0, 100)}'`,
          );
        }
        gate.sparse.push(parseSparsePatterns(blob.data));
        break;
      }
      case "combine":
        stack.push(...one.filters);
        break;
    }
  }
  if (gate.depthMax === 0) gate.anyTrees = false;
  if (gate.blobSizeMax === 0) gate.anyBlobs = false;
  return gate;
}
