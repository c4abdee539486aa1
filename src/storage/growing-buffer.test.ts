import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GrowingBuffer } from "./growing-buffer.js";

describe("GrowingBuffer", () => {
  it("holds what an array would", () => {
    const step = fc.oneof(
      fc.record({ append: fc.uint8Array({ maxLength: 40_000 }) }),
      fc.record({ overwrite: fc.uint8Array({ maxLength: 20 }), at: fc.nat({ max: 100 }) }),
      fc.record({ truncate: fc.nat({ max: 50_000 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const buffer = new GrowingBuffer();
        let model = Buffer.alloc(0);
        for (const each of steps) {
          if ("append" in each) {
            buffer.append(each.append);
            model = Buffer.concat([model, each.append]);
          } else if ("truncate" in each) {
            buffer.truncate(each.truncate);
            model = model.subarray(0, each.truncate);
          } else if (each.at + each.overwrite.length <= model.length) {
            buffer.overwrite(each.at, each.overwrite);
            model.set(each.overwrite, each.at);
          }
          expect(buffer.sizeBytes).toBe(model.length);
        }
        expect(buffer.bytes().equals(model)).toBe(true);
        expect(buffer.range().read(0, model.length).equals(model)).toBe(true);
        const finished = buffer.finish();
        expect(finished.read(0, model.length + 1).equals(model)).toBe(true);
        const description = finished.describe();
        if (description.kind === "memory")
          expect(description.buffer.byteLength).toBeLessThanOrEqual(Math.max(model.length * 2, 1));
      }),
      { numRuns: 50 },
    );
  });

  it("refuses to write past its end", () => {
    const buffer = new GrowingBuffer();
    buffer.append(Buffer.from("abc"));
    expect(() => buffer.overwrite(2, Buffer.from("xy"))).toThrow(/past the end/);
  });
});
