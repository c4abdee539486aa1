import { expect, it } from "vitest";
import { restartDelayMs } from "./restart-delay.js";

it("waits twice as long each time, and never longer than five minutes", () => {
  expect([1, 2, 3, 4].map(restartDelayMs)).toEqual([1000, 2000, 4000, 8000]);
  expect([9, 10, 1000, Number.MAX_SAFE_INTEGER].map(restartDelayMs)).toEqual([
    256_000, 300_000, 300_000, 300_000,
  ]);
  expect(restartDelayMs(0)).toBe(1000);
});
