/** Refs in memory: an equal of the stores on disk, for tests and for what need not last. */
import { randomBytes } from "node:crypto";
import { throwIfAborted } from "../../base/errors.js";
import { othersTurn } from "../../base/others-turn.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { nullObjectId } from "../../object/object-id.js";
import type {
  ReflogEntry,
  RefSnapshot,
  RefStore,
  RefTransaction,
  RefUpdateResult,
} from "../contracts/ref-store.js";
import { isDeletion, type PlannedUpdate, planUpdates, splitTransaction } from "../refs/planned-update.js";
import { formatResults, settleAtomic } from "../refs/ref-refusal.js";
import { createRefSnapshot } from "../refs/ref-snapshot.js";
import { changeRefState, directValue, type RefState, type RefValue, valueIn } from "../refs/ref-state.js";
import { committerOf, formatCommitter, reflogMessage, startsReflog } from "../refs/reflog-entry.js";
import { decide } from "../refs/transaction-hook.js";
import { checkUpdates, oidOf } from "../refs/update-checks.js";

export interface MemoryRefStoreOptions {
  readonly objectFormat: ObjectFormat;
  /** @default "main" */
  readonly defaultBranch?: string;
  /** Keep logs of the refs that git logs in a repository with a work tree. @default false */
  readonly reflogs?: boolean;
}

export function createMemoryRefStore(options: MemoryRefStoreOptions): RefStore {
  return new MemoryRefStore(options);
}

/** More take a while: between the steps others have their turn. */
const UPDATES_AT_ONCE = 1000;

class MemoryRefStore implements RefStore {
  readonly #options: MemoryRefStoreOptions;
  readonly #logs = new Map<string, ReflogEntry[]>();
  readonly #instance = randomBytes(8).toString("hex");
  #state: RefState;
  #changes = 0;
  #snapshot: RefSnapshot | undefined;
  /** Transactions happen one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: MemoryRefStoreOptions) {
    this.#options = options;
    const target = `refs/heads/${options.defaultBranch ?? "main"}`;
    this.#state = { head: { kind: "symbolic", target }, direct: [], symbolic: new Map(), broken: new Set() };
  }

  snapshot(): Promise<RefSnapshot> {
    this.#snapshot ??= createRefSnapshot(this.#state, `${this.#instance}-${this.#changes}`);
    return Promise.resolve(this.#snapshot);
  }

  transact(transaction: RefTransaction): Promise<readonly RefUpdateResult[]> {
    const result = this.#last.then(() => this.#run(transaction));
    this.#last = result.catch(() => undefined);
    return result;
  }

  readReflog(name: string): Promise<readonly ReflogEntry[]> {
    return Promise.resolve([...(this.#logs.get(name) ?? [])]);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #run(transaction: RefTransaction): Promise<readonly RefUpdateResult[]> {
    throwIfAborted(transaction.signal);
    const isLong = transaction.updates.length > UPDATES_AT_ONCE;
    const { planned, refusals } = planUpdates(transaction.updates, (name) => valueIn(this.#state, name));
    for (const part of splitTransaction(transaction, planned)) {
      if (isLong) await othersTurn();
      checkUpdates(part, refusals, this.#state);
      if (isLong) await othersTurn();
      settleAtomic(transaction, refusals);
      await decide(transaction, part, refusals, (accepted) => this.#apply(transaction, accepted));
    }
    return formatResults(transaction, refusals);
  }

  #apply(transaction: RefTransaction, accepted: readonly PlannedUpdate[]): void {
    const before = this.#state;
    const changes = new Map<string, RefValue | undefined>();
    for (const { name, update } of accepted) {
      if (update.symbolicTarget !== undefined)
        changes.set(name, { kind: "symbolic", target: update.symbolicTarget });
      else changes.set(name, update.newOid === null ? undefined : directValue(name, update.newOid));
    }
    this.#state = changeRefState(before, changes);
    this.#changes++;
    this.#snapshot = undefined;
    if (this.#options.reflogs === true) for (const plan of accepted) this.#log(transaction, plan, before);
  }

  #log(transaction: RefTransaction, { name, update, through }: PlannedUpdate, before: RefState): void {
    const none = nullObjectId(this.#options.objectFormat);
    const entry: ReflogEntry = {
      oldOid: oidOf(before, name) ?? none,
      newOid: oidOf(this.#state, name) ?? none,
      committer: formatCommitter(committerOf(transaction.committer)),
      message: reflogMessage(update.reflogMessage),
    };
    const headFollows =
      before.head.kind === "symbolic" && before.head.target === name && !through.includes("HEAD");
    for (const log of [name, ...through, ...(headFollows ? ["HEAD"] : [])]) {
      if (!this.#logs.has(log) && startsReflog(log, "true")) this.#logs.set(log, []);
      this.#logs.get(log)?.push(entry);
    }
    if (isDeletion(update)) this.#logs.delete(name);
  }
}
