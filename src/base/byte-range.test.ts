/** Ranges of files give the file's bytes, whatever is resident, and say when the file is shorter than it was. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FileRange, MemoryRange, openByteRange } from "./byte-range.js";
import { isGitwharfError } from "./errors.js";

const BLOCK = 64 * 1024;
const content = Buffer.alloc(12 * BLOCK + 777);
for (let i = 0; i < content.length; i += 4)
  content.writeUInt32LE(Math.imul(i, 0x9e3779b1) >>> 0, Math.min(i, content.length - 4));

describe("FileRange", () => {
  let directory: string;
  let fd: number;
  let keys = 0;
  const open = (blocking: boolean, cacheKey = `byte-range-test-${keys++}`): FileRange =>
    new FileRange({ fd, sizeBytes: content.length, cacheKey }, { blocking });

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "gitwharf-range-"));
    writeFileSync(join(directory, "file"), content);
    fd = openSync(join(directory, "file"), "r");
  });
  afterAll(() => {
    closeSync(fd);
    rmSync(directory, { recursive: true, force: true });
  });

  const spans: readonly (readonly [number, number])[] = [
    [0, 1],
    [0, BLOCK],
    [BLOCK - 1, 2],
    [BLOCK - 3, BLOCK + 6],
    [BLOCK, BLOCK],
    [100, 7 * BLOCK],
    [100, 11 * BLOCK],
    [content.length - 10, 100],
    [11 * BLOCK + 5, 3 * BLOCK],
    [content.length, 5],
    [content.length + 99, 5],
    [7, 0],
  ];

  it.each([true, false])("gives the bytes of any span (blocking: %s)", async (blocking) => {
    for (const [offset, length] of spans) {
      const wanted = content.subarray(offset, offset + length);
      const range = open(blocking);
      expect((await range.read(offset, length)).equals(wanted), `${offset}+${length}`).toBe(true);
      expect((await range.read(offset, length)).equals(wanted), `${offset}+${length} again`).toBe(true);
    }
  });

  it("answers at once what is resident, and waits only for the rest", async () => {
    const range = open(false);
    expect(range.read(10, 10)).toBeInstanceOf(Promise);
    await range.read(10, 10);
    expect(range.read(20, 100)).toBeInstanceOf(Buffer);
    const half = range.read(BLOCK - 10, 20);
    expect(half).toBeInstanceOf(Promise);
    expect((await half).equals(content.subarray(BLOCK - 10, BLOCK + 10))).toBe(true);
    expect(range.read(BLOCK - 10, 20)).toBeInstanceOf(Buffer);
  });

  it("shares blocks by key and by nothing else", async () => {
    const first = open(false, "byte-range-shared");
    await first.read(0, 10);
    expect(openByteRange(first.describe(), { blocking: false }).read(0, 10)).toBeInstanceOf(Buffer);
    expect(open(false, "byte-range-other").read(0, 10)).toBeInstanceOf(Promise);
  });

  it("says that a file became shorter", async () => {
    const path = join(directory, "short");
    writeFileSync(path, content.subarray(0, 3 * BLOCK));
    const short = openSync(path, "r+");
    try {
      ftruncateSync(short, BLOCK + 1);
      for (const blocking of [true, false]) {
        const file = { fd: short, sizeBytes: 3 * BLOCK, cacheKey: `byte-range-short-${blocking}` };
        const range = new FileRange(file, { blocking });
        expect((await range.read(BLOCK - 1, 1)).length).toBe(1);
        const failure = await (async () => range.read(BLOCK - 1, 10))().then(
          () => undefined,
          (error: unknown) => error,
        );
        expect(isGitwharfError(failure, "storage/io")).toBe(true);
      }
    } finally {
      closeSync(short);
    }
  });
});

describe("MemoryRange", () => {
  it("ends where its bytes end", () => {
    const range = new MemoryRange(new Uint8Array([1, 2, 3, 4]).buffer, 3);
    expect([...range.read(1, 10)]).toEqual([2, 3]);
    expect(range.read(9, 1).length).toBe(0);
  });
});
