/**
 * The part of YAML that people write by hand and buildpacks print: block mappings and sequences, quoted and plain scalars,
 * literal and folded blocks, flow collections on one line, comments. Every scalar is a text. Anchors, aliases and tags are
 * refused: the text is a pushed file's or a pushed program's, and what stands for more than itself has no bound.
 * Specification: YAML 1.2.2, of which this is a subset.
 */
import { GitwharfError } from "../../base/errors.js";

export type YamlValue = string | null | readonly YamlValue[] | YamlMap;
export type YamlMap = ReadonlyMap<string, YamlValue>;

const BYTES_MAX = 1024 * 1024;
const DEPTH_MAX = 32;

interface Line {
  readonly indent: number;
  /** Without the indentation; comments stay. */
  readonly text: string;
  readonly number: number;
}

/** @param name of the file, for messages @throws object/malformed */
export function parsePlainYaml(text: string, name: string): YamlValue {
  return new Parser(text, name).parse();
}

export function isYamlMap(value: YamlValue | undefined): value is YamlMap {
  return value instanceof Map;
}

class Parser {
  readonly #name: string;
  readonly #lines: Line[] = [];
  #at = 0;

  constructor(text: string, name: string) {
    this.#name = name;
    if (text.length > BYTES_MAX) throw this.#wrong(1, `is larger than ${BYTES_MAX} bytes`);
    const rows = text.replace(/^\ufeff/, "").split(/\r?\n/);
    if (rows.at(-1) === "") rows.pop();
    let begun = false;
    for (const [i, row] of rows.entries()) {
      const indent = /^ */.exec(row)?.[0].length ?? 0;
      const content = row.slice(indent).trimEnd();
      if (indent === 0 && (content === "..." || (content === "---" && begun))) break;
      if (indent === 0 && /^---(?: |$)/.test(content) && !begun) {
        begun = true;
        const rest = content.slice(3).trim();
        if (rest !== "") this.#lines.push({ indent: 0, text: rest, number: i + 1 });
        continue;
      }
      if (indent === 0 && content.startsWith("%")) continue;
      // Blank lines count in blocks only.
      this.#lines.push({ indent, text: content, number: i + 1 });
      if (content !== "" && !content.startsWith("#")) begun = true;
    }
  }

  parse(): YamlValue {
    this.#skipBlank();
    if (this.#at >= this.#lines.length) return null;
    const value = this.#node(0);
    this.#skipBlank();
    const left = this.#lines[this.#at];
    if (left !== undefined) throw this.#wrong(left.number, "is not indented like what stands before it");
    return value;
  }

  #wrong(number: number, why: string): GitwharfError {
    return new GitwharfError("object/malformed", `${this.#name}, line ${number}: ${why}`);
  }

  #skipBlank(): void {
    for (let line = this.#lines[this.#at]; line !== undefined; line = this.#lines[++this.#at]) {
      if (line.text === "" || line.text.startsWith("#")) continue;
      // A tab is as wide as everybody likes.
      if (line.text.startsWith("\t")) throw this.#wrong(line.number, "is indented by a tab");
      return;
    }
  }

  /** Not blank. */
  #peek(): Line | undefined {
    this.#skipBlank();
    return this.#lines[this.#at];
  }

  #node(depth: number): YamlValue {
    const line = this.#peek();
    if (line === undefined) return null;
    if (depth > DEPTH_MAX) throw this.#wrong(line.number, `is nested deeper than ${DEPTH_MAX}`);
    if (isEntry(line.text)) return this.#sequence(line.indent, depth);
    if (splitKey(line.text) !== undefined) return this.#mapping(line.indent, depth);
    this.#at++;
    return this.#inline(line.text, line.number, depth);
  }

  #mapping(indent: number, depth: number): YamlMap {
    const map = new Map<string, YamlValue>();
    for (let line = this.#peek(); line !== undefined && line.indent === indent; line = this.#peek()) {
      const parts = splitKey(line.text);
      if (parts === undefined) throw this.#wrong(line.number, "is not `key: value`");
      this.#at++;
      const { rest } = parts;
      const key = this.#scalar(parts.key, line.number) ?? "";
      if (map.has(key)) throw this.#wrong(line.number, `has '${key}' a second time`);
      map.set(key, this.#valueAfter(rest, line, indent, depth, true));
    }
    return map;
  }

  #sequence(indent: number, depth: number): readonly YamlValue[] {
    const list: YamlValue[] = [];
    for (
      let line = this.#peek();
      line !== undefined && line.indent === indent && isEntry(line.text);
      line = this.#peek()
    ) {
      const rest = line.text.slice(1).trimStart();
      if (rest !== "" && !isQuotedOrFlow(rest) && (splitKey(rest) !== undefined || isEntry(rest))) {
        // `- key: value`: a mapping that begins behind the dash.
        const inner = indent + line.text.length - rest.length;
        this.#lines[this.#at] = { indent: inner, text: rest, number: line.number };
        list.push(this.#node(depth + 1));
        continue;
      }
      this.#at++;
      list.push(this.#valueAfter(rest, line, indent, depth, false));
    }
    return list;
  }

  /** @param inMapping a sequence may stand as far left as its key */
  #valueAfter(rest: string, line: Line, indent: number, depth: number, inMapping: boolean): YamlValue {
    const block = /^([|>])([+-]?)\s*(?:#.*)?$/.exec(rest);
    if (block !== null) return this.#block(indent, block[1] === ">", block[2] ?? "");
    if (rest !== "" && !rest.startsWith("#")) {
      let text = rest;
      // A plain text goes on as long as it is indented deeper.
      if (!isQuotedOrFlow(rest)) {
        for (let next = this.#peek(); next !== undefined && next.indent > indent; next = this.#peek()) {
          if (splitKey(next.text) !== undefined)
            throw this.#wrong(next.number, "is indented deeper than what stands before it");
          text = `${withoutComment(text)} ${next.text}`;
          this.#at++;
        }
      }
      return this.#inline(text, line.number, depth);
    }
    const next = this.#peek();
    if (next === undefined) return null;
    if (next.indent > indent) return this.#node(depth + 1);
    if (inMapping && next.indent === indent && isEntry(next.text)) return this.#sequence(indent, depth + 1);
    return null;
  }

  #block(indent: number, isFolded: boolean, chomping: string): string {
    const rows: string[] = [];
    let inner: number | undefined;
    for (let line = this.#lines[this.#at]; line !== undefined; line = this.#lines[++this.#at]) {
      if (line.text === "") {
        rows.push("");
        continue;
      }
      if (line.indent <= indent) break;
      inner ??= line.indent;
      if (line.indent < inner) break;
      rows.push(" ".repeat(line.indent - inner) + line.text);
    }
    let ends = 0;
    while (rows.at(-1) === "") {
      rows.pop();
      ends++;
    }
    const body = isFolded ? rows.join("\n").replace(/(\S)\n(?=\S)/g, "$1 ") : rows.join("\n");
    if (chomping === "-" || body === "") return body;
    return body + "\n".repeat(chomping === "+" ? ends + 1 : 1);
  }

  #inline(text: string, number: number, depth: number): YamlValue {
    if (text.startsWith("[") || text.startsWith("{")) {
      const { value, end } = this.#flow(text, 0, number, depth);
      if (withoutComment(` ${text.slice(end)}`).trim() !== "")
        throw this.#wrong(number, "has something behind its closing bracket");
      return value;
    }
    return this.#scalar(text, number);
  }

  #flow(text: string, start: number, number: number, depth: number): { value: YamlValue; end: number } {
    if (depth > DEPTH_MAX) throw this.#wrong(number, `is nested deeper than ${DEPTH_MAX}`);
    const isMap = text[start] === "{";
    const close = isMap ? "}" : "]";
    const map = new Map<string, YamlValue>();
    const list: YamlValue[] = [];
    let at = start + 1;
    const space = (): void => {
      while (text[at] === " " || text[at] === "\t") at++;
    };
    const part = (stop: RegExp): string => {
      const begun = at;
      const quote = text[at];
      if (quote === '"' || quote === "'") {
        at = endOfQuoted(text, at);
        if (at < 0) throw this.#wrong(number, "has a quote that is not closed");
      } else while (at < text.length && !stop.test(text[at] as string)) at++;
      return text.slice(begun, at).trim();
    };
    const value = (): YamlValue => {
      space();
      if (text[at] === "[" || text[at] === "{") {
        const inner = this.#flow(text, at, number, depth + 1);
        at = inner.end;
        return inner.value;
      }
      return this.#scalar(part(/[,\]}]/), number);
    };
    for (;;) {
      space();
      if (text[at] === close) return { value: isMap ? map : list, end: at + 1 };
      if (at >= text.length) throw this.#wrong(number, `has no '${close}' on its line`);
      if (isMap) {
        const key = this.#scalar(part(/[:,}]/), number) ?? "";
        space();
        if (text[at] === ":") {
          at++;
          map.set(key, value());
        } else map.set(key, null);
      } else list.push(value());
      space();
      if (text[at] === ",") at++;
      else if (text[at] !== close) throw this.#wrong(number, `has no '${close}' on its line`);
    }
  }

  #scalar(raw: string, number: number): string | null {
    const quote = raw[0];
    if (quote === '"' || quote === "'") {
      const end = endOfQuoted(raw, 0);
      if (end < 0) throw this.#wrong(number, "has a quote that is not closed");
      if (withoutComment(` ${raw.slice(end)}`).trim() !== "")
        throw this.#wrong(number, "has something behind its closing quote");
      const inner = raw.slice(1, end - 1);
      return quote === "'" ? inner.replaceAll("''", "'") : this.#unescape(inner, number);
    }
    const text = withoutComment(raw).trim();
    if (/^[&*!]/.test(text))
      throw this.#wrong(number, "has an anchor, an alias or a tag: they are not read here");
    if (/^[@`%]/.test(text)) throw this.#wrong(number, `begins with '${text[0]}': put it in quotes`);
    return text === "" || text === "~" || text === "null" ? null : text;
  }

  #unescape(text: string, number: number): string {
    return text.replace(/\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)/g, (_, code: string) => {
      if (/^[xu]./.test(code)) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
      const known = ESCAPES[code];
      if (known === undefined) throw this.#wrong(number, `has the escape \\${code}, which there is not`);
      return known;
    });
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  "0": "\0",
  n: "\n",
  t: "\t",
  r: "\r",
  e: "\x1b",
  " ": " ",
  '"': '"',
  "/": "/",
  "\\": "\\",
};

function isEntry(text: string): boolean {
  return text === "-" || text.startsWith("- ");
}

function isQuotedOrFlow(text: string): boolean {
  return /^["'[{]/.test(text);
}

/** Where a colon and a space, or the line's end, stand behind a key. */
function splitKey(text: string): { readonly key: string; readonly rest: string } | undefined {
  let at = 0;
  if (text[0] === '"' || text[0] === "'") {
    at = endOfQuoted(text, 0);
    if (at < 0) return undefined;
    while (text[at] === " ") at++;
    if (text[at] !== ":") return undefined;
  } else if (/^[[{]/.test(text)) return undefined;
  for (; at < text.length; at++) {
    if (text[at] === "#" && text[at - 1] === " ") return undefined;
    if (text[at] === ":" && (at + 1 === text.length || text[at + 1] === " "))
      return { key: text.slice(0, at), rest: text.slice(at + 1).trimStart() };
  }
  return undefined;
}

/** @returns the place behind the closing quote; -1: there is none */
function endOfQuoted(text: string, start: number): number {
  const quote = text[start];
  for (let at = start + 1; at < text.length; at++) {
    if (quote === '"' && text[at] === "\\") at++;
    else if (text[at] === quote) {
      if (quote === "'" && text[at + 1] === "'") at++;
      else return at + 1;
    }
  }
  return -1;
}

function withoutComment(text: string): string {
  const at = text.search(/\s#/);
  return at < 0 ? text : text.slice(0, at);
}
