/**
 * Refs that are neither shown nor given out: `transfer.hideRefs` with `uploadpack.hideRefs` or `receive.hideRefs`.
 * Specification: git-config. A pattern is a full name or a directory of names. The last one that matches wins; `!`
 * in front shows again; `^` in front is for names before a namespace is taken off: here, every name.
 */
export type IsHiddenRef = (name: string) => boolean;

const hidesNothing: IsHiddenRef = () => false;

interface Rule {
  readonly hides: boolean;
  readonly name: string;
  readonly directory: string;
}

/** @param patterns as configured, `transfer.hideRefs` and the service's own together in the order of the files */
export function compileHiddenRefs(patterns: readonly string[]): IsHiddenRef {
  const rules = patterns
    .map(parsePattern)
    .filter((rule) => rule.name !== "")
    .toReversed();
  if (!rules.some((rule) => rule.hides)) return hidesNothing;
  return (name) => {
    for (const rule of rules) {
      if (name === rule.name || name.startsWith(rule.directory)) return rule.hides;
    }
    return false;
  };
}

function parsePattern(pattern: string): Rule {
  const shows = pattern.startsWith("!");
  const name = pattern
    .slice(shows ? 1 : 0)
    .replace(/^\^/, "")
    .replace(/\/+$/, "");
  return { hides: !shows, name, directory: `${name}/` };
}

let functions = 0;
const functionKeys = new WeakMap<IsHiddenRef, number>();

/** For keys of caches: equal when the same is hidden. */
export function hiddenRefsKey(patterns: readonly string[], isHidden: IsHiddenRef | undefined): string {
  let number = isHidden === undefined ? 0 : functionKeys.get(isHidden);
  if (isHidden !== undefined && number === undefined) functionKeys.set(isHidden, (number = ++functions));
  return `${patterns.length} ${patterns.join("\n")}\n${number}`;
}
