/**
 * The records of a reftable and their values. Specification: technical/reftable, "ref record", "log record".
 *
 *     ref    key: name        varint update index − least update index of the table
 *                             type 0 deletion, 1 an id, 2 an id and what the tag stands for, 3 varint length, target
 *     log    key: name, NUL, 8 bytes 2^64 − 1 − update index
 *                             type 0 deletion; 1 old id, new id, texts (varint length, bytes): name, email;
 *                             varint seconds; 2 bytes zone; text: message
 *     index  key: last key of a block                varint position of the block
 *     obj    key: first bytes of an id, type: how many positions (0: varint count)
 *                             varint first position, varint distances; blocks that have refs with such an id
 *
 * Differs from the specification, as git does: the zone of a log record is not in minutes, but the decimal number
 * that stands in text, +0130 being 130; and a message ends with a line feed.
 */
import { hashBytes, type ObjectFormat } from "../../../../object/object-format.js";
import type { ObjectId } from "../../../../object/object-id.js";
import type { RefValue } from "../../../refs/ref-state.js";
import { type ByteCursor, corrupt, readUint64, writeUint64 } from "./byte-cursor.js";
import { decodeText, encodeText } from "./table-text.js";
import { varintLength, writeVarint } from "./varint.js";

export interface RefRecord {
  readonly name: string;
  readonly updateIndex: number;
  /** undefined: deleted. Never `broken`. */
  readonly value: RefValue | undefined;
}

export interface LogRecord {
  readonly name: string;
  readonly updateIndex: number;
  /** undefined: deleted. */
  readonly entry: LogEntry | undefined;
}

export interface LogEntry {
  readonly oldOid: ObjectId;
  readonly newOid: ObjectId;
  readonly name: string;
  readonly email: string;
  readonly timeSeconds: number;
  /** +0130 is 130. */
  readonly zone: number;
  /** Without the line feed. */
  readonly message: string;
}

export interface Encoded {
  readonly type: number;
  readonly value: Buffer;
}

export function encodeRefValue({ updateIndex, value }: RefRecord, minUpdateIndex: number): Encoded {
  const index = encodeVarint(updateIndex - minUpdateIndex);
  switch (value?.kind) {
    case "direct": {
      const { oid, peeled } = value.ref;
      const ids = Buffer.from(oid + (peeled ?? ""), "hex");
      return { type: peeled === undefined ? 1 : 2, value: Buffer.concat([index, ids]) };
    }
    case "symbolic":
      return { type: 3, value: Buffer.concat([index, encodeField(value.target)]) };
    default:
      return { type: 0, value: index };
  }
}

/** @param name of the ref, already decoded from the key. @throws storage/bad-ref */
export function decodeRefValue(
  name: string,
  type: number,
  cursor: ByteCursor,
  minUpdateIndex: number,
  format: ObjectFormat,
): RefRecord {
  const updateIndex = minUpdateIndex + cursor.varint();
  const size = hashBytes(format);
  const oidAt = (start: number): ObjectId => cursor.bytes.toString("hex", start, start + size);
  switch (type) {
    case 0:
      return { name, updateIndex, value: undefined };
    case 1:
      return {
        name,
        updateIndex,
        value: { kind: "direct", ref: { name, oid: oidAt(cursor.take(size)), peelKnown: true } },
      };
    case 2: {
      const start = cursor.take(2 * size);
      const ref = { name, oid: oidAt(start), peeled: oidAt(start + size), peelKnown: true };
      return { name, updateIndex, value: { kind: "direct", ref } };
    }
    case 3:
      return { name, updateIndex, value: { kind: "symbolic", target: cursor.text() } };
    default:
      throw corrupt(`the ref ${name} has a value of the unknown type ${type}`);
  }
}

export function logKey(name: string, updateIndex: number): Buffer {
  const text = encodeText(name);
  const key = Buffer.alloc(text.length + 9);
  text.copy(key);
  writeUint64(key, text.length + 1, updateIndex);
  for (let i = text.length + 1; i < key.length; i++) key[i] = ~(key[i] ?? 0) & 0xff;
  return key;
}

/** @throws storage/bad-ref */
function parseLogKey(key: Buffer): { readonly name: string; readonly updateIndex: number } {
  const end = key.length - 9;
  if (end <= 0 || key[end] !== 0) throw corrupt("a log record has no name");
  const index = Buffer.from(key.subarray(end + 1));
  for (let i = 0; i < index.length; i++) index[i] = ~(index[i] ?? 0) & 0xff;
  return { name: decodeText(key, 0, end), updateIndex: readUint64(index, 0) };
}

export function encodeLogValue({ entry }: LogRecord): Encoded {
  if (entry === undefined) return { type: 0, value: Buffer.alloc(0) };
  const zone = Buffer.alloc(2);
  zone.writeInt16BE(entry.zone);
  const parts = [
    Buffer.from(entry.oldOid + entry.newOid, "hex"),
    encodeField(entry.name),
    encodeField(entry.email),
    encodeVarint(entry.timeSeconds),
    zone,
    encodeField(`${entry.message}\n`),
  ];
  return { type: 1, value: Buffer.concat(parts) };
}

/** @throws storage/bad-ref */
export function decodeLogValue(
  key: Buffer,
  type: number,
  cursor: ByteCursor,
  format: ObjectFormat,
): LogRecord {
  const { name, updateIndex } = parseLogKey(key);
  if (type === 0) return { name, updateIndex, entry: undefined };
  if (type !== 1) throw corrupt(`the log of ${name} has a record of the unknown type ${type}`);
  const size = hashBytes(format);
  const oids = cursor.bytes.toString("hex", cursor.take(2 * size), cursor.at);
  const oldOid = oids.slice(0, 2 * size);
  const newOid = oids.slice(2 * size);
  const person = { name: cursor.text(), email: cursor.text(), timeSeconds: cursor.varint() };
  const zone = cursor.bytes.readInt16BE(cursor.take(2));
  const message = cursor.text().replace(/\n$/, "");
  return { name, updateIndex, entry: { oldOid, newOid, ...person, zone, message } };
}

/** @param positions ascending; none means that they are too many to tell */
export function encodeObjValue(positions: readonly number[]): Encoded {
  const count = positions.length;
  const parts = count === 0 || count > 7 ? [encodeVarint(count)] : [];
  let last = 0;
  for (const position of positions) {
    parts.push(encodeVarint(position - last));
    last = position;
  }
  return { type: count > 7 ? 0 : count, value: Buffer.concat(parts) };
}

/** @throws storage/bad-ref */
export function decodeObjValue(type: number, cursor: ByteCursor): readonly number[] {
  const count = type === 0 ? cursor.varint() : type;
  const positions: number[] = [];
  let last = 0;
  // Each takes a byte at least, so a count that is too large ends with the block.
  for (let i = 0; i < count; i++) positions.push((last += cursor.varint()));
  return positions;
}

export function encodeVarint(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(varintLength(value));
  writeVarint(bytes, 0, value);
  return bytes;
}

function encodeField(text: string): Buffer {
  const bytes = encodeText(text);
  return Buffer.concat([encodeVarint(bytes.length), bytes]);
}
