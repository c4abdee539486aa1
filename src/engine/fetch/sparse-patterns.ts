/**
 * The pattern language of sparse-checkout files (that of gitignore, a match meaning "wanted"), full patterns only:
 * cone mode is a way to evaluate, not another language. Specification: gitignore "PATTERN FORMAT".
 */
import { GitwharfError } from "../../base/errors.js";
import { compileWildmatch } from "./wildmatch.js";

export interface SparsePatterns {
  /**
   * What the last pattern that matches says, undefined when none matches.
   * @param path without a leading slash, one byte a character; the root is the empty path
   */
  match(path: string, name: string, isDirectory: boolean): boolean | undefined;
}

interface Pattern {
  readonly wanted: boolean;
  readonly onlyDirectories: boolean;
  /** Matches the last name of the path alone. */
  readonly onlyName: boolean;
  readonly matches: (text: string) => boolean;
}

const PATTERNS_MAX = 10_000;
/** Of all specifications of one filter together. */
export const SPARSE_BYTES_MAX = 1024 * 1024;

/** @throws base/limit-exceeded more than 10,000 patterns or 1 MiB */
export function parseSparsePatterns(blob: Buffer): SparsePatterns {
  if (blob.length > SPARSE_BYTES_MAX) throw tooLargeSparse();
  const patterns: Pattern[] = [];
  const text = blob.toString("latin1").replace(/^\xef\xbb\xbf/, "");
  for (const raw of text.split("\n")) {
    const pattern = parsePattern(raw.endsWith("\r") ? raw.slice(0, -1) : raw);
    if (pattern === undefined) continue;
    if (patterns.length >= PATTERNS_MAX) {
      throw new GitwharfError(
        "base/limit-exceeded",
        `a sparse specification has more than ${PATTERNS_MAX} patterns`,
      );
    }
    patterns.push(pattern);
  }
  return {
    match(path, name, isDirectory) {
      for (let i = patterns.length - 1; i >= 0; i--) {
        const pattern = patterns[i] as Pattern;
        if (pattern.onlyDirectories && !isDirectory) continue;
        if (pattern.matches(pattern.onlyName ? name : path)) return pattern.wanted;
      }
      return undefined;
    },
  };
}

export function tooLargeSparse(): GitwharfError {
  return new GitwharfError(
    "base/limit-exceeded",
    `the sparse specifications of a filter have more than ${SPARSE_BYTES_MAX} bytes`,
  );
}

function parsePattern(line: string): Pattern | undefined {
  if (line.startsWith("#")) return undefined;
  let text = trimTrailingSpaces(line);
  if (text === "") return undefined;
  const wanted = !text.startsWith("!");
  if (!wanted) text = text.slice(1);
  const onlyDirectories = text.endsWith("/");
  if (onlyDirectories) text = text.slice(0, -1);
  const onlyName = !text.includes("/");
  if (text.startsWith("/")) text = text.slice(1);
  const { matches } = compileWildmatch(text, { path: !onlyName });
  return { wanted, onlyDirectories, onlyName, matches };
}

function trimTrailingSpaces(line: string): string {
  let end = line.length;
  while (end > 0 && line.charAt(end - 1) === " ") {
    let backslashes = 0;
    while (end - 2 - backslashes >= 0 && line.charAt(end - 2 - backslashes) === "\\") backslashes++;
    if (backslashes % 2 === 1) break;
    end--;
  }
  return line.slice(0, end);
}
