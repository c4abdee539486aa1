/** What is written down around the move of refs, with a database that may fail. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createDeliveryStore, type DeliveryStore } from "../../database/delivery-store.js";
import { openDatabase, parseDatabaseLocation } from "../../database/open-database.js";
import type { ChangedRef, Push, PushedRef } from "../../engine/push.js";
import { createDeliveryHandlers, type DeliveryHandlers } from "./delivery-handler.js";

const [NULL, A, B, C] = ["0", "a", "b", "c"].map((digit) => digit.repeat(40)) as [
  string,
  string,
  string,
  string,
];

let directory: string;
let made = 0;
let store: DeliveryStore;
let isBroken: boolean;
let delivered: string[];
let logged: string[];
let handlers: DeliveryHandlers;

beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), "gitwharf-deliveries-"))));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
beforeEach(async () => {
  const path = join(directory, String(++made), "access.sqlite");
  const database = await openDatabase(parseDatabaseLocation(`sqlite:${path}`));
  store = createDeliveryStore(database);
  isBroken = false;
  delivered = [];
  logged = [];
  handlers = createDeliveryHandlers({
    store: async () => {
      if (isBroken) throw new Error("the disk is full");
      return store;
    },
    queue: { deliver: async (repository) => void delivered.push(repository) },
    log: ({ message }) => logged.push(message),
    waitMs: 10_000,
  });
  return () => database.close();
});

function push(): { readonly push: Push; readonly printed: string[] } {
  const printed: string[] = [];
  const about = {
    snapshot: {},
    repository: { name: "app" },
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
  (await store.list()).map(({ refName, newOid, hasMoved }) => `${refName} ${newOid[0]} ${hasMoved}`);

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
    expect((await store.list())[0]).toMatchObject({ user: "ada", repositoryId: "7", repository: "app" });
    await handlers.onReceived.postReceive({ ...one }, [main, two]);
    expect(await rows()).toHaveLength(2);
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
});
