/** How far targets have been told of events, as rows: the same on SQLite and on PostgreSQL. */
import { beforeEach, describe, expect, it } from "vitest";
import { createDeliveryStore, type DeliveryStore, type Lease } from "../src/database/delivery-store.js";
import { createEventStore, type EventStore, type ToldEvent } from "../src/database/event-store.js";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { databaseEngines } from "./support/database-engines.js";

describe.each(databaseEngines())("the delivery store on $name", ({ isSkipped, create }) => {
  let store: DeliveryStore;
  let events: EventStore;
  beforeEach(async ({ skip }) => {
    if (isSkipped) skip();
    const database = await openDatabase(parseDatabaseLocation(await create()));
    store = createDeliveryStore(database);
    events = createEventStore(database);
    return () => database.close();
  });
  const happen = async (repository: string, ...names: readonly string[]): Promise<readonly ToldEvent[]> => {
    const before = await events.lastCursor();
    const refs = names.map((refName) => ({ refName, oldOid: "0".repeat(40), newOid: "1".repeat(40) }));
    await events.add({ repository, pushId: names.join(), user: "", about: {} }, refs, true);
    await events.tell(repository);
    return events.list(before, 100);
  };
  const pending = async (target: string): Promise<readonly string[]> =>
    (await store.list(target)).map(({ event }) => `${event.repository} ${event.refName}`);
  const busy = async (target: string): Promise<readonly string[]> =>
    (await store.listRepositories(target))
      .map(({ repository, first }) => `${repository} from ${first}`)
      .toSorted();
  const lease = (target: string, repository: string, owner: string): Lease => ({ target, repository, owner });

  it("tells a target of what comes after it is known, in order", async () => {
    await happen("a", "before");
    await store.register("t");
    await happen("b", "x", "y");
    await happen("a", "z");
    await store.register("t");
    expect(await pending("t")).toEqual(["a z", "b x", "b y"]);
    expect(await busy("t")).toEqual(["a from 4", "b from 2"]);
    expect(await store.next("t", "b")).toMatchObject({ event: { refName: "x" }, attempts: 0, notBefore: 0 });
    expect(await store.next("t", "c")).toBeUndefined();
    expect(await pending("unknown")).toEqual([]);
  });

  it("goes on with the lease only, and remembers failures of the first", async () => {
    await store.register("t");
    await store.register("u");
    const [x, y] = await happen("b", "x", "y");
    const [mine, theirs] = [lease("t", "b", "one"), lease("t", "b", "two")];
    await store.advance(mine, x?.cursor ?? 0);
    expect(await pending("t")).toHaveLength(2);
    expect(await store.lease(mine, 60_000)).toBe(true);
    await store.retryLater(mine, 1234);
    await store.retryLater(theirs, 99);
    expect((await store.list("t")).map(({ attempts, notBefore }) => [attempts, notBefore])).toEqual([
      [1, 1234],
      [0, 0],
    ]);
    await store.advance(theirs, y?.cursor ?? 0);
    expect(await pending("t")).toHaveLength(2);
    await store.advance(mine, x?.cursor ?? 0);
    expect(await store.next("t", "b")).toMatchObject({ event: { refName: "y" }, attempts: 0, notBefore: 0 });
    await store.advance(mine, y?.cursor ?? 0);
    await store.advance(mine, x?.cursor ?? 0);
    expect(await pending("t")).toEqual([]);
    expect(await pending("u")).toHaveLength(2);
  });

  it("leases a repository to one at a time, target by target", async () => {
    const [one, two] = [lease("t", "a", "one"), lease("t", "a", "two")];
    expect(await store.lease(one, 60_000)).toBe(true);
    expect(await store.lease(one, 60_000)).toBe(true);
    expect(await store.lease(two, 60_000)).toBe(false);
    expect(await store.lease({ ...two, repository: "b" }, 60_000)).toBe(true);
    expect(await store.lease({ ...two, target: "u" }, 60_000)).toBe(true);
    await store.release(two);
    expect(await store.lease(two, 60_000)).toBe(false);
    await store.release(one);
    expect(await store.lease(two, -1000)).toBe(true);
    // It has run out.
    expect(await store.lease(one, 60_000)).toBe(true);
  });

  it("looks no more where everything has been told", async () => {
    await store.register("t");
    await store.register("u");
    const [x] = await happen("a", "x", "y");
    await store.settle("t", x?.cursor ?? 0);
    expect(await pending("t")).toEqual(["a y"]);
    await store.settle("t", 0);
    expect(await pending("t")).toEqual(["a y"]);
    expect(await store.settledBy(["t", "u"])).toBe(0);
    expect(await store.settledBy(["t"])).toBe(x?.cursor);
    expect(await store.settledBy([])).toBe(Number.MAX_SAFE_INTEGER);
  });

  it("remembers what became of deliveries, and sends them once more", async () => {
    await store.register("t");
    const told = await happen("a", "x", "y", "z");
    for (const [i, event] of told.entries()) {
      const { id: eventId, repository, cursor } = event;
      const record = { target: "t", eventId, repository, cursor, attempts: i, at: 5 };
      await store.record({ ...record, state: "failed", status: 500, why: "no" });
      if (i < 2)
        await store.record({ ...record, state: i === 0 ? "delivered" : "dead", status: 200, why: undefined });
    }
    const states = async (): Promise<readonly string[]> =>
      (await store.listRecords("t", { max: 10 })).map(({ state }) => state);
    expect(await states()).toEqual(["failed", "dead", "delivered"]);
    expect(await store.listRecords("t", { states: ["failed"], max: 10 })).toMatchObject([
      { status: 500, why: "no", attempts: 2, cursor: 3 },
    ]);
    expect(await store.listRecords("t", { max: 1 })).toHaveLength(1);
    expect(await store.replay("t", { state: "dead" })).toBe(1);
    expect(await store.nextReplay("t", "a")).toMatchObject({ refName: "y" });
    expect(await store.replay("t", { after: 0 })).toBe(1);
    expect(await store.nextReplay("t", "a")).toMatchObject({ refName: "x" });
    // What is still being tried is sent in any case.
    expect(await store.replay("t", { eventId: told[2]?.id ?? "" })).toBe(0);
    await store.settle("t", 3);
    expect(await busy("t")).toEqual(["a from undefined"]);
    expect(await busy("u")).toEqual([]);
  });

  it("leaves out what is skipped, and forgets records with their events", async () => {
    await store.register("t");
    const [x, y] = await happen("a", "x", "y");
    const mine = lease("t", "a", "one");
    await store.lease(mine, 60_000);
    await store.retryLater(mine, 1234);
    if (x !== undefined) await store.skip("t", x);
    expect(await store.next("t", "a")).toMatchObject({ event: { refName: "y" }, attempts: 0, notBefore: 0 });
    if (y !== undefined) await store.skip("t", y);
    expect(await busy("t")).toEqual([]);
    await events.prune(Date.now() + 1000, 2);
    expect(await store.listRecords("t", { max: 10 })).toHaveLength(1);
  });
});
