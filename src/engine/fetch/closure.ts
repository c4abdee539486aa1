/**
 * Everything that some objects lead to, in a repository with large packs: each large pack is surveyed once
 * (`pack-survey.ts`), and the rest is a walk over numbers.
 *
 * A delta'd tree is looked into by its additions alone as long as its base is reached as well. When all else is
 * done, the few whose base was not reached are read and parsed.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { parseCommitLinks } from "../../object/commit.js";
import { hashBytes } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import { parseTagLinks } from "../../object/tag.js";
import type { GitObject } from "../../storage/contracts/object-reader.js";
import type { ObjectSpace } from "./object-space.js";
import { OrdinalSet } from "./ordinal-set.js";
import { LINKS_ADDED, LINKS_UNKNOWN, type PackSurvey, surveyPack, TREE } from "./pack-survey.js";
import { TreeCursor } from "./tree-cursor.js";
import type { WorkBudget } from "./work-budget.js";

export interface ClosureRequest {
  readonly space: ObjectSpace;
  readonly roots: readonly ObjectId[];
  /** Commits whose parents are not followed. */
  readonly cutAt: ReadonlySet<ObjectId>;
  readonly budget: WorkBudget;
  /** Packs with at least so many objects are surveyed. @default 2000 */
  readonly surveyFrom?: number | undefined;
}

export interface Closure {
  readonly reached: OrdinalSet;
  /** The roots to which no reached object leads. */
  readonly heads: readonly ObjectId[];
  /** 1..4; 0 when it is not known without reading the object. */
  typeOf(ordinal: number): number;
}

/** Packs with fewer objects are not worth a survey. */
const SURVEYED_OBJECTS_MIN = 2000;

/** A repository on which `collectClosure` is quicker than a walk from commit to commit. */
export function hasLargePack(space: ObjectSpace): boolean {
  return (space.packs[0]?.index.objectCount ?? 0) >= SURVEYED_OBJECTS_MIN;
}

/** @throws object/corrupt when an object on the way is missing or malformed */
export async function collectClosure(request: ClosureRequest): Promise<Closure> {
  const { space, budget } = request;
  const surveys: PackSurvey[] = [];
  space.prepareForManyLookups();
  for (const pack of space.packs) {
    if (pack.index.objectCount < (request.surveyFrom ?? SURVEYED_OBJECTS_MIN)) break; // Largest first.
    surveys.push(await surveyPack(space, pack, budget));
  }
  const cut = new OrdinalSet(0);
  for (const oid of request.cutAt) {
    const ordinal = space.find(oid);
    if (ordinal >= 0) cut.add(ordinal);
  }
  const walk = new ClosureWalk(space, surveys, cut, budget);
  const roots = [...new Set(request.roots)].map((oid) => ({ oid, ordinal: space.ordinalOf(oid) }));
  for (const { ordinal } of roots) walk.reachRoot(ordinal);
  await walk.run();
  return {
    reached: walk.reached,
    heads: roots.filter(({ ordinal }) => !walk.ledTo.has(ordinal)).map(({ oid }) => oid),
    typeOf(ordinal) {
      const k = space.packNumberOf(ordinal);
      const survey = surveys[k];
      if (survey === undefined) return 0;
      return survey.types[survey.rankOfPosition[ordinal - (space.firsts[k] as number)] as number] as number;
    },
  };
}

class ClosureWalk {
  readonly reached: OrdinalSet;
  /** Roots that another object leads to. */
  readonly ledTo = new OrdinalSet(0);
  readonly #roots = new OrdinalSet(0);
  readonly #space: ObjectSpace;
  readonly #surveys: readonly PackSurvey[];
  readonly #cut: OrdinalSet;
  readonly #budget: WorkBudget;
  readonly #hashBytes: number;
  #stack = new Int32Array(1 << 12);
  #depth = 0;
  /** Delta'd trees looked into by their additions only. */
  #partly: number[] = [];

  constructor(space: ObjectSpace, surveys: readonly PackSurvey[], cut: OrdinalSet, budget: WorkBudget) {
    this.#space = space;
    this.#surveys = surveys;
    this.#cut = cut;
    this.#budget = budget;
    this.#hashBytes = hashBytes(space.objectFormat);
    this.reached = new OrdinalSet(space.packedCount);
  }

  reachRoot(ordinal: number): void {
    this.#roots.add(ordinal);
    if (this.reached.add(ordinal)) this.#push(ordinal);
  }

  reach(ordinal: number): void {
    if (this.reached.add(ordinal)) this.#push(ordinal);
    else if (this.#roots.has(ordinal)) this.ledTo.add(ordinal);
  }

  #push(ordinal: number): void {
    if (this.#depth === this.#stack.length) {
      const larger = new Int32Array(this.#depth * 2);
      larger.set(this.#stack);
      this.#stack = larger;
    }
    this.#stack[this.#depth++] = ordinal;
  }

  async run(): Promise<void> {
    for (;;) {
      while (this.#depth > 0) {
        const ordinal = this.#stack[--this.#depth] as number;
        if (this.#budget.spend(0.05)) await this.#budget.pause();
        if (!this.#follow(ordinal)) await this.#read(ordinal);
      }
      // Trees whose base is not reached may refer to what the base refers to: those are parsed in full.
      const open: number[] = [];
      const alone: number[] = [];
      for (const ordinal of this.#partly)
        (this.reached.has(this.#baseOf(ordinal)) ? open : alone).push(ordinal);
      this.#partly = open;
      if (alone.length === 0) return;
      for (const ordinal of alone) await this.#read(ordinal);
    }
  }

  /** Follows the links that the survey knows; false when the object must be read. */
  #follow(ordinal: number): boolean {
    const k = this.#space.packNumberOf(ordinal);
    const survey = this.#surveys[k];
    if (survey === undefined) return false;
    const rank = survey.rankOfPosition[ordinal - (this.#space.firsts[k] as number)] as number;
    const { links, known } = survey;
    const start = survey.starts[rank] as number;
    let end = survey.ends[rank] as number;
    switch (survey.types[rank]) {
      case 3:
        return true;
      case 1:
        if (known[rank] === LINKS_UNKNOWN) return false;
        if (this.#cut.size > 0 && this.#cut.has(ordinal)) end = start + 1;
        break;
      case TREE:
        if (known[rank] === LINKS_UNKNOWN) return false;
        if (known[rank] === LINKS_ADDED) this.#partly.push(ordinal);
        break;
      default:
        if (known[rank] === LINKS_UNKNOWN) return false;
    }
    for (let i = start; i < end; i++) this.reach(links[i] as number);
    return true;
  }

  /** The first copy of the base of a delta'd tree. */
  #baseOf(ordinal: number): number {
    const k = this.#space.packNumberOf(ordinal);
    const survey = this.#surveys[k] as PackSurvey;
    const rank = survey.rankOfPosition[ordinal - (this.#space.firsts[k] as number)] as number;
    const base = survey.pack.offsets.positionAtRank(survey.bases[rank] as number);
    return k === 0 ? base : this.#space.ordinalOf(survey.pack.index.oidAt(base));
  }

  async #read(ordinal: number): Promise<void> {
    if (this.#budget.spend(1)) await this.#budget.pause();
    const read = this.#space.read(ordinal);
    this.#followObject(ordinal, isPromise(read) ? await read : read);
  }

  #followObject(ordinal: number, { type, data }: GitObject): void {
    const space = this.#space;
    if (type === "commit") {
      const links = parseCommitLinks(data, space.objectFormat);
      this.reach(space.ordinalOf(links.tree));
      if (!this.#cut.has(ordinal)) for (const parent of links.parents) this.reach(space.ordinalOf(parent));
    } else if (type === "tree") {
      const cursor = new TreeCursor(data, this.#hashBytes);
      while (cursor.next()) if (!cursor.isGitlink) this.reach(space.ordinalOfBytes(data, cursor.oidAt));
    } else if (type === "tag") {
      this.reach(space.ordinalOf(parseTagLinks(data, space.objectFormat).target));
    } else if (type !== "blob") {
      throw new GitwharfError("object/corrupt", `object ${space.oidOf(ordinal)} has no known type`);
    }
  }
}
