/** The order of a pack's entries: from a `.rev` file that is right, by sorting when it is not. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { MemoryRange } from "../base/byte-range.js";
import { hashBytesOf } from "../object/object-id.js";
import { Pack } from "./pack.js";
import { PackIndex } from "./pack-index.js";
import { PackOffsets } from "./reverse-index.js";

function shared(bytes: Uint8Array): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

describe.each(["sha1", "sha256"] as const)("the order of a pack's entries, %s", (format) => {
  let directory: string;
  let index: PackIndex;
  let packBytes: Buffer;
  let rev: Buffer;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "gitwharf-rev-"));
    execFileSync("git", ["init", "-q", "--bare", `--object-format=${format}`, directory]);
    const lines: string[] = [];
    for (let i = 0; i < 100; i++) {
      lines.push(`commit refs/heads/main\ncommitter A <a@b> ${1_600_000_000 + i} +0000\ndata 1\nm`);
      lines.push(`M 100644 inline f${i % 11}\ndata ${String(i).length}\n${i}`);
    }
    const git = (input: string, ...args: string[]): Buffer =>
      execFileSync("git", ["-C", directory, ...args], { input });
    git(`${lines.join("\n")}\n`, "fast-import", "--quiet");
    git("", "-c", "pack.writeReverseIndex=true", "repack", "-adfq");
    const packs = join(directory, "objects/pack");
    const file = (ending: string): Buffer =>
      readFileSync(join(packs, readdirSync(packs).find((name) => name.endsWith(ending)) ?? ending));
    index = PackIndex.parse(shared(file(".idx")), format);
    packBytes = file(".pack");
    rev = file(".rev");
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const orderOf = (offsets: PackOffsets): (readonly number[])[] =>
    Array.from({ length: offsets.objectCount }, (_, rank) => [
      offsets.positionAtRank(rank),
      offsets.offsetAtRank(rank),
      offsets.endOffsetOfRank(rank),
      offsets.rankOfOffset(offsets.offsetAtRank(rank)),
    ]);
  const read = (file: Buffer | undefined): PackOffsets => PackOffsets.of(index, packBytes.length, file);

  it("is the same by git's file and by sorting", () => {
    const sorted = orderOf(read(undefined));
    expect(sorted).toHaveLength(index.objectCount);
    expect(orderOf(read(rev))).toEqual(sorted);
    // The file is what the answer is made of: its order of asking is seen.
    const asked: number[] = [];
    const watched = vi.spyOn(index, "offsetAt").mockImplementation((position) => {
      asked.push(position);
      return PackIndex.prototype.offsetAt.call(index, position);
    });
    read(rev);
    watched.mockRestore();
    expect(asked).toEqual(sorted.map(([position]) => position));
  });

  it("is sorted where the file is wrong in any way", () => {
    const sorted = orderOf(read(undefined));
    const swap = Buffer.from(rev);
    swap.copyWithin(12, 16, 20);
    swap.writeUInt32BE(rev.readUInt32BE(12), 16);
    // What was done on purpose has a right checksum.
    const h = format === "sha1" ? 20 : 32;
    swap.write(hashBytesOf(format, swap.subarray(0, -h)), swap.length - h, "hex");
    const change = (at: number, value: number): Buffer => {
      const copy = Buffer.from(rev);
      copy.writeUInt32BE(value, at);
      return copy;
    };
    for (const wrong of [
      Buffer.alloc(0),
      rev.subarray(0, -1),
      Buffer.concat([rev, Buffer.alloc(1)]),
      swap,
      change(0, 0x58444952),
      change(4, 2),
      change(8, format === "sha1" ? 2 : 1),
      change(12, index.objectCount),
      change(12, rev.readUInt32BE(16)),
      change(12 + index.objectCount * 4, 1),
    ]) {
      expect(orderOf(read(wrong))).toEqual(sorted);
    }
    for (let at = 12; at < rev.length - 2 * h; at += 7) {
      const copy = Buffer.from(rev);
      copy[at] = (copy[at] as number) ^ 1;
      expect(orderOf(read(copy))).toEqual(sorted);
    }
  });

  it("is asked for once, when it is needed", () => {
    const readReverseIndex = vi.fn(() => rev);
    const bytes = new MemoryRange(shared(packBytes));
    const pack = new Pack({ key: "rev-test", index, bytes, readReverseIndex });
    expect(pack.readObject(0)).toBeDefined();
    expect(readReverseIndex).not.toHaveBeenCalled();
    expect(orderOf(pack.offsets)).toEqual(orderOf(pack.offsets));
    expect(readReverseIndex).toHaveBeenCalledOnce();
  });
});
