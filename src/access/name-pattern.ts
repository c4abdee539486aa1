/**
 * Patterns of names (repositories, refs, users, paths) in git's own shell form: `*` and `?` within a segment, `**` over
 * segments, `[…]`. Matching takes at most pattern length × name length, so that patterns may come from a token.
 */
import { LRUCache } from "lru-cache";
import { compileWildmatch } from "../engine/fetch/wildmatch.js";

export type MatchesName = (name: string) => boolean;

const compiled = new LRUCache<string, MatchesName>({ max: 1000 });

function compilePattern(pattern: string): MatchesName {
  let matches = compiled.get(pattern);
  if (matches === undefined) {
    const { matches: run } = compileWildmatch(bytes(pattern), { path: true });
    compiled.set(pattern, (matches = (name) => run(bytes(name))));
  }
  return matches;
}

/** True for a name that one of the patterns matches. */
export function compilePatterns(patterns: readonly string[]): MatchesName {
  return (name) => patterns.some((pattern) => compilePattern(pattern)(name));
}

/** The matcher reads one byte a character. */
function bytes(text: string): string {
  return Buffer.from(text).toString("latin1");
}
