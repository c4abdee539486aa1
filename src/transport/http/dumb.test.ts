import { describe, expect, it } from "vitest";
import { parseRange } from "./dumb.js";

describe("parseRange", () => {
  it.each([
    ["bytes=0-9", { start: 0, end: 10 }],
    ["bytes=90-", { start: 90, end: 100 }],
    ["bytes=90-1000", { start: 90, end: 100 }],
    ["bytes=-10", { start: 90, end: 100 }],
    ["bytes=-1000", { start: 0, end: 100 }],
    ["bytes=99-99", { start: 99, end: 100 }],
    ["bytes=100-", "unsatisfiable"],
    ["bytes=-0", "unsatisfiable"],
    ["bytes=9-0", undefined],
    ["bytes=0-1,3-4", undefined],
    ["lines=0-1", undefined],
    [undefined, undefined],
  ])("%s", (header, range) => {
    expect(parseRange(header, 100)).toEqual(range);
  });
});
