import fc from "fast-check";
import { expect, test } from "vitest";
import { hashBytes } from "../../object/object-format.js";
import { type Kind, LinkSet } from "./link-set.js";

test.each(["sha1", "sha256"] as const)("a link set is a set of raw ids with kinds (%s)", (format) => {
  const h = hashBytes(format);
  fc.assert(
    fc.property(
      fc.array(fc.record({ number: fc.nat(300), kind: fc.constantFrom<Kind>(1, 2, 3, 4) }), {
        maxLength: 3000,
      }),
      (adds) => {
        const set = new LinkSet(h);
        const model = new Map<number, number>();
        for (const { number, kind } of adds) {
          set.add(rawId(number, h), 3, kind);
          model.set(number, (model.get(number) ?? 0) | (1 << kind));
        }
        expect(set.size).toBe(model.size);
        [...model].forEach(([number, kinds], i) => {
          expect(set.find(rawId(number, h), 3)).toBe(i);
          expect(set.kinds[i]).toBe(kinds);
          expect(Buffer.from(set.oids.subarray(i * h, (i + 1) * h))).toEqual(rawId(number, h).subarray(3));
        });
        expect(set.find(rawId(301, h), 3)).toBe(-1);
      },
    ),
  );
});

test("it grows", () => {
  const h = hashBytes("sha1");
  const set = new LinkSet(h);
  for (let i = 0; i < 20_000; i++) set.add(rawId(i, h), 3, 2);
  for (let i = 0; i < 20_000; i++) expect(set.find(rawId(i, h), 3)).toBe(i);
});

/** Ids that differ in their last bytes only, three bytes into a buffer. */
function rawId(number: number, h: number): Buffer {
  const bytes = Buffer.alloc(3 + h, 7);
  bytes.writeUInt32BE(number, 3 + h - 4);
  return bytes;
}
