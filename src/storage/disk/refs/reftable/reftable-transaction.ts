/**
 * One transaction on refs in reftables. Specification: technical/reftable, "Update transactions".
 *
 *     lock tables.list (one lock for all refs: nothing changes until it is released)
 *     read the refs; check names, old values and conflicts
 *     ask the hook
 *     write and sync a table of what changes, then the list that names it; rename the list into place
 */
import { isPromise, type MaybePromise } from "../../../../base/maybe-promise.js";
import type { ObjectFormat } from "../../../../object/object-format.js";
import { nullObjectId, type ObjectId } from "../../../../object/object-id.js";
import type { Ref, RefTransaction } from "../../../contracts/ref-store.js";
import { isDeletion, type PlannedUpdate } from "../../../refs/planned-update.js";
import { sortNames } from "../../../refs/ref-order.js";
import { lockedRef, REFUSALS, type Refusals, settleAtomic } from "../../../refs/ref-refusal.js";
import { type RefState, type RefValue, resolveRef, valueIn } from "../../../refs/ref-state.js";
import {
  committerOf,
  type LogAllRefUpdates,
  reflogMessage,
  startsReflog,
} from "../../../refs/reflog-entry.js";
import { decide } from "../../../refs/transaction-hook.js";
import { checkUpdates, oidOf } from "../../../refs/update-checks.js";
import { LockFile } from "../lock-file.js";
import { mergeLogs } from "./merge-tables.js";
import type { LogRecord, RefRecord } from "./records.js";
import { hasLogs } from "./reftable-file.js";
import type { WriteOptions } from "./reftable-stack.js";
import { readStackLogs } from "./stack-logs.js";
import type { StackPart } from "./stack-state.js";
import { formatTable } from "./table-writer.js";

export interface ReftableSettings extends WriteOptions {
  readonly objectFormat: ObjectFormat;
  readonly lockTimeoutMs: number;
  readonly logAllRefUpdates: LogAllRefUpdates;
  readonly peel: ((oid: ObjectId) => MaybePromise<ObjectId | undefined>) | undefined;
}

/** git cuts messages to half a block. */
const MESSAGE_CHARACTERS_MAX = 2048;

export class ReftableTransaction {
  readonly #parts: readonly StackPart[];
  readonly #look: () => RefState;
  readonly #transaction: RefTransaction;
  readonly #refusals: Refusals;
  readonly #settings: ReftableSettings;
  readonly #locks = new Map<StackPart, LockFile>();
  /** Many refs may name one object. */
  readonly #peeled = new Map<ObjectId, ObjectId | undefined>();

  constructor(
    parts: readonly StackPart[],
    look: () => RefState,
    transaction: RefTransaction,
    refusals: Refusals,
    settings: ReftableSettings,
  ) {
    this.#parts = parts;
    this.#look = look;
    this.#transaction = transaction;
    this.#refusals = refusals;
    this.#settings = settings;
  }

  /** @throws storage/io, storage/bad-ref, base/aborted */
  async run(part: readonly PlannedUpdate[]): Promise<void> {
    if (part.every(({ index }) => this.#refusals[index] !== undefined)) return;
    try {
      if (!(await this.#lock(part))) return settleAtomic(this.#transaction, this.#refusals);
      const state = this.#look();
      this.#checkPlans(part, state);
      checkUpdates(part, this.#refusals, state);
      settleAtomic(this.#transaction, this.#refusals);
      await decide(this.#transaction, part, this.#refusals, (accepted) => this.#commit(accepted, state));
    } finally {
      for (const lock of this.#locks.values()) lock.release();
    }
  }

  async #lock(plans: readonly PlannedUpdate[]): Promise<boolean> {
    for (const part of this.#parts) {
      const lock = await part.stack.lockList({
        timeoutMs: this.#settings.lockTimeoutMs,
        shared: this.#settings.shared,
      });
      if (!(lock instanceof LockFile)) {
        const heldSeconds = lock.kind === "locked" ? lock.heldSeconds : undefined;
        for (const { index, name } of plans)
          this.#refusals[index] ??= lockedRef(name, "reftable/tables.list.lock", heldSeconds);
        return false;
      }
      lock.closeDescriptor();
      this.#locks.set(part, lock);
    }
    return true;
  }

  /** Symbolic refs were followed before the lock was taken: they must lead where they led. */
  #checkPlans(plans: readonly PlannedUpdate[], state: RefState): void {
    for (const { index, name, update, through } of plans) {
      if (through.length === 0 && valueIn(state, name)?.kind !== "symbolic") continue;
      if (update.symbolicTarget !== undefined || (through.length === 0 && isDeletion(update))) continue;
      if (resolveRef(update.name, (at) => valueIn(state, at)).name !== name)
        this.#refusals[index] ??= REFUSALS.stale;
    }
  }

  async #commit(accepted: readonly PlannedUpdate[], state: RefState): Promise<void> {
    for (const part of this.#parts) {
      const { stack } = part;
      const lock = this.#locks.get(part);
      const updateIndex = stack.nextUpdateIndex;
      const refs = await this.#refRecords(accepted, part, state, updateIndex);
      const logs = this.#logRecords(accepted, part, state, updateIndex);
      if (lock === undefined || (refs.length === 0 && logs.length === 0)) continue;
      const { objectFormat } = this.#settings;
      const bytes = formatTable({
        objectFormat,
        minUpdateIndex: updateIndex,
        maxUpdateIndex: updateIndex,
        refs,
        logs,
      });
      const name = await stack.writeTable(bytes, [updateIndex, updateIndex], this.#settings);
      try {
        await stack.commitList(lock, [...stack.tables.map((table) => table.name), name], this.#settings);
      } catch (error) {
        if (!stack.readList().includes(name)) stack.removeTable(name);
        throw error;
      }
    }
  }

  async #refRecords(
    plans: readonly PlannedUpdate[],
    { owns }: StackPart,
    state: RefState,
    updateIndex: number,
  ): Promise<readonly RefRecord[]> {
    const records = new Map<string, RefRecord>();
    for (const plan of plans) {
      if (!owns(plan.name) || isNoChange(plan, state)) continue;
      records.set(plan.name, { name: plan.name, updateIndex, value: await this.#newValue(plan) });
    }
    return sortNames([...records.keys()]).map((name) => records.get(name) as RefRecord);
  }

  async #newValue({
    name,
    update: { newOid, symbolicTarget },
  }: PlannedUpdate): Promise<RefValue | undefined> {
    if (symbolicTarget !== undefined) return { kind: "symbolic", target: symbolicTarget };
    if (newOid === null) return undefined;
    const peeled = await this.#peel(newOid);
    const ref: Ref = { name, oid: newOid };
    return { kind: "direct", ref: peeled === undefined ? ref : { ...ref, peeled } };
  }

  async #peel(oid: ObjectId): Promise<ObjectId | undefined> {
    if (this.#peeled.has(oid)) return this.#peeled.get(oid);
    const peeling = this.#settings.peel?.(oid);
    const peeled = isPromise(peeling) ? await peeling : peeling;
    this.#peeled.set(oid, peeled);
    return peeled;
  }

  #logRecords(
    plans: readonly PlannedUpdate[],
    part: StackPart,
    state: RefState,
    updateIndex: number,
  ): readonly LogRecord[] {
    const records: LogRecord[] = [];
    const committer = committerOf(this.#transaction.committer);
    const none = nullObjectId(this.#settings.objectFormat);
    const anyLogs = part.stack.tables.some(hasLogs);
    const head = state.head.kind === "symbolic" ? state.head.target : undefined;
    for (const plan of plans) {
      const { name, update, through } = plan;
      if (isDeletion(update) && part.owns(name) && anyLogs) records.push(...this.#endLog(part, name));
      const { symbolicTarget: target } = update;
      if (target !== undefined && update.reflogMessage === undefined) continue;
      const own = isDeletion(update) || isNoChange(plan, state) ? [] : [name];
      for (const log of [
        ...own,
        ...through,
        ...(head === name && !through.includes("HEAD") ? ["HEAD"] : []),
      ]) {
        if (!part.owns(log) || !this.#keepsLog(part, log, anyLogs)) continue;
        const message = reflogMessage(update.reflogMessage).slice(0, MESSAGE_CHARACTERS_MAX);
        const newOid = target === undefined ? update.newOid : oidOf(state, target);
        const entry = {
          oldOid: oidOf(state, name) ?? none,
          newOid: newOid ?? none,
          ...committer,
          zone: 0,
          message,
        };
        records.push({ name: log, updateIndex, entry });
      }
    }
    return mergeLogs([records], { dropDeletions: false });
  }

  #keepsLog({ stack }: StackPart, name: string, anyLogs: boolean): boolean {
    if (startsReflog(name, this.#settings.logAllRefUpdates)) return true;
    return anyLogs && readStackLogs(stack, name).length > 0;
  }

  /** As in git, the entries of a deleted ref are deleted one by one. */
  #endLog({ stack }: StackPart, name: string): readonly LogRecord[] {
    return readStackLogs(stack, name).map(({ updateIndex }) => ({ name, updateIndex, entry: undefined }));
  }
}

function isNoChange({ name, update }: PlannedUpdate, state: RefState): boolean {
  const value = valueIn(state, name);
  if (isDeletion(update)) return value === undefined;
  return update.symbolicTarget === undefined && value?.kind === "direct" && value.ref.oid === update.newOid;
}
