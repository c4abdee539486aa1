import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GitwharfError } from "../../../base/errors.js";
import type { ObjectFormat } from "../../../object/object-format.js";
import { changePackedRefs, NO_PACKED_REFS, type PackedChange, parsePackedRefs } from "./packed-refs.js";

const A = "a".repeat(40);
const B = "b".repeat(40);
const C = "c".repeat(40);
const HEADER = "# pack-refs with: peeled fully-peeled sorted \n";

function parse(text: string, format: ObjectFormat = "sha1") {
  return parsePackedRefs(Buffer.from(text, "utf8"), format);
}

describe("parsePackedRefs", () => {
  it("reads ids, names and what tags stand for", () => {
    const { refs, broken } = parse(
      `${HEADER}${A} refs/heads/main\n${B} refs/tags/v1\n^${C}\n${A} refs/tags/v2\n`,
    );
    expect(broken).toEqual([]);
    expect(refs).toEqual([
      { name: "refs/heads/main", oid: A, peelKnown: true },
      { name: "refs/tags/v1", oid: B, peeled: C, peelKnown: true },
      { name: "refs/tags/v2", oid: A, peelKnown: true },
    ]);
  });

  it("believes of peeling only what the header says", () => {
    const lines = `${A} refs/heads/main\n${B} refs/tags/v1\n^${C}\n${A} refs/tags/v2\n`;
    expect(parse(lines).refs.map(({ peelKnown }) => peelKnown)).toEqual([undefined, true, undefined]);
    expect(parse(`# pack-refs with: peeled \n${lines}`).refs.map(({ peelKnown }) => peelKnown)).toEqual([
      undefined,
      true,
      true,
    ]);
    expect(parse(`# something else\n${lines}`).refs.map(({ peelKnown }) => peelKnown)).toEqual([
      undefined,
      true,
      undefined,
    ]);
  });

  it("sorts what is not sorted, whatever the header says", () => {
    const { refs, starts } = parse(`${HEADER}${A} refs/b\n^${C}\n${B} refs/a\n`);
    expect(refs.map(({ name, peeled }) => [name, peeled])).toEqual([
      ["refs/a", undefined],
      ["refs/b", C],
    ]);
    expect(starts).toBeUndefined();
  });

  it("sets broken refs apart", () => {
    const bytes = Buffer.concat([
      Buffer.from(
        `${HEADER}${A} refs/heads/a..b\n${"0".repeat(40)} refs/heads/null\n${A} main\n${A} refs/heads/x.lock\n`,
      ),
      Buffer.from(`${A} refs/heads/`),
      Buffer.from([0xff, 0xfe]),
      Buffer.from(`\n${B} refs/heads/ü\n`),
    ]);
    const { refs, broken } = parsePackedRefs(bytes, "sha1");
    expect(refs).toEqual([{ name: "refs/heads/ü", oid: B, peelKnown: true }]);
    expect(broken).toEqual([
      "refs/heads/a..b",
      "refs/heads/null",
      "main",
      "refs/heads/x.lock",
      "refs/heads/\ufffd\ufffd",
    ]);
  });

  it.each([
    ["a line without an end", `${A} refs/heads/main`],
    ["a short id", `${A.slice(1)} refs/heads/main\n`],
    ["an id of another format", `${A}${A.slice(16)} refs/heads/main\n`],
    ["an id in upper case", `${A.toUpperCase()} refs/heads/main\n`],
    ["an empty line", `${A} refs/heads/main\n\n`],
    ["a name that is missing", `${A} \n`],
    ["a peeled id that is none", `${A} refs/heads/main\n^xyz\n`],
    ["a peeled id too many", `${A} refs/heads/main\n^${B}\n^${B}\n`],
    ["a peeled id of nothing", `^${B}\n`],
    ["conflict markers", `<<<<<<< ours\n${A} refs/heads/main\n`],
  ])("refuses %s, and names the line", (_, text) => {
    expect(() => parse(`${HEADER}${text}`)).toThrow(/line \d+ of packed-refs is malformed/);
  });

  it("lets nothing but its own errors out", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(200), (noise, at) => {
        const good = Buffer.from(`${HEADER}${A} refs/heads/main\n${B} refs/tags/v1\n^${C}\n`);
        for (const bytes of [
          Buffer.from(noise),
          Buffer.concat([good.subarray(0, at), noise, good.subarray(at)]),
        ]) {
          try {
            parsePackedRefs(bytes, "sha1");
          } catch (error) {
            expect(error).toBeInstanceOf(GitwharfError);
          }
        }
      }),
    );
  });
});

describe("changePackedRefs", () => {
  const name = fc
    .array(fc.constantFrom("a", "b", "a-", "a.b", "é", "日本", "\u{10400}", "\u{fffc}"), {
      minLength: 1,
      maxLength: 3,
    })
    .map((parts) => `refs/${parts.join("/")}`);
  const oid = fc.constantFrom(A, B, C);
  const change: fc.Arbitrary<PackedChange> = fc.oneof(
    fc.record({ oid, peelKnown: fc.boolean() }),
    fc.record({ oid, peeled: oid, peelKnown: fc.constant(true) }),
  );

  it("says the same as the file that is read again", () => {
    fc.assert(
      fc.property(fc.array(fc.dictionary(name, fc.option(change)), { maxLength: 5 }), (rounds) => {
        let packed = NO_PACKED_REFS;
        const expected = new Map<string, PackedChange>();
        for (const round of rounds) {
          packed = changePackedRefs(packed, new Map(Object.entries(round)));
          for (const [at, value] of Object.entries(round)) {
            if (value === null) expected.delete(at);
            else expected.set(at, value);
          }
        }
        expect(new Map(packed.refs.map((ref) => [ref.name, ref.oid]))).toEqual(
          new Map([...expected].map(([at, value]) => [at, value.oid])),
        );
        const again = parsePackedRefs(packed.bytes, "sha1");
        const plain = (refs: typeof packed.refs): unknown =>
          refs.map(({ name: at, oid: id, peeled }) => [at, id, peeled]);
        expect(plain(again.refs)).toEqual(plain(packed.refs));
        expect(again.starts === undefined ? [] : [...again.starts]).toEqual(
          packed.starts === undefined ? [] : [...packed.starts],
        );
        // Nobody may believe more than was known.
        for (const ref of again.refs)
          if (ref.peelKnown === true) expect(expected.get(ref.name)?.peelKnown).toBe(true);
      }),
    );
  });

  it("keeps what it does not understand", () => {
    const odd = `${HEADER}${A} a\n${A} refs/heads/a\n${A} refs/heads/b..c\n${B} refs/heads/d\n^${C}\n${A} z\n`;
    const packed = changePackedRefs(
      parse(odd),
      new Map([
        ["refs/heads/a", null],
        ["refs/heads/e", { oid: C, peelKnown: true }],
      ]),
    );
    expect(packed.bytes.toString()).toBe(
      `${HEADER}${A} a\n${A} refs/heads/b..c\n${B} refs/heads/d\n^${C}\n${A} z\n${C} refs/heads/e\n`,
    );
  });

  it("claims no more than is known", () => {
    const packed = changePackedRefs(
      NO_PACKED_REFS,
      new Map([["refs/heads/a", { oid: A, peelKnown: false }]]),
    );
    expect(packed.bytes.toString()).toBe(`# pack-refs with: peeled sorted \n${A} refs/heads/a\n`);
    const tagged = changePackedRefs(packed, new Map([["refs/tags/a", { oid: A, peelKnown: false }]]));
    expect(tagged.bytes.toString()).toMatch(/^# pack-refs with: sorted \n/);
  });

  it("puts an unsorted file in order", () => {
    const packed = changePackedRefs(
      parse(`${HEADER}${A} refs/b\n^${C}\n${B} refs/a\n`),
      new Map([["refs/c", { oid: A, peelKnown: true }]]),
    );
    expect(packed.bytes.toString()).toBe(`${HEADER}${B} refs/a\n${A} refs/b\n^${C}\n${A} refs/c\n`);
  });
});
