/** What a reftable file says. Pure: reftable-file.ts reads the bytes. Specification: technical/reftable. */
import type { ObjectFormat } from "../../../../object/object-format.js";
import { type Block, forEachRecord, readBlock } from "./block-reader.js";
import { corrupt } from "./byte-cursor.js";
import { decodeLogValue, decodeRefValue, type LogRecord, type RefRecord } from "./records.js";
import {
  footerLength,
  parseFooter,
  parseHeader,
  type TableHeader,
  type TableSections,
} from "./table-header.js";
import { decodeText } from "./table-text.js";

export interface TableLayout extends TableHeader, TableSections {
  readonly headerLength: number;
  /** Where the ref blocks end at the latest. */
  readonly refsEnd: number;
  /** Where logs begin and end at the latest; equal when there are none. */
  readonly logsStart: number;
  readonly logsEnd: number;
}

/** Read at once: most log blocks are shorter than this. */
const LOG_BLOCK_BYTES = 4096 + 64;

/**
 * @param start the first 28 bytes of the file, or more
 * @param end the last 72 bytes, or more
 * @throws storage/bad-ref, storage/unsupported
 */
export function parseLayout(
  start: Buffer,
  end: Buffer,
  sizeBytes: number,
  format: ObjectFormat,
): TableLayout {
  const { length: headerLength, ...header } = parseHeader(start);
  if (header.objectFormat !== format)
    throw corrupt(`it is of ${header.objectFormat}, in a repository of ${format}`);
  const footer = footerLength(headerLength);
  if (sizeBytes < headerLength + footer) throw corrupt("it is cut short");
  const sections = parseFooter(end.subarray(end.length - footer), start.subarray(0, headerLength));
  const footerStart = sizeBytes - footer;
  const positions = [
    sections.refIndexPosition,
    sections.objPosition,
    sections.objIndexPosition,
    sections.logPosition,
    sections.logIndexPosition,
  ];
  if (positions.some((position) => position > footerStart)) throw corrupt("its footer points beyond it");
  const logsOnly = start[headerLength] === 0x67 && sizeBytes > headerLength + footer;
  const logsStart = logsOnly ? 0 : sections.logPosition > 0 ? sections.logPosition : footerStart;
  const refsEnd = logsOnly ? 0 : Math.min(...positions.filter((position) => position > 0), footerStart);
  return { ...header, ...sections, headerLength, refsEnd, logsStart, logsEnd: footerStart };
}

/** @param bytes of the file, up to `refsEnd` at least. @throws storage/bad-ref */
export function parseRefs(bytes: Buffer, layout: TableLayout): readonly RefRecord[] {
  const { headerLength, blockSize, minUpdateIndex, objectFormat } = layout;
  const part = bytes.subarray(0, layout.refsEnd);
  const refs: RefRecord[] = [];
  let last = Buffer.alloc(0);
  for (let at = 0; at < part.length; ) {
    const block = readBlock(part, at, at === 0 ? headerLength : 0, blockSize);
    if (block?.type !== "r") break;
    forEachRecord(block, (key, length, type, cursor) => {
      const name = decodeText(key, 0, length);
      if (last.compare(key, 0, length) >= 0) throw corrupt(`the ref ${name} is out of order`);
      last = Buffer.from(key.subarray(0, length));
      refs.push(decodeRefValue(name, type, cursor, minUpdateIndex, objectFormat));
    });
    at = block.next;
  }
  return refs;
}

/** Bytes of the file from `start` to `end`, which lie in it. */
export type ReadRange = (start: number, end: number) => Buffer;

/**
 * Calls for each log record, in order; answering true ends it.
 * @param from a log block
 * @throws storage/bad-ref
 */
export function forEachLog(
  read: ReadRange,
  layout: TableLayout,
  visit: (record: LogRecord) => boolean | void,
  from = layout.logsStart,
): void {
  let ended = false;
  for (let at = from; !ended; ) {
    const block = readLogBlock(read, layout, at);
    if (block?.type !== "g") return;
    forEachRecord(block, (key, length, type, cursor) => {
      ended = visit(decodeLogValue(key.subarray(0, length), type, cursor, layout.objectFormat)) === true;
      return ended;
    });
    at += block.next;
  }
}

/**
 * Where in the file the log block is that holds the first record with this key or a greater one.
 * @returns undefined when all keys are smaller. @throws storage/bad-ref
 */
export function findLogBlock(read: ReadRange, layout: TableLayout, key: Buffer): number | undefined {
  const { logIndexPosition, logsStart } = layout;
  if (logIndexPosition === 0) return logsStart;
  let at = logIndexPosition;
  let isTop = true;
  // Forward among the blocks of the highest level, then only back: so this ends.
  for (;;) {
    const block = readLogBlock(read, layout, at);
    if (block?.type === "g") return isTop ? undefined : at;
    if (block?.type !== "i") return undefined;
    let found: number | undefined;
    forEachRecord(block, (lastKey, length, _type, cursor) => {
      const position = cursor.varint();
      if (lastKey.compare(key, 0, key.length, 0, length) < 0) return false;
      found = position;
      return true;
    });
    if (found === undefined && !isTop) throw corrupt("its log index does not say where a key is");
    if (found !== undefined && (found >= at || found < logsStart))
      throw corrupt("its log index points in a circle");
    isTop &&= found === undefined;
    at = found ?? at + block.next;
  }
}

/** One block of the logs or of their index. `next` is counted from `at`. undefined when there is none. */
function readLogBlock(read: ReadRange, layout: TableLayout, at: number): Block | undefined {
  const { blockSize, logsEnd } = layout;
  if (at >= logsEnd) return undefined;
  const header = at === 0 ? layout.headerLength : 0;
  let bytes = read(at, Math.min(at + LOG_BLOCK_BYTES, logsEnd));
  if (bytes.length < header + 4) return undefined;
  // What does not deflate becomes a little longer.
  const length = bytes.readUIntBE(header + 1, 3);
  const longest = Math.min(length + Math.ceil(length / 1024) + 64, logsEnd - at);
  if (longest > bytes.length) bytes = read(at, at + longest);
  return readBlock(bytes, 0, header, blockSize, at);
}
