import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { GitwharfError } from "../../base/errors.js";
import { parseConfig } from "./git-config.js";
import { GitConfig, parseBoolean, parseInteger } from "./git-config-values.js";

const directory = mkdtempSync(join(tmpdir(), "gitwharf-config-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** What git itself reads: `name NL value NUL` an entry, without NL when the key stands alone. */
function readByGit(text: string): [string, string | undefined][] | "malformed" {
  const path = join(directory, "config");
  writeFileSync(path, text);
  try {
    const out = execFileSync("git", ["config", "--file", path, "--null", "--list"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return out
      .split("\0")
      .slice(0, -1)
      .map((entry) => {
        const at = entry.indexOf("\n");
        return at < 0 ? [entry, undefined] : [entry.slice(0, at), entry.slice(at + 1)];
      });
  } catch {
    return "malformed";
  }
}

function readByUs(text: string): [string, string | undefined][] | "malformed" {
  try {
    return parseConfig(text).map(({ name, value }) => [name, value]);
  } catch (error) {
    if (error instanceof GitwharfError && error.code === "storage/bad-config") return "malformed";
    throw error;
  }
}

const SAMPLES: Record<string, string> = {
  empty: "",
  plain: "[core]\n\tbare = true\n\trepositoryformatversion = 0\n",
  "no value": "[core]\n\tbare\n[http]\n uploadpack \n",
  "no value but a comment": "[core]\n\tbare ; comment\n",
  "space before the bracket": '[a "b" ]\n\tc = d\n',
  "a blank at a continued end": "[a]\n\tb = c \\\n",
  "empty value": "[core]\n\tbare =\n\tx = \n",
  "one line": "[core] bare = true\n[a]b=c",
  subsections:
    '[uploadpackfilter "Blob:None"]\n\tallow = true\n[branch "a \\"quoted\\" \\\\ one"]\n\tx = y\n',
  "old subsections": "[Branch.Main]\n\tRemote = Origin\n",
  comments: '# one\n; two\n[a] # three\n\tb = c # four\n\td = "e # five" ; six\n',
  quotes: '[a]\n\tb = "  spaces  " x "y"\n\tc = one"two"three\n\td = ""\n',
  escapes: '[a]\n\tb = tab\\there\\nline \\"q\\" back\\\\slash\n',
  continued: '[a]\n\tb = one \\\n  two\\\n three\n\tc = "q \\\n r"\n',
  "inner spaces": "[a]\n\tb =   one   two   \n\tc = x  y\n",
  "carriage returns": '[a]\r\n\tb = c\r\n\td = "e"\r\n',
  bom: "\ufeff[a]\n\tb = c\n",
  multi: "[a]\n\tb = 1\n\tb = 2\n[a]\n\tB = 3\n",
  "upper case": "[CORE]\n\tBARE = True\n",
  "dots in section": "[a.b.c]\n\td = e\n",
  "dotted and quoted": '[a "b.c"]\n\td = e\n',
  "no section": "a = b\n",
  "bad section": "[a\n\tb = c\n",
  "bad section 2": "[a b]\n\tb = c\n",
  "bad key": "[a]\n\t1b = c\n",
  "bad key 2": "[a]\n\tb_c = d\n",
  "bad key 3": "[a]\n\tb c = d\n",
  "bad escape": "[a]\n\tb = \\x\n",
  "open quote": '[a]\n\tb = "c\n',
  "newline in subsection": '[a "b\nc"]\n\td = e\n',
  "no newline at the end": "[a]\n\tb = c",
  "backslash at the end": "[a]\n\tb = c\\",
  "empty subsection": '[a ""]\n\tb = c\n',
  "not ascii": "[a]\n\tb = grüße\n",
};

describe("parseConfig", () => {
  it.each(Object.entries(SAMPLES))("reads as git does: %s", (_, text) => {
    expect(readByUs(text)).toEqual(readByGit(text));
  });

  it("reads what is made of git's own pieces as git does", () => {
    const piece = fc.constantFrom(
      "[a]",
      '[a "b"]',
      "[a.B]",
      "\n",
      "\n",
      "\n",
      "\n\t",
      " ",
      "key",
      "k2",
      "=",
      " = ",
      "value",
      '"',
      "\\",
      "\\n",
      '\\"',
      "#",
      ";",
      "1",
      "é",
      "\r\n",
      "\\\n",
      "]",
      "[",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
        const text = `[s]\n${pieces.join("")}`;
        expect(readByUs(text), JSON.stringify(text)).toEqual(readByGit(text));
      }),
      { numRuns: 250 },
    );
  });

  it("throws nothing but storage/bad-config", () => {
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => void readByUs(text)));
  });

  it("names the line", () => {
    expect(() => parseConfig("[a]\n\tb = c\n\td = \\q\n", "app/config")).toThrow(/app\/config line 3/);
  });
});

describe("values", () => {
  it.each([
    ["0", 0],
    ["10", 10],
    ["1k", 1024],
    ["2M", 2 * 1024 ** 2],
    ["1g", 1024 ** 3],
    ["-1", -1],
    ["0x10", 16],
    ["010", 8],
    ["1t", undefined],
    ["", undefined],
    ["k", undefined],
    ["1.5", undefined],
    ["1 k", undefined],
  ])("integer %j", (text, value) => {
    expect(parseInteger(text)).toBe(value);
    const read = ((): string | undefined => {
      const path = join(directory, "integer");
      writeFileSync(path, `[a]\n\tb = "${text}"\n`);
      try {
        return execFileSync("git", ["config", "--file", path, "--int", "a.b"], {
          encoding: "utf8",
          stdio: ["ignore", "pipe", "ignore"],
        }).trim();
      } catch {
        return undefined;
      }
    })();
    expect(read).toBe(value === undefined ? undefined : String(value));
  });

  it.each([
    ["true", true],
    ["Yes", true],
    ["ON", true],
    ["1", true],
    ["2k", true],
    [undefined, true],
    ["false", false],
    ["no", false],
    ["Off", false],
    ["0", false],
    ["", false],
    ["maybe", undefined],
  ])("boolean %j", (text, value) => {
    expect(parseBoolean(text)).toBe(value);
  });

  it("the last of several counts, and all can be asked for", () => {
    const config = GitConfig.parse("[a]\n\tb = 1\n\tb = 2\n");
    expect(config.text("a.b")).toBe("2");
    expect(config.all("a.b")).toEqual(["1", "2"]);
  });

  it("that are wrong are named", () => {
    const config = GitConfig.parse("[a]\n\tb = maybe\n", "config");
    expect(() => config.boolean("a.b")).toThrow(/a\.b is 'maybe'/);
    expect(() => config.integer("a.b")).toThrow(/not a number/);
    expect(() => config.oneOf("a.b", ["x", "y"])).toThrow(/x, y/);
  });
});
