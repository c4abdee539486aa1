/**
 * zip as git writes it: sizes in front, the time of the commit as a Unix time as well, the commit's id as the comment.
 * Specification: PKWARE APPNOTE 6.3, sections 4.3 and 4.5; git-archive. Numbers are little-endian.
 *
 *     OFFSET  SIZE  MEANING (in front of a file)          OFFSET  SIZE  MEANING (in the directory at the end)
 *     0       4     "PK" 3 4                              0       4     "PK" 1 2
 *     4       2     version needed                        4       2     made by
 *     6       2     flags: bit 11, the name is UTF-8      6       24    as 4 to 27 in front of the file
 *     8       2     method: 0 stored, 8 deflated          28      2     length of name, 30 extra fields, 32 comment
 *     10      4     time, date as DOS has them            34      2     disk
 *     14      4     CRC-32                                36      2     bit 0: text
 *     18      4     size here, 22 size of the file        38      4     Unix mode and DOS attributes
 *     26      2     length of name, 28 extra fields       42      4     offset of the file
 */
import { promisify } from "node:util";
import { crc32, deflateRaw, deflateRawSync } from "node:zlib";
import type { ArchiveEntry, ArchiveOrigin } from "./archive-entry.js";
import { createChunkGatherer } from "./gather-chunks.js";

const deflateElsewhere = promisify(deflateRaw);

const FLAG_UTF8 = 1 << 11;
const METHOD_STORED = 0;
const METHOD_DEFLATED = 8;
const VERSION_PLAIN = 10;
const VERSION_ZIP64 = 45;
const MADE_BY_UNIX = 0x0317;
const DOS_DIRECTORY = 16;
const FULL_16 = 0xffff;
const FULL_32 = 0xffff_ffff;
/** Smaller files are deflated where they are: to hand them to a thread costs more. */
const SMALL_BYTES = 16 * 1024;

export async function* writeZip(
  entries: AsyncIterable<ArchiveEntry>,
  origin: ArchiveOrigin,
  options: { readonly level: number },
): AsyncGenerator<Uint8Array, void, void> {
  const out = createChunkGatherer();
  const time = dosTime(origin.modifiedSeconds);
  const unixTime = unixTimeField(origin.modifiedSeconds);
  const directory: Buffer[] = [];
  let directoryBytes = 0;
  let offset = 0;
  let madeBy = 0;
  const put = (bytes: Uint8Array): void => {
    out.add(bytes);
    offset += bytes.length;
  };
  for await (const entry of entries) {
    const file = await packed(entry, options.level);
    if (file.madeBy > madeBy) ({ madeBy } = file);
    const fields = commonFields(file, time);
    const row = directoryRow(file, { fields, unixTime, offset });
    directory.push(row);
    directoryBytes += row.length;
    put(Buffer.concat([u32(0x0403_4b50), fields, u16(file.name.length, unixTime.length), file.name]));
    put(unixTime);
    put(file.bytes);
    yield* out.take();
  }
  const start = offset;
  for (const row of directory) put(row);
  const count = directory.length;
  // As git: a directory of that many bytes is not provided for.
  if (count > FULL_16 || start > FULL_32) put(zip64End({ count, directoryBytes, start, madeBy }));
  const entriesShown = Math.min(count, FULL_16);
  const comment = Buffer.from(origin.commit ?? "", "latin1");
  put(
    Buffer.concat([
      u32(0x0605_4b50),
      u16(0, 0, entriesShown, entriesShown),
      u32(directoryBytes, Math.min(start, FULL_32)),
      u16(comment.length),
      comment,
    ]),
  );
  yield* out.take(true);
}

interface PackedFile {
  readonly name: Buffer;
  readonly flags: number;
  readonly method: number;
  readonly madeBy: number;
  readonly attributes: number;
  readonly isText: boolean;
  readonly crc: number;
  readonly sizeBytes: number;
  readonly bytes: Buffer;
}

async function packed(entry: ArchiveEntry, level: number): Promise<PackedFile> {
  const { kind, data } = entry;
  const name = Buffer.from(entry.path, "latin1");
  const isAscii = /^[\0-\x7f]*$/.test(entry.path);
  const flags = !isAscii && isUtf8(name) ? FLAG_UTF8 : 0;
  if (kind === "directory" || kind === "submodule") {
    return {
      name,
      flags,
      method: METHOD_STORED,
      madeBy: 0,
      attributes: DOS_DIRECTORY,
      isText: false,
      crc: 0,
      sizeBytes: 0,
      bytes: data,
    };
  }
  const mode = kind === "symlink" ? 0o120777 : kind === "executable" ? 0o100755 : 0;
  const deflated =
    kind === "symlink" || level === 0 || data.length === 0
      ? undefined
      : data.length < SMALL_BYTES
        ? deflateRawSync(data, { level })
        : await deflateElsewhere(data, { level, chunkSize: 64 * 1024 });
  const isSmaller = deflated !== undefined && deflated.length < data.length;
  return {
    name,
    flags,
    method: isSmaller ? METHOD_DEFLATED : METHOD_STORED,
    madeBy: mode === 0 ? 0 : MADE_BY_UNIX,
    attributes: mode * 0x1_0000,
    isText: entry.isText ?? looksLikeText(data),
    crc: crc32(data),
    sizeBytes: data.length,
    bytes: isSmaller ? deflated : data,
  };
}

/** The same in front of a file and in the directory. */
function commonFields(file: PackedFile, time: { readonly date: number; readonly time: number }): Buffer {
  return Buffer.concat([
    u16(VERSION_PLAIN, file.flags, file.method, time.time, time.date),
    u32(file.crc, file.bytes.length, file.sizeBytes),
  ]);
}

function directoryRow(
  file: PackedFile,
  at: { readonly fields: Buffer; readonly unixTime: Buffer; readonly offset: number },
): Buffer {
  const isFar = at.offset > FULL_32;
  const farOffset = isFar ? [u16(0x0001, 8), u64(at.offset)] : [];
  const extra = Buffer.concat([at.unixTime, ...farOffset]);
  return Buffer.concat([
    u32(0x0201_4b50),
    u16(file.madeBy),
    at.fields,
    u16(file.name.length, extra.length, 0, 0, file.isText ? 1 : 0),
    u32(file.attributes, Math.min(at.offset, FULL_32)),
    file.name,
    extra,
  ]);
}

function zip64End(about: {
  readonly count: number;
  readonly directoryBytes: number;
  readonly start: number;
  readonly madeBy: number;
}): Buffer {
  const { count, directoryBytes, start, madeBy } = about;
  return Buffer.concat([
    u32(0x0606_4b50),
    u64(44),
    u16(madeBy, VERSION_ZIP64),
    u32(0, 0),
    u64(count),
    u64(count),
    u64(directoryBytes),
    u64(start),
    u32(0x0706_4b50, 0),
    u64(start + directoryBytes),
    u32(1),
  ]);
}

/** In the time zone of this machine, as git and unzip have it. */
function dosTime(seconds: number): { readonly date: number; readonly time: number } {
  const at = new Date(seconds * 1000);
  if (Number.isNaN(at.getTime())) return { date: 33, time: 0 };
  const date = at.getDate() + (at.getMonth() + 1) * 32 + (at.getFullYear() - 1980) * 512;
  return {
    date: date & FULL_16,
    time: (Math.floor(at.getSeconds() / 2) + at.getMinutes() * 32 + at.getHours() * 2048) & FULL_16,
  };
}

function unixTimeField(seconds: number): Buffer {
  return Buffer.concat([u16(0x5455, 5), Buffer.from([1]), u32(seconds % 0x1_0000_0000)]);
}

/** Bytes that git looks at for a NUL. */
const LOOKED_AT_BYTES = 8000;

function looksLikeText(data: Buffer): boolean {
  return !data.subarray(0, LOOKED_AT_BYTES).includes(0);
}

function isUtf8(bytes: Buffer): boolean {
  return Buffer.from(bytes.toString("utf8")).equals(bytes);
}

function u16(...values: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(values.length * 2);
  for (const [i, value] of values.entries()) bytes.writeUInt16LE(value, i * 2);
  return bytes;
}

function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeUInt32LE(value, i * 4);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
