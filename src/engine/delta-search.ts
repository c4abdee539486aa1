/**
 * Entries written anew: objects that stand in no pack, and those whose stored delta has a base that is neither sent
 * nor known to the other side. Each becomes a delta where that pays, else it is sent whole.
 *
 * Bases are tried in git's way: first what stood in the object's place at the other side, then the last few objects
 * in order of type, name and size, larger before smaller. A base is always one that the other side has or an entry
 * made before, so that deltas never run in a circle.
 */
import { isPromise } from "../base/maybe-promise.js";
import { hashBytes } from "../object/object-format.js";
import { deflateSmall } from "../pack/deflate.js";
import { createDeltaIndex, type DeltaIndex, encodeDelta } from "../pack/delta-encode.js";
import { entryTypeOf } from "../pack/entry-header.js";
import type { ObjectHeader } from "../storage/contracts/object-reader.js";
import { ParsedTree } from "./fetch/parsed-tree.js";
import { encodeTreeDelta } from "./fetch/tree-delta.js";
import type { WorkBudget } from "./fetch/work-budget.js";
import type { ObjectSelection } from "./object-count.js";

export interface NewEntry {
  readonly ordinal: number;
  /** 1..4, of the whole object; a delta's own type depends on where its base stands. */
  readonly type: number;
  /** Inflated size of what is stored. */
  readonly sizeBytes: number;
  /** Ordinal of the delta's base, −1 for a whole object. */
  readonly base: number;
  readonly deflated: Buffer;
}

export interface EncodeOptions {
  readonly selection: ObjectSelection;
  readonly objects: readonly ObjectToEncode[];
  /** Deltas may stand on what the other side has. */
  readonly thin: boolean;
  readonly budget: WorkBudget;
}

export interface ObjectToEncode {
  readonly ordinal: number;
  readonly header: ObjectHeader;
  /** Must be among the entries; others may be left out when there are too many. */
  readonly needed: boolean;
  /** Stored whole, and copied as it is unless it can be a delta on what the other side has. */
  readonly optional?: boolean | undefined;
}

export interface EncodedEntries {
  readonly entries: readonly NewEntry[];
  /** Ordinals left out: the entries would be too large to be kept. */
  readonly left: readonly number[];
}

const WINDOW_OBJECTS = 10;
const WINDOW_BYTES_MAX = 32 * 1024 * 1024;
const DEPTH_MAX = 50;
/** Objects from this size on are never made deltas. */
const DELTA_BYTES_MAX = 8 * 1024 * 1024;
/** Objects below it are not worth a delta. */
const DELTA_BYTES_MIN = 64;
/** Steps back through what stood in an object's place. */
const PREVIOUS_STEPS_MAX = 64;
/** Deflated entries of one plan. */
const ENTRIES_BYTES_MAX = 64 * 1024 * 1024;
/** With more inflated bytes than this no window is searched: objects are sent whole. */
const SEARCHED_BYTES_MAX = 512 * 1024 * 1024;

interface Candidate {
  readonly ordinal: number;
  readonly type: number;
  readonly data: Buffer;
  readonly tree: ParsedTree | undefined;
  depth: number;
  /** Made when it is first tried; null: too short to have one. */
  index: DeltaIndex | null | undefined;
}

function candidateOf(ordinal: number, type: number, data: Buffer): Candidate {
  return {
    ordinal,
    type,
    data,
    tree: type === 2 ? new ParsedTree(data) : undefined,
    depth: 0,
    index: undefined,
  };
}

/** @throws object/corrupt, storage/io */
export async function encodeEntries(options: EncodeOptions): Promise<EncodedEntries> {
  const { selection, thin, budget } = options;
  const { space } = selection;
  const entries: NewEntry[] = [];
  const left: number[] = [];
  const window = new Window();
  const idBytes = hashBytes(space.objectFormat);
  const totalBytes = options.objects.reduce((sum, { header }) => sum + header.sizeBytes, 0);
  const searches = options.objects.length > 1 && totalBytes <= SEARCHED_BYTES_MAX;
  let keptBytes = 0;
  for (const { ordinal, needed, optional } of inSearchOrder(options.objects, selection)) {
    if (optional === true && (!thin || knownPrevious(selection, ordinal) < 0)) continue;
    if (keptBytes > ENTRIES_BYTES_MAX && !needed) {
      left.push(ordinal);
      continue;
    }
    const read = space.read(ordinal);
    const object = isPromise(read) ? await read : read;
    const { data } = object;
    if (budget.spend(2 + data.length / 8192)) await budget.pause();
    const type = entryTypeOf(object.type);
    const target = candidateOf(ordinal, type, data);
    let base = -1;
    let delta: Buffer | undefined;
    const isCandidate = data.length >= DELTA_BYTES_MIN && data.length <= DELTA_BYTES_MAX;
    if (isCandidate && thin) {
      const previous = knownPrevious(selection, ordinal);
      if (previous >= 0) {
        const previousRead = space.read(previous);
        const source = isPromise(previousRead) ? await previousRead : previousRead;
        if (source.type === object.type && source.data.length <= DELTA_BYTES_MAX) {
          const candidate = candidateOf(previous, type, source.data);
          delta = tryDelta(candidate, target, data.length / 2 - idBytes, idBytes);
          if (delta !== undefined) base = previous;
        }
      }
    }
    if (delta === undefined && optional === true) continue;
    if (delta === undefined && isCandidate && searches && (type === 2 || type === 3)) {
      const best = window.findBest(target, idBytes);
      if (budget.spend((best.tried * data.length) / 4096)) await budget.pause();
      if (best.delta !== undefined) {
        delta = best.delta;
        base = (best.base as Candidate).ordinal;
        target.depth = (best.base as Candidate).depth + 1;
      }
    }
    const stored = delta ?? data;
    const deflated = deflateSmall(stored);
    entries.push({ ordinal, type, sizeBytes: stored.length, base, deflated });
    keptBytes += deflated.length;
    if (isCandidate && searches) window.add(target);
  }
  return { entries, left };
}

/** Type, then name, then size, the largest first; ones that must be there before all others. */
function inSearchOrder(
  objects: readonly ObjectToEncode[],
  selection: ObjectSelection,
): readonly ObjectToEncode[] {
  const names = selection.nameHashes;
  return [...objects].sort(
    (a, b) =>
      Number(b.needed) - Number(a.needed) ||
      entryTypeOf(a.header.type) - entryTypeOf(b.header.type) ||
      (names.get(a.ordinal) ?? 0) - (names.get(b.ordinal) ?? 0) ||
      b.header.sizeBytes - a.header.sizeBytes,
  );
}

class Window {
  #candidates: Candidate[] = [];
  #bytes = 0;

  add(candidate: Candidate): void {
    this.#candidates.push(candidate);
    this.#bytes += candidate.data.length;
    while (this.#candidates.length > WINDOW_OBJECTS || this.#bytes > WINDOW_BYTES_MAX) {
      this.#bytes -= this.#candidates.shift()?.data.length ?? 0;
    }
  }

  /** The smallest delta, newest candidates first. A deep base must pay more. */
  findBest(
    target: Candidate,
    idBytes: number,
  ): { readonly delta: Buffer | undefined; readonly base: Candidate | undefined; readonly tried: number } {
    const { type, data } = target;
    let delta: Buffer | undefined;
    let base: Candidate | undefined;
    let tried = 0;
    for (let i = this.#candidates.length - 1; i >= 0; i--) {
      const candidate = this.#candidates[i] as Candidate;
      if (candidate.type !== type || candidate.depth >= DEPTH_MAX) continue;
      const size = candidate.data.length;
      if (size < data.length / 32 || data.length < size / 32) continue;
      const limit = delta?.length ?? data.length / 2 - idBytes;
      const maxBytes = (limit * (DEPTH_MAX - candidate.depth)) / (DEPTH_MAX + 1);
      // What the target has more than the base must be put in: the delta is at least that long.
      if (data.length - size >= maxBytes) continue;
      tried++;
      const made = tryDelta(candidate, target, maxBytes, idBytes);
      if (made === undefined) continue;
      delta = made;
      base = candidate;
    }
    return { delta, base, tried };
  }
}

function tryDelta(base: Candidate, target: Candidate, limit: number, idBytes: number): Buffer | undefined {
  const maxBytes = Math.floor(limit);
  if (maxBytes <= 0) return undefined;
  if (base.tree !== undefined && target.tree !== undefined) {
    return encodeTreeDelta(base.tree, target.tree, idBytes, maxBytes);
  }
  base.index ??= createDeltaIndex(base.data) ?? null;
  return base.index === null ? undefined : encodeDelta(base.index, target.data, maxBytes);
}

/** What stood in the object's place at the other side, however many steps ago; −1: nothing. */
function knownPrevious(selection: ObjectSelection, ordinal: number): number {
  let at = ordinal;
  for (let step = 0; step < PREVIOUS_STEPS_MAX; step++) {
    const before = selection.previous.get(at);
    if (before === undefined) return -1;
    if (selection.uninteresting.has(before)) return before;
    at = before;
  }
  return -1;
}
