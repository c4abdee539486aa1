/** Git's bytes come out as they went in, however they are cut; what is meant for a person comes out beside them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createDynoReader } from "./dyno-stream.js";

function line(payload: string | Buffer): Buffer {
  const bytes = Buffer.from(payload);
  return Buffer.concat([Buffer.from((bytes.length + 4).toString(16).padStart(4, "0")), bytes]);
}

const lineText = (payload: string): string => line(payload).toString();

function readAll(chunks: readonly (string | Buffer)[]): {
  output: string;
  errors: string;
  hasSpoken: boolean;
} {
  const reader = createDynoReader();
  const read = { output: "", errors: "" };
  for (const chunk of chunks) {
    const { to, bytes } = reader.read(Buffer.from(chunk));
    read[to] += bytes.toString(to === "errors" ? "utf8" : "latin1");
  }
  return { ...read, hasSpoken: reader.hasSpoken };
}

describe("what a dyno sends", () => {
  it("is standard error where a chunk begins with E: between lines", () => {
    expect(
      readAll(["E:one", line("a"), "E:two", "0000", "0001", "E:three", line("b"), "0002", "E:"]),
    ).toEqual({
      output: `${lineText("a")}00000001${lineText("b")}0002`,
      errors: "onetwothree",
      hasSpoken: true,
    });
  });

  it("is git's within a line, whatever it begins with", () => {
    const pack = line("xE:y");
    expect(readAll([pack.subarray(0, 5), pack.subarray(5), "E:told"])).toEqual({
      output: pack.toString(),
      errors: "told",
      hasSpoken: true,
    });
    // In the length itself, too.
    expect(readAll(["0", "E:"])).toMatchObject({ hasSpoken: false });
  });

  it("is git's once a pack without side-band has begun", () => {
    expect(readAll([line("NAK\n"), "PACK\0\0", "E:pack", "E:more"])).toEqual({
      output: `${lineText("NAK\n")}PACK\0\0E:packE:more`,
      errors: "",
      hasSpoken: true,
    });
  });

  it("is for the person when it does not begin as git does", () => {
    expect(readAll(["Dyno does not exist."])).toEqual({
      output: "",
      errors: "Dyno does not exist.",
      hasSpoken: false,
    });
    expect(readAll(["E: \n ! Problem", " provisioning"])).toMatchObject({ output: "", hasSpoken: false });
  });

  it("drives no terminal, and keeps letters whole that are cut", () => {
    const letter = Buffer.from("ä");
    const cut = [
      Buffer.concat([Buffer.from("E:"), letter.subarray(0, 1)]),
      Buffer.concat([Buffer.from("E:"), letter.subarray(1)]),
    ];
    expect(readAll(["E:\x1b]0;title\x07\ta\r\n\u009bb", ...cut])).toMatchObject({
      errors: "?]0;title?\ta\r\n?bä",
    });
    expect(readAll(["\x1b[2Jno git"])).toMatchObject({ errors: "?[2Jno git", output: "" });
    // What git sends is git's business.
    expect(readAll([lineText("\x1b[2J")])).toMatchObject({ output: lineText("\x1b[2J") });
  });

  it.each(["0003", "fff1", "00g0"])("takes %s for no length", (text) => {
    expect(readAll([line("a"), text, "E:x"])).toMatchObject({
      output: `${lineText("a")}${text}E:x`,
      errors: "",
    });
  });

  it("loses and moves nothing of lines that are cut anywhere", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant("0000"), fc.constantFrom("E:", "E:E:", "xE:E:E:x", "4E:").map(line)), {
          minLength: 1,
        }),
        fc.array(fc.integer({ min: 1, max: 9 })),
        (lines, cuts) => {
          const whole = Buffer.concat(lines.map((each) => Buffer.from(each)));
          const chunks: Buffer[] = [];
          let at = 0;
          for (const cut of cuts) {
            if (at < whole.length) chunks.push(whole.subarray(at, at + cut));
            at += cut;
          }
          if (at < whole.length) chunks.push(whole.subarray(at));
          const { output, errors } = readAll(chunks);
          expect(output).toBe(whole.toString());
          expect(errors).toBe("");
        },
      ),
    );
  });
});
