import { deflateSync, inflateSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { deflateSmall } from "./deflate.js";

test("any bytes come back, one after another through one state", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 5000 }), { maxLength: 8 }), (pieces) => {
      for (const piece of pieces) expect(inflateSync(deflateSmall(piece)).equals(piece)).toBe(true);
    }),
  );
});

test("around the sizes where the way changes", () => {
  for (const size of [0, 1, 99, 100, 101, 256 * 1024, 256 * 1024 + 1]) {
    const data = Buffer.alloc(size, "gitwharf");
    expect(inflateSync(deflateSmall(data)).equals(data)).toBe(true);
  }
});

test("larger pieces deflate as zlib's default does", () => {
  const data = Buffer.from("tree parent author committer ".repeat(50));
  expect(deflateSmall(data).equals(deflateSync(data))).toBe(true);
});
