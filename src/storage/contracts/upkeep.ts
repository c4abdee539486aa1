/**
 * What a backend does for a repository beside requests where others work on the same files: telling what stands there, packing loose
 * objects, and parting with objects that nothing leads to. When what is worth it, and what goes where, is the
 * engine's business (`engine/maintenance/`).
 *
 * Whoever holds a piece of work keeps out of the way of all who take git's lock for it (`gc.pid`), git included.
 */
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { PackSink } from "./quarantine.js";
import type { RefCounts } from "./ref-store.js";
import type { Snapshot } from "./repository.js";

export interface Upkeep {
  /** How the repository stands. @param options.exact counts what else is estimated @throws storage/io, storage/not-found */
  survey(options?: { readonly exact?: boolean }): Promise<UpkeepSurvey>;
  /** Begins to part with what nothing leads to; the caller releases it. @throws storage/io, storage/not-found */
  beginSweep(): Promise<SweepBeginning>;
  /** Begins to put loose objects into a pack; the caller releases it. undefined: somebody else is at work. */
  beginPackingLoose(): Promise<LoosePacking | undefined>;
  /** Writes down that a task was done, for `survey`. Never throws. */
  noteRun(task: string, run: UpkeepRun): Promise<void>;
}

export interface UpkeepSurvey {
  /** The machine's clock. */
  readonly nowMs: number;
  readonly packs: {
    readonly count: number;
    readonly objects: number;
    readonly bytes: number;
    /** With a `.keep`. */
    readonly kept: number;
    /** Of objects to which nothing leads. */
    readonly cruft: {
      readonly count: number;
      readonly objects: number;
      readonly bytes: number;
      /** Since when that is known of the one that has waited longest. */
      readonly oldestMs: number | undefined;
    };
    /** Of packs that came after the last sweep, those of unreachable objects left out. */
    readonly newBytes: number;
    /** Written after the commit-graph, or all when there is none. */
    readonly objectsSinceGraph: number;
    readonly largest:
      | { readonly name: string; readonly objects: number; readonly hasBitmap: boolean }
      | undefined;
    /** Packs that cannot be used, and why, by name. */
    readonly broken: ReadonlyMap<string, string>;
  };
  readonly looseObjects: { readonly count: number; readonly isExact: boolean };
  readonly refs: RefCounts;
  /** When each was written; undefined: there is none. */
  readonly bitmapMs: number | undefined;
  readonly commitGraphMs: number | undefined;
  readonly multiPackIndexMs: number | undefined;
  /** Borrows objects from others. */
  readonly alternates: number;
  /** By task. */
  readonly runs: ReadonlyMap<string, UpkeepRun>;
  /** Who holds the lock: its text. */
  readonly heldBy: string | undefined;
}

export interface UpkeepRun {
  readonly atMs: number;
  /** One line. */
  readonly outcome: string;
}

export type SweepBeginning =
  | { readonly kind: "begun"; readonly work: SweepWork }
  /** Another process is at work. */
  | { readonly kind: "left to others" }
  | { readonly kind: "impossible"; readonly why: string };

/** A pack that may go once all that stands in it stands elsewhere, or is needed by nobody. */
export interface SweepPack {
  readonly pack: Pack;
  /** Of a pack of unreachable objects: since when that is known of each, in seconds, by position in the index. */
  readonly mtimes: Uint32Array | undefined;
}

export interface SweepWork {
  readonly nowMs: number;
  /** Taken after packs and loose objects were listed: what came later is in none of the lists. Held until `release`. */
  readonly snapshot: Snapshot;
  readonly packs: readonly SweepPack[];
  /** The repository's other packs: they stay. */
  readonly held: readonly Pack[];
  /** Loose objects of the repository itself. */
  readonly loose: readonly ObjectId[];
  /** What leads to objects beside the refs: reflogs, HEADs of work trees and the like. What they name may be missing. */
  readonly roots: readonly ObjectId[];
  /** Files in which ids stand as bytes (indexes of work trees). */
  readonly rawRoots: readonly Uint8Array[];
  /** Why nothing may be dropped here; undefined: what has waited long enough may go. */
  whyKept(): Promise<string | undefined>;
  createPack(): Promise<PackSink>;
  /**
   * Makes what was created durable, then visible, then removes what the change names, unless it was marked to be kept meanwhile.
   * @throws storage/io, storage/not-found
   */
  replace(change: SweepChange): Promise<SweepReplacement>;
  /** Removes what was created and not put in place. Idempotent. */
  release(): Promise<void>;
}

export interface SweepChange {
  /** The pack of what is needed: one that was created, or stands there and stays. undefined: nothing is needed. */
  readonly needed: Pack | undefined;
  /** The same of what is kept though nothing leads to it, and its times. */
  readonly unneeded: { readonly pack: Pack; readonly mtimes: Uint8Array } | undefined;
  readonly removed: readonly Pack[];
  /** Those among them with objects that stand nowhere else then; undefined: there are no such objects. */
  readonly dropping: ReadonlySet<Pack> | undefined;
  readonly removedLoose: readonly ObjectId[];
  /** Asked with what leads to objects now, right before anything goes that stands nowhere else. */
  readonly mayStillDrop: (now: Pick<SweepWork, "snapshot" | "roots">) => Promise<boolean>;
}

/** kept: those of `dropping` stay, since something leads there again. changed: nothing was done, the packs are others now. */
export type SweepReplacement = "replaced" | "kept" | "changed";

export interface LoosePacking {
  readonly snapshot: Snapshot;
  readonly loose: readonly ObjectId[];
  /** The repository's own, those of unreachable objects left out: what stands there needs no file of its own. */
  readonly packs: readonly Pack[];
  createPack(): Promise<PackSink>;
  /** Makes the pack durable, then visible, and removes the loose objects. @throws storage/io, storage/not-found */
  finish(packed: readonly ObjectId[]): Promise<void>;
  release(): Promise<void>;
}
