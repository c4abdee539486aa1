/**
 * One transaction on refs in files, by git's own protocol, so that git processes can change the same refs meanwhile.
 *
 *     take turns within the process
 *     #lock     REF.lock for each, HEAD.lock where its log follows, packed-refs.lock for deletions
 *     #check    look at each ref again, under its lock
 *     #write    write and sync REF.lock and packed-refs.new
 *     decide    ask the hook
 *     #commit   packed-refs first (a deleted ref must not come back with its old value), then logs, then rename
 *               each lock; sync the directories
 *     release   what is left
 *
 * Many refs without files of their own are changed in packed-refs alone: packed-only.ts.
 */
import * as fs from "node:fs";
import { dirname, relative } from "node:path";
import { throwIfAborted } from "../../../base/errors.js";
import { othersTurn } from "../../../base/others-turn.js";
import type { RefTransaction } from "../../contracts/ref-store.js";
import { isDeletion, type PlannedUpdate } from "../../refs/planned-update.js";
import { prefixRange } from "../../refs/ref-order.js";
import { lockedRef, type Refusal, REFUSALS, type Refusals, settleAtomic } from "../../refs/ref-refusal.js";
import type { RefValue } from "../../refs/ref-state.js";
import { decide } from "../../refs/transaction-hook.js";
import { checkOldValue, conflictWith, NameConflicts, takenNames } from "../../refs/update-checks.js";
import { errorCode, ioError, isAbsent } from "../file-errors.js";
import { type FilesRefs, type FilesSettings, followNow, packedValue, readLooseNow } from "./files-refs.js";
import { formatLooseRef } from "./loose-ref.js";
import { takeTurns } from "./name-locks.js";
import { choosePackedOnly, directoriesOf, packedChangeOf, yieldToOthers } from "./packed-only.js";
import { packedRef } from "./packed-refs.js";
import { PackedRefsChange } from "./packed-refs-change.js";
import { clearEmptyDirectory, inParallel, isDirectory, syncDirectories } from "./ref-directories.js";
import { RefLocks } from "./ref-locks.js";
import { baseOf, pathOfRef } from "./ref-paths.js";
import { logNames, TransactionLogs } from "./transaction-logs.js";

export class FilesTransaction {
  readonly #refs: FilesRefs;
  readonly #transaction: RefTransaction;
  readonly #refusals: Refusals;
  readonly #locks: RefLocks;
  readonly #packed: PackedRefsChange;
  readonly #logs: TransactionLogs;
  readonly #toSync = new Set<string>();
  /** What each ref said under its lock. */
  readonly #values = new Map<string, RefValue | undefined>();
  /** The change of the branch that HEAD names, when HEAD keeps a log. */
  #headLog: PlannedUpdate | undefined;
  #packedOnly: ReadonlySet<PlannedUpdate> = new Set();

  constructor(refs: FilesRefs, transaction: RefTransaction, refusals: Refusals, settings: FilesSettings) {
    const onDirectoryMade = (path: string): void => {
      this.#toSync.add(dirname(path));
    };
    this.#refs = refs;
    this.#transaction = transaction;
    this.#refusals = refusals;
    this.#locks = new RefLocks(refs, { shared: settings.sharedRepository, onDirectoryMade });
    this.#packed = new PackedRefsChange(refs, settings.sharedRepository);
    this.#logs = new TransactionLogs(refs, settings, transaction.committer, onDirectoryMade);
  }

  /** @throws storage/io; base/aborted */
  async run(part: readonly PlannedUpdate[]): Promise<void> {
    const plans = this.#standing(part);
    const directory = this.#refs.paths.commonDirectory;
    const giveBack = await takeTurns(plans.map(({ name }) => `${directory}\0${name}`).sort());
    try {
      throwIfAborted(this.#transaction.signal);
      await this.#lock(plans);
      if (this.#packedOnly.size > 0) await othersTurn();
      await this.#check(plans);
      if (this.#packedOnly.size > 0) await othersTurn();
      settleAtomic(this.#transaction, this.#refusals);
      await this.#write(this.#standing(plans));
      await decide(this.#transaction, plans, this.#refusals, (accepted) => this.#commit(accepted));
    } finally {
      this.#locks.releaseAll();
      this.#packed.release();
      giveBack();
    }
  }

  #standing(plans: readonly PlannedUpdate[]): readonly PlannedUpdate[] {
    return plans.filter(({ index }) => this.#refusals[index] === undefined);
  }

  async #lock(plans: readonly PlannedUpdate[]): Promise<void> {
    this.#packedOnly = choosePackedOnly(this.#refs, plans);
    const withLock = plans.filter((plan) => !this.#packedOnly.has(plan));
    // In an order that all share: two transactions do not wait for each other.
    for (const plan of [...withLock].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      this.#refusals[plan.index] = await this.#locks.take(plan.name);
    }
    await this.#lockHeadForLog(this.#standing(plans));
    const deletions = this.#standing(withLock).filter(({ update }) => isDeletion(update));
    if (deletions.length === 0 && this.#packedOnly.size === 0) return;
    const failure = await this.#packed.lock();
    if (failure === undefined) return;
    const heldSeconds = failure.kind === "locked" ? failure.heldSeconds : undefined;
    for (const { index, name } of [...deletions, ...this.#packedOnly]) {
      this.#refusals[index] ??= lockedRef(name, "packed-refs.lock", heldSeconds);
    }
  }

  /** git logs the change of a branch for HEAD too, when HEAD names it. */
  async #lockHeadForLog(plans: readonly PlannedUpdate[]): Promise<void> {
    if (plans.some(({ name }) => name === "HEAD") || !this.#logs.keeps("HEAD")) return;
    const head = readLooseNow(this.#refs, "HEAD");
    if (head?.kind !== "symbolic") return;
    const plan = plans.find(({ name }) => name === head.target);
    if (plan === undefined) return;
    this.#refusals[plan.index] = await this.#locks.take("HEAD");
    const now = readLooseNow(this.#refs, "HEAD");
    if (now?.kind === "symbolic" && now.target === plan.name) this.#headLog = plan;
  }

  async #check(plans: readonly PlannedUpdate[]): Promise<void> {
    const refs = this.#refs;
    for (const name of this.#locks.names) this.#values.set(name, readLooseNow(refs, name));
    // After the loose refs: pack-refs writes here before it removes them there.
    refs.packed.refresh();
    const state = this.#packedOnly.size > 0 ? await refs.look(directoriesOf(this.#packedOnly)) : undefined;
    const conflicts = new NameConflicts(state === undefined ? packedNames(refs) : takenNames(state));
    for (const plan of this.#standing(plans)) this.#refusals[plan.index] = this.#checkOne(plan, conflicts);
    for (const { index, name } of plans) if (this.#refusals[index] !== undefined) this.#locks.release(name);
    for (const { index, name, update } of this.#standing(plans)) {
      const isNew = this.#values.get(name) === undefined && !isDeletion(update);
      if (isNew && this.#locks.get(name) !== undefined) this.#refusals[index] = this.#clearWay(name);
    }
  }

  #checkOne(plan: PlannedUpdate, conflicts: NameConflicts): Refusal | undefined {
    const { name, update } = plan;
    const { loose } = this.#refs;
    const packedOnly = this.#packedOnly.has(plan);
    const value = (packedOnly ? loose.get(name) : this.#values.get(name)) ?? packedValue(this.#refs, name);
    this.#values.set(name, value);
    const refusal = checkOldValue(update, name, value, followNow(this.#refs, value));
    if (refusal !== undefined) return refusal;
    if (packedOnly && (loose.get(name) !== undefined || loose.isLocked(name)))
      return lockedRef(name, `${name}.lock`, undefined);
    // It was none when the transaction was planned, and what it leads to is not locked.
    if (value?.kind === "symbolic" && update.symbolicTarget === undefined && !isDeletion(update))
      return REFUSALS.stale;
    return value !== undefined || isDeletion(update) || name === "HEAD" ? undefined : conflicts.take(name);
  }

  /** Directories that deleted refs left behind give way to a ref; refs in them do not. */
  #clearWay(name: string): Refusal | undefined {
    const { paths } = this.#refs;
    const found = clearEmptyDirectory(pathOfRef(paths, name));
    return found === undefined
      ? undefined
      : conflictWith(relative(baseOf(paths, name), found).replace(/\.lock$/, ""), name);
  }

  async #write(plans: readonly PlannedUpdate[]): Promise<void> {
    const { sync } = this.#refs;
    const files = plans.filter(
      (plan) => !isDeletion(plan.update) && !this.#packedOnly.has(plan) && !this.#isNoChange(plan),
    );
    await inParallel(files, async ({ name, update: { newOid, symbolicTarget } }) => {
      const content = formatLooseRef(
        symbolicTarget === undefined ? { oid: newOid ?? "" } : { target: symbolicTarget },
      );
      await this.#locks.get(name)?.write(Buffer.from(content), { sync });
    });
    for (const plan of plans) {
      if (!this.#packedOnly.has(plan)) {
        if (isDeletion(plan.update) && packedRef(this.#refs.packed.current, plan.name) !== undefined)
          this.#packed.set(plan.name, null);
        continue;
      }
      const change = await packedChangeOf(this.#refs, plan, this.#values.get(plan.name));
      if (change !== undefined) this.#packed.set(plan.name, change);
    }
    await this.#packed.write();
  }

  #isNoChange({ name, update }: PlannedUpdate): boolean {
    const value = this.#values.get(name);
    return update.symbolicTarget === undefined && value?.kind === "direct" && value.ref.oid === update.newOid;
  }

  async #commit(accepted: readonly PlannedUpdate[]): Promise<void> {
    await this.#packed.commit();
    const packedOnly = accepted.filter((plan) => this.#packedOnly.has(plan));
    if (packedOnly.length > 0) {
      await yieldToOthers(
        this.#refs,
        this.#transaction,
        packedOnly,
        this.#refusals,
        this.#values,
        this.#packed,
      );
    }
    const done = this.#standing(accepted);
    for (const plan of done) this.#log(plan);
    for (const plan of done) if (!this.#packedOnly.has(plan)) this.#commitFile(plan);
    await this.#logs.finish();
    if (this.#refs.sync) await syncDirectories(this.#toSync);
    for (const { name, update } of done) {
      if (!isDeletion(update)) continue;
      this.#logs.remove(name);
      this.#locks.release(name);
    }
  }

  #commitFile({ name, update }: PlannedUpdate): void {
    const path = pathOfRef(this.#refs.paths, name);
    if (isDeletion(update)) {
      if (removeFile(path)) this.#toSync.add(dirname(path));
      return;
    }
    const lock = this.#locks.get(name);
    if (lock?.written !== true) return;
    lock.rename();
    this.#toSync.add(dirname(path));
  }

  #log(plan: PlannedUpdate): void {
    const { name, update } = plan;
    const { symbolicTarget: target } = update;
    if (target !== undefined && update.reflogMessage === undefined) return;
    const names = logNames(plan, this.#isNoChange(plan), this.#headLog === plan);
    if (names.length === 0) return;
    const to = target === undefined ? update.newOid : followNow(this.#refs, { kind: "symbolic", target });
    this.#logs.append(plan, names, {
      from: followNow(this.#refs, this.#values.get(name)),
      to: to ?? undefined,
    });
  }
}

function packedNames({ packed }: FilesRefs): {
  has(name: string): boolean;
  below(prefix: string): string | undefined;
} {
  const { current } = packed;
  return {
    has: (name) => packedRef(current, name) !== undefined,
    below: (prefix) => {
      const [start, end] = prefixRange(current.refs, prefix);
      return start < end ? current.refs[start]?.name : undefined;
    },
  };
}

/** @returns whether there was one. A directory of that name is none. @throws storage/io */
function removeFile(path: string): boolean {
  try {
    fs.unlinkSync(path);
    return true;
  } catch (error) {
    if (isAbsent(error) || errorCode(error) === "ENAMETOOLONG" || isDirectory(path)) return false;
    throw ioError("removing", path, error);
  }
}
