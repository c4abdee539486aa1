/**
 * Text in tables: UTF-8, mostly. Bytes that are not become lone surrogates, U+DC00 + byte, so that a compaction writes
 * the names and logs of others as it found them. `showText` is for what leaves this folder.
 */
import { isUtf8 } from "node:buffer";
import { sortNames } from "../../../refs/ref-order.js";

/** In a `u` pattern, a surrogate is one that is not part of a pair. */
const LONE = /[\udc80-\udcff]/u;
const EACH_LONE = /[\udc80-\udcff]/gu;
const SEQUENCE_BYTES_MAX = 4;

export function decodeText(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString("utf8", start, end);
  if (!text.includes("\ufffd") || isUtf8(bytes.subarray(start, end))) return text;
  let exact = "";
  for (let at = start; at < end; ) {
    let length = 1;
    while (length <= SEQUENCE_BYTES_MAX && at + length <= end && !isUtf8(bytes.subarray(at, at + length)))
      length++;
    if (length > SEQUENCE_BYTES_MAX || at + length > end)
      exact += String.fromCharCode(0xdc00 + (bytes[at++] ?? 0));
    else exact += bytes.toString("utf8", at, (at += length));
  }
  return exact;
}

/** What `decodeText` was given. */
export function encodeText(text: string): Buffer {
  if (!LONE.test(text)) return Buffer.from(text);
  const parts: Buffer[] = [];
  let at = 0;
  for (const { index } of text.matchAll(EACH_LONE)) {
    parts.push(Buffer.from(text.slice(at, index)), Buffer.of(text.charCodeAt(index) - 0xdc00));
    at = index + 1;
  }
  return Buffer.concat([...parts, Buffer.from(text.slice(at))]);
}

/** With U+FFFD for each byte that is not UTF-8. */
export function showText(text: string): string {
  return text.replaceAll(EACH_LONE, "\ufffd");
}

/** Sorts in place, in the order of the bytes. */
export function sortTexts(texts: string[]): string[] {
  if (!texts.some((text) => LONE.test(text))) return sortNames(texts);
  return texts.sort((a, b) => Buffer.compare(encodeText(a), encodeText(b)));
}
