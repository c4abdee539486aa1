/**
 * The database as a running server sees it: opened when it is first wanted, and a file that does not exist yet is looked
 * for again, because `gitwharf user add` may make it at any time.
 */
import { access } from "node:fs/promises";
import { type AccessStore, createAccessStore } from "../database/access-store.js";
import { createDeliveryStore } from "../database/delivery-store.js";
import { createEventStore } from "../database/event-store.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../database/open-database.js";
import type { Outbox } from "./events.js";

export interface AccessDatabase {
  /** undefined while there is none. @throws database/unavailable */
  store(): Promise<AccessStore | undefined>;
  /** Made when it is missing. @throws database/unavailable */
  outbox(): Promise<Outbox>;
  /** There was a user once. @throws database/unavailable */
  isClosed(): Promise<boolean>;
  close(): Promise<void>;
}

/** @throws server/bad-configuration */
export function createAccessDatabase(text: string): AccessDatabase {
  const location = parseDatabaseLocation(text);
  let opening: Promise<Opened> | undefined;
  let closed = false;

  const open = async (): Promise<Opened> => {
    const database = await openDatabase(location);
    return {
      database,
      store: createAccessStore(database),
      outbox: { events: createEventStore(database), deliveries: createDeliveryStore(database) },
    };
  };
  const store = async (): Promise<AccessStore | undefined> => {
    if (opening === undefined && location.engine === "sqlite" && !(await exists(location.path)))
      return undefined;
    return (await opened()).store;
  };
  const opened = async (): Promise<Opened> => {
    opening ??= open();
    const mine = opening;
    try {
      return await mine;
    } catch (error) {
      // The next request tries again.
      if (opening === mine) opening = undefined;
      throw error;
    }
  };
  return {
    store,
    outbox: async () => (await opened()).outbox,
    async isClosed() {
      closed ||= (await (await store())?.isClosed()) ?? false;
      return closed;
    },
    async close() {
      const opened = await opening?.catch(() => undefined);
      await opened?.database.close();
    },
  };
}

interface Opened {
  readonly database: Database;
  readonly store: AccessStore;
  readonly outbox: Outbox;
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
