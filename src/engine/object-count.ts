/**
 * Which objects a fetch must carry: those reachable from the wants and not from the haves, inside shallow
 * boundaries and a filter. What is chosen never lacks an object; it may hold a few that the other side has (as
 * git's own count does): whole histories are not compared, only the trees along the edge.
 *
 * For each commit, oldest first, its tree is laid beside its parents' trees, and only what differs is looked into:
 * the cost is that of the changes, not of the trees. Entries of parents that the other side has, and that changed,
 * become *uninteresting*: a blob that moved or came back is not sent again, and they are the bases of thin deltas.
 */
import { GitwharfError } from "../base/errors.js";
import { isPromise } from "../base/maybe-promise.js";
import { hashBytes } from "../object/object-format.js";
import type { ObjectId } from "../object/object-id.js";
import { entryTypeOf } from "../pack/entry-header.js";
import { closeOverBitmap, openBitmap, typesOfBitmap } from "./fetch/bitmap-closure.js";
import { type Closure, collectClosure, hasLargePack } from "./fetch/closure.js";
import { type CommitReader, createCommitReader } from "./fetch/commit-reader.js";
import { type ObjectGate, OPEN_GATE } from "./fetch/filter-evaluation.js";
import { type GrownSet, growSeed } from "./fetch/grow-seed.js";
import type { ObjectSpace } from "./fetch/object-space.js";
import { OrdinalSet } from "./fetch/ordinal-set.js";
import type { ParsedTree } from "./fetch/parsed-tree.js";
import { BLOB, TAG, TREE } from "./fetch/pack-survey.js";
import { type ReachableSet, toReachableSet } from "./fetch/reachable-set.js";
import { compareManyTrees, compareTwoTrees } from "./fetch/tree-comparison.js";
import { TreeCursor } from "./fetch/tree-cursor.js";
import type { WorkBudget } from "./fetch/work-budget.js";
import { peelTag } from "./peel.js";
import { walkRange, type WalkedCommit } from "./revision-walk.js";

export interface CountRequest {
  readonly space: ObjectSpace;
  readonly wants: readonly ObjectId[];
  readonly haves: readonly ObjectId[];
  /** Commits whose parents are not looked at: the repository's, the client's and the new boundary. */
  readonly cutAt: ReadonlySet<ObjectId>;
  readonly gate: ObjectGate;
  /** Tag objects to add when what they name is chosen (`include-tag`), with their peeled targets. */
  readonly tagsToInclude: readonly TagToInclude[];
  /** Sets made before, from which a clone's can be made at little cost. */
  readonly seeds?: readonly ReachableSet[] | undefined;
  readonly budget: WorkBudget;
}

export interface TagToInclude {
  readonly oid: ObjectId;
  readonly peeled: ObjectId;
}

export interface ObjectSelection {
  readonly space: ObjectSpace;
  /** Ordinals to send. */
  readonly chosen: OrdinalSet;
  /** Ordinals that the other side has for certain: what thin deltas may stand on. Disjoint from `chosen`. */
  readonly uninteresting: OrdinalSet;
  /** A chosen tree or blob → what stood in its place before. */
  readonly previous: ReadonlyMap<number, number>;
  /** git's hash of the name, of trees and blobs that stand in no pack: equal for equal last characters. */
  readonly nameHashes: ReadonlyMap<number, number>;
  /** Everything the wants lead to, when that is what was chosen and it was worth the trouble. */
  readonly closure?: ReachableSet | undefined;
}

/** Remembered pairs of `previous`, 16 bytes each. */
const PREVIOUS_MAX = 200_000;
/** Trees of the other side that a commit without known parents is laid beside. */
const SUBSTITUTE_PARENTS_MAX = 4;
/** Trees below trees, where a filter by paths makes the walk keep the path of each; an honest one has a few dozen names. */
const SPARSE_DEPTH_MAX = 4096;

interface OldTree {
  readonly ordinal: number;
  /**
   * The other side has all of it. Else it is of a commit that is sent and was looked into before: what of it is not
   * chosen, the other side has (unless a filter left it out).
   */
  readonly uninteresting: boolean;
}

interface OpenTree {
  readonly ordinal: number;
  readonly olds: readonly OldTree[];
  readonly depth: number;
  /** Only kept for path-dependent filters. */
  readonly path: string;
  readonly defaults: readonly boolean[];
}

/**
 * @throws object/corrupt when an object on the way is missing or malformed
 * @throws protocol/not-our-ref when a want is absent
 */
export async function countObjects(request: CountRequest): Promise<ObjectSelection> {
  const { space, gate, budget } = request;
  const counter = new Counter(space, gate, budget);
  const reader = createCommitReader(space.objects, request.cutAt.size > 0 ? request.cutAt : undefined);
  const exclude: ObjectId[] = [];
  for (const oid of request.haves) {
    if (budget.spend(0.2)) await budget.pause();
    const read = reader.read(oid);
    if ((isPromise(read) ? await read : read) !== undefined) exclude.push(oid);
    else await counter.addHave(oid, exclude);
  }
  const include: ObjectId[] = [];
  const given = new Set<ObjectId>();
  for (const oid of request.wants) {
    if (budget.spend(0.2)) await budget.pause();
    const read = reader.read(oid);
    if ((isPromise(read) ? await read : read) !== undefined) include.push(oid);
    else await counter.addWant(oid, include);
  }
  const whole =
    include.length > 0 && isWhole(request) ? await countWhole(request, counter, reader, include) : undefined;
  if (whole === undefined) {
    for (const oid of include) given.add(oid);
    const range = await walkRange(reader, { include, exclude, budget });
    const isLong = exclude.length > 0 && range.commits.length >= BITMAP_COMMITS_MIN;
    if (!isLong || !(await countByBitmaps(request, counter, reader, { include, exclude }))) {
      for (const commit of range.commits) {
        if (gate.commits || given.has(commit.oid)) counter.chosen.add(space.ordinalOf(commit.oid));
      }
      if (gate.anyTrees) {
        await counter.addTrees(range.commits, await substituteParents(range.boundary, exclude, reader));
      }
    }
  }
  await counter.addGivenTrees();
  // Before tags are added that the wants do not lead to.
  const largest = space.packs[0]?.index.objectCount ?? 0;
  const complete = gate === OPEN_GATE && whole !== undefined && counter.chosen.size > largest / 4;
  const closure = complete ? toReachableSet(space, counter.chosen, whole.heads) : undefined;
  for (const tag of chosenTags(request.tagsToInclude, counter.chosen, space)) {
    const peeled = peelTag(space.objects, tag.oid);
    const chain = isPromise(peeled) ? await peeled : peeled;
    for (const oid of chain?.tags ?? []) counter.chosen.add(space.ordinalOf(oid));
  }
  return { ...counter.finish(), closure };
}

/** The tags of which the target is chosen. */
function chosenTags(
  tags: readonly TagToInclude[],
  chosen: OrdinalSet,
  space: ObjectSpace,
): readonly TagToInclude[] {
  if (chosen.size >= tags.length) {
    return tags.filter(({ peeled }) => {
      const target = space.find(peeled);
      return target >= 0 && chosen.has(target);
    });
  }
  const oids = new Set<ObjectId>();
  chosen.forEach((ordinal) => oids.add(space.oidOf(ordinal)));
  return tags.filter(({ peeled }) => oids.has(peeled));
}

/** A clone, whole but for a filter by type or size: what is sent depends on the objects alone, not on their paths. */
function isWhole({ space, haves, cutAt, gate }: CountRequest): boolean {
  const byPath = gate.sparse.length > 0 || gate.depthMax !== Number.POSITIVE_INFINITY;
  return haves.length === 0 && cutAt.size === 0 && gate.anyTrees && !byPath && mayBeLarge(space);
}

/** Has a large pack, or some that are large together. */
function mayBeLarge(space: ObjectSpace): boolean {
  return hasLargePack(space) || (space.objects.openMultiPackBitmap !== undefined && space.packs.length > 1);
}

/** Surveying a pack costs about this many objects' share of looking at one commit's changes. */
const OBJECTS_A_COMMIT = 24;

/** undefined when so little of the repository is wanted that walking from commit to commit is cheaper. */
async function countWhole(
  request: CountRequest,
  counter: Counter,
  reader: CommitReader,
  include: readonly ObjectId[],
): Promise<{ readonly heads: readonly ObjectId[] } | undefined> {
  const { space, gate, budget, wants } = request;
  if (gate === OPEN_GATE) {
    for (const seed of request.seeds ?? []) {
      const grown = await growSeed({ space, seed, wants, commits: include, reader, budget });
      if (grown === undefined) continue;
      await counter.grow(grown);
      return { heads: wants };
    }
  }
  const asked = new Set(include.map((oid) => space.ordinalOf(oid)));
  const bitmap = await openBitmap(space, budget);
  if (bitmap !== undefined) {
    const grown = await closeOverBitmap({ space, bitmap, commits: include, reader, budget });
    if (grown !== undefined) {
      const all = gate === OPEN_GATE ? counter : new Counter(space, OPEN_GATE, budget);
      await all.grow(grown);
      if (all !== counter) {
        const closure = { reached: all.chosen, heads: wants, typeOf: typesOfBitmap(bitmap) };
        await counter.chooseClosure(closure, asked);
      }
      return { heads: wants };
    }
  }
  const largest = space.packs[0]?.index.objectCount ?? 0;
  if (!hasLargePack(space)) return undefined;
  if (!(await leadToMany(reader, include, largest / OBJECTS_A_COMMIT, budget))) return undefined;
  const closure = await collectClosure({ space, roots: wants, cutAt: request.cutAt, budget });
  await counter.chooseClosure(closure, asked);
  return { heads: closure.heads };
}

/** Commits between two histories from which on bitmaps of both are laid over each other instead. */
const BITMAP_COMMITS_MIN = 500;

/** All that the wants lead to, less all that the haves lead to. False when there are no bitmaps to help. */
async function countByBitmaps(
  request: CountRequest,
  counter: Counter,
  reader: CommitReader,
  sides: { readonly include: readonly ObjectId[]; readonly exclude: readonly ObjectId[] },
): Promise<boolean> {
  const { space, gate, budget, cutAt } = request;
  if (gate !== OPEN_GATE || cutAt.size > 0 || !mayBeLarge(space)) return false;
  const bitmap = await openBitmap(space, budget);
  if (bitmap === undefined) return false;
  const theirs = await closeOverBitmap({ space, bitmap, commits: sides.exclude, reader, budget });
  const wanted = await closeOverBitmap({ space, bitmap, commits: sides.include, reader, budget });
  if (theirs === undefined || wanted === undefined) return false;
  const known = new Counter(space, gate, budget);
  await known.grow(theirs);
  await counter.grow(wanted);
  counter.leaveOut(known.chosen);
  return true;
}

async function leadToMany(
  reader: CommitReader,
  oids: readonly ObjectId[],
  many: number,
  budget: WorkBudget,
): Promise<boolean> {
  const seen = new Set(oids);
  const stack = [...seen];
  for (let oid = stack.pop(); oid !== undefined && seen.size <= many; oid = stack.pop()) {
    if (budget.spend(1)) await budget.pause();
    const read = reader.read(oid);
    const links = isPromise(read) ? await read : read;
    for (const parent of links?.parents ?? []) {
      if (seen.has(parent)) continue;
      seen.add(parent);
      stack.push(parent);
    }
  }
  return seen.size > many;
}

/** What a commit whose parents are cut off or absent is laid beside: the newest of what the other side has. */
async function substituteParents(
  boundary: readonly WalkedCommit[],
  haves: readonly ObjectId[],
  reader: CommitReader,
): Promise<readonly ObjectId[]> {
  const candidates = boundary.map(({ tree, dateSeconds }) => ({ tree, dateSeconds }));
  for (const oid of haves.slice(0, 256)) {
    const read = reader.read(oid);
    const links = isPromise(read) ? await read : read;
    if (links !== undefined) candidates.push(links);
  }
  candidates.sort((a, b) => b.dateSeconds - a.dateSeconds);
  return [...new Set(candidates.map((c) => c.tree))].slice(0, SUBSTITUTE_PARENTS_MAX);
}

/** Every commit behind all of its parents in the list, whatever their dates say. */
function parentsFirst(commits: readonly WalkedCommit[]): readonly WalkedCommit[] {
  const left = new Set(commits);
  const sorted: WalkedCommit[] = [];
  const stack: WalkedCommit[] = [];
  for (let i = commits.length - 1; i >= 0; i--) {
    stack.push(commits[i] as WalkedCommit);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const before = left.has(top) ? top.parents.find((parent) => left.has(parent)) : undefined;
      if (before !== undefined) {
        stack.push(before);
        continue;
      }
      stack.pop();
      if (left.delete(top)) sorted.push(top);
    }
  }
  return sorted;
}

class Counter {
  readonly space: ObjectSpace;
  readonly chosen: OrdinalSet;
  readonly #gate: ObjectGate;
  readonly #budget: WorkBudget;
  readonly #uninteresting: OrdinalSet;
  readonly #previous = new Map<number, number>();
  readonly #nameHashes = new Map<number, number>();
  readonly #hashBytes: number;
  /** Chosen whatever the filter or the other side says. */
  readonly #given = new OrdinalSet(0);
  readonly #givenTrees: number[] = [];
  readonly #opened: OrdinalSet;
  readonly #openedAtDepth = new Map<number, number>();
  readonly #openedAtPath = new Set<string>();
  /** Blobs whose size decides. */
  #unsized: number[] = [];
  readonly #queue: OpenTree[] = [];
  /** Trees without a counterpart: looked into last, when all that moved away is known. */
  readonly #fresh: OpenTree[] = [];

  constructor(space: ObjectSpace, gate: ObjectGate, budget: WorkBudget) {
    this.space = space;
    this.#gate = gate;
    this.#budget = budget;
    this.chosen = new OrdinalSet(space.packedCount);
    this.#uninteresting = new OrdinalSet(space.packedCount);
    this.#opened = new OrdinalSet(space.packedCount);
    this.#hashBytes = hashBytes(space.objectFormat);
  }

  /** A have that is no commit. */
  async addHave(oid: ObjectId, exclude: ObjectId[]): Promise<void> {
    const peeled = await peelTag(this.space.objects, oid);
    if (peeled === undefined) return;
    for (const tag of peeled.tags) this.#uninteresting.add(this.space.ordinalOf(tag));
    if (peeled.type === "commit") exclude.push(peeled.oid);
    else if (peeled.type === "blob") this.#uninteresting.add(this.space.ordinalOf(peeled.oid));
    else await this.#markTree(this.space.ordinalOf(peeled.oid));
  }

  /** A want that is no commit. */
  async addWant(oid: ObjectId, include: ObjectId[]): Promise<void> {
    const peeled = await peelTag(this.space.objects, oid);
    if (peeled === undefined) {
      throw new GitwharfError("protocol/not-our-ref", `not our ref ${oid}`);
    }
    for (const tag of peeled.tags) {
      const ordinal = this.space.ordinalOf(tag);
      if (!this.#uninteresting.has(ordinal)) this.#give(ordinal);
    }
    if (peeled.type === "commit") {
      include.push(peeled.oid);
      return;
    }
    const ordinal = this.space.ordinalOf(peeled.oid);
    this.#give(ordinal);
    if (peeled.type === "tree") this.#givenTrees.push(ordinal);
  }

  #give(ordinal: number): void {
    this.#given.add(ordinal);
    this.chosen.add(ordinal);
  }

  /** @param commits newest first */
  async addTrees(commits: readonly WalkedCommit[], substitutes: readonly ObjectId[]): Promise<void> {
    const { space } = this;
    const stand = substitutes.map((tree) => ({ ordinal: space.ordinalOf(tree), uninteresting: true }));
    const defaults = this.#gate.sparse.map((patterns) => patterns.match("", "", true) ?? false);
    for (const commit of parentsFirst(commits)) {
      const { parents } = commit;
      const olds: OldTree[] = parents.length === 0 ? stand : [];
      for (const parent of parents) {
        const { uninteresting } = parent;
        olds.push({ ordinal: space.ordinalOf(parent.tree), uninteresting });
      }
      this.#meetTree(space.ordinalOf(commit.tree), olds, 0, "", defaults);
      if (this.#queue.length > 0 || this.#fresh.length > 0) await this.#drain();
    }
  }

  /** Trees that were asked for by id: their own entries count as depth 0, as in git. */
  async addGivenTrees(): Promise<void> {
    const defaults = this.#gate.sparse.map((patterns) => patterns.match("", "", true) ?? false);
    for (const ordinal of this.#givenTrees) {
      this.#queue.push({ ordinal, olds: [], depth: -1, path: "", defaults });
      await this.#drain();
    }
  }

  /** Chooses a closed set and what some commits beyond it add to it. */
  async grow({ reached, commits }: GrownSet): Promise<void> {
    this.chosen.addWords(0, reached.words);
    this.#opened.addWords(0, reached.words);
    for (const commit of commits) this.chosen.add(this.space.ordinalOf(commit.oid));
    await this.addTrees(commits, []);
  }

  /** @param known everything that the other side has */
  leaveOut(known: OrdinalSet): void {
    this.#uninteresting.addWords(0, known.words);
    this.#dropUninteresting();
  }

  #dropUninteresting(): void {
    this.#uninteresting.forEach((ordinal) => {
      if (this.#given.has(ordinal)) this.#uninteresting.delete(ordinal);
      else this.chosen.delete(ordinal);
    });
  }

  /** @param commits those that were asked for */
  async chooseClosure(closure: Closure, commits: ReadonlySet<number>): Promise<void> {
    const { chosen } = this;
    const gate = this.#gate;
    if (gate === OPEN_GATE) {
      chosen.addWords(0, closure.reached.words);
      return;
    }
    const reached: number[] = [];
    closure.reached.forEach((ordinal) => reached.push(ordinal));
    for (const ordinal of reached) {
      if (this.#budget.spend(0.05)) await this.#budget.pause();
      let type = closure.typeOf(ordinal);
      if (type === 0 || (type === BLOB && gate.blobSizeMax !== Number.POSITIVE_INFINITY && gate.anyBlobs)) {
        const read = this.space.readHeader(ordinal);
        const header = isPromise(read) ? await read : read;
        type = entryTypeOf(header.type);
        if (type === BLOB && header.sizeBytes >= gate.blobSizeMax) continue;
      }
      const passes =
        type === BLOB
          ? gate.anyBlobs
          : type === TREE
            ? gate.showTrees
            : type === TAG
              ? gate.tags
              : gate.commits;
      if (passes || commits.has(ordinal)) chosen.add(ordinal);
    }
  }

  finish(): ObjectSelection {
    this.#dropUninteresting();
    return {
      space: this.space,
      chosen: this.chosen,
      uninteresting: this.#uninteresting,
      previous: this.#previous,
      nameHashes: this.#nameHashes,
    };
  }

  /** Everything below a tree that the other side has. */
  async #markTree(root: number): Promise<void> {
    const stack = [root];
    for (let ordinal = stack.pop(); ordinal !== undefined; ordinal = stack.pop()) {
      if (!this.#uninteresting.add(ordinal)) continue;
      const cursor = new TreeCursor((await this.#readTree(ordinal)).data, this.#hashBytes);
      while (cursor.next()) {
        if (cursor.isGitlink) continue;
        const child = this.space.ordinalOfBytes(cursor.data, cursor.oidAt);
        if (cursor.isTree) stack.push(child);
        else this.#uninteresting.add(child);
      }
    }
  }

  async #readTree(ordinal: number): Promise<ParsedTree> {
    if (this.#budget.spend(1)) await this.#budget.pause();
    return this.space.readTree(ordinal);
  }

  /** A tree of something that is sent: chooses it, and queues its contents unless they are known. */
  #meetTree(
    ordinal: number,
    olds: readonly OldTree[],
    depth: number,
    path: string,
    defaults: readonly boolean[],
  ): void {
    if (depth >= this.#gate.depthMax || !this.#gate.anyTrees) return;
    for (const old of olds) if (old.ordinal === ordinal) return;
    if (this.#uninteresting.has(ordinal)) return;
    if (this.#gate.showTrees && this.chosen.add(ordinal)) this.#remember(ordinal, olds[0]?.ordinal);
    if (!this.#open(ordinal, depth, path)) return;
    if (depth >= SPARSE_DEPTH_MAX && this.#gate.sparse.length > 0) {
      throw new GitwharfError(
        "protocol/bad-request",
        `trees are nested more than ${SPARSE_DEPTH_MAX} levels deep, too deep for a sparse filter`,
      );
    }
    (olds.length > 0 ? this.#queue : this.#fresh).push({ ordinal, olds, depth, path, defaults });
  }

  /** False when the contents were looked into before, with the same outcome. */
  #open(ordinal: number, depth: number, path: string): boolean {
    const gate = this.#gate;
    if (gate.depthMax !== Number.POSITIVE_INFINITY) {
      const before = this.#openedAtDepth.get(ordinal);
      if (before !== undefined && before <= depth && gate.sparse.length === 0) return false;
      if (before === undefined || depth < before) this.#openedAtDepth.set(ordinal, depth);
    }
    if (gate.sparse.length > 0) {
      const key = `${ordinal}:${path}`;
      if (this.#openedAtPath.has(key)) return false;
      this.#openedAtPath.add(key);
      return true;
    }
    return gate.depthMax !== Number.POSITIVE_INFINITY || this.#opened.add(ordinal);
  }

  #meetBlob(entry: TreeCursor, old: TreeCursor | undefined, parent: OpenTree): void {
    const gate = this.#gate;
    if (!gate.anyBlobs || parent.depth + 1 >= gate.depthMax) return;
    for (let i = 0; i < gate.sparse.length; i++) {
      const { name } = entry;
      const wanted = gate.sparse[i]?.match(parent.path + name, name, false) ?? parent.defaults[i];
      if (wanted !== true) return;
    }
    const ordinal = this.space.ordinalOfBytes(entry.data, entry.oidAt);
    if (this.#uninteresting.has(ordinal) || this.chosen.has(ordinal)) return;
    if (gate.blobSizeMax !== Number.POSITIVE_INFINITY) {
      this.#unsized.push(ordinal);
      return;
    }
    this.chosen.add(ordinal);
    this.#noteName(ordinal, entry);
    if (old !== undefined) this.#remember(ordinal, this.space.ordinalOfBytes(old.data, old.oidAt));
  }

  #noteName(ordinal: number, entry: TreeCursor): void {
    if (ordinal < this.space.packedCount || this.#nameHashes.size >= PREVIOUS_MAX) return;
    let hash = 0;
    for (let at = entry.nameStart; at < entry.nameEnd; at++) {
      hash = ((hash >>> 2) + ((entry.data[at] as number) << 24)) >>> 0;
    }
    this.#nameHashes.set(ordinal, hash);
  }

  #remember(ordinal: number, previous: number | undefined): void {
    if (previous === undefined || previous < 0 || this.#previous.size >= PREVIOUS_MAX) return;
    this.#previous.set(ordinal, previous);
  }

  #meetEntry(entry: TreeCursor, olds: readonly (TreeCursor | undefined)[], parent: OpenTree): void {
    if (entry.isGitlink) return;
    if (!entry.isTree) {
      this.#meetBlob(entry, olds[0], parent);
      return;
    }
    const oldTrees: OldTree[] = [];
    for (let k = 0; k < olds.length; k++) {
      const old = olds[k];
      if (old === undefined || !old.isTree) continue;
      const { uninteresting } = parent.olds[k] as OldTree;
      oldTrees.push({ ordinal: this.space.ordinalOfBytes(old.data, old.oidAt), uninteresting });
    }
    const ordinal = this.space.ordinalOfBytes(entry.data, entry.oidAt);
    this.#noteName(ordinal, entry);
    const { sparse } = this.#gate;
    if (sparse.length === 0) {
      this.#meetTree(ordinal, oldTrees, parent.depth + 1, "", parent.defaults);
      return;
    }
    const { name } = entry;
    const path = parent.path + name;
    const defaults = sparse.map((p, i) => p.match(path, name, true) ?? (parent.defaults[i] as boolean));
    this.#meetTree(ordinal, oldTrees, parent.depth + 1, `${path}/`, defaults);
  }

  #markGone(old: TreeCursor, tree: OldTree): void {
    if (old.isGitlink || !(tree.uninteresting || this.#isComplete(old.isTree))) return;
    const ordinal = this.space.ordinalOfBytes(old.data, old.oidAt);
    if (tree.uninteresting || !this.chosen.has(ordinal)) this.#uninteresting.add(ordinal);
  }

  /** Whether the filter lets every tree, or every blob, through. */
  #isComplete(trees: boolean): boolean {
    const { anyTrees, showTrees, depthMax, anyBlobs, blobSizeMax, sparse } = this.#gate;
    if (!anyTrees || depthMax !== Number.POSITIVE_INFINITY) return false;
    return trees ? showTrees : anyBlobs && blobSizeMax === Number.POSITIVE_INFINITY && sparse.length === 0;
  }

  async #drain(): Promise<void> {
    const queue = this.#queue;
    const fresh = this.#fresh;
    for (let i = 0; i < queue.length; i++) await this.#look(queue[i] as OpenTree);
    queue.length = 0;
    for (let tree = fresh.pop(); tree !== undefined; tree = fresh.pop()) {
      if (this.#uninteresting.has(tree.ordinal)) this.chosen.delete(tree.ordinal);
      else await this.#look(tree);
      for (let next = queue.pop(); next !== undefined; next = queue.pop()) fresh.push(next);
    }
    if (this.#unsized.length > 0) await this.#chooseBySize();
  }

  async #look(tree: OpenTree): Promise<void> {
    const budget = this.#budget;
    const read = this.space.readTree(tree.ordinal);
    const found = isPromise(read) ? await read : read;
    const { data } = found;
    if (budget.spend(1 + data.length / 16_384)) await budget.pause();
    const olds: ParsedTree[] = [];
    for (const old of tree.olds) {
      if (old.uninteresting) this.#uninteresting.add(old.ordinal);
      const oldRead = this.space.readTree(old.ordinal);
      olds.push(isPromise(oldRead) ? await oldRead : oldRead);
    }
    if (olds.length === 0) {
      const entry = new TreeCursor(data, this.#hashBytes);
      while (entry.next()) this.#meetEntry(entry, NONE, tree);
    } else if (olds.length === 1) {
      const oldTree = tree.olds[0] as OldTree;
      const pair: (TreeCursor | undefined)[] = [undefined];
      compareTwoTrees(found, olds[0] as ParsedTree, this.#hashBytes, {
        changed: (entry, old) => {
          pair[0] = old;
          this.#meetEntry(entry, pair, tree);
        },
        gone: (old) => this.#markGone(old, oldTree),
      });
    } else {
      compareManyTrees(found, olds, this.#hashBytes, {
        changed: (entry, all) => this.#meetEntry(entry, all, tree),
        gone: (old, which) => this.#markGone(old, tree.olds[which] as OldTree),
      });
    }
  }

  async #chooseBySize(): Promise<void> {
    const unsized = this.#unsized;
    this.#unsized = [];
    for (const ordinal of unsized) {
      if (this.#budget.spend(0.3)) await this.#budget.pause();
      const read = this.space.readHeader(ordinal);
      const header = isPromise(read) ? await read : read;
      if (header.sizeBytes < this.#gate.blobSizeMax) this.chosen.add(ordinal);
    }
  }
}

const NONE: readonly undefined[] = [undefined];
