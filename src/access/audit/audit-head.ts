/**
 * The end of the chain, remembered beside the log: by it the chain goes on when the log was moved away, and a log whose
 * tail was cut off is told from one that ends there. Written after the lines it names.
 *
 *   OFFSET  SIZE  MEANING
 *        0    64  SHA-256 of the last line, lower-case hex
 *       64     1  space
 *       65    16  its sequence, decimal, with zeros before it
 *       81     1  line break
 */
import { type FileHandle, open } from "node:fs/promises";
import { type ChainEnd, isHash } from "./audit-line.js";

const SIZE = 82;

export function headPathOf(path: string): string {
  return `${path}.head`;
}

/** undefined: there is none, or it was not written to its end. */
export async function readHead(path: string): Promise<ChainEnd | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(headPathOf(path), "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(SIZE), 0, SIZE, 0);
    const match = /^([0-9a-f]{64}) ([0-9]{16})\n$/.exec(buffer.toString("latin1", 0, bytesRead));
    if (match === null || !isHash(match[1])) return undefined;
    return { hash: match[1], sequence: Number(match[2]) };
  } finally {
    await handle.close();
  }
}

export function formatHead({ hash, sequence }: ChainEnd): Buffer {
  return Buffer.from(`${hash} ${String(sequence).padStart(16, "0")}\n`);
}
