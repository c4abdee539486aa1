/** Bitmaps as real git writes them, with and without a lookup table and name hashes, sound and damaged. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MemoryRange } from "../base/byte-range.js";
import { isGitwharfError } from "../base/errors.js";
import { hashBytes } from "../object/object-format.js";
import { PackBitmap } from "./bitmap.js";
import { Pack } from "./pack.js";
import { PackIndex } from "./pack-index.js";

function shared(bytes: Uint8Array): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

describe.each([
  ["sha1", true, true],
  ["sha1", true, false],
  ["sha1", false, true],
  ["sha1", false, false],
  ["sha256", true, true],
  ["sha256", false, true],
] as const)("bitmaps of git's, %s, lookup table: %s, name hashes: %s", (format, hasTable, hasHashes) => {
  let directory: string;
  let bytes: Buffer;
  let pack: Pack;
  let commits: string[];
  const h = hashBytes(format);
  const git = (input: string, ...args: string[]): string =>
    execFileSync("git", ["-C", directory, ...args], { input, maxBuffer: 1 << 28 })
      .toString()
      .trim();

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "gitwharf-bitmap-"));
    execFileSync("git", ["init", "-q", "--bare", `--object-format=${format}`, directory]);
    const lines: string[] = [];
    for (let i = 0; i < 300; i++) {
      const branch = `b${i % 3}`;
      lines.push(`commit refs/heads/${branch}\ncommitter A <a@b> ${1_600_000_000 + i} +0000\ndata 1\nm`);
      lines.push(`M 100644 inline d${i % 7}/f${i % 11}\ndata ${String(i).length}\n${i}`);
    }
    git(`${lines.join("\n")}\n`, "fast-import", "--quiet");
    const config = [`pack.writeBitmapLookupTable=${hasTable}`, `pack.writeBitmapHashCache=${hasHashes}`];
    git("", ...config.flatMap((value) => ["-c", value]), "repack", "-adbq");
    const packs = join(directory, "objects/pack");
    const file = (ending: string): Buffer =>
      readFileSync(join(packs, readdirSync(packs).find((name) => name.endsWith(ending)) ?? ending));
    bytes = file(".bitmap");
    const index = PackIndex.parse(shared(file(".idx")), format);
    pack = new Pack({ key: "bitmap-test", index, bytes: new MemoryRange(shared(file(".pack"))) });
    commits = git("", "rev-list", "--all").split("\n");
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const reachedBy = (bitmap: PackBitmap, oid: string): Set<string> | undefined => {
    const bits = bitmap.bitmapOf(oid);
    if (bits === undefined) return undefined;
    const found = new Set<string>();
    bits.forEach((rank) => found.add(pack.index.oidAt(pack.offsets.positionAtRank(rank))));
    return found;
  };
  const listed = (oid: string): Set<string> =>
    new Set(
      git("", "rev-list", "--objects", oid)
        .split("\n")
        .map((line) => line.slice(0, 2 * h)),
    );

  it("have what was asked for", () => {
    expect((bytes.readUInt16BE(6) & 16) !== 0).toBe(hasTable);
    expect((bytes.readUInt16BE(6) & 4) !== 0).toBe(hasHashes);
  });

  it("reach what rev-list reaches, and stand at as many commits as git wrote", () => {
    const bitmap = PackBitmap.parse(bytes, pack.index);
    const chosen = commits.filter((oid) => bitmap.has(oid));
    expect(chosen).toHaveLength(bytes.readUInt32BE(8));
    for (const oid of chosen.filter((_, i) => i % 17 === 0))
      expect(reachedBy(bitmap, oid)).toEqual(listed(oid));
    // Once more from the other end: what was decoded before is used, and was not changed.
    for (const oid of chosen.filter((_, i) => i % 17 === 0).reverse()) {
      expect(reachedBy(bitmap, oid)).toEqual(listed(oid));
    }
    expect(bitmap.bitmapOf("0".repeat(2 * h))).toBeUndefined();
    expect(bitmap.types.commit.count()).toBe(300);
    for (const oid of commits.filter((_, i) => i % 29 === 0)) {
      if (!chosen.includes(oid)) expect(bitmap.bitmapOf(oid)).toBeUndefined();
    }
  });

  it("are refused when cut short, or of another pack", () => {
    for (const length of [0, 11, 12 + h, 12 + 2 * h, 12 + 2 * h + 20]) {
      expect(() => PackBitmap.parse(bytes.subarray(0, length), pack.index)).toThrow("a bitmap");
    }
    const other = Buffer.from(bytes);
    other[12] = (other[12] as number) ^ 1;
    expect(() => PackBitmap.parse(other, pack.index)).toThrow("belongs to another pack");
    const tooMany = Buffer.from(bytes);
    tooMany.writeUInt32BE(0xffffffff, 8);
    expect(() => PackBitmap.parse(tooMany, pack.index)).toThrow("a bitmap");
  });

  it("never do worse than being refused or absent, whichever byte is changed", () => {
    let state = 7;
    for (let round = 0; round < 300; round++) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      const at = (state >>> 3) % bytes.length;
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] as number) ^ (1 << ((state >>> 28) % 8));
      try {
        const bitmap = PackBitmap.parse(damaged, pack.index);
        for (let i = round % 10; i < commits.length; i += 50) bitmap.bitmapOf(commits[i] as string);
      } catch (error) {
        if (!isGitwharfError(error, "pack/bad-index")) throw error;
      }
    }
  });

  it.runIf(hasTable)(
    "are opened without a look at the entries, and one that is damaged is as good as none",
    () => {
      const count = bytes.readUInt32BE(8);
      const table = bytes.length - h - (hasHashes ? pack.objectCount * 4 : 0) - count * 16;
      const row = (number: number): number => table + number * 16;
      const whole = PackBitmap.parse(bytes, pack.index);
      const alone = Array.from({ length: count }, (_, i) => i).find(
        (i) => bytes.readUInt32BE(row(i) + 12) === 0xffffffff,
      );
      const oid = pack.index.oidAt(bytes.readUInt32BE(row(alone as number)));
      expect(whole.bitmapOf(oid)).toBeDefined();
      const change = (at: number, value: number): PackBitmap => {
        const copy = Buffer.from(bytes);
        copy.writeUInt32BE(value, at);
        return PackBitmap.parse(copy, pack.index);
      };
      const entry = bytes.readUInt32BE(row(alone as number) + 8);
      for (const damaged of [
        // The entry: how many words it has, whose it is.
        change(entry + 10, 0x7fffffff),
        change(entry, 0x7fffffff),
        // Its row: where it is, and what it stands upon.
        change(row(alone as number) + 4, 1),
        change(row(alone as number) + 8, 0),
        change(row(alone as number) + 8, bytes.length),
        change(row(alone as number) + 12, count),
        change(row(alone as number) + 12, alone as number),
      ]) {
        expect(damaged.has(oid)).toBe(true);
        expect(damaged.bitmapOf(oid)).toBeUndefined();
        const sound = commits.filter((commit) => commit !== oid && damaged.bitmapOf(commit) !== undefined);
        for (const other of sound.slice(0, 2)) expect(reachedBy(damaged, other)).toEqual(listed(other));
      }
    },
  );
});
