/** Chains of deltas made to measure: any depth, both kinds of delta, bytes that are there and bytes that come late. */
import { describe, expect, it } from "vitest";
import { type ByteRange, type ByteRangeDescriptor, MemoryRange } from "../base/byte-range.js";
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import type { ObjectFormat } from "../object/object-format.js";
import { hashBytesOf, hashObject, type ObjectId } from "../object/object-id.js";
import { createDeltaIndex, encodeDelta } from "./delta-encode.js";
import { formatEntryHeader, OFS_DELTA, REF_DELTA } from "./entry-header.js";
import { deflate } from "./inflate.js";
import { Pack, type PackedObject } from "./pack.js";
import { PackIndex } from "./pack-index.js";
import { formatPackIndex } from "./pack-index-writer.js";

interface MadeEntry {
  readonly oid: ObjectId;
  readonly head: (offset: number, offsets: readonly number[]) => Buffer;
  readonly body: Buffer;
}

/** Bytes that are there only from the second time on that they are asked for, or never at once. */
class LateRange implements ByteRange {
  readonly sizeBytes: number;
  readonly #inner: MemoryRange;
  readonly #always: boolean;
  readonly #seen = new Set<number>();

  constructor(bytes: Uint8Array, always: boolean) {
    this.#inner = new MemoryRange(shared(bytes));
    this.sizeBytes = bytes.length;
    this.#always = always;
  }

  read(offset: number, length: number): Buffer | Promise<Buffer> {
    const bytes = this.#inner.read(offset, length);
    const isLate = this.#always || !this.#seen.has(offset);
    this.#seen.add(offset);
    return isLate ? Promise.resolve(bytes) : bytes;
  }

  describe(): ByteRangeDescriptor {
    return this.#inner.describe();
  }
}

function shared(bytes: Uint8Array): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

function makePack(entries: readonly MadeEntry[], format: ObjectFormat): { bytes: Buffer; index: PackIndex } {
  const head = Buffer.from("PACK\0\0\0\x02\0\0\0\0", "latin1");
  head.writeUInt32BE(entries.length, 8);
  const parts = [head];
  const offsets: number[] = [];
  let at = head.length;
  for (const entry of entries) {
    const bytes = Buffer.concat([entry.head(at, offsets), entry.body]);
    offsets.push(at);
    parts.push(bytes);
    at += bytes.length;
  }
  const body = Buffer.concat(parts);
  const packTrailer = hashBytesOf(format, body);
  const { bytes } = formatPackIndex({
    objectFormat: format,
    oids: Buffer.concat(entries.map(({ oid }) => Buffer.from(oid, "hex"))),
    offsets,
    crc32s: new Uint32Array(entries.length),
    packTrailer,
  });
  return {
    bytes: Buffer.concat([body, Buffer.from(packTrailer, "hex")]),
    index: PackIndex.parse(bytes, format),
  };
}

function versions(count: number, format: ObjectFormat): { readonly oid: ObjectId; readonly data: Buffer }[] {
  return Array.from({ length: count }, (_, i) => {
    const data = Buffer.from(`${"the same line\n".repeat(20)}version ${i}\n`);
    return { oid: hashObject(format, "blob", data), data };
  });
}

function deltaOf(base: Buffer, target: Buffer): Buffer {
  const known = createDeltaIndex(base);
  const delta = known && encodeDelta(known, target, target.length);
  if (delta === undefined) throw new Error("no delta was found");
  return delta;
}

/** A blob, and deltas each on the one before. */
function chain(depth: number, format: ObjectFormat, kind: "ofs" | "ref" | "mixed"): MadeEntry[] {
  const made = versions(depth + 1, format);
  return made.map(({ oid, data }, i) => {
    const base = made[i - 1];
    if (base === undefined)
      return { oid, head: () => formatEntryHeader(3, data.length), body: deflate(data, 6) };
    const delta = deltaOf(base.data, data);
    const byId = kind === "ref" || (kind === "mixed" && i % 3 === 0);
    return {
      oid,
      head: (offset, offsets) =>
        byId
          ? formatEntryHeader(REF_DELTA, delta.length, base.oid)
          : formatEntryHeader(OFS_DELTA, delta.length, offset - (offsets[i - 1] as number)),
      body: deflate(delta, 6),
    };
  });
}

let packs = 0;
function open(made: { bytes: Buffer; index: PackIndex }, range?: ByteRange): Pack {
  const bytes = range ?? new MemoryRange(shared(made.bytes));
  return new Pack({ key: `delta-chain-test-${packs++}`, name: "pack-test", index: made.index, bytes });
}

async function failureOf(work: () => unknown): Promise<unknown> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return error;
  }
}

describe.each(["sha1", "sha256"] as const)("chains of deltas, %s", (format) => {
  it.each([
    [0, "ofs"],
    [1, "ref"],
    [50, "mixed"],
    // Deeper than the fast way goes.
    [511, "ofs"],
    [512, "ofs"],
    [513, "ofs"],
    [5000, "ofs"],
    [5000, "ref"],
  ] as const)("of depth %s (%s) give every version", async (depth, kind) => {
    const made = makePack(chain(depth, format, kind), format);
    const all = versions(depth + 1, format);
    const picks = [depth, 0, depth >> 1, Math.max(depth - 1, 0), depth];
    for (const range of [
      new MemoryRange(shared(made.bytes)),
      new LateRange(made.bytes, false),
      ...(depth <= 513 ? [new LateRange(made.bytes, true)] : []),
    ]) {
      const pack = open(made, range);
      for (const pick of picks) {
        const { oid, data } = all[pick] as { oid: ObjectId; data: Buffer };
        const position = made.index.find(oid);
        expect(await pack.readObjectHeader(position)).toEqual({ type: "blob", sizeBytes: data.length });
        const object = await pack.readObject(position);
        expect(object.type).toBe("blob");
        expect(object.data.equals(data), `version ${pick}`).toBe(true);
      }
    }
  });

  it("answer at once when the bytes are resident, also past the fast way", () => {
    const made = makePack(chain(600, format, "ofs"), format);
    const { oid } = versions(601, format)[600] as { oid: ObjectId };
    expect(open(made).readObject(made.index.find(oid))).not.toBeInstanceOf(Promise);
  });

  it("that run in a circle are corrupt", async () => {
    const [a, b] = versions(2, format) as [{ oid: ObjectId; data: Buffer }, { oid: ObjectId; data: Buffer }];
    const delta = deltaOf(a.data, b.data);
    const entry = (oid: ObjectId, base: ObjectId): MadeEntry => ({
      oid,
      head: () => formatEntryHeader(REF_DELTA, delta.length, base),
      body: deflate(delta, 6),
    });
    const made = makePack([entry(a.oid, b.oid), entry(b.oid, a.oid)], format);
    const pack = open(made);
    for (const read of [() => pack.readObject(0), () => pack.readObjectHeader(0)]) {
      const failure = await failureOf(read);
      expect(isGitwharfError(failure, "object/corrupt")).toBe(true);
      expect(String(failure)).toContain("circle");
    }
  });

  it("that leave the pack ask for the base outside, which may come late, be missing or fail", async () => {
    const [a, b] = versions(2, format) as [{ oid: ObjectId; data: Buffer }, { oid: ObjectId; data: Buffer }];
    const delta = deltaOf(a.data, b.data);
    const made = makePack(
      [
        {
          oid: b.oid,
          head: () => formatEntryHeader(REF_DELTA, delta.length, a.oid),
          body: deflate(delta, 6),
        },
      ],
      format,
    );
    const base: PackedObject = { type: "blob", data: a.data };
    for (const external of [() => base, () => Promise.resolve(base)]) {
      const pack = open(made);
      expect((await pack.readObject(0, external)).data.equals(b.data)).toBe(true);
      expect(await pack.readObjectHeader(0, external)).toEqual({ type: "blob", sizeBytes: b.data.length });
    }
    expect(String(await failureOf(() => open(made).readObject(0)))).toContain(`base ${a.oid} is missing`);
    const failing = (): never => {
      throw new GitwharfError("storage/io", "the disk is gone");
    };
    expect(isGitwharfError(await failureOf(() => open(made).readObject(0, failing)), "storage/io")).toBe(
      true,
    );
  });

  it("of large objects are read piece by piece", async () => {
    const base = Buffer.alloc(5_000_000, "0123456789abcdef");
    const target = Buffer.concat([base, Buffer.from("the end")]);
    const delta = deltaOf(base, target);
    const oids = [base, target].map((data) => hashObject(format, "blob", data));
    const made = makePack(
      [
        { oid: oids[0] as string, head: () => formatEntryHeader(3, base.length), body: deflate(base, 6) },
        {
          oid: oids[1] as string,
          head: (offset, offsets) =>
            formatEntryHeader(OFS_DELTA, delta.length, offset - (offsets[0] as number)),
          body: deflate(delta, 6),
        },
      ],
      format,
    );
    for (const range of [new MemoryRange(shared(made.bytes)), new LateRange(made.bytes, true)]) {
      const pack = open(made, range);
      expect((await pack.readObject(made.index.find(oids[1] as string))).data.equals(target)).toBe(true);
      expect((await pack.readObject(made.index.find(oids[0] as string))).data.equals(base)).toBe(true);
    }
  });
});

describe("a damaged entry", () => {
  const data = Buffer.from("content ".repeat(40));
  const oid = hashObject("sha1", "blob", data);
  const base = { oid, head: () => formatEntryHeader(3, data.length), body: deflate(data, 6) };
  const other = hashObject("sha1", "blob", Buffer.from("other"));
  const delta = (bytes: Buffer, distance = 0): MadeEntry => ({
    oid: other,
    head: (offset, offsets) =>
      formatEntryHeader(OFS_DELTA, bytes.length, distance || offset - (offsets[0] as number)),
    body: deflate(bytes, 6),
  });
  const sizes = [0x80 | (data.length & 0x7f), data.length >> 7];

  it.each<readonly [string, readonly MadeEntry[]]>([
    [
      "claims more bytes than it has",
      [{ ...base, oid: other, head: () => formatEntryHeader(3, data.length + 1) }],
    ],
    [
      "claims fewer bytes than it has",
      [{ ...base, oid: other, head: () => formatEntryHeader(3, data.length - 1) }],
    ],
    [
      "claims more than the pack can hold",
      [{ ...base, oid: other, head: () => formatEntryHeader(3, 2 ** 40) }],
    ],
    ["is not compressed", [{ ...base, oid: other, body: Buffer.alloc(100, 0x55) }]],
    ["has no such type", [{ ...base, oid: other, head: () => Buffer.from([0x50]) }]],
    ["ends with the pack", [{ ...base, oid: other, body: base.body.subarray(0, 5) }]],
    ["has its base before the pack", [base, delta(Buffer.from([...sizes, 1, 1, 0x78]), 2 ** 20)]],
    ["is a delta for another base", [base, delta(Buffer.from([5, 1, 1, 0x78]))]],
    ["copies past the base's end", [base, delta(Buffer.from([...sizes, 200, 2, 0xb3, 0xff, 0xff, 200, 0]))]],
    ["makes less than it says", [base, delta(Buffer.from([...sizes, 9, 1, 0x78]))]],
    ["makes more than it says", [base, delta(Buffer.from([...sizes, 1, 2, 0x78, 0x79]))]],
    ["has the reserved instruction", [base, delta(Buffer.from([...sizes, 1, 0]))]],
    ["ends in an instruction", [base, delta(Buffer.from([...sizes, 9, 0xff]))]],
    [
      "claims a result no memory can hold",
      [base, delta(Buffer.from([...sizes, 255, 255, 255, 255, 255, 255, 127]))],
    ],
    ["has half a size", [base, delta(Buffer.from([0x80]))]],
  ])("that %s is corrupt, whichever way it is read", async (_what, entries) => {
    const made = makePack(entries, "sha1");
    const position = made.index.find(other);
    for (const range of [new MemoryRange(shared(made.bytes)), new LateRange(made.bytes, true)]) {
      const pack = open(made, range);
      expect(isGitwharfError(await failureOf(() => pack.readObject(position)), "object/corrupt")).toBe(true);
      // The pack's other objects are as good as before.
      const sound = made.index.find(oid);
      if (sound >= 0) expect((await pack.readObject(sound)).data.equals(data)).toBe(true);
    }
  });
});
