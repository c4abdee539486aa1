/** Refs of one instant as every ref store hands them out: sorted, found by binary search. */
import type { Head, Ref, RefSnapshot } from "./contracts/ref-store.js";

/** @param all sorted by name in byte order, each name once */
export function createRefSnapshot(about: {
  readonly head: Head;
  readonly all: readonly Ref[];
  readonly broken: readonly string[];
  readonly version: string;
}): RefSnapshot {
  const { all } = about;
  const lowerBound = (name: string): number => {
    let low = 0;
    let high = all.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareRefNames((all[middle] as Ref).name, name) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return {
    ...about,
    get(name) {
      const ref = all[lowerBound(name)];
      return ref?.name === name ? ref : undefined;
    },
    startingWith(prefix) {
      if (prefix === "") return all;
      const start = lowerBound(prefix);
      let low = start;
      let high = all.length;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if ((all[middle] as Ref).name.startsWith(prefix)) low = middle + 1;
        else high = middle;
      }
      return all.slice(start, low);
    },
  };
}

/** Byte order of UTF-8. Code units agree with it except where surrogates meet U+E000 and above. */
export function compareRefNames(a: string, b: string): number {
  if (a === b) return 0;
  for (let i = 0; i < a.length && i < b.length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    if (x >= 0xd800 && y >= 0xd800) return Buffer.compare(Buffer.from(a), Buffer.from(b));
    return x - y;
  }
  return a.length - b.length;
}

/**
 * Why a ref of this name cannot stand beside the others: a ref may not be a directory of another.
 * @returns the name of the ref that is in the way
 */
export function findNameConflict(name: string, exists: (name: string) => boolean, hasBelow: (prefix: string) => string | undefined): string | undefined {
  for (let slash = name.indexOf("/", 5); slash > 0; slash = name.indexOf("/", slash + 1)) {
    const directory = name.slice(0, slash);
    if (exists(directory)) return directory;
  }
  return hasBelow(`${name}/`);
}
