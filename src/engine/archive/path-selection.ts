/**
 * The paths that an archive is limited to: git's pathspecs, with the magic `top`, `literal`, `glob` and `exclude`.
 * Specification: gitglossary, "pathspec". Bytes are held one a character (latin1).
 */
import { GitwharfError } from "../../base/errors.js";
import { compileWildmatch, type Wildmatch } from "../fetch/wildmatch.js";

export interface PathSelection {
  /** True for a file, or a directory as such, that belongs in the archive. */
  matches(path: string, kind: "file" | "directory" | "submodule"): boolean;
  /** False for a directory in which nothing can match. */
  mayHold(directory: string): boolean;
  /** Units of work that matching takes for a path of so many characters. */
  cost(pathLength: number): number;
}

export const EVERYTHING: PathSelection = { matches: () => true, mayHold: () => true, cost: () => 0 };

/** Of all pathspecs together: matching takes as long as they are. */
const CHARACTERS_MAX = 16_384;
const STEPS_PER_UNIT = 2000;

interface Item {
  readonly excludes: boolean;
  /** Without the slash at the end. */
  readonly text: string;
  /** A directory is meant. */
  readonly onlyInside: boolean;
  /** What stands before the first wildcard; all of it when there is none. */
  readonly literal: string;
  readonly pattern: Wildmatch | undefined;
}

/** @throws protocol/bad-request */
export function parsePathSelection(specs: readonly string[]): PathSelection {
  if (specs.length === 0) return EVERYTHING;
  const characters = specs.reduce((sum, spec) => sum + spec.length, 0);
  if (characters > CHARACTERS_MAX) {
    throw new GitwharfError(
      "base/limit-exceeded",
      `the pathspecs have more than ${CHARACTERS_MAX} characters together`,
    );
  }
  const items = specs.map(parseItem);
  const included = items.filter((item) => !item.excludes);
  const excluded = items.filter((item) => item.excludes);
  const isIn = (item: Item, path: string, isFile: boolean): boolean => {
    const { text } = item;
    if (text === "" || path.startsWith(`${text}/`)) return true;
    if (path === text) return !(item.onlyInside && isFile);
    return item.pattern?.matches(path) === true;
  };
  const patternCharacters = items.reduce(
    (sum, { pattern, text }) => sum + (pattern === undefined ? 0 : text.length),
    0,
  );
  return {
    cost: (pathLength) => (patternCharacters * pathLength) / STEPS_PER_UNIT,
    matches(path, kind) {
      const isFile = kind === "file";
      if (excluded.some((item) => isIn(item, path, isFile))) return false;
      return included.length === 0 || included.some((item) => isIn(item, path, isFile));
    },
    mayHold(directory) {
      const inside = `${directory}/`;
      // What a pattern without wildcards excludes, it excludes with all that is in it.
      if (excluded.some((item) => item.pattern === undefined && isIn(item, directory, false))) return false;
      if (included.length === 0) return true;
      return included.some(
        ({ text, literal, pattern }) =>
          text === "" ||
          inside.startsWith(`${text}/`) ||
          text.startsWith(inside) ||
          (pattern !== undefined && (inside.startsWith(literal) || literal.startsWith(inside))),
      );
    },
  };
}

function parseItem(spec: string): Item {
  const { rest, magic } = readMagic(spec);
  const onlyInside = rest.endsWith("/");
  const text = normalize(rest, spec);
  const wildcard = magic.has("literal") ? -1 : text.search(/[*?[\\]/);
  return {
    excludes: magic.has("exclude"),
    text,
    onlyInside,
    literal: wildcard < 0 ? text : text.slice(0, wildcard),
    pattern: wildcard < 0 ? undefined : compileWildmatch(text, { path: magic.has("glob") }),
  };
}

const SHORT_MAGIC: Readonly<Record<string, string>> = { "/": "top", "!": "exclude", "^": "exclude" };
const LONG_MAGIC: ReadonlySet<string> = new Set(["top", "literal", "glob", "exclude"]);

function readMagic(spec: string): { readonly rest: string; readonly magic: ReadonlySet<string> } {
  const magic = new Set<string>();
  if (!spec.startsWith(":")) return { rest: spec, magic };
  if (spec.startsWith(":(")) {
    const close = spec.indexOf(")");
    if (close < 0) throw bad(spec, "its magic has no closing parenthesis");
    for (const word of spec.slice(2, close).split(",")) {
      if (word === "") continue;
      if (!LONG_MAGIC.has(word)) throw bad(spec, `the magic '${word.slice(0, 40)}' is not supported here`);
      magic.add(word);
    }
    if (magic.has("literal") && magic.has("glob")) throw bad(spec, "'literal' and 'glob' are incompatible");
    return { rest: spec.slice(close + 1), magic };
  }
  let at = 1;
  for (; at < spec.length; at++) {
    const short = spec.charAt(at);
    if (short === ":") return { rest: spec.slice(at + 1), magic };
    const word = SHORT_MAGIC[short];
    if (word === undefined) {
      if (/[A-Za-z0-9_.*?[\\-]/.test(short) || short > "\x7f") break;
      throw bad(spec, `the magic '${short}' is not supported here`);
    }
    magic.add(word);
  }
  return { rest: spec.slice(at), magic };
}

/** `./a//b/` → `a/b` */
function normalize(path: string, spec: string): string {
  if (spec === "") throw bad(spec, "empty string is not a valid pathspec; use . instead");
  if (path.startsWith("/")) throw bad(spec, "it is outside the repository");
  const segments: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "" || segment === ".") continue;
    if (segment !== "..") segments.push(segment);
    else if (segments.pop() === undefined) throw bad(spec, "it is outside the repository");
  }
  return segments.join("/");
}

function bad(spec: string, why: string): GitwharfError {
  const shown = Buffer.from(spec.slice(0, 120), "latin1").toString("utf8");
  return new GitwharfError("protocol/bad-request", `pathspec '${shown}': ${why}`);
}
