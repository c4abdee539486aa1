/**
 * All commits that some tips lead to, as columns, or those of them that a commit-graph does not have. Each commit is read: a
 * commit-graph that is there is not asked about it, so that what is written does not repeat what is wrong in it.
 */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { type CommitLinks, parseCommitLinks } from "../../object/commit.js";
import { hashBytes } from "../../object/object-format.js";
import { isObjectId, type ObjectId, objectIdAt } from "../../object/object-id.js";
import type { CommitColumns } from "../../pack/commit-columns.js";
import type { CommitGraph } from "../../pack/commit-graph.js";
import { sortOids } from "../../pack/pack-index-writer.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { WorkBudget } from "../fetch/work-budget.js";
import { peelTag } from "../peel.js";
import { IdRows } from "./id-rows.js";

export interface GatheredCommits {
  readonly commits: CommitColumns;
  /** Rows of the commits that the tips are or stand for, in the order of the tips, each once. */
  readonly tips: readonly number[];
}

/**
 * @param tips those that are absent, or are no commit in the end, are passed over
 * @param base commits that are in it are not gathered, nor what is behind them. @default none
 * @throws object/corrupt when a commit is missing or unreadable, storage/io
 */
export async function gatherCommits(
  objects: ObjectReader,
  tips: readonly ObjectId[],
  budget: WorkBudget,
  base?: CommitGraph,
): Promise<GatheredCommits> {
  const gathering = new Gathering(objects, budget, base);
  const tipRows = new Set<number>();
  for (const tip of tips) {
    if (gathering.isBelow(tip)) continue;
    const oid = await gathering.peel(tip);
    if (oid === undefined || gathering.isBelow(oid)) continue;
    tipRows.add(gathering.meet(oid));
    await gathering.readAll();
  }
  return gathering.finish([...tipRows]);
}

/** Added to the positions of parents that are in the base. */
const BELOW = 0x80000000;

class Gathering {
  readonly #objects: ObjectReader;
  readonly #budget: WorkBudget;
  readonly #rows: IdRows;
  readonly #hashBytes: number;
  readonly #raw: Buffer;
  readonly #base: CommitGraph | undefined;
  #trees = Buffer.alloc(0);
  #dates = new Float64Array(1 << 10);
  #starts = new Uint32Array(1 << 10);
  #ends = new Uint32Array(1 << 10);
  #parents = new Uint32Array(1 << 10);
  #parentCount = 0;
  /** Rows below it have been read. */
  #read = 0;

  constructor(objects: ObjectReader, budget: WorkBudget, base: CommitGraph | undefined) {
    this.#base = base;
    this.#objects = objects;
    this.#budget = budget;
    this.#hashBytes = hashBytes(objects.objectFormat);
    this.#rows = new IdRows(this.#hashBytes);
    this.#raw = Buffer.alloc(this.#hashBytes);
  }

  /** The commit that a tip is or stands for. A tag that cannot be read stands for none. */
  async peel(tip: ObjectId): Promise<ObjectId | undefined> {
    if (this.#budget.spend(1)) await this.#budget.pause();
    try {
      const end = await peelTag(this.#objects, tip);
      return end?.type === "commit" ? end.oid : undefined;
    } catch (error) {
      if (!isGitwharfError(error, "object/malformed")) throw error;
      return undefined;
    }
  }

  isBelow(oid: ObjectId): boolean {
    return (this.#base?.find(oid) ?? -1) >= 0;
  }

  meet(oid: ObjectId): number {
    this.#raw.write(oid, "hex");
    return this.#rows.rowOf(this.#raw);
  }

  async readAll(): Promise<void> {
    for (; this.#read < this.#rows.count; this.#read++) {
      if (this.#budget.spend(1)) await this.#budget.pause();
      const oid = objectIdAt(this.#rows.oids, this.#read * this.#hashBytes, this.#objects.objectFormat);
      const header = this.#objects.readHeader(oid);
      const { type } = (isPromise(header) ? await header : header) ?? { type: undefined };
      if (type === undefined) throw missing(oid);
      if (type !== "commit")
        throw new GitwharfError(
          "object/corrupt",
          `object ${oid} is a ${type}, not a commit; run 'gitwharf fsck'`,
        );
      const read = this.#objects.read(oid);
      const commit = isPromise(read) ? await read : read;
      if (commit === undefined) throw missing(oid);
      this.#note(this.#read, commit.data);
    }
  }

  finish(tips: readonly number[]): GatheredCommits {
    const h = this.#hashBytes;
    const { oids, count } = this.#rows;
    const order = sortOids(oids, count, h);
    const places = new Uint32Array(count);
    for (let place = 0; place < count; place++) places[order[place] as number] = place;
    const commits = {
      objectFormat: this.#objects.objectFormat,
      count,
      oids: new Uint8Array(count * h),
      trees: new Uint8Array(count * h),
      dates: new Float64Array(count),
      parentStarts: new Uint32Array(count + 1),
      parents: new Uint32Array(this.#parentCount),
      below: this.#base?.commitCount ?? 0,
    };
    const numberOf = (parent: number): number =>
      parent >= BELOW ? parent - BELOW : commits.below + (places[parent] as number);
    let at = 0;
    for (let place = 0; place < count; place++) {
      const row = order[place] as number;
      commits.oids.set(oids.subarray(row * h, (row + 1) * h), place * h);
      commits.trees.set(this.#trees.subarray(row * h, (row + 1) * h), place * h);
      commits.dates[place] = this.#dates[row] as number;
      for (let i = this.#starts[row] as number; i < (this.#ends[row] as number); i++)
        commits.parents[at++] = numberOf(this.#parents[i] as number);
      commits.parentStarts[place + 1] = at;
    }
    return { commits, tips: tips.map((row) => places[row] as number) };
  }

  #note(row: number, data: Buffer): void {
    const { tree, parents, committerSeconds } = this.#parse(row, data);
    if (row === this.#dates.length) {
      this.#dates = larger(this.#dates, new Float64Array(row * 2));
      this.#starts = larger(this.#starts, new Uint32Array(row * 2));
      this.#ends = larger(this.#ends, new Uint32Array(row * 2));
    }
    if ((row + 1) * this.#hashBytes > this.#trees.length) {
      const trees = Buffer.alloc(this.#dates.length * this.#hashBytes);
      this.#trees.copy(trees);
      this.#trees = trees;
    }
    this.#trees.write(tree, row * this.#hashBytes, "hex");
    this.#dates[row] = committerSeconds;
    this.#starts[row] = this.#parentCount;
    for (const parent of parents) {
      if (this.#parentCount === this.#parents.length)
        this.#parents = larger(this.#parents, new Uint32Array(this.#parentCount * 2));
      const position = this.#base?.find(parent) ?? -1;
      this.#parents[this.#parentCount++] = position >= 0 ? BELOW + position : this.meet(parent);
    }
    this.#ends[row] = this.#parentCount;
  }

  #parse(row: number, data: Buffer): CommitLinks {
    const { objectFormat } = this.#objects;
    try {
      const links = parseCommitLinks(data, objectFormat);
      if ([links.tree, ...links.parents].every((oid) => isObjectId(oid, objectFormat))) return links;
    } catch (error) {
      if (!isGitwharfError(error, "object/malformed")) throw error;
    }
    const oid = objectIdAt(this.#rows.oids, row * this.#hashBytes, objectFormat);
    throw new GitwharfError("object/corrupt", `commit ${oid} is malformed; run 'gitwharf fsck'`);
  }
}

function larger<T extends Float64Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

function missing(oid: ObjectId): GitwharfError {
  const message = `object ${oid} is missing from the repository; run 'gitwharf fsck'`;
  return new GitwharfError("object/corrupt", message, { details: { absent: true } });
}
