/** Multi-pack-indexes as real git writes them, and damaged in every way that matters. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isGitwharfError } from "../base/errors.js";
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import { hashBytesOf } from "../object/object-id.js";
import { MultiPackIndex } from "./multi-pack-index.js";
import { formatMultiPackIndex } from "./multi-pack-index-writer.js";
import { PackIndex } from "./pack-index.js";
import { formatPackIndex } from "./pack-index-writer.js";

const PACKS = 7;

function shared(bytes: Uint8Array): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

/** The chunks of a file, to be put together again in another way. */
function chunksOf(file: Buffer, format: ObjectFormat): Map<string, Buffer> {
  const chunks = new Map<string, Buffer>();
  for (let i = 0; i < (file[6] as number); i++) {
    const at = 12 + i * 12;
    const start = Number(file.readBigUInt64BE(at + 4));
    const end = Number(file.readBigUInt64BE(at + 16));
    expect(end).toBeLessThanOrEqual(file.length - hashBytes(format));
    chunks.set(file.toString("latin1", at, at + 4), Buffer.from(file.subarray(start, end)));
  }
  return chunks;
}

function assemble(head: Buffer, chunks: ReadonlyMap<string, Buffer>, format: ObjectFormat): Buffer {
  const start = Buffer.from(head.subarray(0, 12));
  start[6] = chunks.size;
  const rows = Buffer.alloc((chunks.size + 1) * 12);
  let at = 12 + rows.length;
  let row = 0;
  for (const [name, bytes] of chunks) {
    rows.write(name, row, "latin1");
    rows.writeBigUInt64BE(BigInt(at), row + 4);
    at += bytes.length;
    row += 12;
  }
  rows.writeBigUInt64BE(BigInt(at), row + 4);
  const all = Buffer.concat([start, rows, ...chunks.values()]);
  return Buffer.concat([all, Buffer.from(hashBytesOf(format, all), "hex")]);
}

describe.each(["sha1", "sha256"] as const)("a multi-pack-index of git's, %s", (format) => {
  let directory: string;
  let file: Buffer;
  let indexes: Map<string, PackIndex>;
  const h = hashBytes(format);

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "gitwharf-midx-"));
    const git = (input: string, ...args: string[]): Buffer =>
      execFileSync("git", ["-C", directory, ...args], { input, stdio: ["pipe", "pipe", "ignore"] });
    execFileSync("git", ["init", "-q", "--bare", `--object-format=${format}`, directory]);
    for (let i = 0; i < PACKS; i++) {
      const lines: string[] = [];
      for (let k = 0; k < 30; k++) {
        const text = `pack ${i} file ${k}`;
        lines.push(`commit refs/heads/b${i}\ncommitter A <a@b> ${1_600_000_000 + k} +0000\ndata 1\nm`);
        lines.push(`M 100644 inline file${k}\ndata ${text.length}\n${text}`);
        // Some objects stand in every pack.
        lines.push("M 100644 inline same\ndata 4\nsame");
      }
      git(`${lines.join("\n")}\n`, "-c", "fastimport.unpackLimit=0", "fast-import", "--quiet");
    }
    git("", "multi-pack-index", "write");
    const packs = join(directory, "objects/pack");
    file = readFileSync(join(packs, "multi-pack-index"));
    indexes = new Map(
      readdirSync(packs)
        .filter((name) => name.endsWith(".idx"))
        .map((name) => [name.slice(0, -4), PackIndex.parse(shared(readFileSync(join(packs, name))), format)]),
    );
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const parse = (bytes: Buffer): MultiPackIndex => MultiPackIndex.parse(shared(bytes), format);
  const refused = (bytes: Buffer): unknown => {
    try {
      parse(bytes);
    } catch (error) {
      if (!isGitwharfError(error, "pack/bad-index")) throw error;
      return error;
    }
    return undefined;
  };

  it("finds every object of every pack where it is", () => {
    const index = parse(file);
    expect(index.version).toBe(1);
    expect([...index.packNames].sort()).toEqual([...indexes.keys()].sort());
    expect(index.packNames).toHaveLength(PACKS);
    const all = new Set<string>();
    for (const pack of indexes.values()) {
      for (let p = 0; p < pack.objectCount; p++) {
        const oid = pack.oidAt(p);
        all.add(oid);
        const position = index.find(oid);
        expect(index.oidAt(position)).toBe(oid);
        expect(index.findBytes(Buffer.from(`00${oid}`, "hex"), 1)).toBe(position);
        const named = indexes.get(index.packNames[index.packAt(position)] as string) as PackIndex;
        expect(index.offsetAt(position)).toBe(named.offsetAt(named.find(oid)));
      }
    }
    expect(index.objectCount).toBe(all.size);
    expect(index.find("0".repeat(2 * h))).toBe(-1);
    expect(index.find("f".repeat(2 * h))).toBe(-1);
    expect(index.verifyChecksum()).toBe(true);
    expect(MultiPackIndex.reopen(index.bytes, format).find(index.oidAt(3))).toBe(3);
  });

  it("is read in version 2, where names stand in any order", () => {
    const chunks = chunksOf(file, format);
    const names = (chunks.get("PNAM") as Buffer)
      .toString("latin1")
      .split("\0")
      .filter((name) => name !== "");
    const swapped = Buffer.from(`${[...names].reverse().join("\0")}\0`, "latin1");
    chunks.set("PNAM", Buffer.concat([swapped, Buffer.alloc(-swapped.length & 3)]));
    const made = assemble(file, chunks, format);
    expect(String(refused(made))).toContain("names of packs are not in order");
    made[4] = 2;
    expect(parse(made).packNames).toEqual(names.reverse().map((name) => name.slice(0, -4)));
  });

  it("finds offsets past 2^31 in their table, and below 2^32 without one", () => {
    const chunks = chunksOf(file, format);
    const rows = chunks.get("OOFF") as Buffer;
    rows.writeUInt32BE(0xfffffff0, 4);
    expect(parse(assemble(file, chunks, format)).offsetAt(0)).toBe(0xfffffff0);
    rows.writeUInt32BE(0x80000001, 4);
    const large = Buffer.alloc(16);
    large.writeBigUInt64BE(0x1_2345_6789n, 8);
    chunks.set("LOFF", large);
    const index = parse(assemble(file, chunks, format));
    expect(index.offsetAt(0)).toBe(0x1_2345_6789);
    expect(index.offsetAt(1)).toBe(parse(file).offsetAt(1));
    rows.writeUInt32BE(0x80000002, 4);
    expect(String(refused(assemble(file, chunks, format)))).toContain("an offset points outside of it");
  });

  it("is refused when it is cut short anywhere", () => {
    for (let length = 0; length < file.length; length += length < 200 ? 1 : 97) {
      expect(refused(file.subarray(0, length)), `${length} bytes`).toBeDefined();
    }
  });

  it("is refused when its head or its tables do not fit", () => {
    const change = (at: number, value: number): Buffer => {
      const copy = Buffer.from(file);
      copy[at] = value;
      return copy;
    };
    expect(String(refused(change(0, 0x4e)))).toContain("does not begin");
    expect(String(refused(change(4, 3)))).toContain("version 3");
    expect(String(refused(change(5, format === "sha1" ? 2 : 1)))).toContain("another object format");
    expect(String(refused(change(7, 1)))).toContain("layer");
    expect(refused(change(6, 200))).toBeDefined();
    expect(refused(change(8, 1))).toBeDefined();
    const withChunk = (name: string, edit: (bytes: Buffer) => Buffer | undefined): Buffer => {
      const chunks = chunksOf(file, format);
      const edited = edit(chunks.get(name) as Buffer);
      if (edited === undefined) chunks.delete(name);
      else chunks.set(name, edited);
      return assemble(file, chunks, format);
    };
    for (const name of ["PNAM", "OIDF", "OIDL", "OOFF"]) {
      expect(String(refused(withChunk(name, () => undefined)))).toContain(name);
      expect(refused(withChunk(name, (bytes) => bytes.subarray(0, bytes.length - 8)))).toBeDefined();
    }
    const swapIds = (bytes: Buffer): Buffer =>
      Buffer.concat([bytes.subarray(h, 2 * h), bytes.subarray(0, h), bytes.subarray(2 * h)]);
    expect(refused(withChunk("OIDL", swapIds))).toBeDefined();
    const sameIds = (bytes: Buffer): Buffer => Buffer.concat([bytes.subarray(0, h), bytes.subarray(0, -h)]);
    expect(refused(withChunk("OIDL", sameIds))).toBeDefined();
    const otherPack = (bytes: Buffer): Buffer => Buffer.from(bytes).fill(0xff, 8, 12);
    expect(String(refused(withChunk("OOFF", otherPack)))).toContain("a pack that it does not list");
    const evilName = (bytes: Buffer): Buffer => {
      const copy = Buffer.from(bytes);
      copy.write("../../..", 0, "latin1");
      return copy;
    };
    expect(String(refused(withChunk("PNAM", evilName)))).toContain("it names a pack");
  });

  it("never does worse than being refused, whichever byte is changed", () => {
    let refusals = 0;
    for (let at = 0; at < file.length; at += at < 200 ? 1 : 31) {
      const copy = Buffer.from(file);
      copy[at] = (copy[at] as number) ^ (1 << (at % 8));
      if (refused(copy) !== undefined) refusals++;
      else {
        const index = parse(copy);
        for (let p = 0; p < index.objectCount; p += 13) {
          expect(index.packAt(p)).toBeLessThan(index.packNames.length);
          expect(index.offsetAt(p)).toBeGreaterThanOrEqual(0);
          expect(index.find(index.oidAt(p))).toBe(p);
        }
        expect(index.verifyChecksum()).toBe(false);
      }
    }
    expect(refusals).toBeGreaterThan(50);
  });
});

describe("a large multi-pack-index", () => {
  const count = 40_000;
  const made = (): SharedArrayBuffer => {
    const oids = Buffer.alloc(count * 20);
    for (let i = 0; i < count; i++) oids.writeUInt32BE((i * 107_000) >>> 0, i * 20);
    const offsets = Array.from({ length: count }, (_, i) => i * 8);
    const { bytes } = formatPackIndex({
      objectFormat: "sha1",
      oids,
      offsets,
      crc32s: new Uint32Array(count),
      packTrailer: "00".repeat(20),
    });
    const index = PackIndex.parse(bytes, "sha1");
    return formatMultiPackIndex({
      objectFormat: "sha1",
      packs: [{ name: "pack-0", index, modifiedSeconds: 0 }],
    });
  };

  it("is checked in steps, others having their turn in between", async () => {
    let turns = 0;
    const count = (): void => {
      turns++;
      waiting = setImmediate(count);
    };
    let waiting = setImmediate(count);
    try {
      const index = await MultiPackIndex.parseInTurns(made(), "sha1");
      expect(turns).toBeGreaterThanOrEqual(2);
      expect(index.find(index.oidAt(39_999))).toBe(39_999);
    } finally {
      clearImmediate(waiting);
    }
  });

  it.each([1, 16_383, 16_384, 16_385, 32_768, 39_999])(
    "is refused when row %d is out of order",
    async (row) => {
      const bytes = made();
      const file = Buffer.from(bytes);
      const ids = chunkStart(file, "OIDL");
      // As the one before it: in order, and twice.
      file.copy(file, ids + row * 20, ids + (row - 1) * 20, ids + row * 20);
      await expect(MultiPackIndex.parseInTurns(bytes, "sha1")).rejects.toMatchObject({
        code: "pack/bad-index",
      });
      expect(() => MultiPackIndex.parse(bytes, "sha1")).toThrow("not in order");
    },
  );
});

function chunkStart(file: Buffer, name: string): number {
  return Number(file.readBigUInt64BE(file.indexOf(name, 12, "latin1") + 4));
}
