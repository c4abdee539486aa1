import { describe, expect, it } from "vitest";
import { createFairTurns, type FairTurnsOptions } from "./fair-turns.js";

function make(options: Partial<FairTurnsOptions>) {
  const turns = createFairTurns({
    concurrencyMax: 1,
    queueMax: 9,
    tooMany: () => new Error("too many"),
    ...options,
  });
  const done: string[] = [];
  const held: (() => void)[] = [];
  const ask = (asker: string): Promise<string> =>
    turns
      .run(asker, () => new Promise<void>((resolve) => held.push(resolve)))
      .then(
        () => "done",
        (error: unknown) => (error instanceof Error ? error.message : ""),
      )
      .then((outcome) => {
        done.push(`${asker} ${outcome}`);
        return outcome;
      });
  /** Lets all work end, one after the other. */
  const finish = async (): Promise<readonly string[]> => {
    for (let idle = 0; idle < 3; ) {
      const end = held.shift();
      end?.();
      idle = end === undefined ? idle + 1 : 0;
      await new Promise(setImmediate);
    }
    return done;
  };
  return { ask, finish, held };
}

describe("fair turns", () => {
  it("do so much at once, and give each asker its turn", async () => {
    const { ask, finish, held } = make({ concurrencyMax: 2 });
    for (const asker of ["a", "a", "a", "a", "b", "c", "b"]) void ask(asker);
    await new Promise(setImmediate);
    expect(held).toHaveLength(2);
    expect(await finish()).toEqual(["a", "a", "a", "b", "c", "a", "b"].map((asker) => `${asker} done`));
  });

  it("let a newcomer take the place of who waits with the most", async () => {
    const { ask, finish } = make({ queueMax: 3 });
    for (let i = 0; i < 9; i++) void ask("crowd");
    const newcomer = ask("newcomer");
    const done = await finish();
    expect(await newcomer).toBe("done");
    expect(done.filter((each) => each === "crowd done")).toHaveLength(3);
    expect(done.filter((each) => each === "crowd too many")).toHaveLength(6);
  });

  it("let no newcomer in where everybody waits once", async () => {
    const { ask, finish } = make({ queueMax: 2 });
    for (const asker of ["a", "b", "c", "d"]) void ask(asker);
    expect(await finish()).toEqual(["d too many", "a done", "b done", "c done"]);
  });

  it("keep an asker to his share, and work without a queue", async () => {
    const shares = make({ perAskerMax: 1 });
    for (const asker of ["a", "a", "a", "b"]) void shares.ask(asker);
    expect(await shares.finish()).toEqual(["a too many", "a done", "a done", "b done"]);
    const none = make({ queueMax: 0 });
    for (const asker of ["a", "b"]) void none.ask(asker);
    expect(await none.finish()).toEqual(["b too many", "a done"]);
  });

  it("go on after work that fails", async () => {
    const turns = createFairTurns({ concurrencyMax: 1, queueMax: 1, tooMany: () => new Error("too many") });
    const failing = turns.run("a", () => Promise.reject(new Error("failed")));
    const next = turns.run("a", async () => "next");
    await expect(failing).rejects.toThrow("failed");
    expect(await next).toBe("next");
  });
});
