/**
 * One `.gitattributes`: its lines as rules. Kept are only the attributes that an archive asks about.
 * Specification: gitattributes, "DESCRIPTION" and "DEFINING MACRO ATTRIBUTES". Bytes one a character (latin1).
 *
 *     PATTERN SP ATTRIBUTE …      name   -name   !name   name=value
 *     [attr]MACRO SP ATTRIBUTE …
 */
import { GitwharfError } from "../../base/errors.js";
import { compileWildmatch, type Wildmatch } from "../fetch/wildmatch.js";

/** `true` set, `false` unset with `-`, `null` back to unspecified with `!`. */
export type AttributeValue = string | boolean | null;

export type AttributeStates = readonly (readonly [name: string, value: AttributeValue])[];

export interface AttributeRule {
  readonly onlyDirectories: boolean;
  /** Without a slash, a pattern is for the last part of a path; with one, for the path from here. */
  readonly forName: boolean;
  readonly pattern: Wildmatch;
  readonly patternLength: number;
  readonly states: AttributeStates;
}

export interface AttributeFile {
  readonly rules: readonly AttributeRule[];
  readonly macros: ReadonlyMap<string, AttributeStates>;
}

/** Longer lines are ignored, as by git. */
const LINE_BYTES_MAX = 2048;
const RULES_MAX = 20_000;

/** @throws base/limit-exceeded */
export function parseAttributeRules(data: Buffer, wanted: ReadonlySet<string>): AttributeFile {
  const rules: AttributeRule[] = [];
  const macros = new Map<string, AttributeStates>();
  const isWanted = (name: string): boolean => wanted.has(name) || macros.has(name);
  const text = data.toString("latin1").replace(/^\xef\xbb\xbf/, "");
  for (const raw of text.split("\n")) {
    if (raw.length > LINE_BYTES_MAX) continue;
    const line = raw.replace(/^[ \t\r]+/, "");
    if (line === "" || line.startsWith("#")) continue;
    const { word, rest } = readPattern(line);
    if (word.startsWith("[attr]")) {
      const name = word.slice("[attr]".length);
      if (isAttributeName(name)) macros.set(name, parseStates(rest, isWanted));
      continue;
    }
    if (word.startsWith("!")) continue;
    const states = parseStates(rest, isWanted);
    if (states.length === 0) continue;
    const onlyDirectories = word.endsWith("/");
    let pattern = onlyDirectories ? word.slice(0, -1) : word;
    const forName = !pattern.includes("/");
    if (pattern.startsWith("/")) pattern = pattern.slice(1);
    rules.push({
      onlyDirectories,
      forName,
      pattern: compileWildmatch(pattern, { path: !forName }),
      patternLength: pattern.length,
      states,
    });
    if (rules.length > RULES_MAX) {
      throw new GitwharfError(
        "base/limit-exceeded",
        `a .gitattributes has more than ${RULES_MAX} rules that concern archives`,
      );
    }
  }
  return { rules, macros };
}

function readPattern(line: string): { readonly word: string; readonly rest: string } {
  if (line.startsWith('"')) {
    const quoted = /^"((?:[^"\\]|\\.)*)"/s.exec(line);
    if (quoted !== null) return { word: unquote(quoted[1] ?? ""), rest: line.slice(quoted[0].length) };
  }
  const end = line.search(/[ \t\r]/);
  return end < 0 ? { word: line, rest: "" } : { word: line.slice(0, end), rest: line.slice(end) };
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

function unquote(text: string): string {
  return text.replace(/\\([0-3][0-7]{2}|.)/gs, (_, escape: string) =>
    escape.length === 3 ? String.fromCharCode(Number.parseInt(escape, 8)) : (ESCAPES[escape] ?? escape),
  );
}

function parseStates(text: string, isWanted: (name: string) => boolean): AttributeStates {
  const states: [string, AttributeValue][] = [];
  for (const word of text.split(/[ \t\r]+/)) {
    const match = /^([-!]?)([^=]+)(?:=(.*))?$/s.exec(word);
    const name = match?.[2];
    if (name === undefined || !isAttributeName(name) || !isWanted(name)) continue;
    if (match?.[1] === "-") states.push([name, false]);
    else if (match?.[1] === "!") states.push([name, null]);
    else states.push([name, match?.[3] ?? true]);
  }
  return states;
}

function isAttributeName(name: string): boolean {
  return /^[A-Za-z0-9_.][-A-Za-z0-9_.]*$/.test(name);
}
