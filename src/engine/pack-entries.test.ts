import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MemoryRange } from "../base/byte-range.js";
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import { Pack } from "../pack/pack.js";
import { PackIndex } from "../pack/pack-index.js";
import { createHistory, makeDirectory } from "./ingest/ingest.test.support.js";
import { checkPackEntries } from "./pack-entries.js";

const CRCS_AT = 8 + 1024;

describe.each<ObjectFormat>(["sha1", "sha256"])("entries of a pack, %s", (format) => {
  const directory = makeDirectory();
  let bytes: Buffer;
  let index: Buffer;
  let count: number;
  beforeAll(() => {
    createHistory(directory.path, format, 40);
    const packs = join(directory.path, "objects", "pack");
    const read = (ending: string): Buffer =>
      readFileSync(join(packs, readdirSync(packs).find((name) => name.endsWith(ending)) ?? ""));
    bytes = read(".pack");
    index = read(".idx");
    count = bytes.readUInt32BE(8);
  });
  afterAll(() => directory.remove());

  const check = (packBytes: Buffer, indexBytes: Buffer): Promise<readonly string[]> => {
    const shared = new SharedArrayBuffer(indexBytes.length);
    Buffer.from(shared).set(indexBytes);
    const sharedPack = new SharedArrayBuffer(packBytes.length);
    Buffer.from(sharedPack).set(packBytes);
    return checkPackEntries(
      new Pack({ key: "pack", index: PackIndex.parse(shared, format), bytes: new MemoryRange(sharedPack) }),
    );
  };

  it("are what git's index says", async () => {
    expect(await check(bytes, index)).toEqual([]);
  });

  it("are told of when a byte of one is another", async () => {
    const changed = Buffer.from(bytes);
    const at = bytes.length - hashBytes(format) - 1;
    changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
    expect(await check(changed, index)).toEqual([
      expect.stringMatching(/the entry of [0-9a-f]+ is not what/),
    ]);
  });

  it("are told of when the index has the checksum of something else", async () => {
    const changed = Buffer.from(index);
    const at = CRCS_AT + count * hashBytes(format) + 4 * 7;
    changed.writeUInt32BE((changed.readUInt32BE(at) ^ 1) >>> 0, at);
    const oidAt = CRCS_AT + 7 * hashBytes(format);
    const oid = index.toString("hex", oidAt, oidAt + hashBytes(format));
    expect(await check(bytes, changed)).toEqual([expect.stringContaining(oid)]);
  });

  it("are told of when the head speaks of more than there are", async () => {
    const changed = Buffer.from(bytes);
    changed.writeUInt32BE(count + 1, 8);
    expect(await check(changed, index)).toEqual([expect.stringContaining(`the ${count} objects`)]);
  });
});
