/** What is written down around the move of refs, with a database that may fail. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createEventStore, type EventStore } from "../database/event-store.js";
import { openDatabase, parseDatabaseLocation } from "../database/open-database.js";
import type { ChangedRef, Push, PushedRef } from "../engine/push.js";
import { createEventRecorder, type EventRecorder } from "./event-recorder.js";

const [NULL, A, B, C] = ["0", "a", "b", "c"].map((digit) => digit.repeat(40)) as [
  string,
  string,
  string,
  string,
];

let directory: string;
let made = 0;
let store: EventStore;
let isBroken: boolean;
let delivered: string[];
let logged: string[];
let handlers: EventRecorder;

beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), "gitwharf-events-"))));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
beforeEach(async () => {
  const path = join(directory, String(++made), "access.sqlite");
  const database = await openDatabase(parseDatabaseLocation(`sqlite:${path}`));
  store = createEventStore(database);
  isBroken = false;
  delivered = [];
  logged = [];
  handlers = createEventRecorder({
    store: async () => {
      if (isBroken) throw new Error("the disk is full");
      return store;
    },
    database: "here",
    ready: async () => undefined,
    publisher: { run: async (repository) => void delivered.push(repository) },
    log: ({ message }) => logged.push(message),
  });
  return () => database.close();
});

function push(
  refsBefore: readonly string[] = ["main"],
  outbox?: { readonly database: string; add(refName: string): void },
): {
  readonly push: Push;
  readonly printed: string[];
} {
  const printed: string[] = [];
  const about = {
    snapshot: { refs: { all: refsBefore } },
    updates: [],
    commands: [],
    options: ["ci.skip"],
    transport: "http",
    repository: { name: "app", refs: { outbox } },
    identity: { user: "ada" },
    facts: { repository_id: "7" },
    print: (text: string) => void printed.push(text),
  };
  return { push: about as unknown as Push, printed };
}

const command = (name: string, oldOid: string, newOid: string): PushedRef & ChangedRef =>
  ({ name, oldOid, newOid }) as PushedRef & ChangedRef;
const move = (
  about: Push,
  state: "prepared" | "committed" | "aborted",
  ...commands: readonly PushedRef[]
): unknown => handlers.onMove.referenceTransaction(about, state, commands);
const rows = async (): Promise<readonly string[]> =>
  (await store.listUntold()).map(({ refName, newOid, hasMoved }) => `${refName} ${newOid[0]} ${hasMoved}`);

describe("the move of refs", () => {
  it("is written down before, and settled after", async () => {
    const { push: one } = push();
    const [main, two] = [command("main", NULL, A), command("two", NULL, B)];
    expect(await move(one, "prepared", main, two)).toBe(true);
    expect(await rows()).toEqual(["main a false", "two b false"]);
    expect(delivered).toEqual([]);
    expect(await move(one, "committed", main, two)).toBe(true);
    expect(await rows()).toEqual(["main a true", "two b true"]);
    expect(delivered).toEqual(["app"]);
    expect((await store.listUntold())[0]).toMatchObject({
      user: "ada",
      repository: "app",
      about: { transport: "http", options: ["ci.skip"], facts: { repository_id: "7" } },
    });
    await handlers.onReceived.postReceive({ ...one }, [main, two]);
    expect(await rows()).toHaveLength(2);
  });

  it("is written down by the commit itself where both are in one database", async () => {
    const drafts: string[] = [];
    const add = (refName: string): void => void drafts.push(refName);
    const main = command("main", NULL, A);
    const { push: here } = push(["main"], { database: "here", add });
    expect(await move(here, "prepared", main)).toBe(true);
    expect([drafts, await rows()]).toEqual([["main"], []]);
    await move(here, "committed", main);
    expect([delivered, await rows()]).toEqual([["app"], []]);

    const { push: there } = push(["main"], { database: "elsewhere", add });
    const { push: first } = push([], { database: "here", add });
    await move(there, "prepared", command("two", NULL, A));
    await move(first, "prepared", command("three", NULL, A));
    expect([drafts, await rows()]).toEqual([["main"], ["two a false", "three a false"]]);
  });

  it("that was given up leaves nothing, and what the commit refuses is struck out", async () => {
    const { push: one } = push();
    const [main, two] = [command("main", NULL, A), command("two", NULL, B)];
    await move(one, "prepared", main);
    await move(one, "prepared", two);
    await move(one, "aborted", main);
    expect(await rows()).toEqual(["two b false"]);
    await move(one, "committed", two);
    const { push: other } = push();
    const [three, four] = [command("three", NULL, A), command("four", NULL, B)];
    await move(other, "prepared", three, four);
    await move(other, "committed", four);
    expect(await rows()).toEqual(["two b true", "four b true"]);
  });

  it("does not happen when it cannot be written down", async () => {
    const { push: one, printed } = push();
    isBroken = true;
    expect(await move(one, "prepared", command("main", NULL, A))).toBe(false);
    expect(await move(one, "aborted", command("main", NULL, A))).toBe(true);
    expect(printed.join("")).toContain("try again later");
    expect(printed.join("")).not.toContain("disk");
    isBroken = false;
    expect(await rows()).toEqual([]);
  });

  it("that is done is done, whether or not the database is there", async () => {
    const { push: one } = push();
    await move(one, "prepared", command("main", NULL, A));
    isBroken = true;
    expect(await move(one, "committed", command("main", NULL, A))).toBe(true);
    expect(logged).toEqual(["what became of a push cannot be written down yet"]);
    isBroken = false;
    expect(await rows()).toEqual(["main a false"]);
    // The next push to the ref knows what became of it.
    const { push: two } = push();
    await move(two, "prepared", command("main", A, B));
    expect(await rows()).toEqual(["main a true", "main b false"]);
    const { push: three } = push();
    await move(three, "prepared", command("main", A, C));
    expect(await rows()).toEqual(["main a true", "main c false"]);
  });

  it("that took so long that it was taken for lost is written down anew", async () => {
    const { push: one } = push();
    const [main, two] = [command("main", NULL, A), command("two", NULL, B)];
    await move(one, "prepared", main, two);
    for (const { id, refName } of await store.listUntold()) if (refName === "main") await store.remove(id);
    await move(one, "committed", main, two);
    expect(await rows()).toEqual(["two b true", "main a true"]);
  });

  it("that proc-receive has made itself is written down when it tells of it", async () => {
    const { push: one } = push();
    await move(one, "prepared", command("main", NULL, A));
    await move(one, "committed", command("main", NULL, A));
    await handlers.onReceived.postReceive(one, [
      command("main", NULL, A),
      { ...command("refs/for/topic", NULL, B), pushedAs: "refs/for/main" },
    ]);
    expect(await rows()).toEqual(["main a true", "refs/for/topic b true"]);
  });

  it("may be that of one ref twice in one push", async () => {
    for (const refsBefore of [["main"], []]) {
      const { push: one } = push(refsBefore);
      const [first, second] = [command("main", NULL, A), command("main", A, B)];
      await move(one, "prepared", first);
      await move(one, "committed", first);
      await move(one, "prepared", second);
      await move(one, "committed", second);
      await handlers.onReceived.postReceive(one, [first, second]);
      expect(await rows()).toEqual(["main a true", "main b true"]);
      await store.tell("app");
    }
  });

  it("is forced or not, where somebody has looked", async () => {
    const { push: one } = push();
    const [main, two] = [command("main", A, B), command("two", A, B)];
    const updates = [
      { ...main, forced: async () => true },
      { ...two, forced: async () => Promise.reject(new Error("it took too long")) },
    ];
    await handlers.onReceive.preReceive({ ...one, updates } as unknown as Push);
    await move(one, "prepared", main, two, command("new", NULL, A));
    expect((await store.listUntold()).map(({ forced }) => forced)).toEqual([true, undefined, false]);
  });
});

describe("the first refs of a repository", () => {
  it("have moved once it is in its place", async () => {
    const { push: one } = push([]);
    const main = command("main", NULL, A);
    await move(one, "prepared", main);
    await move(one, "committed", main);
    expect(await rows()).toEqual(["main a false"]);
    expect(delivered).toEqual([]);
    await handlers.onReceived.postReceive(one, [main]);
    expect(await rows()).toEqual(["main a true"]);
    expect(delivered).toEqual(["app"]);
  });

  it("are those of the push that was faster, whatever it pushed", async () => {
    const main = command("main", NULL, A);
    const { push: slow } = push([]);
    await move(slow, "prepared", main);
    await move(slow, "committed", main);
    // In the repository that stands there, the same push anew.
    const { push: anew } = push(["main"]);
    await move(anew, "prepared", command("main", B, A));
    expect(await rows()).toEqual(["main a false"]);
    await move(anew, "committed", command("main", B, A));
    expect(await rows()).toEqual(["main a true"]);
  });

  it("of two pushes that make it, each in a place of its own, are left alone by the other", async () => {
    const main = command("main", NULL, A);
    const [one, two] = [push([]), push([])];
    await move(one.push, "prepared", main);
    await move(two.push, "prepared", main);
    expect(await rows()).toEqual(["main a false", "main a false"]);
    await move(one.push, "committed", main);
    await handlers.onReceived.postReceive(one.push, [main]);
    expect(await rows()).toEqual(["main a true", "main a false"]);
  });

  it("are struck out when another one has taken the place", async () => {
    const { push: slow } = push([]);
    const main = command("main", NULL, A);
    await move(slow, "prepared", main);
    await move(slow, "committed", main);
    const anew = { ...push(["main"]).push, commands: slow.commands };
    await handlers.onReceive.preReceive(anew);
    expect(await rows()).toEqual([]);
    const two = command("two", NULL, A);
    await move(anew, "prepared", two);
    await move(anew, "committed", two);
    await handlers.onReceived.postReceive(anew, [two]);
    expect(await rows()).toEqual(["two a true"]);
  });

  it("are written down anew when they were taken for lost", async () => {
    const { push: one } = push([]);
    const main = command("main", NULL, A);
    await move(one, "prepared", main);
    await move(one, "committed", main);
    for (const { id } of await store.listUntold()) await store.remove(id);
    await handlers.onReceived.postReceive(one, [main]);
    expect(await rows()).toEqual(["main a true"]);
  });
});
