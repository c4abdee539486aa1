/**
 * Is all there that some objects lead to? Asked when objects may have gone since somebody has looked: by a push that was under
 * way when garbage was collected, and by a collection when refs have moved since it looked. Not whether it is reachable
 * from refs; that was found before.
 */
import { isPromise, type MaybePromise } from "../../base/maybe-promise.js";
import { othersTurn } from "../../base/others-turn.js";
import { parseCommitLinks } from "../../object/commit.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import { parseTagLinks } from "../../object/tag.js";
import { forEachTreeEntry, MODE_GITLINK } from "../../object/tree.js";
import type { GitObject, ObjectReader } from "../contracts/object-reader.js";

export interface FindLostRequest {
  readonly objects: ObjectReader;
  readonly tips: readonly ObjectId[];
  /** What it leads to is there as well. */
  readonly isComplete: (oid: ObjectId) => boolean;
  /** Commits whose parents are absent. */
  readonly shallow: ReadonlySet<ObjectId>;
}

/** Objects that are read: about 100 bytes each, and not on the way of anybody for long. */
const OBJECTS_MAX = 100_000;
const OBJECTS_A_TURN = 64;

/** @returns "lost" also when there is too much to look at. @throws storage/io, object/corrupt */
export async function findLost(request: FindLostRequest): Promise<"lost" | "none"> {
  const { objects, isComplete } = request;
  const seen = new Set<ObjectId>();
  const stack: ObjectId[] = [];
  const meet = (oid: ObjectId): void => {
    if (seen.has(oid) || isComplete(oid)) return;
    seen.add(oid);
    stack.push(oid);
  };
  for (const tip of request.tips) meet(tip);
  let looked = 0;
  for (let oid = stack.pop(); oid !== undefined; oid = stack.pop()) {
    if (++looked > OBJECTS_MAX) return "lost";
    if (looked % OBJECTS_A_TURN === 0) await othersTurn();
    const header = await waited(objects.readHeader(oid));
    if (header === undefined) return "lost";
    if (header.type === "blob") continue;
    const object = await waited(objects.read(oid));
    if (object === undefined) return "lost";
    for (const link of linksOf(object, objects, request.shallow.has(oid))) meet(link);
  }
  return "none";
}

async function waited<T>(value: MaybePromise<T>): Promise<T> {
  return isPromise(value) ? await value : value;
}

function linksOf(
  { type, data }: GitObject,
  { objectFormat }: ObjectReader,
  isShallow: boolean,
): readonly ObjectId[] {
  if (type === "commit") {
    const { tree, parents } = parseCommitLinks(data, objectFormat);
    return isShallow ? [tree] : [tree, ...parents];
  }
  if (type === "tag") return [parseTagLinks(data, objectFormat).target];
  const links: ObjectId[] = [];
  if (type === "tree")
    forEachTreeEntry(data, objectFormat, (mode, _start, _end, at) => {
      if (mode !== MODE_GITLINK) links.push(objectIdAt(data, at, objectFormat));
    });
  return links;
}
