/**
 * Entries written anew: objects that stand in no pack, and those whose stored delta has a base that is neither sent
 * nor known to the other side. Each becomes a delta where that pays, else the whole object.
 */
import { isPromise } from "../base/maybe-promise.js";
import { hashBytes } from "../object/object-format.js";
import type { GitObject } from "../storage/contracts/object-reader.js";
import { entryTypeOf } from "../pack/entry-header.js";
import { createDeltaIndex, encodeDelta } from "../pack/delta-encode.js";
import { deflateSmall } from "../pack/deflate.js";
import { encodeTreeDelta } from "./fetch/tree-delta.js";
import type { ObjectSelection } from "./object-count.js";
import type { WorkBudget } from "./fetch/work-budget.js";

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
  readonly ordinals: readonly number[];
  /** Deltas may stand on what the other side has. */
  readonly thin: boolean;
  readonly budget: WorkBudget;
}

/** Objects from this size on are never made deltas. */
const DELTA_BYTES_MAX = 8 * 1024 * 1024;
/** Objects below it are not worth a delta. */
const DELTA_BYTES_MIN = 64;
/** Steps back through what stood in an object's place. */
const PREVIOUS_STEPS_MAX = 64;

/** One entry for each ordinal, in the order given. Bases are ones that the other side has, or earlier entries. */
export async function encodeEntries(options: EncodeOptions): Promise<NewEntry[]> {
  const entries: NewEntry[] = [];
  for (const ordinal of options.ordinals) entries.push(await encodeOne(options, ordinal));
  return entries;
}

async function encodeOne(options: EncodeOptions, ordinal: number): Promise<NewEntry> {
  const { selection, budget } = options;
  const read = selection.space.read(ordinal);
  const object = isPromise(read) ? await read : read;
  if (budget.spend(2 + object.data.length / 2048)) await budget.pause();
  const type = entryTypeOf(object.type);
  const base = options.thin ? knownPrevious(selection, ordinal) : -1;
  if (base >= 0) {
    const delta = await tryDelta(selection, base, object);
    if (delta !== undefined) {
      return { ordinal, type, sizeBytes: delta.length, base, deflated: deflateSmall(delta) };
    }
  }
  return { ordinal, type, sizeBytes: object.data.length, base: -1, deflated: deflateSmall(object.data) };
}

async function tryDelta(selection: ObjectSelection, base: number, object: GitObject): Promise<Buffer | undefined> {
  const { data } = object;
  if (data.length < DELTA_BYTES_MIN || data.length > DELTA_BYTES_MAX) return undefined;
  const read = selection.space.read(base);
  const source = isPromise(read) ? await read : read;
  if (source.type !== object.type || source.data.length > DELTA_BYTES_MAX || source.data.length === 0) return undefined;
  const maxBytes = Math.floor(data.length / 2) - 20;
  if (object.type === "tree") {
    return encodeTreeDelta(source.data, data, hashBytes(selection.space.objectFormat), maxBytes);
  }
  const index = createDeltaIndex(source.data);
  return index === undefined ? undefined : encodeDelta(index, data, maxBytes);
}

/** What stood in the object's place at the other side, however many steps ago. */
export function knownPrevious(selection: ObjectSelection, ordinal: number): number {
  let at = ordinal;
  for (let step = 0; step < PREVIOUS_STEPS_MAX; step++) {
    const before = selection.previous.get(at);
    if (before === undefined) return -1;
    if (selection.uninteresting.has(before)) return before;
    at = before;
  }
  return -1;
}
