/**
 * A small history made without git, and the pack that carries it: what suites push into a backend.
 */
import { crc32 } from "node:zlib";
import { createObjectHash, type ObjectFormat, hashBytes } from "../../../object/object-format.js";
import { hashObject, type ObjectId, type ObjectType } from "../../../object/object-id.js";
import type { Pack } from "../../../pack/pack.js";
import { formatPackIndex } from "../../../pack/pack-index-writer.js";
import { formatEntry, formatPackHeader } from "../../../pack/pack-writer.js";
import type { PackSink } from "../quarantine.js";

export interface SampleObject {
  readonly oid: ObjectId;
  readonly type: ObjectType;
  readonly data: Buffer;
}

export function sampleObject(format: ObjectFormat, type: ObjectType, data: Uint8Array): SampleObject {
  const bytes = Buffer.from(data);
  return { oid: hashObject(format, type, bytes), type, data: bytes };
}

/** A commit of a tree with one file; content and message differ with `label`. */
export function sampleCommit(
  format: ObjectFormat,
  label: string,
  parents: readonly ObjectId[] = [],
): { readonly commit: SampleObject; readonly objects: readonly SampleObject[] } {
  const blob = sampleObject(format, "blob", Buffer.from(`content of ${label}\n`));
  const tree = sampleObject(
    format,
    "tree",
    Buffer.concat([Buffer.from("100644 file\0"), Buffer.from(blob.oid, "hex")]),
  );
  const person = "A U Thor <author@example.com> 1700000000 +0000";
  const text = [
    `tree ${tree.oid}`,
    ...parents.map((parent) => `parent ${parent}`),
    `author ${person}`,
    `committer ${person}`,
    "",
    `${label}\n`,
  ].join("\n");
  const commit = sampleObject(format, "commit", Buffer.from(text));
  return { commit, objects: [commit, tree, blob] };
}

/** Writes the objects as a pack, without deltas, in pieces of `chunkBytes`, and finishes the sink. */
export async function finishPack(
  sink: PackSink,
  format: ObjectFormat,
  objects: readonly SampleObject[],
  options: { readonly chunkBytes?: number } = {},
): Promise<Pack> {
  const { bytes, index, trailer } = formatSamplePack(format, objects);
  const step = options.chunkBytes ?? bytes.length;
  for (let at = 0; at < bytes.length; at += step) {
    // A copy that is spoilt afterwards: the sink must be done with it when it has answered.
    const chunk = Buffer.from(bytes.subarray(at, at + step));
    await sink.append(chunk);
    chunk.fill(0xee);
  }
  return sink.finish({ trailer, index });
}

export function formatSamplePack(
  format: ObjectFormat,
  objects: readonly SampleObject[],
): { readonly bytes: Buffer; readonly index: SharedArrayBuffer; readonly trailer: string } {
  const parts = [formatPackHeader(objects.length)];
  const offsets: number[] = [];
  const crc32s = new Uint32Array(objects.length);
  const oids = new Uint8Array(objects.length * hashBytes(format));
  let at = parts[0]?.length ?? 0;
  for (const [i, object] of objects.entries()) {
    const entry = formatEntry(object.type, object.data);
    parts.push(entry);
    offsets.push(at);
    crc32s[i] = crc32(entry);
    oids.set(Buffer.from(object.oid, "hex"), i * hashBytes(format));
    at += entry.length;
  }
  const trailer = createObjectHash(format).update(Buffer.concat(parts)).digest();
  const packTrailer = trailer.toString("hex");
  const { bytes: index } = formatPackIndex({ objectFormat: format, oids, offsets, crc32s, packTrailer });
  return { bytes: Buffer.concat([...parts, trailer]), index, trailer: packTrailer };
}
