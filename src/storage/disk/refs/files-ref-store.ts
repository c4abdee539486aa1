/**
 * Refs as files: `HEAD`, loose refs below `refs/`, `packed-refs`, reflogs below `logs/`; shared with git processes
 * that change them at the same time. Specification: gitrepository-layout, git-update-ref, git-pack-refs.
 *
 * This file reads; files-transaction.ts changes.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { GitwharfError, throwIfAborted } from "../../../base/errors.js";
import type { MaybePromise } from "../../../base/maybe-promise.js";
import type { ObjectFormat } from "../../../object/object-format.js";
import type { ObjectId } from "../../../object/object-id.js";
import type {
  PackRefsOutcome,
  RefCounts,
  ReflogEntry,
  RefSnapshot,
  RefStore,
  RefTransaction,
  RefUpdateResult,
} from "../../contracts/ref-store.js";
import { planUpdates, splitTransaction } from "../../refs/planned-update.js";
import { formatResults } from "../../refs/ref-refusal.js";
import { createRefSnapshot } from "../../refs/ref-snapshot.js";
import {
  BROKEN,
  changeRefState,
  type RefState,
  type RefValue,
  sameRefValue,
  valueIn,
} from "../../refs/ref-state.js";
import { oneAtATime } from "../one-at-a-time.js";
import { type FilesRefs, type FilesSettings, packedValue, readLooseNow } from "./files-refs.js";
import { FilesTransaction } from "./files-transaction.js";
import { readLooseRef } from "./loose-ref.js";
import { LooseRefs } from "./loose-refs.js";
import { PACK_FROM } from "./packed-only.js";
import { packRefs } from "./pack-refs.js";
import type { PackedRefs } from "./packed-refs.js";
import { PackedRefsFile } from "./packed-refs-file.js";
import { readReflogFile } from "./reflog-file.js";
import { pathOfReflog, type RefPaths, refPaths } from "./ref-paths.js";

export interface FilesRefStoreOptions {
  /** Where HEAD is. */
  readonly gitDirectory: string;
  /** Where `refs/` and `packed-refs` are, when that is another directory (linked worktrees). @default gitDirectory */
  readonly commonDirectory?: string;
  readonly objectFormat: ObjectFormat;
  /** Asked at each transaction. @default "false": logs that exist are continued, none are begun */
  readonly logAllRefUpdates?: () => MaybePromise<FilesSettings["logAllRefUpdates"]>;
  /** Asked at each transaction. @default "umask" */
  readonly sharedRepository?: () => MaybePromise<FilesSettings["sharedRepository"]>;
  /**
   * The object at the end of the chain when the id names a tag object, undefined when it names another. Without it
   * packed-refs does not say that a ref is no tag, and readers have to look.
   */
  readonly peel?: (oid: ObjectId) => MaybePromise<ObjectId | undefined>;
  /** `none` does not wait for the disk: for tests. @default "sync" */
  readonly durability?: "sync" | "none";
  /** git's core.filesRefLockTimeout. @default 100 */
  readonly refLockTimeoutMs?: number;
  /** git's core.packedRefsTimeout. @default 1000 */
  readonly packedRefsTimeoutMs?: number;
}

/** Opens nothing yet; the first snapshot reads. */
export function openFilesRefStore(options: FilesRefStoreOptions): RefStore {
  return new FilesRefStore(options);
}

/** A state that others keep changing while it is read is taken as it is after so many looks. */
const LOOKS_MAX = 4;

class FilesRefStore implements RefStore, FilesRefs {
  readonly paths: RefPaths;
  readonly objectFormat: ObjectFormat;
  readonly sync: boolean;
  readonly refLockTimeoutMs: number;
  readonly packedRefsTimeoutMs: number;
  readonly peel: FilesRefs["peel"];
  readonly loose: LooseRefs;
  readonly packed: PackedRefsFile;
  readonly #options: FilesRefStoreOptions;
  readonly #lookShared: () => Promise<void>;
  readonly #instance = randomBytes(8).toString("hex");
  #state: RefState | undefined;
  /** A transaction of ours may have changed packed-refs without a look. */
  #packedInState: PackedRefs | undefined;
  #changes = 0;
  #snapshot: RefSnapshot | undefined;
  #looking: Promise<unknown> = Promise.resolve();

  constructor(options: FilesRefStoreOptions) {
    this.paths = refPaths(options.gitDirectory, options.commonDirectory);
    this.objectFormat = options.objectFormat;
    this.sync = options.durability !== "none";
    this.refLockTimeoutMs = options.refLockTimeoutMs ?? 100;
    this.packedRefsTimeoutMs = options.packedRefsTimeoutMs ?? 1000;
    this.peel = options.peel;
    this.loose = new LooseRefs(this.paths, options.objectFormat);
    this.packed = new PackedRefsFile(this.paths.commonDirectory, options.objectFormat);
    this.#options = options;
    this.#lookShared = oneAtATime(async () => {
      await this.look();
    });
  }

  async snapshot(): Promise<RefSnapshot> {
    await this.#lookShared();
    if (this.#state === undefined)
      throw new GitwharfError("base/invariant", "refs were read without a result");
    this.#snapshot ??= createRefSnapshot(this.#state, `${this.#instance}-${this.#changes}`);
    return this.#snapshot;
  }

  async transact(transaction: RefTransaction): Promise<readonly RefUpdateResult[]> {
    throwIfAborted(transaction.signal);
    const settings: FilesSettings = {
      logAllRefUpdates: (await this.#options.logAllRefUpdates?.()) ?? "false",
      sharedRepository: (await this.#options.sharedRepository?.()) ?? "umask",
    };
    const { planned, refusals } = planUpdates(transaction.updates, await this.#reader(transaction));
    for (const part of splitTransaction(transaction, planned)) {
      await new FilesTransaction(this, transaction, refusals, settings).run(part);
    }
    return formatResults(transaction, refusals);
  }

  async pack({ signal }: { readonly signal?: AbortSignal | undefined }): Promise<PackRefsOutcome> {
    return packRefs(this, { shared: (await this.#options.sharedRepository?.()) ?? "umask", signal });
  }

  readReflog(name: string): Promise<readonly ReflogEntry[]> {
    return readReflogFile(pathOfReflog(this.paths, name), this.objectFormat);
  }

  async counts(): Promise<RefCounts> {
    await this.#lookShared();
    return { loose: [...this.loose.entries()].length, packed: this.packed.current.refs.length };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  look(again?: ReadonlySet<string>): Promise<RefState> {
    const result = this.#looking.then(() => this.#look(again));
    this.#looking = result.catch(() => undefined);
    return result;
  }

  /** What refs say before they are locked: for a few by reading their files, for many from all that is known. */
  async #reader({ updates }: RefTransaction): Promise<(name: string) => RefValue | undefined> {
    if (updates.length >= PACK_FROM) {
      const state = await this.look();
      return (name) => valueIn(state, name);
    }
    this.packed.refresh();
    return (name) => readLooseNow(this, name) ?? packedValue(this, name);
  }

  /** Reads until a look finds nothing new: what it saw was then all there at one instant. */
  async #look(again?: ReadonlySet<string>): Promise<RefState> {
    let force = again;
    for (let looks = 0; ; looks++) {
      const before = this.#state;
      // Loose before packed: a ref that pack-refs moves meanwhile is then seen at least once.
      const changed = await this.loose.refresh(force);
      this.packed.refresh();
      this.#state = this.#combine(this.#readHead(), changed);
      if (this.#state === before || looks === LOOKS_MAX) return this.#state;
      this.#changes++;
      this.#snapshot = undefined;
      force = undefined;
    }
  }

  #combine(head: RefValue, changed: ReadonlySet<string>): RefState {
    const { loose, packed } = this;
    const changes = new Map<string, RefValue | undefined>();
    let state = this.#state;
    if (state === undefined || this.#packedInState !== packed.current) {
      this.#packedInState = packed.current;
      const { refs, broken } = packed.current;
      state = { head, direct: refs, symbolic: new Map(), broken: new Set(broken) };
      for (const [name, value] of loose.entries()) changes.set(name, value);
    } else {
      for (const name of changed) changes.set(name, loose.get(name) ?? packedValue(this, name));
    }
    if (!sameRefValue(state.head, head)) changes.set("HEAD", head);
    return changeRefState(state, changes);
  }

  /** @throws storage/bad-ref */
  #readHead(): RefValue {
    const path = join(this.paths.gitDirectory, "HEAD");
    const value = readLooseRef(path, "HEAD", this.objectFormat) ?? BROKEN;
    if (value === "directory" || value.kind === "broken") {
      throw new GitwharfError(
        "storage/bad-ref",
        `${path} is missing or malformed; write 'ref: refs/heads/main' into it, or another branch`,
      );
    }
    return value;
  }
}
