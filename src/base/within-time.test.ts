import { describe, expect, it } from "vitest";
import { withinTime } from "./within-time.js";

const never = new Promise<never>(() => undefined);

describe("withinTime", () => {
  it("is what was answered, at once or later, by a promise of whatever library", async () => {
    expect(await withinTime(1000, "it", () => 7)).toBe(7);
    expect(await withinTime(1000, "it", async () => 7)).toBe(7);
    const thenable = { then: (resolve: (value: number) => void) => resolve(7) };
    expect(await withinTime(1000, "it", () => thenable as unknown as Promise<number>)).toBe(7);
    expect(await withinTime(Infinity, "it", async () => 7)).toBe(7);
  });

  it("fails as the question does, and with its name when no answer comes", async () => {
    const fails = (): never => {
      throw new Error("away");
    };
    await expect(withinTime(1000, "it", fails)).rejects.toThrow("away");
    await expect(withinTime(1000, "it", async () => fails())).rejects.toThrow("away");
    await expect(withinTime(20, "the callback", () => never)).rejects.toThrow(
      "the callback gave no answer within 20 ms",
    );
    const deaf = { then: () => undefined };
    await expect(withinTime(20, "it", () => deaf as unknown as Promise<number>)).rejects.toThrow("no answer");
  });

  it("hears nothing of an answer that comes too late", async () => {
    let fail: (error: Error) => void = () => undefined;
    const late = new Promise<never>((_, reject) => (fail = reject));
    await expect(withinTime(1, "it", () => late)).rejects.toThrow("no answer");
    const unheard: unknown[] = [];
    const listen = (error: unknown): void => void unheard.push(error);
    process.on("unhandledRejection", listen);
    fail(new Error("too late"));
    await new Promise(setImmediate);
    process.off("unhandledRejection", listen);
    expect(unheard).toEqual([]);
  });
});
