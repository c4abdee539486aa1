/** A report in the smallest pieces; its lines, and what is wrong with it, are tested with what a server may answer to a push. */
import { describe, expect, it } from "vitest";
import { encodePktLine, FLUSH } from "../protocol/wire/pkt-line.js";
import { createReportReader } from "./report-reader.js";

const MAIN = "refs/heads/main";

describe("a report in pieces", () => {
  it("is read byte by byte, as far as its end", () => {
    const bytes = Buffer.concat([encodePktLine("unpack ok\n"), encodePktLine(`ok ${MAIN}\n`), FLUSH]);
    const reader = createReportReader();
    for (let at = 0; at < bytes.length - 1; at++) {
      expect(reader.add(bytes.subarray(at, at + 1))).toBeUndefined();
      expect(reader.add(Buffer.alloc(0))).toBeUndefined();
    }
    expect(reader.add(bytes.subarray(-1))).toEqual({
      unpackFailure: undefined,
      refs: new Map([[MAIN, undefined]]),
    });
  });

  // Putting them together anew with each would take minutes.
  it("takes a million of them up to its limit", () => {
    const reader = createReportReader();
    const lines = Buffer.concat(Array.from({ length: 17 }, () => encodePktLine(Buffer.alloc(65_000, "x"))));
    const add = (): void => {
      for (let at = 0; at < lines.length; at++) reader.add(lines.subarray(at, at + 1));
    };
    expect(add).toThrow("too long");
  });
});
