/**
 * How programs run in the sandbox and as plain processes: what they are given, their limits, how they end, and that nothing of
 * them stays.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { executionName } from "../src/deploy/executors/execution-names.js";
import type { Executor } from "../src/index.js";
import { INSTALL_TIMEOUT_MS, installBubblewrap, SKIP_SANDBOX } from "./support/bubblewrap.js";
import {
  createProgramPlace,
  EXECUTORS,
  isThere,
  type ProgramPlace,
  running,
  type RunProgram,
} from "./support/run-program.js";

const MiB = 2 ** 20;
let place: ProgramPlace;

beforeAll(async () => {
  if (!SKIP_SANDBOX) await installBubblewrap();
}, INSTALL_TIMEOUT_MS);
beforeEach(() => {
  place = createProgramPlace();
});
afterEach(() => place.remove());

describe.each(EXECUTORS)("$name", ({ create, skipped }) => {
  let executor: Executor;
  let run: RunProgram;
  beforeEach(({ skip }) => {
    if (skipped) skip();
    executor = create();
    run = running(executor, place);
  });

  it("runs a program: output, status, files, variables", async () => {
    await executor.check();
    expect(
      await run('echo out; echo err >&2; echo "$SECRET" > file; exit 7', {
        environment: { PATH: "/usr/bin:/bin", SECRET: "a 'b'\nc" },
      }),
    ).toEqual({ end: { status: 7 }, text: "out\nerr\n" });
    expect(readFileSync(join(place.work, "file"), "utf8")).toBe("a 'b'\nc\n");
  });

  it("hands both outputs on in the order in which they were written, in pieces as small as they may be", async () => {
    const { text } = await run(
      "i=0; while [ $i -lt 300 ]; do i=$((i+1)); printf a >&2; printf b; printf 'c\\n' >&2; done",
    );
    expect(text).toBe("abc\n".repeat(300));
  });

  it("knows nothing of the server's environment", async () => {
    process.env["GITWHARF_TEST_SECRET"] = "hidden";
    try {
      expect((await run("env")).text).not.toContain("hidden");
    } finally {
      delete process.env["GITWHARF_TEST_SECRET"];
    }
  });

  it("says of a program that is not there that it is not there", async () => {
    const { end } = await run("", { command: ["/nonexistent/program"] });
    expect(end.status).not.toBe(0);
  });

  it("ends what runs too long, gently first", async () => {
    const { end, text } = await run("trap 'echo gently; exit 0' TERM; while :; do sleep 0.05; done", {
      limits: { timeoutMs: 500, killAfterMs: 20_000 },
    });
    expect(end).toEqual({ status: undefined, ended: "it ran for more than 0.5 seconds" });
    // Some shells say of what they waited for that it was ended, too.
    expect(text).toMatch(/^(?:Terminated\n)?gently\n$/);
  });

  it("ends what does not listen", async () => {
    const { end } = await run("trap '' TERM; while :; do sleep 0.05; done", { limits: { timeoutMs: 300 } });
    expect(end.ended).toMatch(/^it ran for/);
  });

  it("ends when nobody wants it any more, also before it has begun", async () => {
    const wanted = new AbortController();
    const ended = run("echo begun; sleep 1000", {
      signal: wanted.signal,
      print: () => wanted.abort("somebody said so"),
    });
    expect((await ended).end).toEqual({ status: undefined, ended: "somebody said so" });
    expect((await run("sleep 1000", { signal: AbortSignal.abort("never") })).end.ended).toBe("never");
  });

  it("bounds what it prints, and hands nothing on beyond", async () => {
    const { end, text } = await run("yes", { limits: { outputBytesMax: 1 * MiB } });
    expect(end.ended).toBe(`it printed more than ${MiB} bytes`);
    expect(text.length).toBeLessThanOrEqual(MiB);
  });

  it("waits with its output for who reads it", async () => {
    let printed = 0;
    let waiting: (() => void) | undefined;
    let isPrinting = false;
    const { end } = await run("head -c 1000000 /dev/zero; echo done", {
      print: async (bytes) => {
        expect(isPrinting).toBe(false);
        isPrinting = true;
        await new Promise<void>((resolve) => {
          waiting = resolve;
          setImmediate(() => waiting?.());
        });
        isPrinting = false;
        printed += bytes.length;
      },
    });
    expect([end.status, printed]).toEqual([0, 1_000_005]);
  });

  it("bounds the disk, in one file and in many", async () => {
    const limits = { diskBytesMax: 16 * MiB, fileBytesMax: 8 * MiB };
    const one = await run("head -c 20000000 /dev/zero > big", { limits });
    expect(one.end.status).not.toBe(0);
    expect(readFileSync(join(place.work, "big")).length).toBeLessThanOrEqual(8 * MiB);
    const many = await run("i=0; while :; do i=$((i+1)); head -c 4000000 /dev/zero > f$i; done", { limits });
    expect(many.end.ended).toBe(`it wrote more than ${16 * MiB} bytes to the disk`);
    const nameless = await run(
      'for n in 3 4 5 6 7; do eval "exec $n> h; rm h; head -c 6000000 /dev/zero >&$n"; done; sleep 1000',
      { limits },
    );
    expect(nameless.end.ended).toBe(`it wrote more than ${16 * MiB} bytes to the disk`);
    const names = await run("i=0; while :; do i=$((i+1)); : > g$i; done", { limits: { diskFilesMax: 1000 } });
    expect(names.end.ended).toBe("it made more than 1000 files");
  });

  it("leaves no daemon behind, and does not wait for one", async () => {
    const mark = `gitwharf-${randomUUID()}`;
    const forever = "while :; do sleep 1; done";
    const daemon = `setsid sh -c 'setsid sh -c "${forever}" ${mark} & ${forever}' ${mark} > /dev/null 2>&1 &`;
    expect((await run(`${daemon} sleep 0.2; echo done`)).text).toBe("done\n");
    expect(isThere(mark)).toBe(false);
    // One that holds the output open.
    const held = await run(`setsid sh -c '${forever}' ${mark} & sleep 0.2; exit 3`);
    expect(held.end.status).toBe(3);
    expect(isThere(mark)).toBe(false);
  });

  it("ends what a server that was killed has left behind, and nothing of one that lives", async () => {
    const living = executionName("x");
    const [, space = ""] = /^gitwharf-(\d+)\./.exec(living) ?? [];
    const dead = `gitwharf-${space}.${process.pid}.1-x-12345678`;
    const begin = (name: string) => [
      spawn("sleep", ["1000"], { env: { ...process.env, GITWHARF_EXECUTION: name } }),
      spawn("sh", ["-c", "while :; do sleep 1; done", "GITWHARF_EXECUTION", name]),
    ];
    const left = begin(dead);
    const kept = begin(living);
    try {
      const ended = left.map(async (child) => once(child, "exit"));
      await Promise.all([...left, ...kept].map(async (child) => child.pid ?? once(child, "spawn")));
      await executor.tidy();
      await Promise.all(ended);
      for (const { exitCode, signalCode } of kept) expect([exitCode, signalCode]).toEqual([null, null]);
    } finally {
      for (const child of [...left, ...kept]) child.kill("SIGKILL");
    }
  });
});
