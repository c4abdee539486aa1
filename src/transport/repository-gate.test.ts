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
    const waiting = gate.enter("app", gone.signal);
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
    const waiting = gate.enter("a", gone.signal);
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
