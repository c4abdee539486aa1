/**
 * Resolves the deltas of one family after the other: the second pass over a large pack, for a worker thread. Depth
 * first along an explicit stack, never by recursion. See `delta-forest.ts` for the order of children.
 *
 * Memory: the bases on the stack up to `baseBytesMax` (older ones are dropped and made again when they are needed),
 * the object in work, and the spool's blocks.
 */
import { GitwharfError } from "../../base/errors.js";
import type { Limits } from "../../base/limits.js";
import { hashBytes } from "../../object/object-format.js";
import { applyDelta } from "../../pack/delta.js";
import { entryTypeOf } from "../../pack/entry-header.js";
import { inflateAt } from "../../pack/inflate.js";
import type { GitObject } from "../../storage/contracts/object-reader.js";
import { type DeltaForest, findGroup } from "./delta-forest.js";
import { EXTERNAL, type EntryTable } from "./entry-table.js";
import { limitExceeded } from "./limit-exceeded.js";
import type { Kind } from "./link-set.js";
import type { KnownTree, ObjectExaminer } from "./object-examiner.js";
import { placed } from "./scan-entry.js";
import type { SpoolCache } from "./spool.js";
import { outlineTree } from "./tree-outline.js";

/** Cells of the counters that all workers of one ingest share. */
export const NEXT_ROOT = 0;
export const RESOLVED = 1;
export const CANCELLED = 2;
export const COUNTERS = 3;

export interface ResolverContext {
  readonly table: EntryTable;
  readonly forest: DeltaForest;
  readonly spool: SpoolCache;
  readonly examiner: ObjectExaminer;
  readonly limits: Limits;
  readonly counters: Int32Array;
  readonly baseBytesMax: number;
  /** The k-th external base. @throws pack/missing-base when it has vanished meanwhile */
  readonly readExternal: (number: number) => GitObject;
}

interface Frame {
  readonly node: number;
  readonly kind: Kind;
  readonly depth: number;
  data: Buffer | undefined;
  /** Of a tree that was examined, once a child has needed it. Goes with the data. */
  known: KnownTree | undefined;
  child: number;
  readonly childEnd: number;
  member: number;
  readonly memberEnd: number;
}

const TREE = 2;

export class FamilyResolver {
  readonly #context: ResolverContext;
  readonly #hashBytes: number;
  readonly #stack: Frame[] = [];
  #baseBytes = 0;

  constructor(context: ResolverContext) {
    this.#context = context;
    this.#hashBytes = hashBytes(context.table.objectFormat);
  }

  /**
   * @param root a node of `forest.roots`
   * @throws pack/bad-delta, pack/collision, object/malformed, base/limit-exceeded, base/aborted
   */
  resolve(root: number): void {
    const { forest, counters } = this.#context;
    const whole = this.#readWhole(root);
    this.#push(root, whole.kind, 0, whole.data, -1);
    for (let frame = this.#stack.at(-1); frame !== undefined; frame = this.#stack.at(-1)) {
      const entry =
        frame.member < frame.memberEnd
          ? (forest.groupMembers[frame.member++] as number)
          : (forest.children[frame.child++] as number);
      const base = frame.data ?? this.#makeAgain(frame);
      // The last one to need its base: the base gives way before its child's own children come.
      if (frame.child === frame.childEnd && frame.member === frame.memberEnd) this.#pop();
      this.#resolveDelta(entry, frame, base);
      if ((Atomics.add(counters, RESOLVED, 1) & 255) === 0 && Atomics.load(counters, CANCELLED) !== 0) {
        throw new GitwharfError("base/aborted", "the pack is no longer wanted");
      }
    }
  }

  #resolveDelta(entry: number, parent: Frame, base: Buffer): void {
    const { table, forest, limits, examiner } = this.#context;
    const { kind } = parent;
    const depth = parent.depth + 1;
    if (depth > limits.deltaDepthMax) {
      const what = `the object at offset ${table.offsets[entry]} of the pack`;
      throw limitExceeded("deltaDepthMax", what, limits.deltaDepthMax, "deltas in a chain");
    }
    const delta = this.#inflate(entry);
    const data = this.#apply(entry, base, delta);
    let known: KnownTree | undefined;
    // An external base was not examined: what its children take over from it is new.
    if (kind === TREE && parent.node < forest.entryCount) {
      parent.known ??= {
        starts: outlineTree(base, table.objectFormat),
        clean: table.clean[parent.node] === 1,
      };
      known = examiner.examineDerived(parent.known, delta, data, table.oids, entry);
      if (known.clean) table.clean[entry] = 1;
    } else if (examiner.examine(kind, data, table.oids, entry)) {
      table.clean[entry] = 1;
    }
    table.kinds[entry] = kind;
    this.#push(entry, kind, depth, data, this.#takeGroup(entry), known);
  }

  #apply(entry: number, base: Buffer, delta: Buffer): Buffer {
    const { table } = this.#context;
    try {
      return applyDelta(base, delta);
    } catch (error) {
      throw placed(error, table.offsets[entry] as number);
    }
  }

  #inflate(entry: number): Buffer {
    const { table, spool } = this.#context;
    const from = (table.offsets[entry] as number) + (table.headLengths[entry] as number);
    const length = (table.offsets[entry + 1] as number) - from;
    const size = table.sizes[entry] as number;
    return spool.view(from, length, (bytes, at) => inflateAt(bytes, at, size).data);
  }

  #readWhole(node: number): { readonly kind: Kind; readonly data: Buffer } {
    const { table, forest, readExternal } = this.#context;
    if (node < forest.entryCount) return { kind: table.types[node] as Kind, data: this.#inflate(node) };
    const { type, data } = readExternal(node - forest.entryCount);
    return { kind: entryTypeOf(type), data };
  }

  /** Nothing is pushed for a node without children. @param group -1: none */
  #push(node: number, kind: Kind, depth: number, data: Buffer, group: number, known?: KnownTree): void {
    const { forest, baseBytesMax } = this.#context;
    const child = forest.childStart[node] as number;
    const childEnd = forest.childStart[node + 1] as number;
    const member = group < 0 ? 0 : (forest.groupStart[group] as number);
    const memberEnd = group < 0 ? 0 : (forest.groupStart[group + 1] as number);
    if (child === childEnd && member === memberEnd) return;
    this.#baseBytes += data.length;
    for (const frame of this.#stack) {
      if (this.#baseBytes <= baseBytesMax) break;
      this.#baseBytes -= frame.data?.length ?? 0;
      frame.data = undefined;
      frame.known = undefined;
    }
    // It is borrowed from the examiner.
    const own = known === undefined ? undefined : { ...known, starts: known.starts.slice() };
    this.#stack.push({ node, kind, depth, data, known: own, child, childEnd, member, memberEnd });
  }

  #pop(): void {
    this.#baseBytes -= this.#stack.pop()?.data?.length ?? 0;
  }

  /** The content of a base that was dropped, from its nearest ancestor that is still there. */
  #makeAgain(frame: Frame): Buffer {
    const { table, forest } = this.#context;
    const deltas: number[] = [];
    let node = frame.node;
    let data: Buffer | undefined;
    for (;;) {
      data = this.#stack.find((held) => held.node === node)?.data;
      if (data !== undefined) break;
      const base = node < forest.entryCount ? (table.bases[node] as number) : -1;
      if (base < 0) {
        data = this.#readWhole(node).data;
        break;
      }
      deltas.push(node);
      node = base >= EXTERNAL ? base - EXTERNAL + forest.entryCount : base;
    }
    for (let i = deltas.length - 1; i >= 0; i--) {
      const entry = deltas[i] as number;
      data = this.#apply(entry, data, this.#inflate(entry));
    }
    frame.data = data;
    this.#baseBytes += data.length;
    return data;
  }

  /** The group that waits for the entry's id, if there is one and nobody has taken it. */
  #takeGroup(entry: number): number {
    const { forest, table } = this.#context;
    if (forest.groupTaken.length === 0) return -1;
    const group = findGroup(forest, table.oids, entry * this.#hashBytes, this.#hashBytes);
    if (group < 0 || Atomics.compareExchange(forest.groupTaken, group, 0, 1) !== 0) return -1;
    for (let m = forest.groupStart[group] as number; m < (forest.groupStart[group + 1] as number); m++) {
      table.bases[forest.groupMembers[m] as number] = entry;
    }
    return group;
  }
}
