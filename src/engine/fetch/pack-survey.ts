/**
 * What every object of one large pack refers to, found in two passes over the pack instead of one read for every
 * object: commits by the beginning of each, trees along their chains of deltas.
 *
 * A tree that is stored as a delta refers to what its base refers to, less what the delta dropped, plus what it put
 * in, and only the new entries are looked up. So the links kept for such a tree are its *additions*: all that it
 * refers to is among its additions and what its base refers to.
 *
 * Not here: what is reachable (`closure.ts`).
 */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { hashBytes, hexLength } from "../../object/object-format.js";
import { parseTagLinks } from "../../object/tag.js";
import { OFS_DELTA, parseEntryHeader, REF_DELTA } from "../../pack/entry-header.js";
import { inflatePrefix, tryInflateAt } from "../../pack/inflate.js";
import type { Pack } from "../../pack/pack.js";
import { noteBasesFirst } from "./bases-first.js";
import type { ObjectSpace } from "./object-space.js";
import { packIdentity } from "./reachable-set.js";
import { TreeScratch } from "./tree-scratch.js";
import type { WorkBudget } from "./work-budget.js";

export const COMMIT = 1;
export const TREE = 2;
export const BLOB = 3;
export const TAG = 4;

/** Columns by rank, the order of offsets. About 22 bytes an object, and 4 for each link. */
export interface PackSurvey {
  readonly pack: Pack;
  /** 1..4; of deltas that of the object they make; 0 when the base is not in the pack. */
  readonly types: Uint8Array;
  /** −1 for a whole object, −2 when the base is not in the pack. */
  readonly bases: Int32Array;
  /** `links[starts[rank]]` to `links[ends[rank]]` are ordinals: a commit's tree and then its parents, a tag's target. */
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  readonly links: Int32Array;
  /** 1: the links are all there is. 2: they are a delta'd tree's additions. 0: not known, read the object. */
  readonly known: Uint8Array;
  readonly rankOfPosition: Uint32Array;
}

export const LINKS_UNKNOWN = 0;
const LINKS_WHOLE = 1;
export const LINKS_ADDED = 2;

const WINDOW_BYTES = 1024 * 1024;
/** Inflated bytes of a commit that hold its tree and an ordinary number of parents. */
const COMMIT_PREFIX_BYTES = 192;
const BASE_OUTSIDE = -2;
const NO_BASE = -1;

class LinkBuilder {
  links = new Int32Array(1 << 16);
  count = 0;

  add(ordinal: number): void {
    if (this.count === this.links.length) {
      const larger = new Int32Array(this.count * 2);
      larger.set(this.links);
      this.links = larger;
    }
    this.links[this.count++] = ordinal;
  }
}

/** Told of each tree whose links are known: by its rank, on top of the scratch, which notes what was dropped. */
export type WatchTree = (rank: number, scratch: TreeScratch) => void;

/** @throws object/corrupt, storage/io */
export async function surveyPack(
  space: ObjectSpace,
  pack: Pack,
  budget: WorkBudget,
  watch?: WatchTree,
): Promise<PackSurvey> {
  const n = pack.index.objectCount;
  const rankOfPosition = new Uint32Array(n);
  for (let rank = 0; rank < n; rank++) rankOfPosition[pack.offsets.positionAtRank(rank)] = rank;
  const builder = new LinkBuilder();
  const survey = {
    pack,
    types: new Uint8Array(n),
    bases: new Int32Array(n).fill(NO_BASE),
    starts: new Uint32Array(n),
    ends: new Uint32Array(n),
    links: builder.links,
    known: new Uint8Array(n),
    rankOfPosition,
  };
  await asStored(pack, scanEntries(space, survey, builder, budget));
  // What `bases-first.ts` would find by reading the pack once more.
  noteBasesFirst(
    packIdentity(pack),
    survey.bases.every((base, rank) => base < rank && base !== BASE_OUTSIDE),
  );
  spreadTypes(survey);
  await asStored(pack, surveyTrees(space, survey, builder, budget, watch));
  survey.links = builder.links;
  return survey;
}

/** What is wrong with a stored pack is nobody's doing who asks for something: it is object/corrupt, whatever it is. */
async function asStored(pack: Pack, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (cause) {
    if (!isGitwharfError(cause, "pack/bad-zlib", "pack/bad-delta", "object/malformed")) throw cause;
    const message = `${pack.name} is damaged: ${cause.message}; run 'gitwharf fsck'`;
    throw new GitwharfError("object/corrupt", message, { cause });
  }
}

/** Heads of all entries, and the links of whole commits and tags. */
async function scanEntries(
  space: ObjectSpace,
  survey: PackSurvey,
  builder: LinkBuilder,
  budget: WorkBudget,
): Promise<void> {
  const { pack, types, bases } = survey;
  const { offsets, index } = pack;
  const rawId = Buffer.alloc(hashBytes(space.objectFormat));
  let window: Buffer = Buffer.alloc(0);
  let windowStart = 0;
  for (let rank = 0; rank < types.length; rank++) {
    const start = offsets.offsetAtRank(rank);
    const end = offsets.endOffsetOfRank(rank);
    if (budget.spend(0.05)) await budget.pause();
    if (start < windowStart || Math.min(end, start + 4096) > windowStart + window.length) {
      const read = pack.bytes.read(start, WINDOW_BYTES);
      window = isPromise(read) ? await read : read;
      windowStart = start;
    }
    const head = parseEntryHeader(window, start - windowStart, space.objectFormat);
    if (head === undefined) throw corrupt(pack, start);
    types[rank] = head.type;
    if (head.type === OFS_DELTA) {
      const base = offsets.rankOfOffset(start - (head.baseOffsetDistance ?? 0));
      if (base < 0 || base >= rank) throw corrupt(pack, start);
      bases[rank] = base;
    } else if (head.type === REF_DELTA) {
      const position = index.find(head.baseOid ?? "");
      bases[rank] = position < 0 ? BASE_OUTSIDE : (survey.rankOfPosition[position] as number);
    } else if (head.type === COMMIT || head.type === TAG) {
      const entry = window.subarray(start - windowStart, Math.min(end - windowStart, window.length));
      const size = Math.min(head.sizeBytes, COMMIT_PREFIX_BYTES);
      const data = inflatePrefix(entry, head.headerLength, size);
      if (head.type === COMMIT) linkCommit(space, survey, builder, rank, data, rawId);
      else linkTag(space, survey, builder, rank, data);
    }
  }
}

/** Leaves the links unknown when the prefix does not hold them all. */
function linkCommit(
  space: ObjectSpace,
  survey: PackSurvey,
  builder: LinkBuilder,
  rank: number,
  data: Buffer,
  rawId: Buffer,
): void {
  const hex = hexLength(space.objectFormat);
  const start = builder.count;
  let at = 5;
  // "tree <id>\nparent <id>\n…author": the byte behind the last id must be there to know that it was the last.
  for (;;) {
    const next = at + hex + 1;
    if (next >= data.length || data[next - 1] !== 0x0a) {
      builder.count = start;
      return;
    }
    if (rawId.write(data.toString("latin1", at, at + hex), "hex") !== rawId.length)
      throw corrupt(survey.pack, rank);
    builder.add(space.ordinalOfBytes(rawId, 0));
    if (data[next] !== 0x70) break;
    at = next + 7;
  }
  finishLinks(survey, builder, rank, start, LINKS_WHOLE);
}

function linkTag(
  space: ObjectSpace,
  survey: PackSurvey,
  builder: LinkBuilder,
  rank: number,
  data: Buffer,
): void {
  const start = builder.count;
  builder.add(space.ordinalOf(parseTagLinks(data, space.objectFormat).target));
  finishLinks(survey, builder, rank, start, LINKS_WHOLE);
}

function finishLinks(
  survey: PackSurvey,
  builder: LinkBuilder,
  rank: number,
  start: number,
  known: number,
): void {
  survey.starts[rank] = start;
  survey.ends[rank] = builder.count;
  survey.known[rank] = known;
}

/** A delta's type is that of the whole object at the end of its chain. */
function spreadTypes({ types, bases }: PackSurvey): void {
  const chain: number[] = [];
  for (let rank = 0; rank < types.length; rank++) {
    let at = rank;
    while ((types[at] as number) > TAG && (bases[at] as number) >= 0 && chain.length <= types.length) {
      chain.push(at);
      at = bases[at] as number;
    }
    const type = (types[at] as number) > TAG ? 0 : (types[at] as number);
    if (type === 0) types[at] = 0;
    for (let next = chain.pop(); next !== undefined; next = chain.pop()) types[next] = type;
  }
}

/** Children of each tree in its delta family: a list linked through two columns. */
function deltaFamilies({ types, bases }: PackSurvey): { firstChild: Int32Array; nextSibling: Int32Array } {
  const firstChild = new Int32Array(types.length).fill(-1);
  const nextSibling = new Int32Array(types.length).fill(-1);
  for (let rank = types.length - 1; rank >= 0; rank--) {
    const base = bases[rank] as number;
    if (types[rank] !== TREE || base < 0) continue;
    nextSibling[rank] = firstChild[base] as number;
    firstChild[base] = rank;
  }
  return { firstChild, nextSibling };
}

async function surveyTrees(
  space: ObjectSpace,
  survey: PackSurvey,
  builder: LinkBuilder,
  budget: WorkBudget,
  watch: WatchTree | undefined,
): Promise<void> {
  const { types, bases, pack } = survey;
  const { offsets } = pack;
  const { firstChild, nextSibling } = deltaFamilies(survey);
  const scratch = new TreeScratch(hashBytes(space.objectFormat), { notesDropped: watch !== undefined });
  /** The path from the whole tree down to the one at hand, and the sibling that is next at each level. */
  const path: number[] = [];
  for (let root = 0; root < types.length; root++) {
    if (types[root] !== TREE || bases[root] !== NO_BASE) continue;
    let rank = root;
    for (;;) {
      const start = offsets.offsetAtRank(rank);
      const read = pack.bytes.read(start, offsets.endOffsetOfRank(rank) - start);
      const entry = isPromise(read) ? await read : read;
      if (budget.spend(0.3)) await budget.pause();
      const head = parseEntryHeader(entry, 0, space.objectFormat);
      if (head === undefined) throw corrupt(pack, start);
      scratch.cutTo(path.length);
      let fits = scratch.hasRoom(head.sizeBytes);
      if (fits) {
        const inflated = tryInflateAt(entry, head.headerLength, head.sizeBytes);
        if (inflated === "short") throw corrupt(pack, start);
        if (path.length === 0) {
          scratch.pushWhole(inflated.data);
          linkTree(space, survey, builder, scratch, rank, LINKS_WHOLE);
          watch?.(rank, scratch);
        } else {
          fits = scratch.pushDelta(inflated.data);
          if (fits) {
            linkTree(space, survey, builder, scratch, rank, LINKS_ADDED);
            watch?.(rank, scratch);
          }
        }
      }
      // What does not fit is left unknown, and so is everything that stands on it.
      if (fits && (firstChild[rank] as number) >= 0) {
        path.push(rank);
        rank = firstChild[rank] as number;
        continue;
      }
      let next = path.length > 0 ? (nextSibling[rank] as number) : -1;
      while (next < 0 && path.length > 0) {
        rank = path.pop() as number;
        next = path.length > 0 ? (nextSibling[rank] as number) : -1;
      }
      if (next < 0) break;
      rank = next;
    }
  }
}

/** The new entries of the tree on top become its links. */
function linkTree(
  space: ObjectSpace,
  survey: PackSurvey,
  builder: LinkBuilder,
  scratch: TreeScratch,
  rank: number,
  known: number,
): void {
  const { bytes, found, foundCount } = scratch;
  const start = builder.count;
  for (let i = 0; i < foundCount; i++) builder.add(space.ordinalOfBytes(bytes, found[i] as number));
  finishLinks(survey, builder, rank, start, known);
}

function corrupt(pack: Pack, offset: number): GitwharfError {
  return new GitwharfError(
    "object/corrupt",
    `the entry at ${offset} of ${pack.name} cannot be read; run 'gitwharf fsck'`,
  );
}
