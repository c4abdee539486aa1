/**
 * tar as git writes it, byte for byte: ustar headers, pax ones where those do not suffice, blocks of 10,240 bytes.
 * Specification: POSIX.1-2001 pax, "ustar Interchange Format" and "pax Header Block"; git-archive.
 *
 *     OFFSET  SIZE  MEANING (one header)
 *     0       100   name
 *     100     8     mode, 108 uid, 116 gid: 7 octal digits, NUL
 *     124     12    size, 136 modification time: 11 octal digits, NUL
 *     148     8     checksum
 *     156     1     type: 0 file, 2 symbolic link, 5 directory, x and g pax headers
 *     157     100   where a link leads
 *     257     8     "ustar" NUL "00"
 *     265     32    user, 297 group: "root"
 *     329     8     device numbers, 337 8
 *     345     155   directories that stand before the name
 */
import type { ArchiveEntry, ArchiveOrigin } from "./archive-entry.js";
import { createChunkGatherer } from "./gather-chunks.js";

const RECORD_BYTES = 512;
const BLOCK_BYTES = 20 * RECORD_BYTES;
const NAME_BYTES = 100;
const PREFIX_BYTES = 155;
/** The largest number of eleven octal digits. */
const NUMBER_MAX = 0o77777777777;
/** Group members may write: git's `tar.umask` unless configured. */
const UMASK = 0o002;

export async function* writeTar(
  entries: AsyncIterable<ArchiveEntry>,
  origin: ArchiveOrigin,
): AsyncGenerator<Uint8Array, void, void> {
  const out = createChunkGatherer();
  let offset = 0;
  const record = (bytes: Uint8Array): void => {
    out.add(bytes);
    const tail = (RECORD_BYTES - (bytes.length % RECORD_BYTES)) % RECORD_BYTES;
    if (tail > 0) out.zeros(tail);
    offset += bytes.length + tail;
  };
  const seconds = Math.min(origin.modifiedSeconds, NUMBER_MAX);
  const globals = [
    ...(origin.commit === undefined ? [] : [paxRecord("comment", origin.commit)]),
    ...(origin.modifiedSeconds > NUMBER_MAX ? [paxRecord("mtime", String(origin.modifiedSeconds))] : []),
  ];
  const pax = (type: "g" | "x", name: string, text: string): void => {
    const bytes = Buffer.from(text, "latin1");
    record(formatHeader({ name, type, mode: 0o666, size: bytes.length, seconds }));
    record(bytes);
  };
  if (globals.length > 0) pax("g", "pax_global_header", globals.join(""));
  for await (const entry of entries) {
    const { header, extended } = headerOf(entry, seconds);
    if (extended !== "") pax("x", `${entry.oid}.paxheader`, extended);
    record(formatHeader(header));
    if (header.size > 0) record(entry.data);
    yield* out.take();
  }
  // At least two empty records, and the rest of the block.
  let tail = BLOCK_BYTES - (offset % BLOCK_BYTES);
  if (tail < 2 * RECORD_BYTES) tail += BLOCK_BYTES;
  out.zeros(tail);
  yield* out.take(true);
}

interface Header {
  readonly name: string;
  readonly directories?: string;
  readonly type: "0" | "2" | "5" | "g" | "x";
  readonly mode: number;
  readonly size: number;
  readonly seconds: number;
  readonly link?: string;
}

function headerOf(
  { kind, path, oid, data }: ArchiveEntry,
  seconds: number,
): { readonly header: Header; readonly extended: string } {
  let extended = "";
  let names: Pick<Header, "name" | "directories"> = { name: path };
  if (path.length > NAME_BYTES) {
    const cut = cutOf(path);
    if (cut > 0 && path.length - cut - 1 <= NAME_BYTES) {
      names = { name: path.slice(cut + 1), directories: path.slice(0, cut) };
    } else {
      names = { name: `${oid}.data` };
      extended += paxRecord("path", path);
    }
  }
  switch (kind) {
    case "directory":
    case "submodule":
      return { header: { ...names, type: "5", mode: 0o777 & ~UMASK, size: 0, seconds }, extended };
    case "file":
    case "executable": {
      const mode = (kind === "file" ? 0o666 : 0o777) & ~UMASK;
      return { header: { ...names, type: "0", mode, size: data.length, seconds }, extended };
    }
    case "symlink": {
      let link = data.toString("latin1");
      if (link.length > NAME_BYTES) {
        extended += paxRecord("linkpath", link);
        link = `see ${oid}.paxheader`;
      }
      return { header: { ...names, type: "2", mode: 0o777, size: 0, seconds, link }, extended };
    }
  }
}

/** The last slash that leaves no more before it than fits; 0: there is none. */
function cutOf(path: string): number {
  let end = path.length;
  if (end > 1 && path.endsWith("/")) end--;
  end = Math.min(end, PREFIX_BYTES);
  do end--;
  while (end > 0 && path[end] !== "/");
  return end;
}

/** `LENGTH KEY=VALUE LF`, where the length counts its own digits. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (String(length).length + rest.length > length) length++;
  return `${length}${rest}`;
}

function formatHeader({ name, directories = "", type, mode, size, seconds, link = "" }: Header): Buffer {
  const header = Buffer.alloc(RECORD_BYTES);
  const octal = (value: number, at: number, digits: number): void => {
    header.write(value.toString(8).padStart(digits, "0"), at, "latin1");
  };
  header.write(name, 0, NAME_BYTES, "latin1");
  octal(mode, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(size, 124, 11);
  octal(seconds, 136, 11);
  header.write(type, 156, "latin1");
  header.write(link, 157, NAME_BYTES, "latin1");
  header.write("ustar\x0000", 257, "latin1");
  header.write("root", 265, "latin1");
  header.write("root", 297, "latin1");
  octal(0, 329, 7);
  octal(0, 337, 7);
  header.write(directories, 345, PREFIX_BYTES, "latin1");
  // The checksum counts itself as spaces.
  let sum = 8 * 0x20;
  for (let at = 0; at < RECORD_BYTES; at++) sum += header[at] as number;
  octal(sum, 148, 7);
  return header;
}
