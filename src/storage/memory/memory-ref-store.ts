/** Refs in memory: an equal of the stores on disk, for tests and for what need not last. */
import { throwIfAborted } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { type ObjectId, nullObjectId } from "../../object/object-id.js";
import type { Head, Ref, ReflogEntry, RefSnapshot, RefStore, RefTransaction, RefUpdate } from "../contracts/ref-store.js";
import { checkNameConflict, checkNames, checkUpdate, formatResults, type Refusal, settleAtomic } from "../ref-checks.js";
import { compareRefNames, createRefSnapshot } from "../ref-list.js";

export interface MemoryRefStoreOptions {
  readonly objectFormat: ObjectFormat;
  /** @default "main" */
  readonly defaultBranch?: string;
  /** @default false */
  readonly reflogs?: boolean;
}

type Value = { readonly oid: ObjectId } | { readonly target: string };

export function createMemoryRefStore(options: MemoryRefStoreOptions): RefStore {
  const refs = new Map<string, Value>([["HEAD", { target: `refs/heads/${options.defaultBranch ?? "main"}` }]]);
  const logs = new Map<string, ReflogEntry[]>();
  let changes = 0;
  let cached: RefSnapshot | undefined;
  /** Transactions happen one after the other. */
  let last: Promise<unknown> = Promise.resolve();

  const resolve = (name: string): ObjectId | undefined => {
    let at = name;
    for (let steps = 0; steps < 6; steps++) {
      const value = refs.get(at);
      if (value === undefined) return undefined;
      if ("oid" in value) return value.oid;
      at = value.target;
    }
    return undefined;
  };

  const read = (): RefSnapshot => {
    if (cached !== undefined) return cached;
    const all: Ref[] = [];
    const broken: string[] = [];
    for (const [name, value] of refs) {
      if (name === "HEAD") continue;
      const oid = resolve(name);
      if (oid === undefined) broken.push(name);
      else all.push("target" in value ? { name, oid, symbolicTarget: value.target } : { name, oid });
    }
    all.sort((a, b) => compareRefNames(a.name, b.name));
    const headValue = refs.get("HEAD");
    const headOid = resolve("HEAD");
    const head: Head = {
      ...(headValue !== undefined && "target" in headValue ? { symbolicTarget: headValue.target } : {}),
      ...(headOid === undefined ? {} : { oid: headOid }),
    };
    cached = createRefSnapshot({ head, all, broken, version: `memory-${changes}` });
    return cached;
  };

  const log = (name: string, update: RefUpdate, before: ObjectId | undefined, transaction: RefTransaction): void => {
    if (options.reflogs !== true) return;
    const { committer } = transaction;
    const none = nullObjectId(options.objectFormat);
    const entries = logs.get(name) ?? [];
    logs.set(name, entries);
    entries.push({
      oldOid: before ?? none,
      newOid: update.newOid ?? none,
      committer: committer === undefined ? "" : `${committer.name} <${committer.email}> ${committer.timeSeconds} +0000`,
      message: update.reflogMessage ?? "",
    });
  };

  const apply = (update: RefUpdate, transaction: RefTransaction): void => {
    if (update.symbolicTarget !== undefined) {
      refs.set(update.name, { target: update.symbolicTarget });
      return;
    }
    let name = update.name;
    for (let value = refs.get(name), steps = 0; value !== undefined && "target" in value && steps < 6; steps++) {
      if (update.newOid === null && name !== "HEAD") break;
      name = value.target;
      value = refs.get(name);
    }
    const before = resolve(name);
    const headValue = refs.get("HEAD");
    if (update.newOid === null) {
      refs.delete(name);
      logs.delete(name);
    } else {
      refs.set(name, { oid: update.newOid });
      log(name, update, before, transaction);
    }
    if (headValue !== undefined && "target" in headValue && headValue.target === name) log("HEAD", update, before, transaction);
  };

  const run = async (transaction: RefTransaction) => {
    throwIfAborted(transaction.signal);
    const { updates } = transaction;
    const refusals: (Refusal | undefined)[] = checkNames(updates);
    const snapshot = read();
    updates.forEach((update, i) => (refusals[i] ??= checkUpdate(update, snapshot)));
    const standing = updates.filter((_, i) => refusals[i] === undefined);
    updates.forEach((update, i) => (refusals[i] ??= checkNameConflict(update, standing, snapshot)));
    settleAtomic(transaction, refusals);
    const accepted = updates.filter((_, i) => refusals[i] === undefined);
    if (accepted.length > 0 && transaction.onState !== undefined) {
      if (!(await transaction.onState("prepared", accepted))) {
        await transaction.onState("aborted", accepted);
        updates.forEach((_, i) => (refusals[i] ??= { code: "aborted", reason: "in 'prepared' phase, update aborted by the reference-transaction hook" }));
        return formatResults(transaction, refusals);
      }
    }
    for (const update of accepted) apply(update, transaction);
    if (accepted.length > 0) {
      changes++;
      cached = undefined;
      await transaction.onState?.("committed", accepted);
    }
    return formatResults(transaction, refusals);
  };

  return {
    snapshot: async () => read(),
    transact(transaction) {
      const result = last.then(() => run(transaction));
      last = result.catch(() => undefined);
      return result;
    },
    readReflog: async (name) => logs.get(name) ?? [],
    close: async () => undefined,
  };
}
