/** Telling a target: one process at a time, in order, with what it refuses tried again or put aside. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createDeliveryStore, type DeliveryStore } from "../database/delivery-store.js";
import { createEventStore, type EventStore } from "../database/event-store.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../database/open-database.js";
import {
  createDeliveryQueue,
  type DeliveryQueue,
  DeliveryRefused,
  type DeliveryTarget,
} from "./delivery-queue.js";

let directory: string;
let made = 0;
let database: Database;
let events: EventStore;
let store: DeliveryStore;
let told: string[];
let refuse: (name: string) => DeliveryRefused | undefined;
let isBroken: boolean;
const queues: DeliveryQueue[] = [];

beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), "gitwharf-queue-"))));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
beforeEach(async () => {
  const path = join(directory, String(++made), "access.sqlite");
  database = await openDatabase(parseDatabaseLocation(`sqlite:${path}`));
  events = createEventStore(database);
  store = createDeliveryStore(database);
  told = [];
  refuse = () => undefined;
  isBroken = false;
});
afterEach(async () => {
  for (const queue of queues.splice(0)) await queue.close();
  await database.close();
});

async function queueFor(more: Partial<DeliveryTarget> = {}): Promise<DeliveryQueue> {
  const target: DeliveryTarget = {
    name: "t",
    title: "t",
    timeoutMs: 1000,
    firstPauseMs: 60_000,
    pauseMsMax: 60_000,
    keepsRecords: true,
    takesRepository: (name) => name !== "others",
    takes: ({ refName }) => refName !== "skipped",
    async deliver({ repository, refName }) {
      told.push(`${repository} ${refName}`);
      const refusal = refuse(refName);
      if (refusal !== undefined) throw refusal;
      return 200;
    },
    ...more,
  };
  const queue = createDeliveryQueue({
    store: async () => {
      if (isBroken) throw new Error("the disk is full");
      return store;
    },
    lastCursor: () => events.lastCursor(),
    target,
    log: () => undefined,
  });
  queues.push(queue);
  await queue.register();
  return queue;
}

async function happen(repository: string, ...names: readonly string[]): Promise<void> {
  const refs = names.map((refName) => ({ refName, oldOid: "0".repeat(40), newOid: "1".repeat(40) }));
  await events.add({ repository, pushId: "p", user: "", about: {} }, refs, true);
  await events.tell(repository);
}

const states = async (): Promise<readonly string[]> =>
  (await store.listRecords("t", { max: 10 })).map(
    ({ state, attempts, status }) => `${state} ${attempts} ${status}`,
  );

describe("a queue", () => {
  it("tells of what is the target's, in order, and does not look there again", async () => {
    const queue = await queueFor();
    await happen("a", "one", "skipped", "two");
    await happen("others", "three");
    await queue.run("a");
    await queue.run("others");
    expect(told).toEqual(["a one", "a two"]);
    await queue.run("a");
    expect(told).toHaveLength(2);
    expect(await states()).toEqual(["delivered 1 200", "delivered 1 200"]);
  });

  it("waits behind what is not taken", async () => {
    const queue = await queueFor();
    await happen("a", "one", "two");
    await happen("b", "three");
    refuse = (name) => (name === "one" ? new DeliveryRefused("no", { status: 500 }) : undefined);
    await queue.run("a");
    await queue.run("b");
    await queue.run("a");
    expect(told).toEqual(["a one", "b three"]);
    expect(await store.next("t", "a")).toMatchObject({ attempts: 1, event: { refName: "one" } });
    expect(await states()).toEqual(["delivered 1 200", "failed 1 500"]);
  });

  it("puts aside what is never taken, and tries what is sent once more a single time", async () => {
    const queue = await queueFor({ attemptsMax: 1 });
    await happen("a", "one", "two");
    refuse = (name) => (name === "one" ? new DeliveryRefused("no", { status: 500 }) : undefined);
    await queue.run("a");
    expect(told).toEqual(["a one", "a two"]);
    expect(await states()).toEqual(["delivered 1 200", "dead 1 500"]);
    await store.replay("t", { state: "dead" });
    await happen("a", "three");
    await queue.run("a");
    expect(told.slice(2)).toEqual(["a one", "a three"]);
    expect(await states()).toContain("dead 1 500");
    refuse = () => undefined;
    await store.replay("t", { state: "dead" });
    await queue.run("a");
    expect(told.slice(4)).toEqual(["a one"]);
    expect(await states()).not.toContain("dead 1 500");
  });

  it("gives nobody up for ever who is to be told for ever, unless they say so", async () => {
    const queue = await queueFor({ firstPauseMs: 0, pauseMsMax: 1 });
    await happen("a", "one", "two");
    refuse = (name) =>
      name === "one" ? new DeliveryRefused("gone", { status: 410, isFinal: true }) : undefined;
    await queue.run("a");
    expect(told).toEqual(["a one", "a two"]);
    expect(await states()).toEqual(["delivered 1 200", "dead 1 410"]);
  });

  it("leaves alone what another process is at", async () => {
    const queue = await queueFor();
    await happen("a", "one");
    await store.lease({ target: "t", repository: "a", owner: "other" }, 60_000);
    await queue.run("a");
    expect(told).toEqual([]);
    await store.release({ target: "t", repository: "a", owner: "other" });
    await queue.run("a");
    expect(told).toEqual(["a one"]);
  });

  it("of which there are several tells each thing once", async () => {
    const all = [await queueFor(), await queueFor(), await queueFor()];
    await happen("a", ...Array.from({ length: 20 }, (_, i) => String(i)));
    await Promise.all(all.map((queue) => queue.run("a")));
    await Promise.all(all.map((queue) => queue.run("a")));
    expect(told).toEqual(Array.from({ length: 20 }, (_, i) => `a ${i}`));
  });

  it("notes what is done with, also while something waits, so that old events can go", async () => {
    const queue = await queueFor();
    await happen("a", "one");
    await happen("others", "two");
    await happen("b", "three");
    await happen("a", "four");
    refuse = (name) => (name === "three" ? new DeliveryRefused("no", { status: 500 }) : undefined);
    await queue.run("a");
    await queue.run("b");
    queue.start();
    await queue.close();
    expect(await store.settledBy(["t"])).toBe(2);
  });

  it("survives a database that is away", async () => {
    const queue = await queueFor();
    await happen("a", "one");
    isBroken = true;
    await queue.run("a");
    expect(told).toEqual([]);
    isBroken = false;
    await queue.run("a");
    expect(told).toEqual(["a one"]);
  });
});
