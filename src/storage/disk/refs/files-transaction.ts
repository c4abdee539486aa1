/**
 * One transaction on refs in files, by git's own protocol, so that git processes can change the same refs meanwhile.
 *
 *     take turns within the process
 *     lock: REF.lock for each, HEAD.lock where its log follows, packed-refs.lock for deletions     lock()
 *     look at each ref again, under its lock                                                       check()
 *     write and sync REF.lock and packed-refs.new                                                  write()
 *     ask the hook
 *     packed-refs first (a deleted ref must not come back with its old value), then logs,
 *     then rename each lock; sync the directories                                                  commit()
 *     release what is left                                                                         release()
 *
 * Many refs at once (`PACK_FROM`) that have no file of their own are changed in packed-refs alone: one file to write
 * and to sync, where git makes and renames a file a ref. Other processes lock a ref before they read packed-refs, so
 * whoever raced us has by the time of our rename either read the new value, or left a lock or a file: `contested`
 * looks for these afterwards, and what another process may have won is taken back.
 */
import * as fs from "node:fs";
import { dirname, join, relative } from "node:path";
import { throwIfAborted } from "../../../base/errors.js";
import { isPromise, type MaybePromise } from "../../../base/maybe-promise.js";
import type { ObjectFormat } from "../../../object/object-format.js";
import { nullObjectId, type ObjectId } from "../../../object/object-id.js";
import type { ReflogEntry, RefTransaction } from "../../contracts/ref-store.js";
import type { RepositorySettings } from "../../contracts/repository-settings.js";
import { isDeletion, type PlannedUpdate } from "../../refs/planned-update.js";
import { prefixRange } from "../../refs/ref-order.js";
import { lockedRef, nameConflict, type Refusal, REFUSALS, type Refusals, settleAtomic } from "../../refs/ref-refusal.js";
import { formatCommitter, reflogMessage, startsReflog } from "../../refs/reflog-entry.js";
import { type RefState, type RefValue, resolveRef } from "../../refs/ref-state.js";
import { decide } from "../../refs/transaction-hook.js";
import { checkOldValue, conflictWith, NameConflicts, takenNames } from "../../refs/update-checks.js";
import { ioError, isAbsent } from "../file-errors.js";
import { LockFile, type LockOptions, tryLock, writeWhole } from "./lock-file.js";
import { formatLooseRef, readLooseRef } from "./loose-ref.js";
import { type LooseRefs, parentOf } from "./loose-refs.js";
import { takeTurns } from "./name-locks.js";
import { changePackedRefs, type PackedChange, packedRef, packedRefsBytes } from "./packed-refs.js";
import type { PackedRefsFile } from "./packed-refs-file.js";
import { clearEmptyDirectory, inParallel, removeEmptyParents, syncDirectories } from "./ref-directories.js";
import { baseOf, pathOfRef, pathOfReflog, type RefPaths } from "./ref-paths.js";
import { appendReflog, hasReflogFile, removeReflogFile } from "./reflog-file.js";

/** The refs of one repository, as its transactions need them. */
export interface FilesRefs {
  readonly paths: RefPaths;
  readonly objectFormat: ObjectFormat;
  readonly sync: boolean;
  readonly refLockTimeoutMs: number;
  readonly packedRefsTimeoutMs: number;
  readonly peel: ((oid: ObjectId) => MaybePromise<ObjectId | undefined>) | undefined;
  readonly loose: LooseRefs;
  readonly packed: PackedRefsFile;
  /** Looks at all refs again; at these directories whatever their stamps say. */
  look(again?: ReadonlySet<string>): Promise<RefState>;
}

export type FilesSettings = Pick<RepositorySettings["core"], "logAllRefUpdates" | "sharedRepository">;

/** From so many refs on, packed-refs is written instead of a file each. */
export const PACK_FROM = 32;

export class FilesTransaction {
  readonly #refs: FilesRefs;
  readonly #transaction: RefTransaction;
  readonly #refusals: Refusals;
  readonly #settings: FilesSettings;
  readonly #locks = new Map<string, LockFile>();
  readonly #toSync = new Set<string>();
  /** What each ref said under its lock. */
  readonly #values = new Map<string, RefValue | undefined>();
  readonly #committer: string;
  #packedLock: LockFile | undefined;
  /** packed-refs.new, while it is not yet in place. */
  #newFile: string | undefined;
  #headLog: PlannedUpdate | undefined;
  #inPackedOnly: ReadonlySet<PlannedUpdate> = new Set();
  #packedChanges = new Map<string, PackedChange | null>();

  constructor(refs: FilesRefs, transaction: RefTransaction, refusals: Refusals, settings: FilesSettings) {
    this.#refs = refs;
    this.#transaction = transaction;
    this.#refusals = refusals;
    this.#settings = settings;
    this.#committer = formatCommitter(transaction.committer);
  }

  /** @throws storage/io; base/aborted */
  async run(part: readonly PlannedUpdate[]): Promise<void> {
    const plans = this.#standing(part);
    const directory = this.#refs.paths.commonDirectory;
    const giveBack = await takeTurns(plans.map(({ name }) => `${directory}\0${name}`).sort());
    try {
      throwIfAborted(this.#transaction.signal);
      await this.#lock(plans);
      await this.#check(plans);
      settleAtomic(this.#transaction, this.#refusals);
      await this.#write(this.#standing(plans));
      settleAtomic(this.#transaction, this.#refusals);
      await decide(this.#transaction, plans, this.#refusals, (accepted) => this.#commit(accepted));
    } finally {
      this.#release();
      giveBack();
    }
  }

  #standing(plans: readonly PlannedUpdate[]): readonly PlannedUpdate[] {
    return plans.filter(({ index }) => this.#refusals[index] === undefined);
  }

  #lockOptions(timeoutMs: number): LockOptions {
    return { timeoutMs, shared: this.#settings.sharedRepository, onDirectoryMade: (path) => this.#toSync.add(dirname(path)) };
  }

  // lock

  async #lock(plans: readonly PlannedUpdate[]): Promise<void> {
    this.#inPackedOnly = this.#choosePackedOnly(plans);
    const withLock = plans.filter((plan) => !this.#inPackedOnly.has(plan));
    for (const plan of [...withLock].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      this.#refusals[plan.index] = await this.#lockRef(plan);
    }
    await this.#lockHeadLog(this.#standing(withLock));
    if (this.#inPackedOnly.size === 0 && !this.#standing(withLock).some(({ update }) => isDeletion(update))) return;
    const path = realPath(this.#refs.packed.path);
    const lock = await tryLock(path, this.#lockOptions(this.#refs.packedRefsTimeoutMs));
    if (lock instanceof LockFile) this.#packedLock = lock;
    else {
      const heldSeconds = lock.kind === "locked" ? lock.heldSeconds : undefined;
      for (const { index, name, update } of this.#standing(plans)) {
        if (isDeletion(update) || !this.#locks.has(name)) this.#refusals[index] = lockedRef(name, "packed-refs.lock", heldSeconds);
      }
    }
  }

  #choosePackedOnly(plans: readonly PlannedUpdate[]): ReadonlySet<PlannedUpdate> {
    const { loose, paths } = this.#refs;
    if (plans.length < PACK_FROM) return new Set();
    const fit = plans.filter(
      ({ name, update }) =>
        update.symbolicTarget === undefined &&
        name.startsWith("refs/") &&
        baseOf(paths, name) === paths.commonDirectory &&
        loose.get(name) === undefined &&
        !loose.isLocked(name),
    );
    return new Set(fit.length < PACK_FROM ? [] : fit);
  }

  async #lockRef({ name }: PlannedUpdate): Promise<Refusal | undefined> {
    const lock = await tryLock(pathOfRef(this.#refs.paths, name), this.#lockOptions(this.#refs.refLockTimeoutMs));
    if (lock instanceof LockFile) {
      lock.closeDescriptor();
      this.#locks.set(name, lock);
      return undefined;
    }
    switch (lock.kind) {
      case "locked":
        return lockedRef(name, `${name}.lock`, lock.heldSeconds);
      case "blocked":
        return this.#blockedBy(name);
      case "name-too-long":
        return { code: "rejected", reason: `cannot lock ref '${name}': File name too long` };
    }
  }

  #blockedBy(name: string): Refusal {
    for (let slash = name.indexOf("/", 5); slash > 0; slash = name.indexOf("/", slash + 1)) {
      const above = name.slice(0, slash);
      const value = readLooseRef(pathOfRef(this.#refs.paths, above), above, this.#refs.objectFormat);
      if (value !== undefined && value !== "directory") return conflictWith(above, name);
    }
    return nameConflict(`a file is in the way of '${name}'`);
  }

  /** git logs the change of a branch for HEAD too, when HEAD names it. */
  async #lockHeadLog(plans: readonly PlannedUpdate[]): Promise<void> {
    if (plans.some(({ name }) => name === "HEAD")) return;
    const policy = this.#settings.logAllRefUpdates;
    if (!startsReflog("HEAD", policy) && !hasReflogFile(pathOfReflog(this.#refs.paths, "HEAD"))) return;
    const head = this.#readLoose("HEAD");
    if (head?.kind !== "symbolic") return;
    const plan = plans.find(({ name }) => name === head.target);
    if (plan === undefined) return;
    const refusal = await this.#lockRef({ ...plan, name: "HEAD" });
    const now = this.#readLoose("HEAD");
    if (refusal !== undefined) this.#refusals[plan.index] = refusal;
    else if (now?.kind === "symbolic" && now.target === plan.name) this.#headLog = plan;
  }

  // check

  async #check(plans: readonly PlannedUpdate[]): Promise<void> {
    const { packed } = this.#refs;
    for (const name of this.#locks.keys()) this.#values.set(name, this.#readUnderLock(name));
    // After the loose refs: pack-refs writes here before it removes them there.
    packed.refresh();
    const state = this.#inPackedOnly.size > 0 ? await this.#refs.look(this.#packedOnlyDirectories()) : undefined;
    const conflicts = new NameConflicts(state === undefined ? this.#packedNames() : takenNames(state));
    for (const plan of this.#standing(plans)) {
      this.#refusals[plan.index] = this.#checkOne(plan, conflicts);
    }
    for (const { index, name } of plans) if (this.#refusals[index] !== undefined) this.#releaseRef(name);
    for (const { index, name, update } of this.#standing(plans)) {
      if (this.#values.get(name) === undefined && !isDeletion(update) && this.#locks.has(name)) this.#refusals[index] = this.#clearWay(name);
    }
  }

  #checkOne(plan: PlannedUpdate, conflicts: NameConflicts): Refusal | undefined {
    const { name, update } = plan;
    const { loose, packed } = this.#refs;
    const packedOnly = this.#inPackedOnly.has(plan);
    const ref = packedRef(packed.current, name);
    const value = (packedOnly ? loose.get(name) : this.#values.get(name)) ?? (ref === undefined ? undefined : { kind: "direct", ref });
    this.#values.set(name, value);
    const refusal = checkOldValue(update, name, value, this.#follow(value));
    if (refusal !== undefined) return refusal;
    if (packedOnly && (loose.get(name) !== undefined || loose.isLocked(name))) return lockedRef(name, `${name}.lock`, undefined);
    // It was none when the transaction was planned, and whom it leads to is not locked.
    if (value?.kind === "symbolic" && update.symbolicTarget === undefined && !isDeletion(update)) return REFUSALS.stale;
    if (value !== undefined || isDeletion(update) || name === "HEAD") return undefined;
    return conflicts.take(name);
  }

  /** Directories that deleted refs left behind give way to a ref; refs in them do not. */
  #clearWay(name: string): Refusal | undefined {
    const { paths } = this.#refs;
    const found = clearEmptyDirectory(pathOfRef(paths, name));
    return found === undefined ? undefined : conflictWith(relative(baseOf(paths, name), found).replace(/\.lock$/, ""), name);
  }

  #packedNames(): { has(name: string): boolean; below(prefix: string): string | undefined } {
    const { current } = this.#refs.packed;
    return {
      has: (name) => packedRef(current, name) !== undefined,
      below: (prefix) => {
        const [start, end] = prefixRange(current.refs, prefix);
        return start < end ? current.refs[start]?.name : undefined;
      },
    };
  }

  #packedOnlyDirectories(): ReadonlySet<string> {
    return new Set(Array.from(this.#inPackedOnly, ({ name }) => parentOf(name)));
  }

  #readLoose(name: string): RefValue | undefined {
    const value = readLooseRef(pathOfRef(this.#refs.paths, name), name, this.#refs.objectFormat);
    return value === "directory" ? undefined : value;
  }

  #readUnderLock(name: string): RefValue | undefined {
    return this.#readLoose(name);
  }

  #follow(value: RefValue | undefined): ObjectId | undefined {
    if (value?.kind === "direct") return value.ref.oid;
    if (value?.kind !== "symbolic") return undefined;
    const end = resolveRef(value.target, (name) => this.#read(name)).value;
    return end?.kind === "direct" ? end.ref.oid : undefined;
  }

  #read(name: string): RefValue | undefined {
    const value = this.#readLoose(name);
    if (value !== undefined) return value;
    const ref = packedRef(this.#refs.packed.current, name);
    return ref === undefined ? undefined : { kind: "direct", ref };
  }

  // write

  async #write(plans: readonly PlannedUpdate[]): Promise<void> {
    const { sync } = this.#refs;
    const contents = plans.filter((plan) => !isDeletion(plan.update) && !this.#inPackedOnly.has(plan) && !this.#isNoChange(plan));
    await inParallel(contents, async ({ name, update }) => {
      const content = update.symbolicTarget === undefined ? { oid: update.newOid ?? "" } : { target: update.symbolicTarget };
      await this.#locks.get(name)?.write(Buffer.from(formatLooseRef(content)), { sync });
    });
    for (const plan of plans) await this.#notePackedChange(plan);
    if (this.#packedChanges.size > 0) await this.#writePacked();
  }

  #isNoChange({ name, update }: PlannedUpdate): boolean {
    const value = this.#values.get(name);
    return update.symbolicTarget === undefined && value?.kind === "direct" && value.ref.oid === update.newOid;
  }

  async #notePackedChange(plan: PlannedUpdate): Promise<void> {
    const { name, update } = plan;
    if (isDeletion(update)) {
      if (packedRef(this.#refs.packed.current, name) !== undefined) this.#packedChanges.set(name, null);
      return;
    }
    if (!this.#inPackedOnly.has(plan) || update.newOid === null || this.#isNoChange(plan)) return;
    const { peel } = this.#refs;
    const peeling = peel?.(update.newOid);
    const peeled = isPromise(peeling) ? await peeling : peeling;
    const change = { oid: update.newOid, peelKnown: peel !== undefined };
    this.#packedChanges.set(name, peeled === undefined ? change : { ...change, peeled });
  }

  async #writePacked(): Promise<void> {
    const { packed, sync } = this.#refs;
    this.#newFile = `${this.#packedLock?.path ?? packed.path}.new`;
    const bytes = packedRefsBytes(changePackedRefs(packed.current, this.#packedChanges));
    await writeWhole(this.#newFile, bytes, { sync, shared: this.#settings.sharedRepository });
  }

  // commit

  async #commit(accepted: readonly PlannedUpdate[]): Promise<void> {
    if (this.#packedChanges.size > 0) await this.#commitPacked();
    if (this.#inPackedOnly.size > 0) await this.#yieldToOthers(accepted);
    const done = this.#standing(accepted);
    const logs: Promise<void>[] = [];
    for (const plan of done) this.#appendLogs(plan, logs);
    for (const { name, update } of done) {
      const path = pathOfRef(this.#refs.paths, name);
      const lock = this.#locks.get(name);
      if (isDeletion(update)) this.#unlink(name, path);
      else if (lock?.written === true) {
        lock.rename();
        this.#toSync.add(dirname(path));
      }
    }
    await Promise.all(logs);
    if (this.#refs.sync) await syncDirectories(this.#toSync);
    const deleted = done.filter(({ update }) => isDeletion(update));
    for (const { name } of deleted) this.#locks.get(name)?.release();
    for (const { name } of deleted) this.#removeDirectories(name);
  }

  async #commitPacked(): Promise<void> {
    const { packed, sync } = this.#refs;
    const path = this.#packedLock?.path ?? packed.path;
    const written = changePackedRefs(packed.current, this.#packedChanges);
    try {
      fs.renameSync(`${path}.new`, path);
    } catch (error) {
      throw ioError("renaming", `${path}.new`, error);
    }
    this.#newFile = undefined;
    packed.adopt(written);
    if (sync) await syncDirectories([dirname(path)]);
  }

  /** Takes back what another process may have changed at the same time (see the head of this file). */
  async #yieldToOthers(accepted: readonly PlannedUpdate[]): Promise<void> {
    const mine = accepted.filter((plan) => this.#inPackedOnly.has(plan));
    const deadline = performance.now() + this.#refs.refLockTimeoutMs;
    const directories = this.#packedOnlyDirectories();
    await this.#refs.look(directories);
    const { loose } = this.#refs;
    while (mine.some(({ name }) => loose.isLocked(name)) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      await this.#refs.look(directories);
    }
    const lost: PlannedUpdate[] = [];
    for (const plan of mine) {
      const { index, name, update } = plan;
      const value = loose.get(name);
      if (loose.isLocked(name)) this.#refusals[index] = lockedRef(name, `${name}.lock`, undefined);
      else if (value === undefined || (value.kind === "direct" && value.ref.oid === update.newOid)) continue;
      else this.#refusals[index] = update.oldOid === null ? REFUSALS.exists : REFUSALS.stale;
      lost.push(plan);
    }
    if (lost.length === 0) return;
    settleAtomic(this.#transaction, this.#refusals);
    await this.#takeBack(this.#transaction.atomic ? mine : lost);
  }

  async #takeBack(plans: readonly PlannedUpdate[]): Promise<void> {
    this.#packedChanges = new Map();
    for (const { name } of plans) {
      const value = this.#values.get(name);
      if (value?.kind !== "direct") this.#packedChanges.set(name, null);
      else {
        const { oid, peeled, peelKnown } = value.ref;
        this.#packedChanges.set(name, { oid, peelKnown: peelKnown === true, ...(peeled === undefined ? {} : { peeled }) });
      }
    }
    await this.#writePacked();
    await this.#commitPacked();
  }

  #unlink(name: string, path: string): void {
    removeReflogFile(pathOfReflog(this.#refs.paths, name));
    try {
      fs.unlinkSync(path);
      this.#toSync.add(dirname(path));
    } catch (error) {
      // A ref in packed-refs alone has no file, and a directory of that name is none.
      if (!isAbsent(error) && !fs.statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw ioError("removing", path, error);
    }
  }

  #removeDirectories(name: string): void {
    const { paths } = this.#refs;
    // refs/heads and its like stay, as in git.
    const stay = join(baseOf(paths, name), ...name.split("/").slice(0, 2));
    removeEmptyParents(pathOfRef(paths, name), stay);
    removeEmptyParents(pathOfReflog(paths, name), join(baseOf(paths, name), "logs", ...name.split("/").slice(0, 2)));
  }

  #appendLogs(plan: PlannedUpdate, logs: Promise<void>[]): void {
    const { name, update, through } = plan;
    const followHead = plan.index === this.#headLog?.index && !through.includes("HEAD");
    const names = [...(isDeletion(update) || this.#isNoChange(plan) ? [] : [name]), ...through, ...(followHead ? ["HEAD"] : [])];
    if (names.length === 0 || (update.symbolicTarget !== undefined && update.reflogMessage === undefined)) return;
    const none = nullObjectId(this.#refs.objectFormat);
    const target = update.symbolicTarget;
    const newOid = target === undefined ? update.newOid : this.#follow({ kind: "symbolic", target });
    const entry: ReflogEntry = {
      oldOid: this.#follow(this.#values.get(name)) ?? none,
      newOid: newOid ?? none,
      committer: this.#committer,
      message: reflogMessage(update.reflogMessage),
    };
    for (const log of names) {
      logs.push(
        appendReflog(pathOfReflog(this.#refs.paths, log), entry, {
          ...this.#lockOptions(0),
          create: startsReflog(log, this.#settings.logAllRefUpdates),
          sync: this.#refs.sync,
        }),
      );
    }
  }

  // release

  #release(): void {
    for (const name of this.#locks.keys()) this.#releaseRef(name);
    if (this.#newFile !== undefined) fs.rmSync(this.#newFile, { force: true });
    this.#packedLock?.release();
  }

  /** A refused creation leaves no directory that it made. */
  #releaseRef(name: string): void {
    const released = this.#locks.get(name)?.release() === true;
    this.#locks.delete(name);
    if (released && name !== "HEAD" && this.#values.get(name) === undefined) this.#removeDirectories(name);
  }
}

function realPath(path: string): string {
  try {
    return fs.realpathSync(path);
  } catch {
    return path;
  }
}
