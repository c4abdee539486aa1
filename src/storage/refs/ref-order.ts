/** The order of refs: the bytes of their names in UTF-8. */

/** Negative, 0 or positive, as the bytes of `a` come before, are, or come after those of `b`. */
export function compareRefNames(a: string, b: string): number {
  if (a === b) return 0;
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    // Code units order as bytes do, but for surrogates: they stand for what sorts after U+E000 to U+FFFF.
    if (x !== y) return x >= 0xd800 && y >= 0xd800 ? rotate(x) - rotate(y) : x - y;
  }
  return a.length - b.length;
}

function rotate(unit: number): number {
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;
}

/** Where `name` is in the sorted list, or would be inserted. */
export function lowerBound(refs: readonly { readonly name: string }[], name: string, from = 0): number {
  let low = from;
  let high = refs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const ref = refs[middle];
    if (ref !== undefined && compareRefNames(ref.name, name) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The part of the sorted list whose names start with `prefix`, as [start, end). */
export function prefixRange(
  refs: readonly { readonly name: string }[],
  prefix: string,
): readonly [number, number] {
  const start = lowerBound(refs, prefix);
  let low = start;
  let high = refs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (refs[middle]?.name.startsWith(prefix) === true) low = middle + 1;
    else high = middle;
  }
  return [start, low];
}

/** Sorts in place. */
export function sortNames(names: string[]): string[] {
  // The order that is built in is that of code units, and five times as fast.
  return names.some((name) => SURROGATE.test(name)) ? names.sort(compareRefNames) : names.sort();
}

const SURROGATE = /[\ud800-\udfff]/;
