/**
 * Which deltas build on which objects: a forest whose roots are whole objects, of the pack or (thin packs) of the
 * repository. Workers take root by root and resolve what grows on it.
 *
 * A REF_DELTA names its base by id. When the id is that of a whole object of the pack or of an object of the
 * repository, its place is known beforehand. Else the base can only be another delta of the pack, whose id is not
 * known until it is resolved: such deltas wait in *groups*, one for each id, and whoever resolves an object of that
 * id takes the group. What is never taken has no base.
 *
 * In each family the child with the heaviest offspring comes last. Its base is then no longer needed for others, so
 * a worker holds at most log2(n) bases at a time, however deep the chains are.
 */
import { hashBytes } from "../../object/object-format.js";
import { OFS_DELTA, REF_DELTA } from "../../pack/entry-header.js";
import { EXTERNAL, type EntryTable } from "./entry-table.js";
import { LinkSet } from "./link-set.js";

export interface DeltaForest {
  /** Entries of the pack; node `n + k` stands for the k-th external base. */
  readonly entryCount: number;
  readonly externalCount: number;
  readonly deltaCount: number;
  /** Raw ids of the external bases. */
  readonly externalOids: Uint8Array<SharedArrayBuffer>;
  /** The children of node i are `children[childStart[i]]` up to `childStart[i + 1]`. */
  readonly childStart: Uint32Array<SharedArrayBuffer>;
  readonly children: Uint32Array<SharedArrayBuffer>;
  /** Nodes with children, the heaviest families first. */
  readonly roots: Uint32Array<SharedArrayBuffer>;
  /** Raw ids that groups wait for, sorted. */
  readonly groupOids: Uint8Array<SharedArrayBuffer>;
  readonly groupStart: Uint32Array<SharedArrayBuffer>;
  readonly groupMembers: Uint32Array<SharedArrayBuffer>;
  /** 1 once somebody has taken the group. */
  readonly groupTaken: Int32Array<SharedArrayBuffer>;
}

/** A family of more than this share of all bytes is begun early, so that no worker is left with it at the end. */
const HEAVY_SHARE = 1 / 64;

/**
 * Fills in `table.bases` of the REF_DELTA entries whose base is known.
 * @param baseOids raw ids that the REF_DELTA entries name, in the order of the entries
 * @param isExternal whether the repository holds the object whose raw id stands there
 */
export function buildForest(
  table: EntryTable,
  count: number,
  baseOids: Uint8Array,
  isExternal: (oids: Uint8Array, at: number) => boolean,
): DeltaForest {
  const h = hashBytes(table.objectFormat);
  const { waiting, externals } = placeRefDeltas(table, count, baseOids, isExternal);
  const nodeCount = count + externals.size;
  const childStart = new Uint32Array(new SharedArrayBuffer((nodeCount + 1) * 4));
  let deltaCount = 0;
  for (let i = 0; i < count; i++) {
    if ((table.types[i] as number) < OFS_DELTA) continue;
    deltaCount++;
    const base = nodeOf(table.bases[i] as number, count);
    if (base >= 0) childStart[base + 1] = (childStart[base + 1] as number) + 1;
  }
  for (let i = 0; i < nodeCount; i++)
    childStart[i + 1] = (childStart[i + 1] as number) + (childStart[i] as number);
  const children = new Uint32Array(new SharedArrayBuffer(deltaCount * 4));
  const next = childStart.slice(0, nodeCount);
  for (let i = 0; i < count; i++) {
    if ((table.types[i] as number) < OFS_DELTA) continue;
    const base = nodeOf(table.bases[i] as number, count);
    if (base < 0) continue;
    const place = next[base] as number;
    children[place] = i;
    next[base] = place + 1;
  }
  const weights = weigh(table, count, nodeCount, childStart, children);
  heaviestLast(childStart, children, weights);
  return {
    entryCount: count,
    externalCount: externals.size,
    deltaCount,
    externalOids: shared(externals.oids),
    childStart,
    children,
    roots: orderRoots(table, count, nodeCount, childStart, weights),
    ...groupByOid(waiting, baseOids, h),
  };
}

interface RefDelta {
  readonly entry: number;
  /** Where its base's raw id stands in `baseOids`. */
  readonly at: number;
}

function placeRefDeltas(
  table: EntryTable,
  count: number,
  baseOids: Uint8Array,
  isExternal: (oids: Uint8Array, at: number) => boolean,
): { readonly waiting: RefDelta[]; readonly externals: LinkSet } {
  const h = hashBytes(table.objectFormat);
  const externals = new LinkSet(h);
  const waiting: RefDelta[] = [];
  if (baseOids.length === 0) return { waiting, externals };
  /** Whole objects of the pack; member number → entry. */
  const whole = new LinkSet(h);
  const entryOf: number[] = [];
  for (let i = 0; i < count; i++) {
    if ((table.types[i] as number) >= OFS_DELTA) continue;
    const before = whole.size;
    whole.add(table.oids, i * h, 1);
    if (whole.size > before) entryOf.push(i);
  }
  const unknown = new LinkSet(h);
  for (let i = 0, at = 0; i < count; i++) {
    if (table.types[i] !== REF_DELTA) continue;
    const inPack = whole.find(baseOids, at);
    if (inPack >= 0) table.bases[i] = entryOf[inPack] as number;
    else if (
      unknown.find(baseOids, at) < 0 &&
      (externals.find(baseOids, at) >= 0 || isExternal(baseOids, at))
    ) {
      externals.add(baseOids, at, 1);
      table.bases[i] = EXTERNAL + externals.find(baseOids, at);
    } else {
      unknown.add(baseOids, at, 1);
      waiting.push({ entry: i, at });
    }
    at += h;
  }
  return { waiting, externals };
}

/** @returns -1 when the base is not known */
function nodeOf(base: number, count: number): number {
  return base >= EXTERNAL ? base - EXTERNAL + count : base;
}

/** For each node the result bytes of all that grows on it, itself included. */
function weigh(
  table: EntryTable,
  count: number,
  nodeCount: number,
  childStart: Uint32Array,
  children: Uint32Array,
): Float64Array {
  const weights = new Float64Array(nodeCount);
  // Parents before children: from the roots down. A delta whose base is not known yet is a root here.
  const order = new Uint32Array(nodeCount);
  let length = 0;
  for (let node = 0; node < nodeCount; node++) {
    const isRoot =
      node >= count || (table.types[node] as number) < OFS_DELTA || (table.bases[node] as number) < 0;
    if (isRoot) order[length++] = node;
  }
  for (let i = 0; i < length; i++) {
    const node = order[i] as number;
    for (let c = childStart[node] as number; c < (childStart[node + 1] as number); c++)
      order[length++] = children[c] as number;
  }
  for (let i = length - 1; i >= 0; i--) {
    const node = order[i] as number;
    // An object costs something even when it is empty.
    let weight = (weights[node] as number) + 64;
    if (node < count) weight += table.resultSizes[node] as number;
    weights[node] = weight;
    const base =
      node < count && (table.types[node] as number) >= OFS_DELTA
        ? nodeOf(table.bases[node] as number, count)
        : -1;
    if (base >= 0) weights[base] = (weights[base] as number) + weight;
  }
  return weights;
}

function heaviestLast(childStart: Uint32Array, children: Uint32Array, weights: Float64Array): void {
  for (let node = 0; node + 1 < childStart.length; node++) {
    const start = childStart[node] as number;
    const last = (childStart[node + 1] as number) - 1;
    if (last <= start) continue;
    let heaviest = last;
    for (let c = start; c < last; c++) {
      if ((weights[children[c] as number] as number) > (weights[children[heaviest] as number] as number))
        heaviest = c;
    }
    const child = children[heaviest] as number;
    children[heaviest] = children[last] as number;
    children[last] = child;
  }
}

function orderRoots(
  table: EntryTable,
  count: number,
  nodeCount: number,
  childStart: Uint32Array,
  weights: Float64Array,
): Uint32Array<SharedArrayBuffer> {
  const roots: number[] = [];
  let total = 0;
  for (let node = 0; node < nodeCount; node++) {
    if (node < count && (table.types[node] as number) >= OFS_DELTA) continue;
    if (childStart[node] === childStart[node + 1]) continue;
    roots.push(node);
    total += weights[node] as number;
  }
  const heavy = roots.filter((node) => (weights[node] as number) > total * HEAVY_SHARE);
  heavy.sort((a, b) => (weights[b] as number) - (weights[a] as number));
  // The others in the order of the pack: neighbours share blocks.
  const light = roots.filter((node) => (weights[node] as number) <= total * HEAVY_SHARE);
  return sharedWords([...heavy, ...light]);
}

function groupByOid(
  waiting: readonly RefDelta[],
  baseOids: Uint8Array,
  h: number,
): Pick<DeltaForest, "groupOids" | "groupStart" | "groupMembers" | "groupTaken"> {
  const bytes = Buffer.from(baseOids.buffer, baseOids.byteOffset, baseOids.length);
  const compare = (a: RefDelta, b: RefDelta): number =>
    bytes.compare(bytes, b.at, b.at + h, a.at, a.at + h) || a.entry - b.entry;
  const sorted = waiting.toSorted(compare);
  const starts: number[] = [];
  sorted.forEach((delta, i) => {
    const before = sorted[i - 1];
    if (before === undefined || bytes.compare(bytes, before.at, before.at + h, delta.at, delta.at + h) !== 0)
      starts.push(i);
  });
  const oids = Buffer.alloc(starts.length * h);
  starts.forEach((start, group) => {
    const { at } = sorted[start] as RefDelta;
    bytes.copy(oids, group * h, at, at + h);
  });
  return {
    groupOids: shared(oids),
    groupStart: sharedWords([...starts, sorted.length]),
    groupMembers: sharedWords(sorted.map((delta) => delta.entry)),
    groupTaken: new Int32Array(new SharedArrayBuffer(starts.length * 4)),
  };
}

/** Number of the group that waits for a raw id, -1 when none does. */
export function findGroup(forest: DeltaForest, oids: Uint8Array, at: number, h: number): number {
  const { groupOids } = forest;
  let low = 0;
  let high = forest.groupTaken.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    let i = 0;
    while (i < h && groupOids[middle * h + i] === oids[at + i]) i++;
    if (i === h) return middle;
    if ((groupOids[middle * h + i] as number) < (oids[at + i] as number)) low = middle + 1;
    else high = middle;
  }
  return -1;
}

function shared(bytes: Uint8Array): Uint8Array<SharedArrayBuffer> {
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

function sharedWords(words: readonly number[]): Uint32Array<SharedArrayBuffer> {
  const copy = new Uint32Array(new SharedArrayBuffer(words.length * 4));
  copy.set(words);
  return copy;
}
