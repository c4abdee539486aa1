/**
 * Replacing many packs by one, where a backend keeps packs. What is to be folded, and into what, is the engine's
 * business (`engine/maintenance/`); here is what only the backend knows: which packs may go, who else is at work,
 * and how one set of packs takes the place of another under the eyes of readers.
 */
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { ObjectReader } from "./object-reader.js";
import type { PackSink } from "./quarantine.js";
import type { RefSnapshot } from "./ref-store.js";

export interface PackMaintenance {
  /** How many packs could be folded. Cheap: it is asked after every push. @throws storage/io */
  countFoldable(): Promise<number>;
  /**
   * Begins work on the packs; the caller releases it in any case. undefined: somebody else is at work on them.
   * @param options.bitmapped packs that have a bitmap may go as well, if their place is taken by one that has
   * @param options.listed so may those that an index over many packs names; the caller has another one made afterwards
   * @throws storage/io, storage/not-found
   */
  begin(options?: {
    readonly bitmapped?: boolean;
    readonly listed?: boolean;
  }): Promise<PackReplacement | undefined>;
  /** Absent where others collect garbage: on a disk git does. */
  readonly garbage?: GarbageCollection;
}

/** One piece of work on the packs of a repository, with nobody beside it who keeps to the same lock. */
export interface PackReplacement {
  /** Packs that may be folded, most recently written first; open until `release`. */
  readonly packs: readonly Pack[];
  /** Absent where no pack has one. */
  hasBitmap?(pack: Pack): boolean;
  /** The pack that shall take their place. */
  createPack(): Promise<PackSink>;
  /**
   * Makes what was created durable, then visible, and then removes these packs; those that somebody marked to be kept
   * or named elsewhere meanwhile stay. The caller has made sure that each of their objects is in the new pack.
   * @param options.bitmap of the pack that was created
   * @returns false when one of them has gone meanwhile; then nothing was changed
   * @throws storage/io, storage/not-found
   */
  replace(packs: readonly Pack[], options?: { readonly bitmap?: Uint8Array | undefined }): Promise<boolean>;
  /** Removes what was created and not put in place. Idempotent. */
  release(): Promise<void>;
}

/** Sorting the objects of a repository by what leads to them. What goes where is the engine's business. */
export interface GarbageCollection {
  /** Objects to which no ref leads are kept for so long from when that was found. */
  readonly graceMs: number;
  /** How the packs stand. Cheap: it is asked after every push. @throws storage/io */
  survey(): Promise<PackSurvey>;
  /** As that of `PackMaintenance`: of folding and collecting one is at work at a time. @throws storage/io, storage/not-found */
  begin(): Promise<CollectionWork | undefined>;
}

export interface PackSurvey {
  /** Packs that nobody has looked into, in which others have no part. */
  readonly newPacks: number;
  /** Without what is kept beside the packs and is not written again with them. */
  readonly newBytes: number;
  /** The same of all packs. */
  readonly bytes: number;
  /** So long ago it was found of those unreachable objects that are kept longest; undefined: there are none. */
  readonly unreachableForMs: number | undefined;
}

/** base: all that heads and tags lead to. rest: what only other refs lead to. unreachable: what no ref leads to. */
export type CollectedAs = "base" | "rest" | "unreachable";

export interface PackToCollect {
  readonly pack: Pack;
  /** What a collection has made it; undefined: anything may be in it. */
  readonly madeAs: CollectedAs | undefined;
  /** Of `unreachable`: when that was found, by the clock of `CollectionWork.nowMs`. */
  readonly sinceMs: number | undefined;
  /** Other repositories hold on to it: it stays, with all that is in it. */
  readonly isShared: boolean;
}

/** One collection; what it reads stays as it was when it began. */
export interface CollectionWork {
  /** When it began, by a clock that all servers share. */
  readonly nowMs: number;
  readonly objects: ObjectReader;
  readonly refs: RefSnapshot;
  readonly shallow: ReadonlySet<ObjectId>;
  /** Those of `objects`. */
  readonly packs: readonly PackToCollect[];
  /** One of each at most. */
  createPack(as: CollectedAs): Promise<PackSink>;
  /** What was made for one of these packs, to be kept beside it. */
  keepBeside(as: CollectedAs, made: MadeBeside): void;
  /**
   * Makes what was created durable, and then visible in the place of these packs. Where objects are dropped, what refs have come
   * to lead to meanwhile is looked for first, and pushes that are under way look again for what they build on.
   * @returns false when one of the packs has gone meanwhile, or one of the objects is needed again; then nothing was changed
   * @throws storage/io, storage/not-found
   */
  replace(change: CollectionChange): Promise<boolean>;
  /** Removes what was created and not put in place. Idempotent. */
  release(): Promise<void>;
}

export interface CollectionChange {
  readonly removed: readonly Pack[];
  readonly dropsObjects: boolean;
  /** It was found that refs lead to it: it is kept, with all that it leads to. */
  readonly isReached: (oid: ObjectId) => boolean;
}

/** Files as git has them. */
export interface MadeBeside {
  readonly bitmap?: Uint8Array | undefined;
  readonly commitGraph?: Uint8Array | undefined;
}
