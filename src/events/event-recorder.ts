/**
 * Writes down which refs are to move, before they do and under their locks; strikes out what did not; and has the rest
 * told. What cannot be written down does not move. What becomes of a transaction and is not written down is settled
 * against the refs later.
 */
import { randomUUID } from "node:crypto";
import { othersTurn } from "../base/others-turn.js";
import type { EventAbout, EventOrigin, EventStore, NewEvent } from "../database/event-store.js";
import type { Push, PushCommand, PushedRef, PushHandlers } from "../engine/push.js";
import { isNullObjectId } from "../object/object-id.js";
import type { EventLog } from "./event-log.js";
import type { RepositoryWork } from "./repository-work.js";
import { hasMovedTo } from "./settle-event.js";

export interface EventRecorderOptions {
  readonly store: () => Promise<EventStore>;
  /** Name of its database: where refs are kept in the same, both are written at once. */
  readonly database?: string | undefined;
  /** Before the first event: who is to be told of it must be known. */
  readonly ready: () => Promise<void>;
  readonly publisher: Pick<RepositoryWork, "run">;
  readonly log: EventLog;
}

export interface EventRecorder {
  /** Before the refs are locked: what takes time to find out. */
  readonly onReceive: Pick<Required<PushHandlers>, "preReceive">;
  /** Among those that see refs move, the last: nobody refuses after it. */
  readonly onMove: Pick<Required<PushHandlers>, "referenceTransaction">;
  /** Before handlers that want others to know. */
  readonly onReceived: Pick<Required<PushHandlers>, "postReceive">;
}

interface Transaction {
  readonly id: string;
  /** Where it began: a push that has lost its place to a faster one begins anew. */
  readonly snapshot: Push["snapshot"];
  readonly names: ReadonlySet<string>;
  readonly isFirst: boolean;
  /** The commit of the refs writes its events, or does not. */
  readonly isWritten: boolean;
  /** That have moved; undefined: it is not over. */
  moved?: readonly PushCommand[];
}

/** What is known of one push, in all its forms. */
interface Known {
  /** Several may make one push. */
  transactions: readonly Transaction[];
  /** By name, old and new id. */
  readonly forced: Map<string, boolean>;
}

/** To tell one may take a walk through history. */
const FORCED_MAX = 100;
/** What is done for so many at once takes others' time. */
const MANY = 1000;
/** Each event has them, and a push may have many of both. */
const OPTIONS_CHARACTERS_MAX = 4096;

export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { store, log } = options;
  /** By what all forms of one push share. */
  const pushes = new WeakMap<Push["commands"], Known>();

  const knownOf = (push: Push): Known => {
    let known = pushes.get(push.commands);
    if (known === undefined) pushes.set(push.commands, (known = { transactions: [], forced: new Map() }));
    return known;
  };

  async function prepare(push: Push, commands: readonly PushCommand[]): Promise<boolean> {
    const id = randomUUID();
    const isFirst = push.snapshot.refs.all.length === 0;
    const known = knownOf(push);
    const { outbox } = push.repository.refs;
    // A repository that is being made is told of once it is in its place.
    const isWritten = !isFirst && outbox !== undefined && outbox.database === options.database;
    try {
      await options.ready();
      const rows = await store();
      await settleOlder(rows, push, { commands, isFirst });
      const refs = commands.map((command): NewEvent => newEventOf(command, known.forced));
      if (commands.length > MANY) await othersTurn();
      const origin = originOf(push, id);
      if (isWritten) for (const ref of refs) outbox?.add(ref.refName, { origin, ref });
      else await rows.add({ ...origin, isFirst }, refs, false);
      if (commands.length > MANY) await othersTurn();
    } catch (error) {
      log({ level: "error", message: "a push was refused: its events cannot be written down", error });
      await push.print("error: the server cannot write down what this push changes; try again later\n");
      return false;
    }
    const { snapshot } = push;
    const names = new Set(commands.map(({ name }) => name));
    known.transactions = [...known.transactions, { id, snapshot, isFirst, isWritten, names }];
    return true;
  }

  /** Their refs are under our lock: what the commands find there is what became of them. */
  async function settleOlder(
    rows: EventStore,
    push: Push,
    { commands, isFirst }: { readonly commands: readonly PushCommand[]; readonly isFirst: boolean },
  ): Promise<void> {
    const foundAt = new Map(commands.map(({ name, oldOid }) => [name, oldOid]));
    for (const event of await rows.listUnmoved(push.repository.name, [...foundAt.keys()])) {
      // Each of two that make a repository has its lock in a place of its own, and sees nothing of the other.
      if (isFirst && event.isFirst) continue;
      await (hasMovedTo(foundAt.get(event.refName), event)
        ? rows.markMoved({ id: event.id })
        : rows.remove(event.id));
    }
  }

  /** Strikes out what the commit itself has refused, and marks the others, unless their repository is nowhere yet. */
  async function end(
    { id, names, isFirst, isWritten }: Transaction,
    push: Push,
    moved: readonly PushCommand[],
  ): Promise<void> {
    if (isWritten) return;
    const rows = await store();
    if (moved.length < names.size) {
      const left = new Set(names);
      for (const { name } of moved) left.delete(name);
      await strikeOut(rows, push, { id, names: left });
    }
    if (!isFirst) await markMoved(rows, push, { id, moved });
  }

  async function strikeOut(
    rows: EventStore,
    push: Push,
    { id, names }: Pick<Transaction, "id" | "names">,
  ): Promise<void> {
    for (const event of await rows.listUnmoved(push.repository.name, [...names]))
      if (event.pushId === id) await rows.remove(event.id);
  }

  /** What was done where the repository would have been is nowhere. */
  async function strikeOutLost(push: Push): Promise<void> {
    const known = knownOf(push);
    const lost = known.transactions.filter(({ snapshot }) => snapshot !== push.snapshot);
    if (lost.length === 0) return;
    known.transactions = known.transactions.filter((one) => !lost.includes(one));
    try {
      const rows = await store();
      for (const one of lost) await strikeOut(rows, push, one);
    } catch (error) {
      log({ level: "error", message: "what became of a push cannot be written down yet", error });
    }
  }

  /** The repository is in its place by now. */
  async function endFirst(push: Push): Promise<void> {
    const rows = await store();
    for (const { id, isFirst, moved = [] } of knownOf(push).transactions)
      if (isFirst) await markMoved(rows, push, { id, moved });
  }

  /** Where it took so long that they were taken for lost they are written down anew. */
  async function markMoved(
    rows: EventStore,
    push: Push,
    { id, moved }: { readonly id: string; readonly moved: readonly PushCommand[] },
  ): Promise<void> {
    if (moved.length === 0) return;
    const kept = await rows.markMoved({ pushId: id });
    if (kept >= moved.length) return;
    const names = new Set(kept === 0 ? [] : await rows.namesOf(id));
    const { forced } = knownOf(push);
    const lost = moved.filter(({ name }) => !names.has(name)).map((command) => newEventOf(command, forced));
    await rows.add(originOf(push, id), lost, true);
  }

  return {
    onReceive: {
      async preReceive(push) {
        await strikeOutLost(push);
        const { forced } = knownOf(push);
        // Of a hundred thousand branches that are new, to make up what can be asked of each takes seconds.
        if (push.commands.length > MANY && !push.commands.some(isMove)) return;
        for (const update of push.updates.slice(0, FORCED_MAX)) {
          if (!isMove(update)) continue;
          const is = await isForced(update);
          if (is !== undefined) forced.set(keyOf(update), is);
        }
      },
    },
    onMove: {
      async referenceTransaction(push, state, commands) {
        if (state === "prepared") return prepare(push, commands);
        // Several may be about one ref, one after the other.
        const transaction = knownOf(push).transactions.find(
          ({ names, moved }) => moved === undefined && commands.every(({ name }) => names.has(name)),
        );
        // None: its intent could not be written.
        if (transaction === undefined) return true;
        const moved = state === "committed" ? commands : [];
        transaction.moved = moved;
        try {
          await end(transaction, push, moved);
        } catch (error) {
          log({ level: "error", message: "what became of a push cannot be written down yet", error });
        }
        if (moved.length > 0 && !transaction.isFirst) void options.publisher.run(push.repository.name);
        return true;
      },
    },
    onReceived: {
      async postReceive(push, commands) {
        const known = knownOf(push);
        await endFirst(push);
        const names = new Set(known.transactions.flatMap((one) => [...one.names]));
        const others = commands.filter(({ name }) => !names.has(name));
        // proc-receive has moved them itself.
        if (others.length > 0) {
          await options.ready();
          const refs = others.map((command) => newEventOf(command, known.forced));
          await (await store()).add(originOf(push, randomUUID()), refs, true);
        }
        await options.publisher.run(push.repository.name);
      },
    },
  };
}

/** undefined: it cannot be told. That is no reason to refuse a push. */
async function isForced(update: PushedRef): Promise<boolean | undefined> {
  try {
    return await update.forced();
  } catch {
    return undefined;
  }
}

function keyOf({ name, oldOid, newOid }: PushCommand): string {
  return `${name} ${oldOid} ${newOid}`;
}

function newEventOf(command: PushCommand, known: ReadonlyMap<string, boolean>): NewEvent {
  const { name, oldOid, newOid } = command;
  return { refName: name, oldOid, newOid, forced: isMove(command) ? known.get(keyOf(command)) : false };
}

/** It was there before, and is there after. */
function isMove({ oldOid, newOid }: PushCommand): boolean {
  return !isNullObjectId(oldOid) && !isNullObjectId(newOid);
}

/** The first of them, as far as there is room. */
function keptOf(options: readonly string[]): readonly string[] {
  let left = OPTIONS_CHARACTERS_MAX;
  return options.filter((option) => (left -= option.length) >= 0);
}

function originOf(push: Push, pushId: string): EventOrigin {
  const { identity, transport, address, requestId, options, facts } = push;
  const about: EventAbout = {
    ...(identity.method === undefined ? {} : { method: identity.method }),
    ...(identity.credentialId === undefined ? {} : { credentialId: identity.credentialId }),
    transport,
    ...(address === undefined ? {} : { address }),
    ...(requestId === undefined ? {} : { requestId }),
    ...(options.length === 0 ? {} : { options: keptOf(options) }),
    ...(facts === undefined ? {} : { facts }),
  };
  return { repository: push.repository.name, pushId, user: identity.user ?? "", about };
}
