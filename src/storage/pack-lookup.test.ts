import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryRange } from "../base/byte-range.js";
import { Pack } from "../pack/pack.js";
import { PackIndex } from "../pack/pack-index.js";
import { formatPackIndex } from "../pack/pack-index-writer.js";
import { PackLookup } from "./pack-lookup.js";

/** A pack that only its index knows anything about. */
function indexOnly(oids: readonly string[]): Pack {
  const index = formatPackIndex({
    objectFormat: "sha1",
    oids: Buffer.from(oids.join(""), "hex"),
    offsets: oids.map((_, i) => 12 + i),
    crc32s: new Uint32Array(oids.length),
    packTrailer: randomBytes(20).toString("hex"),
  });
  return new Pack({
    key: randomBytes(8).toString("hex"),
    index: PackIndex.parse(index.bytes, "sha1"),
    bytes: new MemoryRange(new ArrayBuffer(0)),
  });
}

function randomIds(count: number): string[] {
  return Array.from({ length: count }, () => randomBytes(20).toString("hex"));
}

function expectFinds(lookup: PackLookup, pack: Pack, oids: readonly string[]): void {
  for (const oid of oids) {
    const found = lookup.locate(oid);
    expect(found?.pack).toBe(pack);
    expect(found?.pack.index.oidAt(found.position)).toBe(oid);
  }
}

describe("PackLookup", () => {
  it.each([1, 2, 16, 17, 18, 200])("finds every object of %i packs and none other", (count) => {
    const contents = Array.from({ length: count }, (_, i) => randomIds(1 + (i % 7)));
    const packs = contents.map(indexOnly);
    const lookup = new PackLookup(packs);
    for (const [i, oids] of contents.entries()) expectFinds(lookup, packs[i] as Pack, oids);
    for (const oid of randomIds(100)) expect(lookup.locate(oid)).toBeUndefined();
    expect(lookup.locate("0".repeat(40))).toBeUndefined();
    expect(lookup.locate("not an id")).toBeUndefined();
  });

  it("goes on with the table of an earlier view, without what has gone", () => {
    const contents = Array.from({ length: 120 }, () => randomIds(5));
    const packs = contents.map(indexOnly);
    let lookup = new PackLookup(packs.slice(0, 40));
    for (let end = 41; end <= 120; end++) {
      // One comes, and every third time the oldest goes.
      const start = Math.floor((end - 40) / 3);
      lookup = new PackLookup(packs.slice(start, end), lookup);
      for (const i of [start, start + 1, Math.floor((start + end) / 2), end - 1]) {
        expectFinds(lookup, packs[i] as Pack, contents[i] as string[]);
      }
      if (start > 0)
        for (const oid of contents[start - 1] as string[]) expect(lookup.locate(oid)).toBeUndefined();
    }
  });

  it("leaves an older view right when the table has grown", () => {
    const contents = Array.from({ length: 60 }, () => randomIds(5));
    const packs = contents.map(indexOnly);
    const older = new PackLookup(packs.slice(0, 30));
    const newer = new PackLookup(packs, older);
    for (const [i, oids] of contents.entries()) {
      expectFinds(newer, packs[i] as Pack, oids);
      if (i < 30) expectFinds(older, packs[i] as Pack, oids);
      else for (const oid of oids) expect(older.locate(oid)).toBeUndefined();
    }
  });

  it("drops a table most of which has gone", () => {
    const old = Array.from({ length: 50 }, () => indexOnly(randomIds(10)));
    const lookup = new PackLookup(old);
    const kept = old.slice(0, 5);
    expect(lookup.tableWorthKeeping(kept)).toBeUndefined();
    expect(lookup.tableWorthKeeping(old.slice(0, 40))).toBeDefined();
  });

  it("finds ids that share their beginnings", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 50 })), {
          minLength: 20,
          maxLength: 60,
        }),
        (pairs) => {
          const ids = [
            ...new Set(
              pairs.map(([head, tail]) => `${"ab".repeat(15)}${head}${tail.toString(16).padStart(9, "0")}`),
            ),
          ];
          const packs = ids.map((oid) => indexOnly([oid]));
          const lookup = new PackLookup(packs);
          for (const [i, oid] of ids.entries()) expect(lookup.locate(oid)?.pack).toBe(packs[i]);
          expect(lookup.locate("ab".repeat(20))).toBeUndefined();
        },
      ),
    );
  });

  it("tells every pack that holds an object", () => {
    const [oid = ""] = randomIds(1);
    const packs = [indexOnly([oid]), indexOnly(randomIds(3)), indexOnly([oid, ...randomIds(2)])];
    expect(new PackLookup(packs).locateAll(oid).map(({ pack }) => pack)).toEqual([packs[0], packs[2]]);
  });
});
