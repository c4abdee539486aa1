/** Commands of operators over the socket, as the command line gives them. */
import { statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { setImmediate as setImmediatePromise, setTimeout as setTimeoutPromise } from "node:timers/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AppControl, ProcessRow, ReleaseRow } from "./app-control.js";
import { callControl } from "./control-client.js";
import { listenForOperators } from "./control-server.js";
import { parseControlCall } from "./control-messages.js";
import {
  createMemoryRecords,
  createWorkshop,
  type MemoryRecords,
  plainRunner,
  releaseOf,
  type Workshop,
  until,
} from "./launch.test.support.js";
import { type Apps, openApps } from "./open-apps.js";

let workshop: Workshop;
let records: MemoryRecords;
let apps: Apps;
let socket: string;

beforeEach(async () => {
  workshop = createWorkshop();
  records = createMemoryRecords();
  socket = join(workshop.directory, "state", "apps.sock");
  const slugPath = workshop.slug({ Procfile: "worker: sleep 600\n" });
  const first = releaseOf({ slugPath, processTypes: { worker: "sleep 600" }, number: 1, id: "shop-1" });
  records.add(first);
  await records.settleRelease(first.id, "launched");
  await records.setFormation("shop", { worker: 1 });
  apps = openApps({
    records,
    directory: join(workshop.directory, "apps"),
    runner: plainRunner,
    controlSocket: socket,
    async followBuild(app, _signal, onOutput) {
      await onOutput(Buffer.from(`-----> ${app}\n`));
      return "succeeded";
    },
    log: () => undefined,
  });
  await apps.start();
});
afterEach(async () => {
  await apps.close();
  workshop.remove();
});

describe("commands of operators", () => {
  it("list what the server has started, and change how many there are", async () => {
    const list = async (): Promise<readonly ProcessRow[]> =>
      (await callControl(socket, { command: "ps" })) as readonly ProcessRow[];
    await until(async () => (await list())[0]?.state === "up");
    expect(await list()).toMatchObject([
      { app: "shop", name: "worker.1", state: "up", release: 1, command: "sleep 600" },
    ]);
    expect(await callControl(socket, { command: "scale", app: "shop", formation: { worker: 2 } })).toEqual({
      worker: 2,
    });
    expect(await callControl(socket, { command: "ps", app: "shop" })).toHaveLength(2);
    expect(await records.formationOf("shop")).toEqual({ worker: 2 });
    const wrong = callControl(socket, { command: "scale", app: "shop", formation: { web: 1 } });
    await expect(wrong).rejects.toThrow("'shop' has no processes 'web'; its Procfile has worker");
    expect(await records.formationOf("shop")).toEqual({ worker: 2 });
  });

  it("make a release of a changed configuration, and go back", async () => {
    const by = "ada";
    const changes = { GREETING: "hello", OTHER: "x" };
    expect(await callControl(socket, { command: "set-config", app: "shop", changes, by })).toBe(2);
    expect(
      await callControl(socket, { command: "set-config", app: "shop", changes: { OTHER: null }, by }),
    ).toBe(3);
    expect(await callControl(socket, { command: "config", app: "shop" })).toEqual({ GREETING: "hello" });
    expect(await callControl(socket, { command: "rollback", app: "shop", by })).toBe(4);
    expect(apps.launcher.releaseOf("shop")?.config).toEqual(changes);
    expect(await callControl(socket, { command: "rollback", app: "shop", number: 1, by })).toBe(5);
    const rows = (await callControl(socket, { command: "releases", app: "shop" })) as readonly ReleaseRow[];
    expect(rows.map(({ number, isCurrent }) => [number, isCurrent])).toEqual([
      [5, true],
      [4, false],
      [3, false],
      [2, false],
      [1, false],
    ]);
    const missing = callControl(socket, { command: "rollback", app: "shop", number: 99, by });
    await expect(missing).rejects.toMatchObject({ code: "storage/not-found" });
    for (const name of ["1A", "A B", "A=B", ""]) {
      const odd = callControl(socket, { command: "set-config", app: "shop", changes: { [name]: "x" }, by });
      await expect(odd).rejects.toMatchObject({ code: "storage/bad-name" });
    }
  });

  it("mark a release as failed that does not come up, and keep the one before", async () => {
    const slugPath = workshop.slug({ a: "" });
    records.add(
      releaseOf({ slugPath, processTypes: { web: "exit 1" }, number: 2, id: "shop-2", status: "launched" }),
    );
    const back = callControl(socket, { command: "rollback", app: "shop", number: 2, by: "ada" });
    await expect(back).rejects.toMatchObject({ code: "deploy/launch-failed" });
    expect((await records.listReleases("shop", 1))[0]).toMatchObject({ number: 3, status: "failed" });
    expect((await records.currentRelease("shop"))?.number).toBe(1);
    expect(apps.launcher.releaseOf("shop")?.number).toBe(1);
  });

  it("run a command, whose output comes as it is", async () => {
    let output = "";
    const call = { command: "run", app: "shop", line: "cat Procfile; printf '\\377'; exit 4" } as const;
    const end = await callControl(socket, call, {
      onOutput: (chunk) => {
        output += Buffer.from(chunk).toString("latin1");
      },
    });
    expect([end, output]).toEqual([{ status: 4 }, "worker: sleep 600\n\xff"]);
  });

  it("hand on what a slow reader takes its time for, and keep nothing of each wait", async () => {
    const path = join(workshop.directory, "slow.sock");
    const control: AppControl = {
      ...apps.control,
      async run(_app, _line, _signal, onOutput) {
        for (let i = 0; i < 20; i++) await onOutput(Buffer.alloc(1 << 18, i));
        return { status: 0 };
      },
    };
    const server = await listenForOperators(path, control, () => undefined);
    const warnings: string[] = [];
    const onWarning = ({ name }: Error): void => void warnings.push(name);
    process.on("warning", onWarning);
    let bytes = 0;
    const call = { command: "run", app: "shop", line: "yes" } as const;
    await callControl(path, call, {
      onOutput: async (chunk) => {
        bytes += chunk.length;
        await setImmediatePromise();
      },
    });
    await server.close();
    process.off("warning", onWarning);
    expect([bytes, warnings]).toEqual([20 << 18, []]);
  });

  it("may say how many processes there will be before there is a release", async () => {
    records.add(releaseOf({ app: "later", slugPath: "", processTypes: {}, number: 1, id: "later-1" }));
    const scale = (formation: Readonly<Record<string, number>>): Promise<unknown> =>
      callControl(socket, { command: "scale", app: "later", formation });
    await expect(scale({ web: 101 })).rejects.toThrow("there may be 0 to 100 processes 'web'");
    expect(await records.formationOf("later")).toBeUndefined();
    // Whatever it is called, it is for the release to have such.
    expect(await scale({ web: 0, constructor: 1 })).toEqual({ web: 0, constructor: 1 });
    const slugPath = workshop.slug({ a: "" });
    await apps.launcher.launch(
      releaseOf({ app: "later", slugPath, processTypes: { web: "exit 1" }, number: 2, id: "later-2" }),
      { formation: () => records.formationOf("later") },
    );
    expect(apps.launcher.processes("later")).toEqual([]);
  });

  it("follow a build", async () => {
    const chunks: Uint8Array[] = [];
    const call = { command: "follow-build", app: "shop" } as const;
    const status = await callControl(socket, call, { onOutput: (chunk) => void chunks.push(chunk) });
    expect([status, Buffer.concat(chunks).toString()]).toEqual(["succeeded", "-----> shop\n"]);
    const missing = callControl(socket, { ...call, app: "nobody" });
    await expect(missing).rejects.toMatchObject({ code: "storage/not-found" });
  });

  it("end the command of somebody who has left", async () => {
    const left = new AbortController();
    let begun: ((pid: number) => void) | undefined;
    const isBegun = new Promise<number>((resolve) => {
      begun = resolve;
    });
    const running = callControl(
      socket,
      { command: "run", app: "shop", line: "echo $$; sleep 600" },
      { signal: left.signal, onOutput: (chunk) => begun?.(Number(Buffer.from(chunk).toString())) },
    );
    const outcome = expect(running).rejects.toMatchObject({ code: "deploy/no-answer" });
    const pid = await isBegun;
    left.abort();
    await outcome;
    const isThere = (): boolean => {
      try {
        return process.kill(pid, 0);
      } catch {
        return false;
      }
    };
    await until(() => !isThere());
  });

  it("are refused about apps that are not there, and when they are not understood", async () => {
    for (const app of ["nobody", "../etc", ""])
      await expect(callControl(socket, { command: "config", app })).rejects.toMatchObject({
        code: "storage/not-found",
      });
    for (const text of [
      "",
      "[]",
      "null",
      "{",
      '{"command":"x"}',
      '{"command":"scale","app":"a","formation":{"web":-1}}',
      '{"command":"run","app":"a"}',
    ])
      expect(() => parseControlCall(text), text).toThrow(
        expect.objectContaining({ code: "protocol/bad-request" }),
      );
    const asked = request({ socketPath: socket, method: "POST", agent: false });
    asked.on("error", () => undefined);
    asked.end("x".repeat(9 * 1024 * 1024));
    const [answer] = (await once(asked, "response")) as [AsyncIterable<Buffer>];
    let text = "";
    for await (const chunk of answer) text += chunk.toString();
    expect(text).toContain("base/limit-exceeded");
  });
});

describe("the socket", () => {
  it("is the server's user's alone", () => {
    expect(statSync(socket).mode & 0o777).toBe(0o600);
  });

  it("is taken over from a server that was killed, and not from one that is there", async () => {
    const second = listenForOperators(socket, apps.control, () => undefined);
    await expect(second).rejects.toThrow("another server takes commands");
    const path = join(workshop.directory, "stale.sock");
    writeFileSync(path, "");
    const server = await listenForOperators(path, apps.control, () => undefined);
    expect(await callControl(path, { command: "ps" })).toHaveLength(1);
    await server.close();
    await expect(callControl(path, { command: "ps" })).rejects.toMatchObject({ code: "deploy/no-answer" });
  });

  it("is closed though somebody does not read what he asked for", async () => {
    const path = join(workshop.directory, "sleeper.sock");
    let isFull: (() => void) | undefined;
    const full = new Promise<void>((resolve) => {
      isFull = resolve;
    });
    const control: AppControl = {
      ...apps.control,
      async run(_app, _line, signal, onOutput) {
        while (!signal.aborted) {
          const written = Promise.resolve(onOutput(Buffer.alloc(1 << 20))).then(() => "written");
          // What does not go on by itself waits for the reader.
          if ((await Promise.race([written, setTimeoutPromise(50, "waits")])) === "waits") isFull?.();
          await written;
        }
        return { status: undefined };
      },
    };
    const server = await listenForOperators(path, control, () => undefined, 10);
    const sleeper = connect({ path });
    sleeper.on("error", () => undefined);
    const body = JSON.stringify({ command: "run", app: "shop", line: "yes" });
    sleeper.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await full;
    await server.close();
    sleeper.destroy();
  });

  it("has a path that fits", async () => {
    const path = join(workshop.directory, "x".repeat(110));
    await expect(listenForOperators(path, apps.control, () => undefined)).rejects.toThrow(
      "longer than 103 bytes",
    );
  });

  it("may break off", async () => {
    const path = join(workshop.directory, "half.sock");
    const half = createServer((connection) => {
      connection.once("data", () =>
        connection.end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n"),
      );
    });
    half.listen(path);
    await once(half, "listening");
    await expect(callControl(path, { command: "ps" })).rejects.toMatchObject({ code: "deploy/no-answer" });
    half.close();
  });
});
