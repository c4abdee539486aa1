/** How much is told of what is here, and when that ends; with git it is shown in test/client-fetch.test.ts. */
import { describe, expect, it } from "vitest";
import type { HaveSource } from "./have-source.js";
import { ToldHaves } from "./told-haves.js";

const idOf = (number: number): string => number.toString(16).padStart(40, "0");

function sourceOf(count: number): HaveSource & { readonly acknowledged: string[] } {
  let told = 0;
  const acknowledged: string[] = [];
  return {
    acknowledged,
    async next(wanted) {
      const first = told;
      told = Math.min(count, told + wanted);
      return Array.from({ length: told - first }, (_, i) => idOf(first + i));
    },
    acknowledge: (oid) => void acknowledged.push(oid),
  };
}

describe("haves of a request", () => {
  it("are none where nothing is here", async () => {
    const told = new ToldHaves(undefined);
    expect({ isOver: told.isOver, haves: await told.next() }).toEqual({ isOver: true, haves: [] });
  });

  it("are all of a short history at once", async () => {
    const told = new ToldHaves(sourceOf(5));
    expect(await told.next()).toHaveLength(5);
    expect(told.isOver).toBe(true);
  });

  it("double, with what is common in front", async () => {
    const source = sourceOf(1000);
    const told = new ToldHaves(source);
    expect(await told.next()).toHaveLength(16);
    told.acknowledge(idOf(3));
    told.acknowledge(idOf(3));
    const second = await told.next();
    expect(second).toHaveLength(1 + 32);
    expect(second[0]).toBe(idOf(3));
    expect(source.acknowledged).toEqual([idOf(3)]);
    expect(told.isOver).toBe(false);
  });

  it("end once more would be in vain", async () => {
    const told = new ToldHaves(sourceOf(Infinity));
    await told.next();
    told.acknowledge(idOf(0));
    let rounds = 0;
    while (!told.isOver && rounds < 100) {
      await told.next();
      rounds++;
    }
    // 32 + 64 + 128 + 256 are enough, and one request to say so.
    expect(rounds).toBe(5);
  });

  it("end at a bound where nothing is common", async () => {
    const told = new ToldHaves(sourceOf(Infinity));
    let most = 0;
    for (let rounds = 0; !told.isOver && rounds < 100; rounds++) most += (await told.next()).length;
    expect(told.isOver).toBe(true);
    expect(most).toBe(65_536);
  });

  it("are not acknowledged before they are told", async () => {
    const told = new ToldHaves(sourceOf(100));
    await told.next();
    expect(() => told.acknowledge(idOf(99))).toThrow("acknowledges what it was not told");
  });
});
