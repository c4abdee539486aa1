/** The loose objects of a repository as a sorted table that workers share. */
import { throwIfAborted } from "../../base/errors.js";
import { hashBytes } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";

/** Memory: an id of text for each while they are sorted, then a raw one. @throws storage/io, base/aborted */
export async function listLooseObjects(
  objects: ObjectReader,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<SharedArrayBuffer>> {
  const oids: ObjectId[] = [];
  for await (const oid of objects.looseObjects()) {
    if (oids.push(oid) % 1024 === 0) throwIfAborted(signal);
  }
  oids.sort();
  const h = hashBytes(objects.objectFormat);
  const table = new Uint8Array(new SharedArrayBuffer(oids.length * h));
  const bytes = Buffer.from(table.buffer);
  oids.forEach((oid, i) => bytes.write(oid, i * h, "hex"));
  return table;
}
