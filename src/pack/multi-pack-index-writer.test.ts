/** Multi-pack-indexes of ours, byte for byte beside git's. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isGitwharfError } from "../base/errors.js";
import { hashBytes } from "../object/object-format.js";
import { MultiPackIndex, packNamesIn, placeOfPackNames } from "./multi-pack-index.js";
import { formatMultiPackIndex, type ListedPack } from "./multi-pack-index-writer.js";
import { PackIndex } from "./pack-index.js";
import { formatPackIndex } from "./pack-index-writer.js";

const PACKS = 5;

function shared(bytes: Uint8Array): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

function chunksOf(file: Buffer): Map<string, string> {
  const chunks = new Map<string, string>();
  for (let i = 0; i < (file[6] as number); i++) {
    const at = 12 + i * 12;
    const [start, end] = [Number(file.readBigUInt64BE(at + 4)), Number(file.readBigUInt64BE(at + 16))];
    chunks.set(file.toString("latin1", at, at + 4), file.toString("hex", start, end));
  }
  return chunks;
}

describe.each(["sha1", "sha256"] as const)("a multi-pack-index of ours, %s", (format) => {
  let directory: string;
  let packs: ListedPack[];
  const git = (input: string, ...args: string[]): void => {
    const stdio: ["pipe", "ignore", "ignore"] = ["pipe", "ignore", "ignore"];
    execFileSync("git", ["-C", directory, ...args], { input, stdio });
  };
  const path = (name: string): string => join(directory, "objects/pack", name);
  const index = (): Buffer => readFileSync(path("multi-pack-index"));

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "gitwharf-midx-writer-"));
    execFileSync("git", ["init", "-q", "--bare", `--object-format=${format}`, directory]);
    for (let i = 0; i < PACKS; i++) {
      const lines: string[] = [];
      for (let k = 0; k < 20 + 10 * i; k++) {
        const text = `pack ${i} file ${k}`;
        lines.push(`commit refs/heads/b${i}\ncommitter A <a@b> ${1_600_000_000 + k} +0000\ndata 1\nm`);
        lines.push(`M 100644 inline file${k}\ndata ${text.length}\n${text}`);
        // Stands in every pack, some in two.
        lines.push("M 100644 inline same\ndata 4\nsame");
        lines.push(`M 100644 inline two\ndata 5\ntwo ${Math.floor(i / 2)}`);
      }
      git(`${lines.join("\n")}\n`, "-c", "fastimport.unpackLimit=0", "fast-import", "--quiet");
    }
    const names = readdirSync(path(""))
      .filter((name) => name.endsWith(".pack"))
      .sort();
    // Of an object in several the youngest counts: not the first by name, nor the last.
    packs = names.map((file, i) => {
      const modifiedSeconds = 1_700_000_000 + ((i * 3) % PACKS) * 60;
      utimesSync(path(file), modifiedSeconds, modifiedSeconds);
      const name = file.slice(0, -5);
      const bytes = shared(readFileSync(path(`${name}.idx`)));
      return { name, index: PackIndex.parse(bytes, format), modifiedSeconds };
    });
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it("has the bytes of git's", () => {
    git("", "multi-pack-index", "write");
    const ours = formatMultiPackIndex({ objectFormat: format, packs: packs.toReversed() });
    expect(Buffer.from(ours).equals(index())).toBe(true);
    expect(MultiPackIndex.parse(ours, format).hasBitOrder).toBe(false);
  });

  it.each([0, 3])("has git's order of bits, and the packs' parts of it: preferring pack %d", (number) => {
    rmSync(path("multi-pack-index"), { force: true });
    const preferred = packs[number] as ListedPack;
    git("", "multi-pack-index", "write", "--bitmap", `--preferred-pack=${preferred.name}.pack`);
    const ours = formatMultiPackIndex({ objectFormat: format, packs, preferred });
    const theirs = chunksOf(index());
    const mine = chunksOf(Buffer.from(ours));
    const parts = mine.get("BTMP");
    expect(theirs.get("RIDX")).toBeDefined();
    expect([...mine].filter(([name]) => name !== "BTMP")).toEqual([...theirs]);
    const read = MultiPackIndex.parse(ours, format);
    expect(read.verifyChecksum()).toBe(true);
    expect(read.hasBitOrder).toBe(true);
    // The parts are what the order says.
    const firsts = packs.map(() => -1);
    const counts = packs.map(() => 0);
    for (let bit = 0; bit < read.objectCount; bit++) {
      const at = read.packAt(read.positionAtBit(bit));
      if (counts[at] === 0) firsts[at] = bit;
      counts[at] = (counts[at] as number) + 1;
    }
    const table = Buffer.from(parts ?? "", "hex");
    const pairs = packs.map((_, i) => [table.readUInt32BE(i * 8), table.readUInt32BE(i * 8 + 4)]);
    expect(pairs).toEqual(packs.map((_, i) => [firsts[i], counts[i]]));
    expect(counts[number]).toBe(preferred.index.objectCount);
    expect(firsts[number]).toBe(0);
  });

  it("tells its packs by its beginning", () => {
    const ours = Buffer.from(formatMultiPackIndex({ objectFormat: format, packs }));
    const place = placeOfPackNames(ours.subarray(0, 200));
    if (place === undefined) throw new Error("the beginning says nothing");
    expect(packNamesIn(ours.subarray(place.start, place.end))).toEqual(packs.map(({ name }) => name));
    expect(placeOfPackNames(ours.subarray(0, 20))).toBeUndefined();
    expect(placeOfPackNames(Buffer.from("something else, and long enough"))).toBeUndefined();
  });

  it("holds offsets beyond 2^32, and those from 2^31 in a table only then", () => {
    const h = hashBytes(format);
    const made = (name: string, offsets: readonly number[]): ListedPack => {
      const oids = Buffer.alloc(offsets.length * h);
      for (let i = 0; i < offsets.length; i++)
        oids.writeUInt32BE((i * 0x11111111 + name.length) >>> 0, i * h);
      const { bytes } = formatPackIndex({
        objectFormat: format,
        oids,
        offsets,
        crc32s: new Uint32Array(offsets.length),
        packTrailer: "00".repeat(h),
      });
      return { name, index: PackIndex.parse(bytes, format), modifiedSeconds: 0 };
    };
    for (const offsets of [
      [12, 0x80000000, 0xffffffff],
      [12, 0x7fffffff, 0x80000000, 2 ** 32, 5 * 2 ** 32 + 7],
    ]) {
      const listed = [made("pack-a", offsets), made("pack-bb", [])];
      const bytes = formatMultiPackIndex({ objectFormat: format, packs: listed, preferred: listed[0] });
      expect(chunksOf(Buffer.from(bytes)).has("LOFF")).toBe(offsets.length > 3);
      const read = MultiPackIndex.parse(bytes, format);
      const found = Array.from({ length: read.objectCount }, (_, bit) =>
        read.offsetAt(read.positionAtBit(bit)),
      );
      expect(found).toEqual(offsets);
    }
  });

  it("is not made of an index whose ids are not in order", () => {
    const [first] = packs as [ListedPack];
    const bytes = Buffer.from(shared(new Uint8Array(first.index.bytes)));
    const start = 8 + 1024;
    // The second id with the first byte of the last: behind it come ids with smaller ones.
    bytes[start + hashBytes(format)] = 0xff;
    const bad = PackIndex.parse(bytes.buffer as unknown as SharedArrayBuffer, format);
    let refusal: unknown;
    try {
      formatMultiPackIndex({ objectFormat: format, packs: [{ ...first, index: bad }, ...packs.slice(1)] });
    } catch (error) {
      refusal = error;
    }
    expect(isGitwharfError(refusal, "pack/bad-index")).toBe(true);
  });
});
