/**
 * What of a pushed pack goes on: the trees and blobs that the rewritten commits lead to, as far as the person has sent them. What is
 * outside of the pack the upstream has; what is in it and nothing leads to stays here, with the commits as they were.
 */
import { throwIfAborted } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { othersTurn } from "../../base/others-turn.js";
import { parseCommitLinks } from "../../object/commit.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import { forEachTreeEntry, MODE_GITLINK } from "../../object/tree.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { refuse } from "./refused.js";

const TURN_OBJECTS = 2000;

/** @throws Refused, object/malformed, base/aborted, storage/io */
export async function findPassedOn(
  objects: ObjectReader,
  about: {
    /** Rewritten ones, parents first. */
    readonly commits: Iterable<ObjectId>;
    readonly isPushed: (oid: ObjectId) => boolean;
    readonly commitBytesMax: number;
    readonly signal: AbortSignal;
  },
): Promise<ReadonlySet<ObjectId>> {
  const { commits, isPushed, commitBytesMax, signal } = about;
  const { objectFormat } = objects;
  const found = new Set<ObjectId>();
  let sinceTurn = 0;
  for (const commit of commits) {
    const { tree } = parseCommitLinks(await readData(objects, commit), objectFormat);
    let bytes = 0;
    const stack = [tree];
    for (let oid = stack.pop(); oid !== undefined; oid = stack.pop()) {
      if (found.has(oid) || !isPushed(oid)) continue;
      throwIfAborted(signal);
      if (++sinceTurn % TURN_OBJECTS === 0) await othersTurn();
      found.add(oid);
      const read = objects.readHeader(oid);
      const header = isPromise(read) ? await read : read;
      bytes += header?.sizeBytes ?? 0;
      if (bytes > commitBytesMax)
        throw refuse(
          "commit too large",
          `A commit may bring at most ${showBytes(commitBytesMax)}; one of these brings more.`,
        );
      if (header?.type !== "tree") continue;
      const data = await readData(objects, oid);
      forEachTreeEntry(data, objectFormat, (mode, _start, _end, oidAt) => {
        if (mode !== MODE_GITLINK) stack.push(objectIdAt(data, oidAt, objectFormat));
      });
    }
  }
  return found;
}

export function showBytes(bytes: number): string {
  const mega = bytes / (1024 * 1024);
  return mega >= 1 ? `${Math.round(mega * 10) / 10} MiB` : `${bytes} bytes`;
}

async function readData(objects: ObjectReader, oid: ObjectId): Promise<Buffer> {
  const read = objects.read(oid);
  const object = isPromise(read) ? await read : read;
  if (object === undefined) throw refuse("incomplete push", `The object ${oid} is missing in what was sent.`);
  return object.data;
}
