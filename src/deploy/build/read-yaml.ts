/**
 * YAML of strangers, by the library `yaml`: of what people write by hand and buildpacks print, every scalar is a text. Aliases
 * and tags are refused, and size and depth are bounded: what stands for more than itself has no bound.
 * Specification: YAML 1.2.2, 10.1 (failsafe schema).
 */
import { Composer, type CST, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, Parser } from "yaml";
import { GitwharfError } from "../../base/errors.js";

export type YamlValue = string | null | readonly YamlValue[] | YamlMap;
export type YamlMap = ReadonlyMap<string, YamlValue>;

const BYTES_MAX = 64 * 1024;
const DEPTH_MAX = 32;

/** @param name of the file, for messages @returns null where nothing stands @throws object/malformed */
export function readYaml(text: string, name: string): YamlValue {
  const wrong = (line: number, why: string, cause?: unknown): GitwharfError =>
    new GitwharfError("object/malformed", `${name}, line ${line}: ${why}`, { cause });
  if (Buffer.byteLength(text) > BYTES_MAX) throw wrong(1, `the text is larger than ${BYTES_MAX} bytes`);
  const lines = new LineCounter();
  const lineOf = (offset: number): number => Math.max(1, lines.linePos(offset).line);
  const composer = new Composer({
    schema: "failsafe",
    resolveKnownTags: false,
    // Compares each with each; here they are looked up.
    uniqueKeys: false,
  });
  const documents: ComposedDocument[] = [];
  let deep: number | undefined;
  try {
    const tokens = [...new Parser(lines.addNewLine).parse(text)];
    // What comes next calls itself for each level: V8 ends the whole process when it compiles an expression on a full stack.
    deep = placeOfTooDeep(tokens);
    if (deep === undefined) {
      for (const { contents, errors, warnings, range } of composer.compose(tokens, true, text.length)) {
        documents.push({ start: range[0], contents, problem: errors[0] ?? warnings[0] });
        if (documents.length > 1) break;
      }
    }
  } catch (error) {
    // Whatever the library does with bytes that nobody has thought of.
    throw wrong(1, "it cannot be read", error);
  }
  if (deep !== undefined) throw wrong(lineOf(deep), `nested deeper than ${DEPTH_MAX}`);
  const [document, second] = documents;
  const { problem } = document ?? {};
  if (problem !== undefined) throw wrong(lineOf(problem.pos[0]), problem.message);
  if (second !== undefined) throw wrong(lineOf(second.start), "there is more than one document");

  const at = (node: Node): number => lineOf(node.range?.[0] ?? 0);
  const textOf = (node: Node): string => {
    if (isAlias(node)) throw wrong(at(node), "aliases are not read here");
    if (!isScalar(node)) throw wrong(at(node), "a key is a text");
    return String(node.value);
  };
  const valueOf = (node: Node | null): YamlValue => {
    if (node === null) return null;
    if (isSeq<Node>(node)) return node.items.map(valueOf);
    if (!isMap<Node, Node | null>(node)) {
      const scalar = textOf(node);
      return scalar === "" && isScalar(node) && node.type === "PLAIN" ? null : scalar;
    }
    const map = new Map<string, YamlValue>();
    for (const { key, value } of node.items) {
      const called = textOf(key);
      if (map.has(called)) throw wrong(at(key), `'${called.slice(0, 80)}' stands there a second time`);
      map.set(called, valueOf(value));
    }
    return map;
  };
  return valueOf(document?.contents ?? null);
}

export function isYamlMap(value: YamlValue | undefined): value is YamlMap {
  return value instanceof Map;
}

interface ComposedDocument {
  readonly start: number;
  readonly contents: Node | null;
  readonly problem: { readonly pos: readonly [number, number]; readonly message: string } | undefined;
}

/** @returns where it becomes too deep; undefined: nowhere */
function placeOfTooDeep(tokens: readonly CST.Token[]): number | undefined {
  let level: readonly (CST.Token | null | undefined)[] = tokens;
  // The document is one, too.
  for (let depth = 0; level.length > 0; depth++) {
    const inner = level.flatMap((token) => {
      if (token === null || token === undefined) return [];
      if (token.type === "document") return [token.value];
      if (!("items" in token)) return [];
      return token.items.flatMap((item) => ["key" in item ? item.key : undefined, item.value]);
    });
    const found = inner.find((token) => token !== null && token !== undefined);
    if (found === undefined) return undefined;
    if (depth > DEPTH_MAX) return found.offset;
    level = inner;
  }
  return undefined;
}
