/**
 * What one new object refers to, added to a `LinkSet`. Links of submodules (mode 160000) lead to other repositories
 * and are left out. Only the form that a walk needs is checked here; fsck is the strict judge.
 */
import { GitwharfError } from "../../base/errors.js";
import { hashBytes, hexLength, type ObjectFormat } from "../../object/object-format.js";
import { parseTagLinks } from "../../object/tag.js";
import { entryTypeOf } from "../../pack/entry-header.js";
import type { Kind, LinkSet } from "./link-set.js";

const COMMIT = 1;
const TREE = 2;
const BLOB = 3;
const TAG = 4;
/** One more than any mode needs: some old trees have a zero in front. */
export const MODE_DIGITS_MAX = 7;
const MODE_KIND = 0o170000;
const MODE_DIRECTORY = 0o040000;
const MODE_GITLINK = 0o160000;

const raw = Buffer.alloc(32);

/** Value of a hexadecimal digit, 255 for any other byte. */
const HEX = new Uint8Array(256).fill(255);
for (let i = 0; i < 16; i++) {
  HEX[i.toString(16).charCodeAt(0)] = i;
  HEX[i.toString(16).toUpperCase().charCodeAt(0)] = i;
}

/** @throws object/malformed */
export function addLinks(kind: Kind, data: Buffer, format: ObjectFormat, links: LinkSet): void {
  switch (kind) {
    case COMMIT:
      addCommitLinks(data, format, links);
      break;
    case TREE:
      addTreeLinks(data, 0, data.length, format, links);
      break;
    case TAG: {
      const { target, targetType } = parseTagLinks(data, format);
      raw.write(target, 0, "hex");
      links.add(raw, 0, entryTypeOf(targetType));
      break;
    }
    case BLOB:
      break;
  }
}

function addCommitLinks(data: Buffer, format: ObjectFormat, links: LinkSet): void {
  const hex = hexLength(format);
  if (data[0] !== 0x74 || data[4] !== 0x20 || !readHex(data, 5, hex) || data[5 + hex] !== 0x0a) {
    throw malformed("a commit does not begin with its tree");
  }
  links.add(raw, 0, TREE);
  let at = 6 + hex;
  // "parent "
  while (data[at] === 0x70 && data[at + 1] === 0x61 && data[at + 6] === 0x20) {
    if (!readHex(data, at + 7, hex) || data[at + 7 + hex] !== 0x0a)
      throw malformed("a commit's parent line is not whole");
    links.add(raw, 0, COMMIT);
    at += 8 + hex;
  }
}

/** Into `raw`; false when a byte is no hexadecimal digit. */
function readHex(data: Buffer, at: number, length: number): boolean {
  let bad = 0;
  for (let i = 0; i < length; i += 2) {
    const high = HEX[data[at + i] ?? 0] as number;
    const low = HEX[data[at + i + 1] ?? 0] as number;
    bad |= (high | low) & 0xf0;
    raw[i >>> 1] = (high << 4) | low;
  }
  return bad === 0;
}

/** The entries of `data` from `start` (the beginning of one) up to `end`. @throws object/malformed */
export function addTreeLinks(
  data: Buffer,
  start: number,
  end: number,
  format: ObjectFormat,
  links: LinkSet,
): void {
  const h = hashBytes(format);
  let at = start;
  while (at < end) {
    const from = at;
    let mode = 0;
    let byte = data[at++] as number;
    while (byte >= 0x30 && byte <= 0x37 && at < end) {
      mode = mode * 8 + byte - 0x30;
      byte = data[at++] as number;
    }
    if (byte !== 0x20 || at - from > MODE_DIGITS_MAX + 1)
      throw malformed("a tree's entry has a mode that is not octal");
    const name = at;
    while (at < end && data[at] !== 0) at++;
    if (at === name || at + 1 + h > end) throw malformed("a tree's entry is not whole");
    at++;
    const kind = mode & MODE_KIND;
    if (kind !== MODE_GITLINK) links.add(data, at, kind === MODE_DIRECTORY ? TREE : BLOB);
    at += h;
  }
}

function malformed(why: string): GitwharfError {
  return new GitwharfError("object/malformed", why);
}
