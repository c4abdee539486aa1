/**
 * Refs in reftables, shared with git processes that change and compact them at the same time.
 * Specification: technical/reftable; a linked worktree has a stack of its own for HEAD and its own refs.
 *
 * This file reads; reftable-transaction.ts changes.
 */
import { randomBytes } from "node:crypto";
import { GitwharfError, throwIfAborted } from "../../../../base/errors.js";
import type {
  PackRefsOutcome,
  RefCounts,
  ReflogEntry,
  RefSnapshot,
  RefStore,
  RefTransaction,
  RefUpdateResult,
} from "../../../contracts/ref-store.js";
import { planUpdates, splitTransaction } from "../../../refs/planned-update.js";
import { formatResults } from "../../../refs/ref-refusal.js";
import { createRefSnapshot } from "../../../refs/ref-snapshot.js";
import { type RefState, valueIn } from "../../../refs/ref-state.js";
import type { FilesRefStoreOptions } from "../files-ref-store.js";
import { takeTurns } from "../name-locks.js";
import { baseOf, refPaths } from "../ref-paths.js";
import { compactStack, needsCompaction } from "./compact-stack.js";
import { ReftableStack } from "./reftable-stack.js";
import { ReftableTransaction } from "./reftable-transaction.js";
import { readStackLogs, toReflog } from "./stack-logs.js";
import { type StackPart, StackState } from "./stack-state.js";

/**
 * As for refs in files. `refLockTimeoutMs` is git's reftable.lockTimeout. `peel` is needed more than there: for a tag
 * that is written without it, git tells clients nothing of what it stands for.
 */
export type ReftableRefStoreOptions = Omit<FilesRefStoreOptions, "packedRefsTimeoutMs">;

/** Opens nothing yet; the first snapshot reads. `close` waits for compaction in the background. */
export function openReftableRefStore(options: ReftableRefStoreOptions): RefStore {
  return new ReftableRefStore(options);
}

/** In a row; the next change begins anew. */
const COMPACTIONS_MAX = 3;

class ReftableRefStore implements RefStore {
  readonly #options: ReftableRefStoreOptions;
  readonly #parts: readonly StackPart[];
  readonly #state: StackState;
  readonly #instance = randomBytes(8).toString("hex");
  #known: RefState | undefined;
  #changes = 0;
  #snapshot: RefSnapshot | undefined;
  #compacting: Promise<void> | undefined;

  constructor(options: ReftableRefStoreOptions) {
    const paths = refPaths(options.gitDirectory, options.commonDirectory);
    this.#options = options;
    const partAt = (directory: string): StackPart => ({
      stack: new ReftableStack(directory, options.objectFormat),
      owns: (name) => !paths.linked || baseOf(paths, name) === directory,
    });
    this.#parts = (paths.linked ? [paths.commonDirectory, paths.gitDirectory] : [paths.commonDirectory]).map(
      partAt,
    );
    this.#state = new StackState(this.#parts);
  }

  async snapshot(): Promise<RefSnapshot> {
    const state = this.#look();
    this.#snapshot ??= createRefSnapshot(state, `${this.#instance}-${this.#changes}`);
    return this.#snapshot;
  }

  async transact(transaction: RefTransaction): Promise<readonly RefUpdateResult[]> {
    throwIfAborted(transaction.signal);
    const { objectFormat, durability, peel, refLockTimeoutMs = 100 } = this.#options;
    const shared = (await this.#options.sharedRepository?.()) ?? "umask";
    const settings = {
      objectFormat,
      peel,
      lockTimeoutMs: refLockTimeoutMs,
      sync: durability !== "none",
      shared,
      logAllRefUpdates: (await this.#options.logAllRefUpdates?.()) ?? "false",
    };
    const giveBack = await takeTurns(this.#parts.map(({ stack }) => stack.listPath).sort());
    try {
      // As it is before the lock: what has changed when it is held is found then.
      const state = this.#look();
      const { planned, refusals } = planUpdates(transaction.updates, (name) => valueIn(state, name));
      for (const part of splitTransaction(transaction, planned)) {
        await new ReftableTransaction(this.#parts, () => this.#look(), transaction, refusals, settings).run(
          part,
        );
      }
      return formatResults(transaction, refusals);
    } finally {
      giveBack();
      this.#compactLater({ objectFormat, sync: settings.sync, shared, lockTimeoutMs: refLockTimeoutMs });
    }
  }

  async readReflog(name: string): Promise<readonly ReflogEntry[]> {
    const part = this.#parts.find(({ owns }) => owns(name));
    part?.stack.refresh();
    return part === undefined ? [] : toReflog(readStackLogs(part.stack, name), this.#options.objectFormat);
  }

  /** What is done after each transaction, waited for. */
  async pack(): Promise<PackRefsOutcome> {
    const { objectFormat, durability, refLockTimeoutMs = 100 } = this.#options;
    await this.#compacting;
    const before = this.#tableCount();
    const shared = (await this.#options.sharedRepository?.()) ?? "umask";
    this.#compactLater({
      objectFormat,
      sync: durability !== "none",
      shared,
      lockTimeoutMs: refLockTimeoutMs,
    });
    await this.#compacting;
    const count = before - this.#tableCount();
    return count > 0 ? { kind: "packed", count } : { kind: "nothing to do" };
  }

  async counts(): Promise<RefCounts> {
    const { all } = await this.snapshot();
    return { loose: 0, packed: all.length, tables: this.#tableCount() };
  }

  async close(): Promise<void> {
    await this.#compacting;
  }

  #tableCount(): number {
    let count = 0;
    for (const { stack } of this.#parts) {
      stack.refresh();
      count += stack.tables.length;
    }
    return count;
  }

  /** @throws storage/io, storage/bad-ref */
  #look(): RefState {
    const state = this.#state.look();
    if (state.head.kind === "broken") {
      const where = this.#parts.at(-1)?.stack.directory;
      throw new GitwharfError(
        "storage/bad-ref",
        `${where} has no usable HEAD; run 'git symbolic-ref HEAD refs/heads/main'`,
      );
    }
    if (state !== this.#known) {
      this.#known = state;
      this.#changes++;
      this.#snapshot = undefined;
    }
    return state;
  }

  /** Pushes do not wait for it, and failing it is tried again after the next one. */
  #compactLater(options: Parameters<typeof compactStack>[1]): void {
    this.#compacting ??= (async () => {
      for (const { stack } of this.#parts) {
        // What came while it was compacting is compacted as well.
        for (let i = 0; i < COMPACTIONS_MAX; i++) {
          stack.refresh();
          if (!needsCompaction(stack.tables, options.objectFormat)) break;
          if (!(await compactStack(stack, options))) break;
        }
      }
    })()
      .catch(() => undefined)
      .finally(() => {
        this.#compacting = undefined;
      });
  }
}
