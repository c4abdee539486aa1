import { describe, expect, it } from "vitest";
import { createSharedBudget } from "./shared-budget.js";

describe("a byte budget", () => {
  it("bounds what all hold together, and not one past it", () => {
    const budget = createSharedBudget({ max: 10, free: 0 });
    const [a, b] = [budget.open(), budget.open()];
    a.take(6);
    b.take(4);
    expect(budget.held).toBe(10);
    expect(() => b.take(1)).toThrow(expect.objectContaining({ code: "server/busy" }));
    expect(budget.held).toBe(10);
    a.release();
    b.take(6);
    expect(budget.held).toBe(10);
    b.release();
    b.release();
    expect(budget.held).toBe(0);
  });

  it("lets each have a little, even when the rest is taken", () => {
    const budget = createSharedBudget({ max: 10, free: 3 });
    const [a, b] = [budget.open(), budget.open()];
    a.take(13);
    expect(budget.held).toBe(10);
    b.take(3);
    b.take(0);
    expect(budget.held).toBe(10);
    expect(() => b.take(1)).toThrow(/too many large requests/);
    a.release();
    b.take(1);
    expect(budget.held).toBe(1);
  });

  it("may be without bound", () => {
    const share = createSharedBudget({ max: Infinity, free: 0 }).open();
    for (let i = 0; i < 100; i++) share.take(2 ** 40);
  });
});
