/** What is taken of YAML, and what is refused, where and why; how YAML itself is read is the library's to test. */
import { describe, expect, it } from "vitest";
import { isGitwharfError } from "../../base/errors.js";
import { readYaml, type YamlValue } from "./read-yaml.js";

/** Plain objects for `toEqual`. */
function plain(value: YamlValue): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, each]) => [key, plain(each)]));
  return Array.isArray(value) ? value.map(plain) : value;
}
const read = (text: string): unknown => plain(readYaml(text, "test.yml"));

function refusalOf(text: string): string {
  try {
    readYaml(text, "test.yml");
  } catch (error) {
    if (isGitwharfError(error, "object/malformed")) return error.message;
    throw error;
  }
  return "it was read";
}

describe("readYaml", () => {
  it.each<[string, string, unknown]>([
    ["nothing", "", null],
    ["a document mark only", "---\n", null],
    ["comments only", "# nothing\n\n  # here\n", null],
    ["what old buildpacks print", "--- {}\n", {}],
    [
      "bin/release of a buildpack",
      "---\naddons: []\ndefault_process_types:\n  web: npm start\n",
      { addons: [], default_process_types: { web: "npm start" } },
    ],
    [
      "blocks and quotes",
      "a: |\n  one\n  two\nb: 'it''s'\nc: \"x\\ny\"\n",
      { a: "one\ntwo\n", b: "it's", c: "x\ny" },
    ],
    [
      "every scalar as a text",
      "a: 1\nb: true\nc: null\nd: ~\ne: 0x10\nf: 2026-11-21\ng: .nan\nh: '1'\ni: no\n",
      { a: "1", b: "true", c: "null", d: "~", e: "0x10", f: "2026-11-21", g: ".nan", h: "1", i: "no" },
    ],
    [
      "what is not there",
      "a:\nb: ''\nc: {d: , e}\nf: [ ]\n",
      { a: null, b: "", c: { d: null, e: null }, f: [] },
    ],
    ["keys that look like numbers", "1: a\n1.0: b\ntrue: c\n", { "1": "a", "1.0": "b", true: "c" }],
    ["names of JavaScript's own", "__proto__: x\n", JSON.parse('{"__proto__":"x"}')],
    ["a merge as a key like others", "<<: x\n", { "<<": "x" }],
    ["1.1 like 1.2", "%YAML 1.1\n---\na: yes\n<<: [b]\n", { a: "yes", "<<": ["b"] }],
    ["carriage returns", "a: b\r\nc:\r\n  d: e\r\n", { a: "b", c: { d: "e" } }],
  ])("reads %s", (_, text, value) => expect(read(text)).toEqual(value));

  it.each<[string, string, number]>([
    ["an alias", "a: &x b\nc: *x\n", 2],
    ["an alias to itself", "a: &x\n- *x\n", 2],
    ["an alias as a key", "a: &x b\n*x : c\n", 2],
    ["a tag", "b: c\na: !ruby/object:X b\n", 2],
    ["a tag of YAML's own", "a: b\nb: !!binary aGVsbG8=\n", 2],
    ["a key twice", "a: b\nb: c\na: c\n", 3],
    ["a key twice in brackets", "a: b\nc: {d: e, d: f}\n", 2],
    ["a key that is a list", "a: b\n? [c]\n: d\n", 2],
    ["a tab", "a:\n\tb: c\n", 2],
    ["an escape that there is not", 'a: b\nc: "\\q"\n', 2],
    ["a line that is none", "a: b\nc\n", 2],
    ["a second document", "a: b\n---\na: c\n", 2],
    ["what is nested too deep", Array.from({ length: 100 }, (_, i) => `${" ".repeat(i)}a:`).join("\n"), 33],
    ["more than it may be", `a: ${"x".repeat(64 * 1024)}`, 1],
  ])("refuses %s, and names the line", (_, text, line) =>
    expect(refusalOf(text)).toMatch(new RegExp(`^test\\.yml, line ${line}: .+$`)),
  );

  it("takes as much as it may be, and no byte more", () => {
    const text = (bytes: number): string => `a: ${"é".repeat((bytes - 4) / 2)}\n`;
    expect(read(text(64 * 1024))).toEqual({ a: "é".repeat((64 * 1024 - 4) / 2) });
    expect(refusalOf(text(64 * 1024 + 2))).toMatch(/larger than 65536 bytes/);
  });

  it("takes collections in collections up to a depth", () => {
    const text = (depth: number): string => `${"[".repeat(depth)}${"]".repeat(depth)}`;
    expect(read(text(32))).toEqual(JSON.parse(text(32)));
    expect(refusalOf(text(34))).toMatch(/nested deeper than 32/);
  });

  it.each<[string, (length: number) => string]>([
    ["brackets", (length) => "[".repeat(length)],
    ["braces", (length) => "{".repeat(length)],
    ["dashes", (length) => "- ".repeat(length / 2)],
    ["questions", (length) => "? ".repeat(length / 2)],
    ["anchors", (length) => "&a ".repeat(length / 3)],
    ["quotes", (length) => `a: "${"\n".repeat(length - 4)}`],
    ["line feeds in a block", (length) => `a: |\n${"\n ".repeat(length / 2 - 3)}`],
    ["keys", (length) => Array.from({ length: length / 8 }, (_, i) => `k${i}:\n`).join("")],
    ["keys in braces", (length) => `{${Array.from({ length: length / 8 }, (_, i) => `k${i},`).join("")}}`],
    ["comments", (length) => "#\n".repeat(length / 2)],
    ["documents", (length) => "---\n".repeat(length / 4)],
    ["carriage returns", (length) => "\r".repeat(length)],
  ])("comes to an end on nothing but %s", (_, make) => {
    // Read or refused: nothing else is thrown, and the test's own time is its bound.
    expect(refusalOf(make(64 * 1024 - 8))).toMatch(/^(?:it was read|test\.yml, line \d+: .+)$/);
  });
});
