/** The short form of an id that names one object, as git finds it: by how many objects are packed, then by looking. */
import type { ObjectId } from "../../object/object-id.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";

const DIGITS_MIN = 7;

export async function abbreviate(objects: ObjectReader, oid: ObjectId): Promise<string> {
  let count = 0;
  for (const { index } of objects.packs) count += index.objectCount;
  const bits = count < 1 ? 0 : Math.floor(Math.log2(count)) + 1;
  const start = Math.max(DIGITS_MIN, Math.ceil(bits / 2));
  let digits = start;
  const tellApart = (other: ObjectId): void => {
    while (other !== oid && digits < oid.length && other.startsWith(oid.slice(0, digits))) digits++;
  };
  for (const { index } of objects.packs) {
    const like = index.findPrefix(oid.slice(0, start));
    for (let position = like.start; position < like.end; position++) tellApart(index.oidAt(position));
  }
  for await (const other of objects.looseObjects()) tellApart(other);
  return oid.slice(0, digits);
}
