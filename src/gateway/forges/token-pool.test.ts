import { describe, expect, it } from "vitest";
import { createTokenPool } from "./token-pool.js";

const START = 1_800_000_000_000;

function pool(tokens: readonly string[]) {
  let nowMs = START;
  const each = createTokenPool(tokens, "forge.example", () => nowMs);
  return {
    each,
    pass: (ms: number) => void (nowMs += ms),
    take: (n: number) => Array.from({ length: n }, () => each.take()),
  };
}
const until = (untilMs: number): Error =>
  expect.objectContaining({ code: "forge/exhausted", details: { untilMs } }) as Error;

describe("tokens of a forge", () => {
  it("are asked in turn, each once", () => {
    expect(pool(["a", "b", "c", "a"]).take(5)).toEqual(["a", "b", "c", "a", "b"]);
  });

  it("are none where there are none", () => {
    const { each, pass } = pool([]);
    expect([each.size, each.take()]).toEqual([0, undefined]);
    each.coolDown(undefined);
    expect(() => each.take()).toThrow(until(START + 60_000));
    pass(60_000);
    expect(each.take()).toBeUndefined();
  });

  it("rest as long as the forge says, or a minute", () => {
    const { each, pass, take } = pool(["a", "b", "c"]);
    each.coolDown("a");
    each.coolDown("b", START + 90_000);
    expect(take(3)).toEqual(["c", "c", "c"]);
    pass(60_000);
    expect(take(3)).toEqual(["a", "c", "a"]);
    pass(30_000);
    expect(new Set(take(3))).toEqual(new Set(["a", "b", "c"]));
  });

  it("are exhausted until the first of them is not", () => {
    const { each, pass } = pool(["a", "b"]);
    each.coolDown("a", START + 50_000);
    each.coolDown("b", START + 40_000);
    expect(() => each.take()).toThrow(until(START + 40_000));
    expect(() => each.check("a")).toThrow(until(START + 50_000));
    pass(40_000);
    expect(each.take()).toBe("b");
    expect(each.check("b")).toBeUndefined();
  });

  it("rest for a second at least, for an hour at most, and not shorter for a second word", () => {
    const { each, pass } = pool(["a"]);
    each.coolDown("a", Number.MAX_SAFE_INTEGER);
    each.coolDown("a", 0);
    expect(() => each.take()).toThrow(until(START + 3_600_000));
    pass(3_600_000);
    expect(each.take()).toBe("a");
    each.coolDown("a", 0);
    expect(() => each.take()).toThrow(until(START + 3_601_000));
  });

  it("are of accounts that are known once they were asked for", () => {
    const { each } = pool(["a"]);
    expect(each.accountOf("a")).toBeUndefined();
    each.knowAccount("a", "bot");
    expect(each.accountOf("a")).toBe("bot");
  });
});
