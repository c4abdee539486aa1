/** The part of YAML that is read, and what is refused. */
import { describe, expect, it } from "vitest";
import { isGitwharfError } from "../../base/errors.js";
import { parsePlainYaml, type YamlValue } from "./plain-yaml.js";

/** Plain objects for `toEqual`. */
function plain(value: YamlValue): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, each]) => [key, plain(each)]));
  return Array.isArray(value) ? value.map(plain) : value;
}
const read = (text: string): unknown => plain(parsePlainYaml(text, "test.yml"));

describe("parsePlainYaml", () => {
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
    ["a list as far left as its key", "build:\n- a\n- b: c\n  d: e\n", { build: ["a", { b: "c", d: "e" }] }],
    ["a list of lists", "- - a\n  - b\n- c\n", [["a", "b"], "c"]],
    ["colons in values", "web: bin/x --url http://a:80 -p:1\n", { web: "bin/x --url http://a:80 -p:1" }],
    [
      "quotes",
      `a: "x\\n\\u0041\\\\ # no comment"\nb: 'it''s'\n"c d": e # one\n`,
      {
        a: "x\nA\\ # no comment",
        b: "it's",
        "c d": "e",
      },
    ],
    [
      "blocks",
      "a: |\n  one\n    two\n\n  three\nb: >-\n  one\n  two\nc: |+\n  x\n\n",
      {
        a: "one\n  two\n\nthree\n",
        b: "one two",
        c: "x\n\n",
      },
    ],
    ["a text that goes on", "a: one\n  two\n  three\nb: c\n", { a: "one two three", b: "c" }],
    [
      "flow collections",
      `a: [x, "y, z", {k: v}]\nb: { web: node x.js, n: }\n`,
      {
        a: ["x", "y, z", { k: "v" }],
        b: { web: "node x.js", n: null },
      },
    ],
    [
      "every scalar as a text",
      "a: 1\nb: true\nc: null\nd: ~\ne:\n",
      { a: "1", b: "true", c: null, d: null, e: null },
    ],
    ["names of JavaScript's own", "__proto__: x\n", JSON.parse('{"__proto__":"x"}')],
    ["carriage returns", "a: b\r\nc:\r\n  d: e\r\n", { a: "b", c: { d: "e" } }],
    ["the first document", "a: b\n---\na: c\n", { a: "b" }],
  ])("reads %s", (_, text, value) => {
    expect(read(text)).toEqual(value);
  });

  it.each([
    ["an anchor", "a: &x b\n"],
    ["an alias", "a: *x\n"],
    ["a tag", "a: !ruby/object:X b\n"],
    ["a key twice", "a: b\na: c\n"],
    ["a tab", "a:\n\tb: c\n"],
    ["a quote without its end", 'a: "b\n'],
    ["a bracket without its end", "a: [b, c\n"],
    ["an escape that there is not", 'a: "\\q"\n'],
    ["a line that is none", "a: b\nc\n"],
    ["a mapping in a text", "a: b\n  c: d\n"],
    ["brackets in brackets without end", `a: ${"[".repeat(1000)}`],
    ["more than it may be", `a: ${"x".repeat(2 ** 20)}`],
  ])("refuses %s, and names the line", (_, text) => {
    let thrown: unknown;
    try {
      parsePlainYaml(text, "test.yml");
    } catch (error) {
      thrown = error;
    }
    expect(isGitwharfError(thrown, "object/malformed")).toBe(true);
    expect((thrown as Error).message).toMatch(/^test\.yml, line \d+: /);
  });

  it("refuses what is nested too deep", () => {
    const deep = Array.from({ length: 100 }, (_, i) => `${" ".repeat(i)}a:`).join("\n");
    expect(() => parsePlainYaml(deep, "test.yml")).toThrow(/nested deeper/);
  });
});
