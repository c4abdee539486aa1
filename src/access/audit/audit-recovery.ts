/**
 * How the file ends when it is opened, and what a line must say about it before the chain goes on: a process was killed
 * while it wrote, a disk was full, somebody cut the file off or wrote into it. Nothing is ever taken away.
 */
import type { FileHandle } from "node:fs/promises";
import { GitwharfError } from "../../base/errors.js";
import { type ChainEnd, GENESIS, hashLine, parseLine } from "./audit-line.js";

/** What a recovery line says; in it, under `recovery`. */
export interface Recovery {
  /** Lines at the end that were not written to their end, the last of them without its line break. */
  readonly tornLines?: number;
  readonly tornBytes?: number;
  /** SHA-256 over them and the line breaks between them. */
  readonly tornHash?: string;
  /** The last line was whole but for its line break. */
  readonly unended?: true;
  /** Whole lines at the end that are none of ours. */
  readonly damagedLines?: number;
  /** Lines that were there, as the remembered head says, and are not any more. */
  readonly missing?: { readonly from: number; readonly to: number };
  /** The last line is not the one that was written. */
  readonly changed?: true;
}

export interface FileEnd {
  readonly end: ChainEnd;
  /** Whether a line break has to be written before anything else. */
  readonly isUnended: boolean;
  readonly recovery: Recovery | undefined;
}

const FIRST_WINDOW_BYTES = 128 * 1024;
const WINDOW_BYTES_MAX = 4 * 1024 * 1024;

/**
 * @param head what was remembered of the chain beside the file
 * @throws access/audit-failed when there is no line to go on from
 */
export async function inspectEnd(
  handle: FileHandle,
  about: { readonly path: string; readonly sizeBytes: number; readonly head: ChainEnd | undefined },
): Promise<FileEnd> {
  const { sizeBytes, head, path } = about;
  // A new file, or one that was put in the place of one that was moved away: the chain goes on.
  if (sizeBytes === 0)
    return { end: head ?? { sequence: 0, hash: GENESIS }, isUnended: false, recovery: undefined };
  for (let windowBytes = FIRST_WINDOW_BYTES; ; windowBytes *= 4) {
    const start = Math.max(0, sizeBytes - windowBytes);
    const found = endOf(await readAt(handle, start, sizeBytes - start), start === 0, head);
    if (found !== undefined) return found;
    if (start === 0 || windowBytes >= WINDOW_BYTES_MAX) throw notOurs(path);
  }
}

async function readAt(handle: FileHandle, start: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let at = 0;
  while (at < length) {
    const { bytesRead } = await handle.read(bytes, at, length - at, start + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}

/** @returns undefined when no line of ours is in these bytes */
function endOf(bytes: Buffer, isWhole: boolean, head: ChainEnd | undefined): FileEnd | undefined {
  const isUnended = bytes.at(-1) !== 0x0a;
  let lineEnd = isUnended ? bytes.length : bytes.length - 1;
  const last = bytes.subarray(startOfLine(bytes, lineEnd), lineEnd);
  const strange: number[] = [];
  let found: ReturnType<typeof parseLine>;
  const to = lineEnd;
  while (lineEnd >= 0 && found === undefined) {
    const start = startOfLine(bytes, lineEnd);
    // What the window cuts is no line.
    if (start === 0 && !isWhole) return undefined;
    found = parseLine(bytes.subarray(start, lineEnd));
    if (found === undefined) strange.push(start);
    lineEnd = start - 1;
  }
  const torn = bytes.subarray(strange.at(-1) ?? to, to);
  // The very first line was torn.
  if (found === undefined && !(isUnended && `{"sequence":`.startsWith(torn.toString("latin1", 0, 12))))
    return undefined;
  const sequence = found?.sequence ?? 0;
  const hash = hashLine(last);
  const recovery: Recovery = {
    ...(strange.length === 0
      ? {}
      : isUnended
        ? { tornLines: strange.length, tornBytes: torn.length, tornHash: hashLine(torn) }
        : { damagedLines: strange.length }),
    ...(isUnended && strange.length === 0 ? { unended: true as const } : {}),
    ...(found !== undefined && head !== undefined && head.sequence > sequence
      ? { missing: { from: sequence + 1, to: head.sequence } }
      : {}),
    ...(head?.sequence === sequence && head.hash !== hash && strange.length === 0
      ? { changed: true as const }
      : {}),
  };
  return {
    end: { sequence: Math.max(sequence, head?.sequence ?? 0), hash },
    isUnended,
    recovery: Object.keys(recovery).length === 0 ? undefined : recovery,
  };
}

function startOfLine(bytes: Buffer, end: number): number {
  return end === 0 ? 0 : bytes.lastIndexOf(0x0a, end - 1) + 1;
}

function notOurs(path: string): GitwharfError {
  return new GitwharfError(
    "access/audit-failed",
    `${path} is no audit log, or its end is damaged: move it away, and a new one goes on from the remembered head`,
  );
}
