import { describe, expect, it } from "vitest";
import { createOutputLines, LINE_CHARACTERS_MAX } from "./output-lines.js";

const bytes = (text: string): Buffer => Buffer.from(text);

describe("output as lines", () => {
  it("waits for the end of a line", () => {
    const lines = createOutputLines();
    expect(lines.add(bytes("one\ntw"))).toEqual(["one"]);
    expect(lines.add(bytes("o\n\n"))).toEqual(["two", ""]);
    expect(lines.add(bytes("three"))).toEqual([]);
    expect(lines.end()).toEqual(["three"]);
    expect(lines.end()).toEqual([]);
  });

  it("puts characters together that came in two pieces, and shows what is none", () => {
    const lines = createOutputLines();
    const [first, second] = [bytes("ä\n").subarray(0, 1), bytes("ä\n").subarray(1)];
    expect(lines.add(first)).toEqual([]);
    expect(lines.add(second)).toEqual(["ä"]);
    expect(lines.add(Buffer.from([0xff, 0x0a]))).toEqual(["�"]);
  });

  it("leaves out what a terminal would act on", () => {
    const lines = createOutputLines();
    expect(lines.add(bytes("\x1b[31mred\x1b[0m\tand\r\x07 \x1b]0;title\n"))).toEqual(["red\tand ]0;title"]);
  });

  it("breaks a line at its limit, and holds no more than that", () => {
    const lines = createOutputLines();
    expect(lines.add(bytes(`${"x".repeat(LINE_CHARACTERS_MAX)}\n`))).toEqual([
      "x".repeat(LINE_CHARACTERS_MAX),
    ]);
    const long = lines.add(bytes("x".repeat(LINE_CHARACTERS_MAX * 3 + 1)));
    expect(long.map(({ length }) => length)).toEqual([
      LINE_CHARACTERS_MAX,
      LINE_CHARACTERS_MAX,
      LINE_CHARACTERS_MAX,
    ]);
    expect(lines.add(bytes("\n"))).toEqual(["x"]);
    const ended = lines.add(bytes(`${"y".repeat(LINE_CHARACTERS_MAX + 1)}\n`));
    expect(ended.map(({ length }) => length)).toEqual([LINE_CHARACTERS_MAX, 1]);
  });
});
