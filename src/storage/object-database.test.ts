import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemoryRange } from "../base/byte-range.js";
import { formatLooseObject } from "../pack/loose-object.js";
import { Pack } from "../pack/pack.js";
import { PackIndex } from "../pack/pack-index.js";
import { formatSamplePack, type SampleObject, sampleObject } from "./contracts/suites/sample-objects.js";
import { LooseDirectory } from "./disk/loose-directory.js";
import { looseObjectPath } from "./disk/loose-object-file.js";
import { createObjectDatabase, type LooseObjects, openObjectReader } from "./object-database.js";

const blob = (text: string): SampleObject => sampleObject("sha1", "blob", Buffer.from(text));

function packOf(objects: readonly SampleObject[], damage?: (bytes: Buffer) => void): Pack {
  const { bytes, index, trailer } = formatSamplePack("sha1", objects);
  damage?.(bytes);
  const shared = new SharedArrayBuffer(bytes.length);
  bytes.copy(Buffer.from(shared));
  return new Pack({
    key: `${trailer}${damage === undefined ? "" : "-damaged"}`,
    index: PackIndex.parse(index, "sha1"),
    bytes: new MemoryRange(shared),
  });
}

const spoil = (bytes: Buffer): void => void bytes.fill(0xff, 13, bytes.length - 20);

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-objects-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

function writeLoose({ oid, type, data }: SampleObject): string {
  const path = looseObjectPath(directory, oid);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, formatLooseObject(type, data));
  return path;
}

function looseIn(path: string): LooseObjects {
  const loose = new LooseDirectory(path, "sha1");
  const since = performance.now();
  return {
    directories: [path],
    read: (oid) => loose.read(oid, since),
    readHeader: (oid) => loose.readHeader(oid, since),
    has: (oid) => loose.has(oid, since),
    list: () => loose.list(),
  };
}

describe("createObjectDatabase", () => {
  it("answers at once for what is in memory", () => {
    const object = blob("here");
    const database = createObjectDatabase({ objectFormat: "sha1", packs: [packOf([object])] });
    expect(database.read(object.oid)).toEqual({ type: "blob", data: object.data });
    expect(database.readHeader(object.oid)).toEqual({ type: "blob", sizeBytes: 4 });
    expect(database.has(object.oid)).toBe(true);
    expect(database.has(blob("not here").oid)).toBe(false);
    expect(database.read(blob("not here").oid)).toBeUndefined();
  });

  it("reads another copy when one is damaged: a pack's, then a loose one", async () => {
    const object = blob("twice");
    const both = createObjectDatabase({
      objectFormat: "sha1",
      packs: [packOf([object], spoil), packOf([object])],
    });
    expect((await both.read(object.oid))?.data.toString()).toBe("twice");
    writeLoose(object);
    const loose = createObjectDatabase({
      objectFormat: "sha1",
      packs: [packOf([object], spoil)],
      loose: looseIn(directory),
    });
    expect((await loose.read(object.oid))?.data.toString()).toBe("twice");
    const none = createObjectDatabase({ objectFormat: "sha1", packs: [packOf([object], spoil)] });
    await expect(none.read(object.oid)).rejects.toMatchObject({ code: "object/corrupt" });
  });

  it("asks for new packs before it says that an object is absent, and keeps them", async () => {
    const object = blob("moved");
    const moved = packOf([object]);
    let asked = 0;
    const database = createObjectDatabase({
      objectFormat: "sha1",
      packs: [packOf([blob("first")])],
      findNewPacks: async () => (asked++ === 0 ? undefined : [moved]),
    });
    expect(await database.has(object.oid)).toBe(false);
    expect((await database.read(object.oid))?.data.toString()).toBe("moved");
    expect(database.packs).toHaveLength(2);
    expect(database.read(object.oid)).toBeDefined();
    expect(asked).toBe(2);
  });
});

describe("loose objects", () => {
  it.each([0, 1, 8191, 8192, 100_000, 3_000_000])("of %i bytes are read", async (sizeBytes) => {
    const bytes = Buffer.alloc(sizeBytes);
    for (let i = 0; i < sizeBytes; i++) bytes[i] = (i * 31) ^ (i >> 7);
    const object = sampleObject("sha1", "blob", bytes);
    writeLoose(object);
    const database = createObjectDatabase({ objectFormat: "sha1", packs: [], loose: looseIn(directory) });
    expect(await database.has(object.oid)).toBe(true);
    expect(await database.readHeader(object.oid)).toEqual({ type: "blob", sizeBytes });
    expect((await database.read(object.oid))?.data.equals(object.data)).toBe(true);
    const blocking = openObjectReader(database.describe(), { blocking: true });
    expect(blocking.readHeader(object.oid)).toEqual({ type: "blob", sizeBytes });
    const read = blocking.read(object.oid);
    expect(read instanceof Promise ? undefined : read?.data.equals(object.data)).toBe(true);
  });

  it("that are damaged are told with their path", async () => {
    const cases: [string, Buffer][] = [
      ["not zlib", Buffer.from("not zlib at all")],
      ["empty", Buffer.alloc(0)],
      ["cut", formatLooseObject("blob", Buffer.from("some content")).subarray(0, 12)],
      ["cut late", formatLooseObject("blob", Buffer.alloc(200_000, "some content")).subarray(0, -30)],
    ];
    for (const [title, bytes] of cases) {
      const object = blob(title);
      const path = writeLoose(object);
      writeFileSync(path, bytes);
      const database = createObjectDatabase({ objectFormat: "sha1", packs: [], loose: looseIn(directory) });
      const failed = await Promise.resolve(database.read(object.oid)).then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(failed, title).toMatchObject({ code: "object/corrupt" });
      expect(String(failed)).toContain(path);
    }
  });

  it("are listed, other files are not", async () => {
    const objects = [blob("a"), blob("b"), blob("c")];
    for (const object of objects) writeLoose(object);
    mkdirSync(join(directory, "pack"));
    writeFileSync(join(directory, objects[0]?.oid.slice(0, 2) ?? "", "tmp_obj_1234"), "");
    const database = createObjectDatabase({ objectFormat: "sha1", packs: [], loose: looseIn(directory) });
    for (const reader of [database, openObjectReader(database.describe(), { blocking: true })]) {
      const listed: string[] = [];
      for await (const oid of reader.looseObjects()) listed.push(oid);
      expect(listed.sort()).toEqual(objects.map(({ oid }) => oid).sort());
    }
  });

  it("answer a thousand questions for what is absent with a few looks", async () => {
    const object = blob("present");
    writeLoose(object);
    const loose = new LooseDirectory(directory, "sha1");
    const since = performance.now();
    for (let i = 0; i < 1000; i++) await loose.has(blob(`absent ${i}`).oid, since);
    let late = 0;
    for (let i = 1000; i < 2000; i++)
      if (loose.has(blob(`absent ${i}`).oid, since) instanceof Promise) late++;
    expect(late).toBe(0);
    expect(await loose.has(object.oid, since)).toBe(true);
    expect(loose.has(object.oid, since)).toBe(true);
  });
});

describe("openObjectReader", () => {
  it("finds objects that were moved into a new pack after the description", () => {
    const object = blob("moved later");
    const database = createObjectDatabase({ objectFormat: "sha1", packs: [], loose: looseIn(directory) });
    const reader = openObjectReader(database.describe(), { blocking: true });
    expect(reader.has(object.oid)).toBe(false);
    const { bytes, index, trailer } = formatSamplePack("sha1", [object]);
    mkdirSync(join(directory, "pack"));
    writeFileSync(join(directory, `pack/pack-${trailer}.pack`), bytes);
    writeFileSync(join(directory, `pack/pack-${trailer}.idx`), Buffer.from(index));
    expect(reader.has(object.oid)).toBe(true);
    expect(reader.read(object.oid)).toEqual({ type: "blob", data: object.data });
  });
});
