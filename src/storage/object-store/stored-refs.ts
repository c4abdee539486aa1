/**
 * Refs in the tree of a root: reading them is reading the root, changing them is making the next generation, together with the
 * packs that the same handle has published. A race with another commit is settled by looking again: what still applies is
 * committed, what does not is refused.
 */
import { GitwharfError, throwIfAborted } from "../../base/errors.js";
import { othersTurn } from "../../base/others-turn.js";
import type { ObjectId } from "../../object/object-id.js";
import type { EventDraft } from "../../database/add-events.js";
import type { ObjectReader } from "../contracts/object-reader.js";
import type {
  ReflogEntry,
  RefOutbox,
  RefSnapshot,
  RefStore,
  RefTransaction,
  RefUpdateResult,
} from "../contracts/ref-store.js";
import { takeTurns } from "../disk/refs/name-locks.js";
import { peelTag } from "../peel-tag.js";
import { isDeletion, type PlannedUpdate, planUpdates, splitTransaction } from "../refs/planned-update.js";
import { formatResults, type Refusal, REFUSALS, type Refusals, settleAtomic } from "../refs/ref-refusal.js";
import { type RefState, type RefValue, sameRefValue, valueIn } from "../refs/ref-state.js";
import { decide } from "../refs/transaction-hook.js";
import { checkUpdates } from "../refs/update-checks.js";
import { changeShallow, NO_SHALLOW_CHANGE } from "../shallow-change.js";
import { findLost } from "./find-lost.js";
import { aboutTransaction, formatAbout } from "./generation-about.js";
import type { RepositoryState } from "./repository-state.js";
import type { StagedPacks } from "./staged-packs.js";
import type { Proposal, StoredCore } from "./stored-core.js";
import type { PackSource } from "./tree/pack-leaves.js";

export interface StoredRefsOptions {
  readonly core: StoredCore;
  /** Of the repository when the handle began to be used. */
  readonly pruneEpoch: number;
  readonly staged: StagedPacks;
  /** The objects that new values may name. */
  readonly withObjects: <T>(
    state: RepositoryState,
    body: (objects: ObjectReader) => Promise<T>,
  ) => Promise<T>;
  /** Name of the metadata's database, where events may be kept in it as well. */
  readonly outboxDatabase: string | undefined;
}

/** What the new values lead to was looked for in a repository that had objects which this one may lack. */
const PRUNED: Refusal = {
  code: "stale",
  reason: "the repository was restored or pruned meanwhile; push again",
};

/** What is done with more of them at once takes others' time. */
const UPDATES_IN_A_TURN = 1000;
/** Each time more has gone since the last look. */
const LOOKS_MAX = 10;

/** The state that objects are missing in. */
interface Pruned {
  readonly state: RepositoryState;
  readonly pruneEpoch: number;
  readonly isFork: boolean;
}

/** What a value says beside its id. */
interface Peeled {
  readonly peeled?: ObjectId;
  readonly peelKnown?: boolean;
}

export class StoredRefs implements RefStore {
  readonly #options: StoredRefsOptions;
  readonly outbox: RefOutbox | undefined;
  /** Of refs that are prepared, by the names that updates have for them; transactions about one take turns. */
  readonly #drafts = new Map<string, EventDraft>();

  constructor(options: StoredRefsOptions) {
    this.#options = options;
    const { outboxDatabase: database } = options;
    if (database !== undefined)
      this.outbox = { database, add: (refName, draft) => void this.#drafts.set(refName, draft) };
  }

  async snapshot(): Promise<RefSnapshot> {
    return (await this.#options.core.current()).state.snapshot;
  }

  /**
   * Transactions of this process about one ref take turns, as where refs have locks: whoever is told "prepared" then knows
   * that none of them is under way. Against those of other processes the commit decides.
   */
  async transact(transaction: RefTransaction): Promise<readonly RefUpdateResult[]> {
    const names = new Set(transaction.updates.map(({ name }) => `${this.#options.core.turns}\0${name}`));
    const giveBack = await takeTurns([...names].sort());
    try {
      return await this.#transact(transaction);
    } finally {
      for (const { name } of transaction.updates) this.#drafts.delete(name);
      giveBack();
    }
  }

  async #transact(transaction: RefTransaction): Promise<readonly RefUpdateResult[]> {
    throwIfAborted(transaction.signal);
    const { state } = await this.#options.core.current();
    let { refs } = state;
    const { planned, refusals } = planUpdates(transaction.updates, (name) => valueIn(refs, name));
    if (planned.length > UPDATES_IN_A_TURN) await othersTurn();
    const peeled = await this.#peelAll(planned, state);
    for (const part of splitTransaction(transaction, planned)) {
      checkUpdates(part, refusals, refs);
      settleAtomic(transaction, refusals);
      await decide(transaction, part, refusals, async (accepted) => {
        refs = await this.#commit({ transaction, accepted, refusals, refs, peeled });
      });
    }
    return formatResults(transaction, refusals);
  }

  /** None are kept: what was, is in the generations. */
  async readReflog(): Promise<readonly ReflogEntry[]> {
    return [];
  }

  async close(): Promise<void> {}

  /** @param at.refs the state that the updates were checked against. @returns the state after */
  async #commit(at: {
    readonly transaction: RefTransaction;
    readonly accepted: readonly PlannedUpdate[];
    readonly refusals: Refusals;
    readonly refs: RefState;
    readonly peeled: ReadonlyMap<ObjectId, Peeled>;
  }): Promise<RefState> {
    const { transaction, accepted, refusals, peeled } = at;
    const { core, staged } = this.#options;
    let { refs } = at;
    const pruned: { at?: Pruned } = {};
    // Of these updates alone: other parts of a push, or transactions of it, lead to other objects.
    let { pruneEpoch: looked } = this.#options;
    const proposal: Proposal = {
      kind: "push",
      draft: (state, { pruneEpoch, forkedFrom }) => {
        delete pruned.at;
        if (pruneEpoch > looked) {
          pruned.at = { state, pruneEpoch, isFork: forkedFrom !== undefined };
          return undefined;
        }
        if (state.refs !== refs) {
          refs = state.refs;
          checkAgain(transaction, accepted, refusals, refs);
        }
        const still = accepted.filter(({ index }) => refusals[index] === undefined);
        if (still.length === 0) return undefined;
        const changes = changesOf(still, peeled);
        // Refs that are where they are to be make no generation.
        if (staged.isEmpty && changesNothing(refs, changes)) return undefined;
        const about = aboutTransaction(
          transaction,
          still.map(({ name }) => name),
        );
        // By the name that was asked for: of a symbolic ref another one moves.
        const events = still.flatMap(({ update }) => this.#drafts.get(update.name) ?? []);
        return { ...staged.draft({ refs: changes }), about: formatAbout(about), events };
      },
    };
    let outcome = await core.commit(proposal);
    for (let looks = 1; pruned.at !== undefined && looks <= LOOKS_MAX; looks++) {
      if (!(await this.#isComplete(pruned.at, accepted))) break;
      looked = pruned.at.pruneEpoch;
      outcome = await core.commit(proposal);
    }
    if (pruned.at !== undefined) for (const { index } of accepted) refusals[index] ??= PRUNED;
    if (outcome.kind === "upload-gone")
      throw new GitwharfError("storage/io", "the upload took so long that it was cleared away: push again");
    return outcome.kind === "committed" ? outcome.state.refs : refs;
  }

  /** Objects have gone since the new values were judged: is all there that they lead to? */
  async #isComplete({ state, isFork }: Pruned, accepted: readonly PlannedUpdate[]): Promise<boolean> {
    const tips = accepted.flatMap(({ update: { newOid, symbolicTarget } }) =>
      newOid === null || symbolicTarget !== undefined ? [] : [newOid],
    );
    if (tips.length === 0) return true;
    // What gc has found refs to lead to, it keeps with all that it leads to. In a fork the rest may be another's, with which nothing
    // is kept that stands elsewhere.
    const complete: ReadonlySet<PackSource> = new Set(isFork ? ["gc"] : ["gc", "gc-rest"]);
    const collected = new Set(state.packs.flatMap(({ key, source }) => (complete.has(source) ? [key] : [])));
    const { shallow: change = NO_SHALLOW_CHANGE } = this.#options.staged.draft().change;
    const shallow = changeShallow(state.shallow, change);
    return this.#options.withObjects(state, async (objects) => {
      const packs = objects.packs.filter(({ key }) => collected.has(key));
      const isComplete = (oid: ObjectId): boolean => packs.some(({ index }) => index.find(oid) >= 0);
      return (await findLost({ objects, tips, isComplete, shallow })) === "none";
    });
  }

  async #peelAll(
    planned: readonly PlannedUpdate[],
    state: RepositoryState,
  ): Promise<ReadonlyMap<ObjectId, Peeled>> {
    const oids = new Set<ObjectId>();
    for (const { update } of planned)
      if (update.newOid !== null && update.symbolicTarget === undefined) oids.add(update.newOid);
    const all = new Map<ObjectId, Peeled>();
    if (oids.size === 0) return all;
    return this.#options.withObjects(state, async (objects) => {
      for (const oid of oids) {
        const header = await objects.readHeader(oid);
        if (header === undefined) continue;
        const peeled = header.type === "tag" ? await peelTag(objects, oid) : undefined;
        all.set(oid, { peelKnown: true, ...(peeled === undefined ? {} : { peeled }) });
      }
      return all;
    });
  }
}

/** Against what another commit has made of the refs. */
function checkAgain(
  transaction: RefTransaction,
  accepted: readonly PlannedUpdate[],
  refusals: Refusals,
  refs: RefState,
): void {
  const { planned } = planUpdates(transaction.updates, (name) => valueIn(refs, name));
  const names = new Map(planned.map(({ index, name }) => [index, name]));
  const open = accepted.filter(({ index }) => refusals[index] === undefined);
  for (const { index, name } of open) if (names.get(index) !== name) refusals[index] = REFUSALS.stale;
  checkUpdates(open, refusals, refs);
  settleAtomic(transaction, refusals);
}

function changesOf(
  accepted: readonly PlannedUpdate[],
  peeled: ReadonlyMap<ObjectId, Peeled>,
): ReadonlyMap<string, RefValue | undefined> {
  const changes = new Map<string, RefValue | undefined>();
  for (const { name, update } of accepted) {
    if (update.symbolicTarget !== undefined)
      changes.set(name, { kind: "symbolic", target: update.symbolicTarget });
    else if (isDeletion(update) || update.newOid === null) changes.set(name, undefined);
    else
      changes.set(name, { kind: "direct", ref: { name, oid: update.newOid, ...peeled.get(update.newOid) } });
  }
  return changes;
}

function changesNothing(refs: RefState, changes: ReadonlyMap<string, RefValue | undefined>): boolean {
  return [...changes].every(([name, value]) => sameRefValue(valueIn(refs, name), value));
}
