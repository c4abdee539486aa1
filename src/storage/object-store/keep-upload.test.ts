import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { keepUploads } from "./keep-upload.js";

const HOUR_MS = 60 * 60 * 1000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("says again and again that uploads are alive, until it is told to stop", async () => {
  const touched: string[] = [];
  const stop = keepUploads(
    {
      async touchUpload(id) {
        touched.push(id);
        // The next time it is tried again.
        throw new Error("the database is away");
      },
    },
    ["one", "other"],
  );
  for (let hours = 1; hours <= 30; hours++) {
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(touched.splice(0)).toEqual(expect.arrayContaining(["one", "other"]));
  }
  stop();
  await vi.advanceTimersByTimeAsync(30 * HOUR_MS);
  expect(touched).toEqual([]);
});
