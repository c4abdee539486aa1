import { execFile } from "node:child_process";
import { readdirSync, readlinkSync } from "node:fs";
import { promisify } from "node:util";
import { MessageChannel } from "node:worker_threads";
import { afterAll, expect, test } from "vitest";
import { GitwharfError } from "./errors.js";
import type { TestTask } from "./worker-pool.test.task.js";
import {
  closeWorkerPool,
  loadInWorker,
  runInWorker,
  workerCount,
  type RunInWorkerOptions,
} from "./worker-pool.js";

const module = new URL("./worker-pool.test.task.js", import.meta.url);
const run = (task: TestTask, options?: RunInWorkerOptions): Promise<unknown> =>
  runInWorker(module, task, options);
afterAll(closeWorkerPool);

test("a task's result comes back", async () => {
  expect(await run({ do: "add", a: 2, b: 3 })).toBe(5);
});

test("a module is loaded ahead, without a task", async () => {
  expect(await loadInWorker(module)).toBeUndefined();
  expect(await run({ do: "add", a: 2, b: 3 })).toBe(5);
  await expect(loadInWorker(new URL("./no-such-worker.js", import.meta.url))).rejects.toMatchObject({
    code: "base/invariant",
  });
});

test("a thread that is ended while it loads leaves no file open", { timeout: 240_000 }, async () => {
  const heavy = new URL("./worker-pool-loading.test.task.js", import.meta.url);
  const modules = (): readonly string[] =>
    readdirSync("/proc/self/fd")
      .map((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`);
        } catch {
          return "closed";
        }
      })
      .filter((path) => path.endsWith(".js"));
  for (let turn = 0; turn < 24; turn++) {
    await closeWorkerPool();
    await loadInWorker(module);
    const left = new AbortController();
    const loading = runInWorker(heavy, undefined, { signal: left.signal });
    // While it loads, at another moment each time.
    await new Promise((resolve) => setTimeout(resolve, 2 + turn));
    left.abort();
    await loading.catch(() => undefined);
  }
  await expect.poll(modules, { timeout: 10_000 }).toEqual([]);
});

test("an error keeps what has caused it", async () => {
  await expect(run({ do: "full-disk" })).rejects.toMatchObject({
    code: "storage/io",
    cause: { code: "storage/io", message: "the spool", cause: { code: "ENOSPC", cause: { code: "ENOSPC" } } },
  });
});

test("an error of ours keeps class, code, kind, message and details", async () => {
  const error: unknown = await run({ do: "peer-error" }).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(GitwharfError);
  expect(error).toMatchObject({
    code: "pack/bad-zlib",
    kind: "peer",
    message: "entry at 12 does not inflate",
    details: { offset: 12 },
  });
  await expect(run({ do: "uncloneable-details" })).rejects.toMatchObject({
    code: "pack/bad-pack",
    message: "odd",
  });
});

test("any other error is a defect, with the worker's stack", async () => {
  const error: unknown = await run({ do: "defect" }).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: "base/invariant" });
  expect((error as Error).message).toContain("x is not a function");
  expect((error as Error).stack).toContain("worker-pool.test.task");
});

test("tasks run at the same time", async () => {
  const counter = new SharedArrayBuffer(4);
  const parties = Math.min(2, workerCount());
  const seen = await Promise.all([
    run({ do: "meet", counter, parties }),
    run({ do: "meet", counter, parties }),
  ]);
  expect(seen).toEqual([2, 2]);
});

test("work in the background has a thread beside all of the pool's, and can be ended", async () => {
  const counter = new SharedArrayBuffer(4);
  const parties = workerCount() + 1;
  const meet = (isBackground: boolean): Promise<unknown> =>
    run({ do: "meet", counter, parties }, { isBackground });
  const met = await Promise.all([meet(true), ...Array.from({ length: parties - 1 }, () => meet(false))]);
  expect(met).toEqual(met.map(() => parties));
  const controller = new AbortController();
  const spinning = run({ do: "spin" }, { isBackground: true, signal: controller.signal });
  setImmediate(() => controller.abort());
  await expect(spinning).rejects.toMatchObject({ code: "base/aborted" });
  expect(await run({ do: "add", a: 1, b: 1 }, { isBackground: true })).toBe(2);
});

test("a signal ends a task that never would, and the pool goes on", async () => {
  const controller = new AbortController();
  const spinning = run({ do: "spin" }, { signal: controller.signal });
  setTimeout(() => controller.abort(), 200);
  await expect(spinning).rejects.toMatchObject({ code: "base/aborted" });
  expect(await run({ do: "add", a: 1, b: 1 })).toBe(2);
  await expect(run({ do: "add", a: 1, b: 1 }, { signal: controller.signal })).rejects.toMatchObject({
    code: "base/aborted",
  });
});

test("a thread that dies fails its task only", async () => {
  await expect(run({ do: "exit" })).rejects.toMatchObject({ code: "base/worker-failed", retryable: true });
  expect(await run({ do: "add", a: 1, b: 1 })).toBe(2);
});

test("a task can stream through a port", async () => {
  const { port1, port2 } = new MessageChannel();
  const done = run({ do: "echo", port: port2 }, { transferList: [port2] });
  const answer = await new Promise((resolve) => {
    port1.once("message", resolve);
    port1.postMessage("hello");
  });
  expect(answer).toBe("hello");
  port1.postMessage("end");
  expect(await done).toBe("closed");
  port1.close();
});

test("closing fails what runs with base/shutting-down, and a later task starts anew", async () => {
  const spinning = run({ do: "spin" });
  const outcome = spinning.catch((e: unknown) => e);
  await new Promise((r) => setTimeout(r, 100));
  await closeWorkerPool();
  expect(await outcome).toMatchObject({ code: "base/shutting-down" });
  expect(await run({ do: "add", a: 1, b: 4 })).toBe(5);
});

test("a warm pool does not keep a process alive", async () => {
  const script = `
    const { runInWorker } = await import(${JSON.stringify(new URL("./worker-pool.js", import.meta.url).href)});
    console.log(await runInWorker(new URL(${JSON.stringify(module.href)}), { do: "add", a: 20, b: 22 }));`;
  const running = promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);
  let answeredAt = 0;
  running.child.stdout?.once("data", () => (answeredAt = Date.now()));
  const { stdout } = await running;
  expect(stdout.trim()).toBe("42");
  // Its threads would stay for ten seconds.
  expect(Date.now() - answeredAt).toBeLessThan(8000);
});
