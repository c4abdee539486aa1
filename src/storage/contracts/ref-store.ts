/**
 * References: reading at one instant, and changing them in transactions with compare-and-swap.
 * Specification: gitglossary (ref, symref), git-update-ref, gitformat of packed-refs and reftable.
 */
import type { EventDraft } from "../../database/add-events.js";
import type { MaybePromise } from "../../base/maybe-promise.js";
import type { ObjectId } from "../../object/object-id.js";

export interface Ref {
  /** Full name: `refs/heads/main`. */
  readonly name: string;
  readonly oid: ObjectId;
  /** What a symbolic ref names (one step); `oid` is then the end of the chain. */
  readonly symbolicTarget?: string;
  /** For an annotated tag: the object at the end of the tag chain. undefined: not a tag object, or not yet known. */
  readonly peeled?: ObjectId;
  /** True when `peeled` is final: a ref without `peeled` is then known not to name a tag object. */
  readonly peelKnown?: boolean;
}

export interface Head {
  /** The branch that HEAD names, even when it is unborn; undefined when HEAD is detached. */
  readonly symbolicTarget?: string;
  /** The commit HEAD leads to; undefined when unborn. */
  readonly oid?: ObjectId;
}

/** All refs of one instant. Broken refs (unreadable, dangling symrefs) are left out of `all` and listed in `broken`. */
export interface RefSnapshot {
  readonly head: Head;
  /** Under `refs/`, sorted by name in byte order, without HEAD. */
  readonly all: readonly Ref[];
  get(name: string): Ref | undefined;
  /** Refs whose name starts with the prefix, by binary search. */
  startingWith(prefix: string): readonly Ref[];
  readonly broken: readonly string[];
  /** Changes whenever any ref or HEAD changes: equal versions of one repository mean equal refs. */
  readonly version: string;
}

export interface RefUpdate {
  readonly name: string;
  /** What the ref must be now: an id, `null` = it must not exist, undefined = not checked. */
  readonly oldOid: ObjectId | null | undefined;
  /** What it becomes; `null` deletes it. Exclusive with `symbolicTarget`. */
  readonly newOid: ObjectId | null;
  /** Makes the ref symbolic (for HEAD: switches the default branch). `newOid` is then ignored. */
  readonly symbolicTarget?: string;
  /** Line for the reflog, where one is kept. */
  readonly reflogMessage?: string;
}

export interface RefTransaction {
  readonly updates: readonly RefUpdate[];
  /** true: all or none. false: each on its own. */
  readonly atomic: boolean;
  /** `Name <email>` and time for the reflog. */
  readonly committer?: { readonly name: string; readonly email: string; readonly timeSeconds: number };
  /** git's reference-transaction hook. Answering false in "prepared" aborts what is prepared. */
  readonly onState?: (
    state: "prepared" | "committed" | "aborted",
    updates: readonly RefUpdate[],
  ) => MaybePromise<boolean>;
  readonly signal?: AbortSignal;
}

export type RefRefusalCode =
  | "stale"
  | "exists"
  | "missing"
  | "name-conflict"
  | "bad-name"
  | "locked"
  | "rejected"
  | "aborted";

/** A refusal is a value: `reason` is the text behind `ng REF`, in git's own words where git has them. */
export type RefUpdateResult =
  | { readonly name: string; readonly ok: true }
  | { readonly name: string; readonly ok: false; readonly code: RefRefusalCode; readonly reason: string };

export interface ReflogEntry {
  readonly oldOid: ObjectId;
  readonly newOid: ObjectId;
  /** `Name <email> seconds zone` */
  readonly committer: string;
  readonly message: string;
}

/** Where refs are rows of a database: others of the same are written with them. */
export interface RefOutbox {
  /** Which one that is (`databaseName`). */
  readonly database: string;
  /** Of a ref that is "prepared": written in the transaction that moves it, and dropped when it does not move. */
  add(refName: string, draft: EventDraft): void;
}

/** In how many places refs are kept. */
export interface RefCounts {
  /** In files of their own. */
  readonly loose: number;
  readonly packed: number;
  /** Of reftables. */
  readonly tables?: number;
}

export type PackRefsOutcome =
  /** So many refs, or tables. */
  | { readonly kind: "packed"; readonly count: number }
  | { readonly kind: "nothing to do" }
  | { readonly kind: "left to others" };

export interface RefStore {
  /** undefined: nothing can be written together with refs. */
  readonly outbox?: RefOutbox | undefined;
  /** @throws storage/io, storage/bad-ref when HEAD cannot be read */
  snapshot(): Promise<RefSnapshot>;
  /** Durable when it returns. One result per update, in order. @throws storage/io (then nothing is known) */
  transact(transaction: RefTransaction): Promise<readonly RefUpdateResult[]>;
  /** Oldest first; empty when no log is kept. */
  readReflog(name: string): Promise<readonly ReflogEntry[]>;
  /** Puts refs together that stand in files or tables of their own. Absent where none do. @throws storage/io, storage/bad-ref, base/aborted */
  pack?(options: { readonly signal?: AbortSignal | undefined }): Promise<PackRefsOutcome>;
  /** Absent as `pack` is. @throws storage/io, storage/bad-ref */
  counts?(): Promise<RefCounts>;
  close(): Promise<void>;
}
