/**
 * Writes down what is to be delivered, before the refs move and under their locks; strikes out what did not; and has it
 * delivered. What cannot be written down does not move. What becomes of a transaction and is not written down is settled
 * against the refs later.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as setTimeoutPromise } from "node:timers/promises";
import type { DeliveryOrigin, DeliveryStore, NewDelivery } from "../../database/delivery-store.js";
import type { Push, PushCommand, PushHandlers } from "../../engine/push.js";
import type { DeliveryQueue } from "./delivery-queue.js";
import type { GitoriousLogEntry } from "./gitorious-application.js";

export interface DeliveryHandlerOptions {
  readonly store: () => Promise<DeliveryStore>;
  readonly queue: Pick<DeliveryQueue, "deliver">;
  readonly log: (entry: GitoriousLogEntry & { readonly error?: unknown }) => void;
  /** How long `postReceive` waits for the application. */
  readonly waitMs: number;
}

export interface DeliveryHandlers {
  /** Among those that see refs move, the last: nobody refuses after it. */
  readonly onMove: Pick<Required<PushHandlers>, "referenceTransaction">;
  /** Before hooks that want the application to know. */
  readonly onReceived: Pick<Required<PushHandlers>, "postReceive">;
}

interface Transaction {
  readonly id: string;
  readonly names: ReadonlySet<string>;
}

export function createDeliveryHandlers(options: DeliveryHandlerOptions): DeliveryHandlers {
  const { store, queue, log } = options;
  /** By what all forms of one push share. Several transactions may make one push. */
  const transactions = new WeakMap<Push["snapshot"], Transaction[]>();

  const transactionsOf = (push: Push): Transaction[] => {
    let known = transactions.get(push.snapshot);
    if (known === undefined) transactions.set(push.snapshot, (known = []));
    return known;
  };

  async function prepare(push: Push, commands: readonly PushCommand[]): Promise<boolean> {
    const id = randomUUID();
    try {
      const rows = await store();
      await settleOlder(rows, push, commands);
      await rows.add(originOf(push, id), commands.map(deliveryOf), false);
    } catch (error) {
      log({ level: "error", message: "a push was refused: what to deliver cannot be written down", error });
      await push.print("error: the server cannot write down whom to tell of this push; try again later\n");
      return false;
    }
    transactionsOf(push).push({ id, names: new Set(commands.map(({ name }) => name)) });
    return true;
  }

  /** Their refs are under our lock: what the commands find there is what became of them. */
  async function settleOlder(
    rows: DeliveryStore,
    push: Push,
    commands: readonly PushCommand[],
  ): Promise<void> {
    const foundAt = new Map(commands.map(({ name, oldOid }) => [name, oldOid]));
    for (const { id, refName, oldOid } of await rows.listUnmoved(push.repository.name, [...foundAt.keys()]))
      await (foundAt.get(refName) === oldOid ? rows.remove({ id }) : rows.markMoved({ id }));
  }

  async function end({ id, names }: Transaction, push: Push, moved: readonly PushCommand[]): Promise<void> {
    const rows = await store();
    if (moved.length < names.size) {
      // The commit itself has refused some.
      const left = new Set(names);
      for (const { name } of moved) left.delete(name);
      for (const row of await rows.listUnmoved(push.repository.name, [...left]))
        if (row.pushId === id) await rows.remove({ id: row.id });
    }
    if (moved.length > 0) await rows.markMoved({ pushId: id });
  }

  return {
    onMove: {
      async referenceTransaction(push, state, commands) {
        if (state === "prepared") return prepare(push, commands);
        const transaction = transactionsOf(push).find(({ names }) =>
          commands.every(({ name }) => names.has(name)),
        );
        // None: its intent could not be written.
        if (transaction === undefined) return true;
        try {
          await end(transaction, push, state === "committed" ? commands : []);
        } catch (error) {
          log({ level: "error", message: "what became of a push cannot be written down yet", error });
        }
        if (state === "committed") void queue.deliver(push.repository.name);
        return true;
      },
    },
    onReceived: {
      async postReceive(push, commands) {
        const known = new Set(transactionsOf(push).flatMap(({ names }) => [...names]));
        const others = commands.filter(({ name }) => !known.has(name));
        // proc-receive has moved them itself.
        if (others.length > 0)
          await (await store()).add(originOf(push, randomUUID()), others.map(deliveryOf), true);
        const delivered = new AbortController();
        const patience = setTimeoutPromise(options.waitMs, undefined, { signal: delivered.signal });
        await Promise.race([queue.deliver(push.repository.name), patience.catch(() => undefined)]);
        delivered.abort();
      },
    },
  };
}

function originOf(push: Push, pushId: string): DeliveryOrigin {
  return {
    repository: push.repository.name,
    pushId,
    user: push.identity.user ?? "",
    repositoryId: push.facts?.["repository_id"] ?? "",
  };
}

function deliveryOf({ name, oldOid, newOid }: PushCommand): NewDelivery {
  return { refName: name, oldOid, newOid };
}
