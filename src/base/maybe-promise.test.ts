/** Steps that wait now and then: at once while nothing is to be waited for, errors where they arise. */
import { describe, expect, it } from "vitest";
import { isPromise, ready, runSteps, type Steps } from "./maybe-promise.js";

function* sum(values: readonly (number | Promise<number>)[]): Steps<number> {
  let total = 0;
  for (const value of values) total += yield* ready(value);
  return total;
}

describe("runSteps", () => {
  it("answers at once when nothing has to be waited for", () => {
    expect(runSteps(sum([1, 2, 3]))).toBe(6);
  });

  it("waits for each promise in turn", async () => {
    const answer = runSteps(sum([1, Promise.resolve(2), 3, Promise.resolve(4)]));
    expect(isPromise(answer)).toBe(true);
    expect(await answer).toBe(10);
  });

  it("throws at once what is thrown before the first wait, and rejects with what comes later", async () => {
    const fail = function* (first: number | Promise<number>): Steps<never> {
      yield* ready(first);
      throw new Error("late");
    };
    expect(() => runSteps(fail(1))).toThrow("late");
    await expect(runSteps(fail(Promise.resolve(1)))).rejects.toThrow("late");
  });

  it("raises a rejection where it is waited for, which may catch it and wait again", async () => {
    const caught = function* (): Steps<string> {
      try {
        yield* ready<number>(Promise.reject(new Error("no bytes")));
      } catch (error) {
        return `${(error as Error).message}${yield* ready(Promise.resolve("!"))}`;
      }
      return "nothing was raised";
    };
    expect(await runSteps(caught())).toBe("no bytes!");
    await expect(runSteps(sum([Promise.reject(new Error("no bytes"))]))).rejects.toThrow("no bytes");
  });

  it("needs no more stack for many waits", async () => {
    const many = Array.from({ length: 50_000 }, (_, i) => (i % 2 === 0 ? 1 : Promise.resolve(1)));
    expect(await runSteps(sum(many))).toBe(50_000);
  });
});
