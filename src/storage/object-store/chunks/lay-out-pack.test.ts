/** A pack in which other bytes take the place of an entry: git finds the same objects in it, in the same order. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { hashObject } from "../../../object/object-id.js";
import { formatEntryHeader } from "../../../pack/entry-header.js";
import { formatPackIndex } from "../../../pack/pack-index-writer.js";
import { PackIndex } from "../../../pack/pack-index.js";
import { formatDeltaEntry, formatEntry, formatPackHeader } from "../../../pack/pack-writer.js";
import { indexPack, layOutPack, movedTo } from "./lay-out-pack.js";

const directory = mkdtempSync(join(tmpdir(), "gitwharf-layout-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** All of a base of less than 64 KiB, and something behind it. */
function growing(base: Buffer, text: string): { readonly delta: Buffer; readonly result: Buffer } {
  const size = (bytes: number): readonly number[] => [
    (bytes & 127) | 128,
    ((bytes >> 7) & 127) | 128,
    bytes >> 14,
  ];
  const result = Buffer.concat([base, Buffer.from(text)]);
  const copy = [0x80 | 0x10 | 0x20, base.length & 255, base.length >> 8];
  const delta = [...size(base.length), ...size(result.length), ...copy, text.length, ...Buffer.from(text)];
  return { delta: Buffer.from(delta), result };
}

/** A base, a large blob, and two deltas behind it of which one stands upon the other. */
function makePack(): {
  readonly bytes: Buffer;
  readonly index: SharedArrayBuffer;
  readonly offsets: readonly number[];
  readonly large: Buffer;
} {
  const base = Buffer.from(Array.from({ length: 1000 }, (_, i) => `line ${Math.imul(i, i)}\n`).join(""));
  const large = Buffer.from(Array.from({ length: 9000 }, (_, i) => `${(i * 7) % 1000} `).join(""));
  const first = growing(base, "first");
  const second = growing(first.result, "second");
  const parts = [formatPackHeader(4)];
  const offsets: number[] = [];
  let at = 12;
  const add = (entry: Buffer): void => {
    offsets.push(at);
    parts.push(entry);
    at += entry.length;
  };
  add(formatEntry("blob", base));
  add(formatEntry("blob", large, 1));
  add(formatDeltaEntry(at - (offsets[0] as number), first.delta));
  add(formatDeltaEntry(at - (offsets[2] as number), second.delta));
  const body = Buffer.concat(parts);
  const trailer = createHash("sha1").update(body).digest();
  const blobs = [base, large, first.result, second.result];
  const { bytes: index } = formatPackIndex({
    objectFormat: "sha1",
    oids: Buffer.concat(blobs.map((blob) => Buffer.from(hashObject("sha1", "blob", blob), "hex"))),
    offsets,
    crc32s: Uint32Array.from(parts.slice(1), (entry) => crc32(entry)),
    packTrailer: trailer.toString("hex"),
  });
  return { bytes: Buffer.concat([body, trailer]), index, offsets, large };
}

/** What git makes of it. */
function indexOf(pack: Buffer): Buffer {
  writeFileSync(join(directory, "made.pack"), pack);
  execFileSync("git", ["index-pack", "-o", "made.idx", "made.pack"], { cwd: directory });
  const index = readFileSync(join(directory, "made.idx"));
  rmSync(join(directory, "made.idx"));
  return index;
}

describe("a pack in which other bytes take the place of an entry", () => {
  const { bytes, index, offsets, large } = makePack();
  const task = (other: Buffer) => ({
    objectFormat: "sha1" as const,
    index,
    pack: { kind: "memory" as const, buffer: Uint8Array.from(bytes).buffer, sizeBytes: bytes.length },
    replacements: [{ offset: offsets[1] as number, start: 7, end: 7 + other.length, crc32: crc32(other) }],
  });

  it.each([
    ["shorter", formatEntry("blob", large, 6)],
    ["longer", Buffer.concat([formatEntryHeader(3, large.length), deflateSync(large, { level: 0 })])],
  ])("is one that git reads when they are %s", (_, other) => {
    const layout = layOutPack(task(other));
    if (layout === undefined) throw new Error("it is of too many pieces");
    const file = Buffer.concat([Buffer.alloc(7), other]);
    const body = Buffer.concat(
      layout.pieces.map((piece) =>
        piece.from === "bytes"
          ? Buffer.from(piece.bytes)
          : (piece.from === "pack" ? bytes : file).subarray(piece.start, piece.end),
      ),
    );
    const trailer = createHash("sha1").update(body).digest();
    const made = Buffer.concat([body, trailer]);
    const indexed = indexPack({
      objectFormat: "sha1",
      index,
      layout,
      trailer: trailer.toString("hex"),
      packBytes: made.length,
      bitmap: undefined,
    });
    expect(Buffer.from(indexed.index)).toEqual(indexOf(made));
    // What was known of places is known of the new ones.
    const before = PackIndex.parse(index, "sha1");
    for (let position = 0; position < before.objectCount; position++)
      expect(movedTo(layout.moves, before.offsetAt(position))).toBe(layout.offsets[position]);
    expect(movedTo(layout.moves, bytes.length - 20)).toBe(body.length);
    expect(movedTo(layout.moves, 12)).toBe(12);
  });

  it("is not made of more pieces than is asked for", () => {
    const other = formatEntry("blob", large, 6);
    // The second delta is as far from its base as it was.
    expect(layOutPack(task(other), 1)).toBeDefined();
    expect(layOutPack(task(other), 0)).toBeUndefined();
  });
});
