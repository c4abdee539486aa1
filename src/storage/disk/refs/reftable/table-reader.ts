/** What a reftable file says. Pure: reftable-file.ts reads the bytes. Specification: technical/reftable. */
import type { ObjectFormat } from "../../../../object/object-format.js";
import { compareRefNames } from "../../../refs/ref-order.js";
import { forEachRecord, readBlock } from "./block-reader.js";
import { corrupt } from "./byte-cursor.js";
import { decodeLogValue, decodeRefValue, type LogRecord, type RefRecord } from "./records.js";
import {
  footerLength,
  parseFooter,
  parseHeader,
  type TableHeader,
  type TableSections,
} from "./table-header.js";

export interface TableLayout extends TableHeader, TableSections {
  readonly headerLength: number;
  /** Where the ref blocks end at the latest. */
  readonly refsEnd: number;
  /** Where logs begin and end at the latest; equal when there are none. */
  readonly logsStart: number;
  readonly logsEnd: number;
}

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
  let last = "";
  for (let at = 0; at < part.length; ) {
    const block = readBlock(part, at, at === 0 ? headerLength : 0, blockSize);
    if (block?.type !== "r") break;
    forEachRecord(block, (key, length, type, cursor) => {
      const name = key.toString("utf8", 0, length);
      if (last !== "" && compareRefNames(last, name) >= 0) throw corrupt(`the ref ${name} is out of order`);
      last = name;
      refs.push(decodeRefValue(name, type, cursor, minUpdateIndex, objectFormat));
    });
    at = block.next;
  }
  return refs;
}

/**
 * Calls for each log record, in order; answering true ends it.
 * @param bytes the file from `logsStart` to `logsEnd`
 * @throws storage/bad-ref
 */
export function forEachLog(
  bytes: Buffer,
  layout: TableLayout,
  visit: (record: LogRecord) => boolean | void,
  from = layout.logsStart,
): void {
  const { headerLength, logsStart, objectFormat } = layout;
  let ended = false;
  for (let at = from - logsStart; at < bytes.length && !ended; ) {
    const block = readBlock(bytes, at, logsStart + at === 0 ? headerLength : 0, 0);
    if (block?.type !== "g") return;
    forEachRecord(block, (key, length, type, cursor) => {
      ended = visit(decodeLogValue(key.subarray(0, length), type, cursor, objectFormat)) === true;
      return ended;
    });
    at = block.next;
  }
}

/**
 * Where in the file the log block is that holds the first record with this key or a greater one.
 * @param bytes the file from `logsStart` to `logsEnd`
 * @returns undefined when all keys are smaller. @throws storage/bad-ref
 */
export function findLogBlock(bytes: Buffer, layout: TableLayout, key: Buffer): number | undefined {
  const { logIndexPosition, logsStart, blockSize } = layout;
  if (logIndexPosition === 0) return logsStart;
  let at = logIndexPosition;
  // Each level points to blocks before it, so this ends.
  for (;;) {
    const block = readBlock(bytes, at - logsStart, 0, blockSize);
    if (block?.type === "g") return at;
    if (block?.type !== "i") return undefined;
    let found: number | undefined;
    forEachRecord(block, (lastKey, length, _type, cursor) => {
      const position = cursor.varint();
      if (lastKey.compare(key, 0, key.length, 0, length) < 0) return false;
      found = position;
      return true;
    });
    if (found !== undefined && (found >= at || found < logsStart))
      throw corrupt("its log index points in a circle");
    at = found ?? logsStart + block.next;
  }
}
