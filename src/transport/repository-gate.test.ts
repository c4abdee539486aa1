import { describe, expect, it } from "vitest";
import { createRepositoryGate } from "./repository-gate.js";

const limits = { repositoryConcurrencyMax: 2, repositoryQueueMax: 1, requestsMax: 100 };

describe("createRepositoryGate", () => {
  it("lets as many in as the limit, queues the next, and refuses one past the queue", async () => {
    const gate = createRepositoryGate(limits);
    const first = await gate.enter("app");
    await gate.enter("app");
    const third = gate.enter("app");
    await expect(gate.enter("app")).rejects.toMatchObject({ code: "server/busy" });
    expect(gate.active).toBe(2);
    first();
    first();
    const leave = await third;
    expect(gate.active).toBe(2);
    leave();
    expect(gate.active).toBe(1);
  });

  it("is closed when all who were in or waited have left, and lets nobody in", async () => {
    const gate = createRepositoryGate({ ...limits, repositoryConcurrencyMax: 1 });
    const first = await gate.enter("app");
    const second = gate.enter("app");
    let empty = false;
    const closed = gate.close().then(() => (empty = true));
    await expect(gate.enter("other")).rejects.toMatchObject({ code: "base/shutting-down" });
    first();
    const leave = await second;
    expect(empty).toBe(false);
    leave();
    await closed;
    await createRepositoryGate(limits).close();
  });

  it("keeps repositories apart", async () => {
    const gate = createRepositoryGate({ ...limits, repositoryConcurrencyMax: 1, repositoryQueueMax: 0 });
    await gate.enter("a");
    await gate.enter("b");
    await expect(gate.enter("a")).rejects.toMatchObject({ code: "server/busy" });
  });

  it("forgets who left while waiting", async () => {
    const gate = createRepositoryGate({ ...limits, repositoryConcurrencyMax: 1 });
    const leave = await gate.enter("app");
    const gone = new AbortController();
    const waiting = gate.enter("app", { signal: gone.signal });
    gone.abort();
    await expect(waiting).rejects.toMatchObject({ code: "base/aborted" });
    leave();
    expect(gate.active).toBe(0);
    await gate.enter("app");
    expect(gate.active).toBe(1);
  });

  it("counts who works and who waits in all repositories together", async () => {
    const gate = createRepositoryGate({ repositoryConcurrencyMax: 1, repositoryQueueMax: 9, requestsMax: 3 });
    const leave = await gate.enter("a");
    await gate.enter("b");
    const gone = new AbortController();
    const waiting = gate.enter("a", { signal: gone.signal });
    await expect(gate.enter("c")).rejects.toMatchObject({ code: "server/busy" });
    gone.abort();
    await expect(waiting).rejects.toMatchObject({ code: "base/aborted" });
    const second = gate.enter("a");
    await expect(gate.enter("c")).rejects.toMatchObject({ code: "server/busy" });
    leave();
    (await second)();
    await gate.enter("c");
    expect(gate.active).toBe(2);
  });
});

describe("a caller", () => {
  it("who takes all that it gets leaves places to others, who leave some to others again", async () => {
    const gate = createRepositoryGate({
      repositoryConcurrencyMax: 8,
      repositoryQueueMax: 99,
      requestsMax: 999,
    });
    const inside = async (caller: string): Promise<number> => {
      const before = gate.active;
      for (let i = 0; i < 9; i++) void gate.enter("app", { caller }).catch(() => undefined);
      await Promise.resolve();
      return gate.active - before;
    };
    expect(await inside("greedy")).toBe(5);
    expect(await inside("second")).toBe(2);
    expect(await inside("third")).toBe(1);
    expect(await inside("fourth")).toBe(0);
  });

  it("of nobody's name gets all there are", async () => {
    const gate = createRepositoryGate({
      repositoryConcurrencyMax: 8,
      repositoryQueueMax: 0,
      requestsMax: 999,
    });
    for (let i = 0; i < 8; i++) await gate.enter("app");
    await expect(gate.enter("app")).rejects.toMatchObject({ code: "server/busy" });
  });

  it("waits for its turn behind the others' first and not behind the crowd of one", async () => {
    const gate = createRepositoryGate({
      repositoryConcurrencyMax: 1,
      repositoryQueueMax: 9,
      requestsMax: 999,
    });
    const turns: string[] = [];
    const first = await gate.enter("app", { caller: "a" });
    const entered = ["a", "a", "a", "b", "c", "b"].map(async (caller) => {
      const leave = await gate.enter("app", { caller });
      turns.push(caller);
      leave();
    });
    first();
    await Promise.all(entered);
    expect(turns).toEqual(["a", "b", "c", "a", "b", "a"]);
    expect([gate.active, gate.waiting]).toEqual([0, 0]);
  });

  it("who waits with the most makes room for a newcomer, and for nobody who waits already", async () => {
    const gate = createRepositoryGate({
      repositoryConcurrencyMax: 1,
      repositoryQueueMax: 3,
      requestsMax: 999,
    });
    const leave = await gate.enter("app", { caller: "a" });
    const crowd = Array.from({ length: 3 }, () => gate.enter("app", { caller: "a" }));
    const crowded = Promise.allSettled(crowd);
    await expect(gate.enter("app", { caller: "a" })).rejects.toMatchObject({ code: "server/busy" });
    const newcomer = gate.enter("app", { caller: "b" });
    await expect(crowd[2]).rejects.toMatchObject({ code: "server/busy" });
    expect(gate.waiting).toBe(3);
    await expect(gate.enter("app", { caller: "b" })).rejects.toMatchObject({ code: "server/busy" });
    leave();
    // Turns: of "a", whose crowd was first, and of "b".
    (await (crowd[0] as Promise<() => void>))();
    (await newcomer)();
    (await (crowd[1] as Promise<() => void>))();
    await crowded;
    expect([gate.active, gate.waiting]).toEqual([0, 0]);
  });

  it("does not take all requests of the server", async () => {
    const gate = createRepositoryGate({ repositoryConcurrencyMax: 2, repositoryQueueMax: 9, requestsMax: 8 });
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        Promise.race([
          gate.enter(`app${i % 4}`, { caller: "greedy" }).then(
            () => "in",
            () => "refused",
          ),
          new Promise<string>((resolve) => setImmediate(resolve, "waits")),
        ]),
      ),
    );
    expect(results.filter((result) => result === "refused")).toHaveLength(3);
    await gate.enter("app9", { caller: "other" });
  });
});
