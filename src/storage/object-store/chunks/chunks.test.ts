/** Blobs cut, kept, named by recipes and put together again: by Node's zlib and by git. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateRawSync, deflateSync, inflateSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isGitwharfError } from "../../../base/errors.js";
import { type ObjectFormat } from "../../../object/object-format.js";
import { hashObject } from "../../../object/object-id.js";
import { parseEntryHeader } from "../../../pack/entry-header.js";
import { nodesInMemory } from "../tree/node.js";
import { ADLER32_EMPTY, adler32, combineAdler32 } from "./adler32.js";
import { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, Chunker, GEAR } from "./chunk-boundary.js";
import { formatRecipe, readRecipe, type Recipe, type RecipeChunk, recipeHead } from "./recipe.js";
import { RecipeBuilder } from "./recipe-builder.js";
import { type SplicedEntry, spliceEntry, splicedEntryBytes } from "./splice-entry.js";
import { chunkIdOf, readStoredChunk, storeChunk, STORED_CHUNK_BYTES_MAX } from "./stored-chunk.js";

/** Noise that is the same in every run. */
function noise(length: number, seed: string): Buffer {
  const key = createHash("sha256").update(seed).digest();
  const blocks = Array.from({ length: Math.ceil(length / 32) }, (_, i) =>
    createHash("sha256").update(key).update(String(i)).digest(),
  );
  return Buffer.concat(blocks).subarray(0, length);
}

function text(length: number): Buffer {
  let written = "";
  for (let i = 0; written.length < length; i++)
    written += `line ${i} of ${Math.imul(i, 2654435761) >>> 20}\n`;
  return Buffer.from(written.slice(0, length));
}

const NOISE = noise(3_000_000, "noise");
const TEXT = text(3_000_000);

function chunksOf(blob: Uint8Array, cuts: readonly number[] = []): Uint8Array[] {
  const chunker = new Chunker();
  const chunks: Uint8Array[] = [];
  let from = 0;
  for (const cut of [...cuts.map((at) => Math.min(at, blob.length)).toSorted((a, b) => a - b), blob.length]) {
    // The bytes are used again by whoever reads them from a socket.
    const piece = Buffer.from(blob.subarray(from, cut));
    for (const chunk of chunker.append(piece)) chunks.push(Buffer.from(chunk));
    piece.fill(0);
    from = cut;
  }
  const last = chunker.finish();
  return last === undefined ? chunks : [...chunks, last];
}

/** Containers in memory. */
class Containers {
  readonly contents = new Map<string, Buffer[]>();
  readonly chunks = new Map<string, RecipeChunk>();
  readonly #bytesMax: number;
  #key = "";
  #used = Infinity;
  storedBytes = 0;

  constructor(bytesMax = 1_000_000) {
    this.#bytesMax = bytesMax;
  }

  async find(ids: readonly string[]): Promise<ReadonlyMap<string, RecipeChunk>> {
    const known = ids.flatMap((id) => this.chunks.get(id) ?? []);
    return new Map(known.map((chunk) => [chunk.id, chunk]));
  }

  place(stored: Buffer): { containerKey: string; offset: number } {
    if (this.#used + stored.length > this.#bytesMax) {
      this.#key = `c/${String(this.contents.size).padStart(2, "0")}.chunks`;
      this.contents.set(this.#key, []);
      this.#used = 0;
    }
    this.contents.get(this.#key)?.push(stored);
    const offset = this.#used;
    this.#used += stored.length;
    this.storedBytes += stored.length;
    return { containerKey: this.#key, offset };
  }

  async add(blob: Uint8Array): Promise<Recipe> {
    const builder = new RecipeBuilder(this);
    const piece = Buffer.alloc(50_000);
    for (let at = 0; at < blob.length; at += piece.length) {
      piece.set(blob.subarray(at, at + piece.length));
      await builder.append(piece.subarray(0, blob.length - at));
    }
    const recipe = await builder.finish();
    for (const chunk of recipe.chunks) this.chunks.set(chunk.id, chunk);
    return recipe;
  }

  bytesOf({ segments }: SplicedEntry): Buffer {
    return Buffer.concat(
      segments.map((segment) =>
        segment.kind === "literal"
          ? segment.bytes
          : Buffer.concat(this.contents.get(segment.key) ?? []).subarray(segment.start, segment.end),
      ),
    );
  }
}

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isGitwharfError(error, "storage/corrupt")) return error.message;
    throw error;
  }
  return "taken";
}

describe("chunks", () => {
  it("are the same however the bytes come", () => {
    const blob = Buffer.concat([
      NOISE.subarray(0, 700_000),
      Buffer.alloc(1_200_000),
      TEXT.subarray(0, 500_000),
    ]);
    const expected = chunksOf(blob).map(chunkIdOf);
    expect(expected.length).toBeGreaterThan(8);
    fc.assert(
      fc.property(fc.array(fc.nat(blob.length), { maxLength: 40 }), (cuts) => {
        expect(chunksOf(blob, cuts).map(chunkIdOf)).toEqual(expected);
      }),
      { numRuns: 20 },
    );
    // Around the lengths at which the rule changes, byte by byte.
    const edges = [32, 128, 512].flatMap((kib) => [-1, 0, 1].map((more) => kib * 1024 + more));
    expect(chunksOf(blob, edges).map(chunkIdOf)).toEqual(expected);
    const bytewise = NOISE.subarray(0, 300_000);
    const each = Array.from({ length: bytewise.length }, (_, i) => i);
    expect(chunksOf(bytewise, each).map(chunkIdOf)).toEqual(chunksOf(bytewise).map(chunkIdOf));
  });

  it("are the blob, and of the sizes that are promised", () => {
    for (const blob of [NOISE, TEXT, Buffer.alloc(2_000_000), Buffer.alloc(1), Buffer.alloc(0)]) {
      const chunks = chunksOf(blob);
      expect(Buffer.concat(chunks).equals(blob)).toBe(true);
      for (const [i, { length }] of chunks.entries()) {
        expect(length).toBeLessThanOrEqual(CHUNK_BYTES_MAX);
        if (i < chunks.length - 1) expect(length).toBeGreaterThanOrEqual(CHUNK_BYTES_MIN);
      }
    }
    const mean = NOISE.length / chunksOf(NOISE).length;
    expect(mean).toBeGreaterThan(80_000);
    expect(mean).toBeLessThan(200_000);
  });

  it("stay where bytes come in or go before them", () => {
    const before = new Set(chunksOf(NOISE).map(chunkIdOf));
    const changed = Buffer.concat([
      NOISE.subarray(0, 1_000_000),
      Buffer.from("new"),
      NOISE.subarray(1_000_100),
    ]);
    const after = chunksOf(changed).map(chunkIdOf);
    expect(after.filter((id) => !before.has(id)).length).toBeLessThanOrEqual(3);
  });

  it("are cut by the rule that is written down", () => {
    expect([GEAR[0], GEAR[1], GEAR[255]]).toEqual([1_755_945_489, 937_959_766, 673_755_205]);
    expect(chunksOf(NOISE).map(({ length }) => length)).toEqual([
      175_614, 165_235, 132_632, 98_799, 151_452, 176_098, 134_794, 53_468, 74_406, 59_394, 161_630, 115_736,
      143_262, 183_858, 176_353, 116_463, 136_879, 136_598, 115_484, 147_280, 224_343, 120_222,
    ]);
    expect(chunksOf(Buffer.alloc(1_200_000)).map(({ length }) => length)).toEqual([
      524_288, 524_288, 151_424,
    ]);
  });
});

describe("Adler-32", () => {
  const byZlib = (bytes: Uint8Array): number =>
    deflateSync(bytes).readUInt32BE(deflateSync(bytes).length - 4);

  it("is what zlib writes, and of two pieces that of both", () => {
    expect(adler32(Buffer.alloc(0))).toBe(ADLER32_EMPTY);
    expect(adler32(Buffer.from("hello"))).toBe(0x062c0215);
    for (const bytes of [NOISE.subarray(0, 500_001), TEXT.subarray(0, 70_000), Buffer.alloc(600_000, 0xff)])
      expect(adler32(bytes)).toBe(byZlib(bytes));
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.nat(200_000),
        fc.nat(200_000),
        (bytes, from, length) => {
          const second = NOISE.subarray(from, from + length);
          for (const [a, b] of [
            [bytes, second],
            [second, bytes],
            [bytes, bytes],
          ] as const)
            expect(combineAdler32(adler32(a), adler32(b), b.length)).toBe(adler32(Buffer.concat([a, b])));
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe("kept chunks", () => {
  it("are these bytes", () => {
    expect(storeChunk(Buffer.from("hello")).toString("hex")).toBe("00" + "0500faff" + "68656c6c6f");
    const long = storeChunk(NOISE.subarray(0, 65_536));
    expect(long.length).toBe(65_546);
    expect(long.toString("hex", 0, 5)).toBe("00ffff0000");
    expect(long.toString("hex", 65_540)).toBe(`000100feff${NOISE.toString("hex", 65_535, 65_536)}`);
    const deflated = storeChunk(TEXT.subarray(0, 100_000));
    expect(deflated.length).toBeLessThan(50_000);
    expect(deflated.toString("hex", deflated.length - 4)).toBe("0000ffff");
  });

  it("are read again, and never take more than is promised", () => {
    // What looks compressible at its beginning and is not: it must not grow.
    const mixed = Buffer.concat([Buffer.alloc(2000), NOISE.subarray(0, CHUNK_BYTES_MAX - 2000)]);
    for (const chunk of [
      NOISE.subarray(0, CHUNK_BYTES_MAX),
      mixed,
      TEXT.subarray(0, 200_000),
      Buffer.of(1),
    ]) {
      const stored = storeChunk(chunk);
      expect(stored.length).toBeLessThanOrEqual(STORED_CHUNK_BYTES_MAX);
      const read = readStoredChunk(stored, { id: chunkIdOf(chunk), sizeBytes: chunk.length });
      expect(read.equals(chunk)).toBe(true);
    }
  });

  it("are refused when they are another chunk, damaged, or larger than is said", () => {
    const chunk = TEXT.subarray(0, 100_000);
    const stored = storeChunk(chunk);
    const expected = { id: chunkIdOf(chunk), sizeBytes: chunk.length };
    const read = (bytes: Buffer, change: object = {}): string =>
      refusal(() => readStoredChunk(bytes, { ...expected, ...change }));
    expect(read(stored)).toBe("taken");
    expect(read(storeChunk(Buffer.alloc(100_000)))).toContain("do not hash");
    expect(read(stored, { sizeBytes: 99_999 })).toContain("a chunk");
    expect(read(stored, { sizeBytes: 100_001 })).toContain("has 100000 bytes");
    expect(read(stored, { sizeBytes: 2 ** 30 })).toContain("is said to have");
    expect(read(stored.subarray(0, -100))).toContain("a chunk");
    expect(read(Buffer.alloc(0))).toContain("a chunk");
    expect(read(deflateRawSync(chunk))).toContain("final block");
    expect(read(Buffer.concat([stored, Buffer.of(3, 0)]))).toContain("final block");
    // A small stream that would become a very large one.
    expect(read(storeChunk(Buffer.alloc(CHUNK_BYTES_MAX)))).toContain("a chunk");
  });
});

describe("recipes", () => {
  const chunk = (i: number, change: Partial<RecipeChunk> = {}): RecipeChunk => ({
    id: createHash("sha256").update(String(i)).digest("hex"),
    containerKey: `c/${i % 3}`,
    offset: i * 1000,
    storedBytes: 1000,
    sizeBytes: 1500,
    adler32: Math.imul(i, 2654435761) >>> 0,
    ...change,
  });
  const recipeOf = (count: number): Recipe => ({
    sizeBytes: count * 1500,
    storedBytes: count * 1000,
    chunks: Array.from({ length: count }, (_, i) => chunk(i)),
  });

  it("are these bytes", () => {
    const stored = storeChunk(Buffer.from("hello"));
    const id = chunkIdOf(Buffer.from("hello"));
    const hello = chunk(0, {
      id,
      containerKey: "c/1",
      offset: 0,
      storedBytes: stored.length,
      sizeBytes: 5,
      adler32: adler32(Buffer.from("hello")),
    });
    const value = formatRecipe({ sizeBytes: 5, storedBytes: 10, chunks: [hello] })?.value;
    expect(value?.toString("hex")).toBe(`01050a0103632f3101${id}00000a05062c0215`);
    const long = formatRecipe(recipeOf(2000));
    expect(
      createHash("sha256")
        .update(long?.value ?? "")
        .digest("hex"),
    ).toBe("f4aa74a391971663bec177e23a36dfcd2a2789ae92aa2c9cca66e86db9840644");
  });

  it("are read as they were written, the long ones in one round trip", async () => {
    for (const count of [1, 3, 64, 65, 66, 600, 5000]) {
      const recipe = recipeOf(count);
      const written = formatRecipe(recipe);
      if (written === undefined) throw new Error("not written");
      expect(written.nodes.size > 0).toBe(count > 64);
      const nodes = nodesInMemory(written.nodes);
      let roundTrips = 0;
      const reader = { read: (ids: readonly string[]) => (roundTrips++, Promise.resolve(nodes.read(ids))) };
      expect(await readRecipe(reader, written.value)).toEqual(recipe);
      expect(roundTrips).toBe(count > 64 ? 1 : 0);
      expect(recipeHead(written.value)).toEqual({
        sizeBytes: recipe.sizeBytes,
        storedBytes: recipe.storedBytes,
        pieces: [...written.nodes.keys()],
      });
      for (let length = 0; length < Math.min(written.value.length, 300); length++)
        expect(refusal(() => recipeHead(written.value.subarray(0, length)))).toContain("corrupt");
    }
  });

  it("share pieces when most chunks are the same", () => {
    const before = recipeOf(5000);
    const chunks = before.chunks.with(2500, chunk(9999));
    const after = formatRecipe({ ...before, chunks })?.nodes ?? new Map();
    const known = formatRecipe(before)?.nodes ?? new Map();
    expect([...after.keys()].filter((id) => !known.has(id)).length).toBeLessThanOrEqual(2);
  });

  it("are not made of more chunks than fit", () => {
    // Ids that end a piece as early as can be.
    const chunks = Array.from({ length: 32 * 2000 }, () => chunk(0, { id: "00".repeat(32) }));
    expect(formatRecipe({ sizeBytes: 0, storedBytes: 0, chunks })?.nodes.size).toBe(1);
    expect(formatRecipe({ sizeBytes: 0, storedBytes: 0, chunks: [...chunks, chunk(0)] })).toBeUndefined();
  });

  it("are refused when damaged", () => {
    const read = (value: string): string =>
      refusal(() => readRecipe(nodesInMemory(new Map()), Buffer.from(value, "hex")));
    const id = "11".repeat(32);
    expect(read(`01050a0103632f3101${id}00000a05062c0215`)).toBe("taken");
    expect(read(`01060a0103632f3101${id}00000a05062c0215`)).toContain("another size");
    expect(read(`03050a0103632f3101${id}00000a05062c0215`)).toContain("form 3");
    expect(read(`01050a0103632f3101${id}01000a05062c0215`)).toContain("in no container");
    expect(read(`01050a0203632f3103632f3201${id}00000a05062c0215`)).toContain("none of its chunks");
    expect(read(`01050a0203632f3203632f3101${id}00000a05062c0215`)).toContain("not in order");
    expect(read("01050a0103632f3100")).toContain("no chunks");
    expect(read("02050a00")).toContain("no chunks");
    expect(read(`02050a01${id}`)).toContain("not there");
    expect(read("02050aff7f")).toContain("the most is 2000");
  });
});

describe("entries that are spliced", () => {
  it("are these bytes", async () => {
    const containers = new Containers();
    const entry = spliceEntry(await containers.add(Buffer.from("hello")));
    expect(containers.bytesOf(entry).toString("hex")).toBe(
      "35" + "789c" + "000500faff68656c6c6f" + "0300" + "062c0215",
    );
    expect(entry.sizeBytes).toBe(19);
  });

  const BLOBS = fc
    .array(
      fc.record({
        what: fc.constantFrom(NOISE, TEXT, Buffer.alloc(900_000)),
        from: fc.nat(500_000),
        length: fc.nat(600_000),
      }),
      { minLength: 1, maxLength: 4 },
    )
    .map((parts) => Buffer.concat(parts.map(({ what, from, length }) => what.subarray(from, from + length))))
    .filter(({ length }) => length > 0);

  it("inflate to the blob, with the checksum that zlib wants", async () => {
    const containers = new Containers();
    await fc.assert(
      fc.asyncProperty(BLOBS, async (blob) => {
        const recipe = await containers.add(blob);
        const entry = spliceEntry(recipe);
        const bytes = containers.bytesOf(entry);
        expect(bytes.length).toBe(entry.sizeBytes);
        expect(splicedEntryBytes(recipe)).toBe(entry.sizeBytes);
        const head = parseEntryHeader(bytes, 0, "sha1");
        expect(head).toMatchObject({ type: 3, sizeBytes: blob.length });
        expect(inflateSync(bytes.subarray(head?.headerLength)).equals(blob)).toBe(true);
      }),
      { numRuns: 15 },
    );
  });

  it("are few segments where chunks stand side by side", async () => {
    const recipe = await new Containers(64 * 1024 * 1024).add(NOISE);
    expect(recipe.chunks.length).toBeGreaterThan(10);
    expect(spliceEntry(recipe).segments).toHaveLength(3);
  });

  it.each(["sha1", "sha256"] as const)("are what git takes: %s", async (format: ObjectFormat) => {
    const containers = new Containers();
    const changed = Buffer.concat([
      NOISE.subarray(0, 1_000_000),
      Buffer.from("new"),
      NOISE.subarray(1_000_100),
    ]);
    const blobs = [
      NOISE,
      changed,
      TEXT,
      Buffer.concat([TEXT, NOISE, Buffer.alloc(700_000)]),
      Buffer.from("hello"),
    ];
    const entries: Buffer[] = [];
    for (const blob of blobs) entries.push(containers.bytesOf(spliceEntry(await containers.add(blob))));
    const head = Buffer.from("5041434b00000002", "hex");
    const count = Buffer.alloc(4);
    count.writeUInt32BE(blobs.length);
    const body = Buffer.concat([head, count, ...entries]);
    const pack = Buffer.concat([body, createHash(format).update(body).digest()]);
    const directory = mkdtempSync(join(tmpdir(), "gitwharf-splice-"));
    try {
      const git = (input: Buffer | string, ...args: string[]): Buffer =>
        execFileSync("git", ["-C", directory, ...args], { input, maxBuffer: 1 << 28, stdio: "pipe" });
      git("", "init", "-q", "--bare", `--object-format=${format}`);
      git(pack, "index-pack", "--strict", "--stdin", "--fix-thin");
      for (const blob of blobs)
        expect(git("", "cat-file", "blob", hashObject(format, "blob", blob)).equals(blob)).toBe(true);
      git("", "fsck", "--strict", "--full");
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
    // The second is the first with a few bytes changed.
    expect(containers.storedBytes).toBeLessThan(5_000_000);
  });
});
