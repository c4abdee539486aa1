/**
 * Refs as files: `HEAD`, loose refs below `refs/`, `packed-refs`, reflogs below `logs/`, shared with git processes
 * that change them at the same time. Specification: gitrepository-layout, git-update-ref, git-pack-refs.
 *
 * A transaction locks each ref, looks at it again under the lock, asks the hook, then writes. Many new refs at once
 * go straight into `packed-refs`, which is one file to write and to sync; their locks are held all the while.
 */
import { readdir, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { GitwharfError, isGitwharfError, throwIfAborted } from "../../../base/errors.js";
import type { ObjectFormat } from "../../../object/object-format.js";
import { nullObjectId, type ObjectId } from "../../../object/object-id.js";
import type { Head, Ref, RefSnapshot, RefStore, RefTransaction, RefUpdate, RefUpdateResult } from "../../contracts/ref-store.js";
import { checkNameConflict, checkNames, checkUpdate, formatResults, type Refusal, settleAtomic } from "../../ref-checks.js";
import { compareRefNames, createRefSnapshot } from "../../ref-list.js";
import { CachedFile } from "../cached-file.js";
import { oneAtATime } from "../one-at-a-time.js";
import { type LockFile, syncDirectory, takeLock } from "./lock-file.js";
import { inParallel, LooseRefs, type LooseValue, parseLooseRef, readLooseRef } from "./loose-refs.js";
import { formatPackedRefs, type PackedRefs, parsePackedRefs } from "./packed-refs.js";
import { appendReflog, isLogged, readReflog, removeReflog } from "./reflog.js";

export interface FilesRefStoreOptions {
  /** Where HEAD is. */
  readonly gitDirectory: string;
  /** Where `refs/` and `packed-refs` are, when that is another directory (linked worktrees). */
  readonly commonDirectory?: string;
  readonly objectFormat: ObjectFormat;
  /** Asked at each transaction; a bare repository keeps none unless configured. @default "false" */
  readonly logAllRefUpdates?: () => Promise<"always" | "true" | "false"> | "always" | "true" | "false";
  /** @default "sync" */
  readonly durability?: "sync" | "none";
}

const PACKED_REFS_BYTES_MAX = 1024 * 1024 * 1024;
const REF_LOCK_TIMEOUT_MS = 100;
const PACKED_LOCK_TIMEOUT_MS = 1000;
/** From so many new refs on, `packed-refs` is written instead of a file each. */
const PACK_FROM = 32;

export function openFilesRefStore(options: FilesRefStoreOptions): RefStore {
  return new FilesRefStore(options);
}

class FilesRefStore implements RefStore {
  readonly #options: FilesRefStoreOptions;
  readonly #root: string;
  readonly #sync: boolean;
  readonly #loose: LooseRefs;
  readonly #head: CachedFile<LooseValue>;
  readonly #packed: CachedFile<PackedRefs>;
  readonly #refresh: () => Promise<void>;
  readonly #instance = Math.random().toString(36).slice(2);
  #stateRead = "";
  #snapshot: RefSnapshot | undefined;

  constructor(options: FilesRefStoreOptions) {
    this.#options = options;
    this.#root = options.commonDirectory ?? options.gitDirectory;
    this.#sync = options.durability !== "none";
    this.#loose = new LooseRefs(this.#root, options.objectFormat);
    const headPath = join(options.gitDirectory, "HEAD");
    this.#head = new CachedFile(headPath, {
      sizeBytesMax: 8192,
      parse: (bytes) => {
        const value = bytes === undefined ? "broken" : parseLooseRef(bytes, options.objectFormat);
        if (value === "broken") throw new GitwharfError("storage/bad-ref", `${headPath} is missing or malformed`);
        return value;
      },
    });
    const packedPath = join(this.#root, "packed-refs");
    this.#packed = new CachedFile(packedPath, {
      sizeBytesMax: PACKED_REFS_BYTES_MAX,
      parse: (bytes) => parsePackedRefs(bytes, options.objectFormat, packedPath),
    });
    this.#refresh = oneAtATime(() => this.#load());
  }

  async snapshot(): Promise<RefSnapshot> {
    await this.#refresh();
    if (this.#snapshot === undefined) throw new GitwharfError("base/invariant", "refs were loaded without a result");
    return this.#snapshot;
  }

  readReflog(name: string): ReturnType<RefStore["readReflog"]> {
    return readReflog(name === "HEAD" ? this.#options.gitDirectory : this.#root, name);
  }

  async close(): Promise<void> {}

  async transact(transaction: RefTransaction): Promise<readonly RefUpdateResult[]> {
    throwIfAborted(transaction.signal);
    const before = await this.snapshot();
    // A push to a symbolic ref is a push to what it names; deleting one deletes itself.
    const updates = transaction.updates.map((update) => this.#follow(update, before));
    const resolved: RefTransaction = { ...transaction, updates };
    const refusals = checkNames(updates);
    const locks = new Map<string, LockFile>();
    try {
      await this.#lockAll(updates, refusals, locks);
      settleAtomic(resolved, refusals);
      const current = await this.#readLocked(updates, refusals, locks);
      updates.forEach((update, i) => (refusals[i] ??= checkUpdate(update, current)));
      const standing = updates.filter((_, i) => refusals[i] === undefined);
      updates.forEach((update, i) => (refusals[i] ??= checkNameConflict(update, standing, current)));
      settleAtomic(resolved, refusals);
      const accepted = updates.filter((_, i) => refusals[i] === undefined);
      if (accepted.length > 0 && !(await this.#ask(transaction, accepted))) {
        const reason = "in 'prepared' phase, update aborted by the reference-transaction hook";
        updates.forEach((_, i) => (refusals[i] ??= { code: "aborted", reason }));
      } else if (accepted.length > 0) {
        await this.#write(resolved, accepted, current, locks);
        await transaction.onState?.("committed", accepted);
      }
    } finally {
      await inParallel([...locks.values()], (lock) => lock.release());
    }
    return formatResults(transaction, refusals);
  }

  #follow(update: RefUpdate, snapshot: RefSnapshot): RefUpdate {
    if (update.symbolicTarget !== undefined) return update;
    if (update.name === "HEAD") {
      const target = snapshot.head.symbolicTarget;
      return target === undefined || update.newOid === null ? update : { ...update, name: target };
    }
    let name = update.name;
    for (let steps = 0; steps < 5 && update.newOid !== null; steps++) {
      const target = snapshot.get(name)?.symbolicTarget;
      if (target === undefined) break;
      name = target;
    }
    return name === update.name ? update : { ...update, name };
  }

  async #ask(transaction: RefTransaction, accepted: readonly RefUpdate[]): Promise<boolean> {
    if (transaction.onState === undefined || (await transaction.onState("prepared", accepted))) return true;
    await transaction.onState("aborted", accepted);
    return false;
  }

  async #lockAll(updates: readonly RefUpdate[], refusals: (Refusal | undefined)[], locks: Map<string, LockFile>): Promise<void> {
    // Everybody locks in the same order: two transactions cannot wait for each other.
    const order = updates.map((update, i) => ({ update, i })).filter(({ i }) => refusals[i] === undefined);
    order.sort((a, b) => compareRefNames(a.update.name, b.update.name));
    await inParallel(order, async ({ update, i }) => {
      try {
        locks.set(update.name, await takeLock(this.#pathOf(update.name), { timeoutMs: REF_LOCK_TIMEOUT_MS }));
      } catch (error) {
        if (isGitwharfError(error, "storage/locked")) {
          refusals[i] = { code: "locked", reason: `cannot lock ref '${update.name}': ${error.message}` };
        } else if (error instanceof GitwharfError && isFileInTheWay(error)) {
          refusals[i] = { code: "name-conflict", reason: `cannot lock ref '${update.name}': another ref is in the way` };
        } else throw error;
      }
    });
  }

  /** The refs as they are with the locks held: files are read again, whatever their stamps say. */
  async #readLocked(
    updates: readonly RefUpdate[],
    refusals: readonly (Refusal | undefined)[],
    locks: ReadonlyMap<string, LockFile>,
  ): Promise<RefSnapshot> {
    const snapshot = await this.snapshot();
    const fresh = new Map<string, ObjectId | undefined>();
    await inParallel(
      updates.filter((update, i) => refusals[i] === undefined && locks.has(update.name) && update.name !== "HEAD"),
      async ({ name }) => {
        const value = await readLooseRef(this.#root, name, this.#options.objectFormat);
        if (value !== undefined && value !== "broken" && "oid" in value) fresh.set(name, value.oid);
      },
    );
    return {
      ...snapshot,
      startingWith: snapshot.startingWith,
      get: (name) => {
        const known = snapshot.get(name);
        const oid = fresh.get(name);
        return oid === undefined || known?.oid === oid ? known : { name, oid };
      },
    };
  }

  async #write(
    transaction: RefTransaction,
    accepted: readonly RefUpdate[],
    current: RefSnapshot,
    locks: ReadonlyMap<string, LockFile>,
  ): Promise<void> {
    const policy = (await this.#options.logAllRefUpdates?.()) ?? "false";
    const head = current.head.symbolicTarget;
    const directories = new Set<string>();
    const looseNames = new Set<string>();
    this.#loose.forEach((name) => looseNames.add(name));
    const removed = accepted.filter((update) => update.newOid === null && update.symbolicTarget === undefined);
    const written = accepted.filter((update) => !removed.includes(update));
    const packable = written.filter((u) => u.symbolicTarget === undefined && u.name.startsWith("refs/") && !looseNames.has(u.name));
    const toPack = packable.length >= PACK_FROM ? packable : [];
    if (toPack.length > 0 || removed.length > 0) await this.#rewritePacked(toPack, removed, directories);
    const packedNow = new Set(toPack);
    await inParallel(written, async (update) => {
      await this.#log(transaction, update, current, policy, head);
      if (packedNow.has(update)) return;
      const content = update.symbolicTarget === undefined ? `${update.newOid}\n` : `ref: ${update.symbolicTarget}\n`;
      const path = this.#pathOf(update.name);
      await removeEmptyDirectories(path);
      await locks.get(update.name)?.commit(Buffer.from(content), { sync: this.#sync });
      for (let at = dirname(path); at.length >= this.#root.length; at = dirname(at)) {
        if (directories.has(at)) break;
        directories.add(at);
      }
    });
    await inParallel(removed, async (update) => {
      const path = this.#pathOf(update.name);
      await rm(path, { force: true });
      directories.add(dirname(path));
      await removeReflog(this.#root, update.name);
      if (head === update.name) await this.#logHead(transaction, update, current);
    });
    if (this.#sync) await inParallel([...directories], syncDirectory);
    await inParallel(removed, async (update) => {
      await locks.get(update.name)?.release();
      await removeEmptyParents(this.#pathOf(update.name), join(this.#root, "refs"));
      await removeEmptyParents(join(this.#root, "logs", update.name), join(this.#root, "logs"));
    });
  }

  async #rewritePacked(added: readonly RefUpdate[], removed: readonly RefUpdate[], directories: Set<string>): Promise<void> {
    const path = join(this.#root, "packed-refs");
    const lock = await takeLock(path, { timeoutMs: PACKED_LOCK_TIMEOUT_MS });
    try {
      const packed = await this.#packed.read();
      const gone = new Set(removed.map((update) => update.name));
      const replaced = new Set(added.map((update) => update.name));
      if (added.length === 0 && !removed.some((update) => packed.byName.has(update.name))) return;
      const kept = packed.refs.filter((ref) => !gone.has(ref.name) && !replaced.has(ref.name));
      const news = added.map((update): Ref => ({ name: update.name, oid: update.newOid ?? "" }));
      const all = [...kept, ...news].sort((a, b) => compareRefNames(a.name, b.name));
      await lock.commit(formatPackedRefs(all), { sync: this.#sync });
      directories.add(this.#root);
    } finally {
      await lock.release();
    }
  }

  async #log(
    transaction: RefTransaction,
    update: RefUpdate,
    current: RefSnapshot,
    policy: "always" | "true" | "false",
    head: string | undefined,
  ): Promise<void> {
    if (update.symbolicTarget !== undefined) return;
    const entry = this.#entry(transaction, update, current);
    await appendReflog(this.#root, update.name, entry, isLogged(update.name, policy));
    if (head === update.name) await appendReflog(this.#options.gitDirectory, "HEAD", entry, policy !== "false");
  }

  #logHead(transaction: RefTransaction, update: RefUpdate, current: RefSnapshot): Promise<void> {
    return appendReflog(this.#options.gitDirectory, "HEAD", this.#entry(transaction, update, current), false);
  }

  #entry(transaction: RefTransaction, update: RefUpdate, current: RefSnapshot) {
    const none = nullObjectId(this.#options.objectFormat);
    const { committer } = transaction;
    const who = committer ?? { name: "gitwharf", email: "gitwharf@localhost", timeSeconds: Math.floor(Date.now() / 1000) };
    return {
      oldOid: current.get(update.name)?.oid ?? none,
      newOid: update.newOid ?? none,
      committer: `${who.name} <${who.email}> ${who.timeSeconds} +0000`,
      message: update.reflogMessage ?? "",
    };
  }

  #pathOf(name: string): string {
    return join(name.startsWith("refs/") ? this.#root : this.#options.gitDirectory, name);
  }

  async #load(): Promise<void> {
    // Loose before packed: a ref that pack-refs moves meanwhile is then seen at least once.
    const head = await this.#head.read();
    await this.#loose.refresh();
    const packed = await this.#packed.read();
    const state = `${this.#head.generation}.${this.#loose.changes}.${this.#packed.generation}`;
    if (state === this.#stateRead && this.#snapshot !== undefined) return;
    this.#snapshot = this.#merge(head, packed, `${this.#instance}.${state}`);
    this.#stateRead = state;
  }

  #merge(headValue: LooseValue, packed: PackedRefs, version: string): RefSnapshot {
    const loose = new Map<string, LooseValue>();
    this.#loose.forEach((name, value) => loose.set(name, value));
    const resolve = (start: string): ObjectId | undefined => {
      let name = start;
      for (let steps = 0; steps <= 5; steps++) {
        const value = loose.get(name);
        if (value === "broken") return undefined;
        if (value === undefined) return packed.byName.get(name)?.oid;
        if ("oid" in value) return value.oid;
        name = value.target;
      }
      return undefined;
    };
    const broken: string[] = [];
    const own: Ref[] = [];
    const none = nullObjectId(this.#options.objectFormat);
    for (const [name, value] of loose) {
      const oid = value === "broken" ? undefined : resolve(name);
      if (oid === undefined || oid === none) broken.push(name);
      else if (value !== "broken" && "target" in value) own.push({ name, oid, symbolicTarget: value.target });
      else own.push(samePacked(packed, name, oid));
    }
    const all = loose.size === 0 ? packed.refs : mergeSorted(packed.refs.filter((ref) => !loose.has(ref.name)), own);
    let head: Head;
    if (headValue !== "broken" && "target" in headValue) {
      const oid = resolve(headValue.target);
      head = oid === undefined ? { symbolicTarget: headValue.target } : { symbolicTarget: headValue.target, oid };
    } else head = headValue !== "broken" && "oid" in headValue ? { oid: headValue.oid } : {};
    return createRefSnapshot({ head, all, broken, version });
  }
}

/** A loose ref that says what `packed-refs` says inherits what is known of its peeling. */
function samePacked(packed: PackedRefs, name: string, oid: ObjectId): Ref {
  const known = packed.byName.get(name);
  return known?.oid === oid ? known : { name, oid };
}

function mergeSorted(a: readonly Ref[], unsorted: Ref[]): readonly Ref[] {
  const b = unsorted.sort((x, y) => compareRefNames(x.name, y.name));
  const out: Ref[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const [x, y] = [a[i] as Ref, b[j] as Ref];
    if (compareRefNames(x.name, y.name) < 0) {
      out.push(x);
      i++;
    } else {
      out.push(y);
      j++;
    }
  }
  while (i < a.length) out.push(a[i++] as Ref);
  while (j < b.length) out.push(b[j++] as Ref);
  return out;
}

function isFileInTheWay(error: GitwharfError): boolean {
  const cause: unknown = error.cause;
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return code === "ENOTDIR" || code === "EEXIST" || code === "EISDIR";
}

/** A directory that once held refs may stand where a ref is to be: it goes if nothing but empty directories is in it. */
async function removeEmptyDirectories(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "ENOTEMPTY") return;
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (entry.isDirectory()) await removeEmptyDirectories(join(path, entry.name));
    }
    await rmdir(path).catch(ignoreBusy);
  }
}

async function removeEmptyParents(path: string, root: string): Promise<void> {
  // `refs/heads` and `refs/tags` stay, as in git.
  for (let at = dirname(path); at.length > root.length && dirname(at) !== root; at = dirname(at)) {
    try {
      await rmdir(at);
    } catch {
      // Not empty, or another process was quicker: both are as good.
      return;
    }
  }
}

/** Not empty after all: writing the ref will say that it conflicts. */
function ignoreBusy(): void {}
