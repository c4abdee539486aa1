/**
 * Valid commits, tags and trees with some random edits: bytes and lines replaced, inserted, taken out, doubled.
 */
import fc from "fast-check";
import { ABSENT, GOOD, treeOf } from "./malformed-objects.test.support.js";
import type { PlainObject } from "./git-fsck.test.support.js";

interface Edit {
  readonly kind: "replace" | "insert" | "remove" | "double line" | "remove line" | "swap lines";
  /** Of the length. */
  readonly where: number;
  readonly text: string;
}

const EDIT: fc.Arbitrary<Edit> = fc.record({
  kind: fc.constantFrom("replace", "insert", "remove", "double line", "remove line", "swap lines"),
  where: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  text: fc.constantFrom(
    "<",
    ">",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\0",
    "0",
    "7",
    "9",
    "-",
    "+",
    "x",
    "\xff",
    "\t",
    "\r",
    ".",
    "/",
    "\\",
    "<a>",
    "author ",
    "parent ",
    "1 +0000",
    "99999999999999999999",
    "tag ",
    "..",
    "~",
    "gpgsig x\n y\n",
  ),
});

const ENTRY = fc.record({
  mode: fc.constantFrom(
    "100644",
    "100644",
    "100644",
    "40000",
    "40000",
    "100755",
    "120000",
    "160000",
    "040000",
    "100664",
    "100600",
    "40755",
    "0040000",
    "1040000",
    "0120000",
  ),
  name: fc.oneof(
    fc.constantFrom("a", "a.b", "a-b", "a0", "b", "ab", "a.b.c", "B", "a\xff", "é"),
    fc.constantFrom(
      ".git",
      "git~1",
      ".gitmodules",
      ".gitattributes",
      "GITMOD~1",
      ".gitignore",
      "x\\.git",
      "..",
      ".",
      "a/b",
    ),
  ),
  oid: fc.constantFrom(undefined, undefined, undefined, "00".repeat(20)),
});

/** Trees of few names, in any order: most are odd in some way. */
const TREE: fc.Arbitrary<Buffer> = fc
  .tuple(fc.array(ENTRY, { maxLength: 7 }), fc.boolean())
  .map(([entries, sorted]) => {
    const key = ({ mode, name }: (typeof entries)[number]): string =>
      mode.endsWith("40000") ? `${name}/` : name;
    const ordered = sorted ? entries.toSorted((x, y) => (key(x) < key(y) ? -1 : 1)) : entries;
    return treeOf(
      ...ordered.map(({ mode, name, oid }): [string, string, string] => [mode, name, oid ?? absent(mode)]),
    );
  });

function absent(mode: string): string {
  return mode.endsWith("40000") ? ABSENT.tree : ABSENT.blob;
}

const GOOD_OBJECTS: readonly PlainObject[] = [
  { type: "commit", data: GOOD.commit },
  { type: "tag", data: GOOD.tag },
  { type: "tree", data: GOOD.tree },
];

export const MUTATED_OBJECT: fc.Arbitrary<PlainObject> = fc.oneof(
  { weight: 3, arbitrary: mutated(fc.constantFrom(...GOOD_OBJECTS)) },
  { weight: 1, arbitrary: TREE.map((data): PlainObject => ({ type: "tree", data })) },
  { weight: 1, arbitrary: mutated(TREE.map((data): PlainObject => ({ type: "tree", data }))) },
);

function mutated(objects: fc.Arbitrary<PlainObject>): fc.Arbitrary<PlainObject> {
  return fc.tuple(objects, fc.array(EDIT, { minLength: 1, maxLength: 3 })).map(([object, edits]) => {
    let text = object.data.toString("latin1");
    for (const edit of edits) text = edited(text, edit);
    return { type: object.type, data: Buffer.from(text, "latin1") };
  });
}

function edited(text: string, { kind, where, text: put }: Edit): string {
  const at = Math.floor(where * text.length);
  if (kind === "replace") return text.slice(0, at) + put + text.slice(at + put.length);
  if (kind === "insert") return text.slice(0, at) + put + text.slice(at);
  if (kind === "remove") return text.slice(0, at) + text.slice(at + put.length);
  const lines = text.split("\n");
  const line = Math.floor(where * lines.length);
  if (kind === "double line") lines.splice(line, 0, lines[line] ?? "");
  else if (kind === "remove line") lines.splice(line, 1);
  else lines.splice(line, 2, lines[line + 1] ?? "", lines[line] ?? "");
  return lines.join("\n");
}
