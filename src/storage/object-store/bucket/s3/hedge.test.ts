import { describe, expect, it } from "vitest";
import { GitwharfError } from "../../../../base/errors.js";
import { createHedging, hedged } from "./hedge.js";
import { S3Failure } from "./s3-failure.js";

/** One that asks again at once, and may always. */
const EAGER = { afterMs: () => 0, mayAsk: () => true, took: () => undefined };
const PASSING = new S3Failure("passing", "SlowDown", "slow down");

/** Reads that end when the test says so. */
function reads() {
  const all: { resolve: (value: string) => void; reject: (error: Error) => void; signal: AbortSignal }[] = [];
  let told = (): void => undefined;
  const read = (signal: AbortSignal): Promise<string> =>
    new Promise((resolve, reject) => {
      all.push({ resolve, reject, signal });
      signal.addEventListener("abort", () => reject(new GitwharfError("base/aborted", "ended")));
      told();
    });
  const number = async (count: number): Promise<void> => {
    while (all.length < count)
      await new Promise<void>((resolve) => {
        told = resolve;
      });
  };
  return { all, read, number };
}

describe("hedged", () => {
  it.each([0, 1])("takes the answer of %i, and ends the other", async (winner) => {
    const { all, read, number } = reads();
    const answer = hedged(EAGER, undefined, read);
    await number(2);
    all[winner]?.resolve("won");
    expect(await answer).toBe("won");
    expect(all.map(({ signal }) => signal.aborted)).toEqual([winner === 1, winner === 0]);
  });

  it("waits for the second when the first fails, and fails with the last", async () => {
    const first = reads();
    const answer = hedged(EAGER, undefined, first.read);
    await first.number(2);
    first.all[0]?.reject(PASSING);
    first.all[1]?.resolve("second");
    expect(await answer).toBe("second");

    const other = reads();
    const failed = hedged(EAGER, undefined, other.read);
    await other.number(2);
    other.all[1]?.reject(PASSING);
    other.all[0]?.reject(new S3Failure("final", "AccessDenied", "no"));
    await expect(failed).rejects.toThrow("no");
  });

  it("does not wait once it is certain that there is nothing", async () => {
    const { all, read, number } = reads();
    const answer = hedged(EAGER, undefined, read);
    await number(2);
    all[0]?.reject(new S3Failure("absent", "NoSuchKey", "none"));
    await expect(answer).rejects.toThrow("none");
    expect(all[1]?.signal.aborted).toBe(true);
  });

  it("ends both with the caller, and begins none for one who has gone", async () => {
    const { all, read, number } = reads();
    const caller = new AbortController();
    const answer = hedged(EAGER, caller.signal, read);
    await number(2);
    caller.abort();
    await expect(answer).rejects.toMatchObject({ code: "base/aborted" });
    expect(all.map(({ signal }) => signal.aborted)).toEqual([true, true]);
    await expect(hedged(EAGER, AbortSignal.abort(), read)).rejects.toMatchObject({ code: "base/aborted" });
  });
});

describe("createHedging", () => {
  it("says nothing before it has seen enough, then the time that few exceed", () => {
    const hedging = createHedging({ minMs: 5 });
    for (let ms = 1; ms <= 19; ms++) hedging.took(ms);
    expect(hedging.afterMs()).toBeUndefined();
    hedging.took(20);
    expect(hedging.afterMs()).toBe(20);
    for (let round = 0; round < 400; round++) hedging.took(round % 100 < 94 ? 10 : 90);
    expect(hedging.afterMs()).toBe(90);
    for (let round = 0; round < 400; round++) hedging.took(1);
    expect(hedging.afterMs()).toBe(5);
  });

  it("adds a tenth at most when everything is slow", () => {
    const hedging = createHedging({ minMs: 1 });
    let asked = 0;
    for (let round = 0; round < 1000; round++) {
      if (hedging.mayAsk()) asked++;
      hedging.took(10);
    }
    expect(asked).toBeGreaterThan(90);
    expect(asked).toBeLessThanOrEqual(105);
  });
});
