/**
 * Refs that are neither shown nor given out: `transfer.hideRefs`, `uploadpack.hideRefs`, `receive.hideRefs`.
 * Specification: git-config. The last pattern that matches wins; `!` shows again; `^` is for full names, which
 * without namespaces is every name.
 */
export type IsHiddenRef = (name: string) => boolean;

export function compileHiddenRefs(patterns: readonly string[]): IsHiddenRef {
  const rules = patterns
    .map((pattern) => {
      const shows = pattern.startsWith("!");
      const prefix = pattern.slice(shows ? 1 : 0).replace(/^\^/, "").replace(/\/+$/, "");
      return { hides: !shows, prefix };
    })
    .toReversed();
  if (rules.length === 0) return () => false;
  return (name) => {
    for (const { hides, prefix } of rules) {
      if (name === prefix || name.startsWith(`${prefix}/`)) return hides;
    }
    return false;
  };
}
