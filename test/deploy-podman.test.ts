/** Programs in containers of a real podman: what they may do, how they end, and what stays of them. */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  createContainerExecutor,
  type Execution,
  type ExecutionEnd,
  type ExecutionLimits,
  type Executor,
} from "../src/index.js";
import { DEFAULT_EXECUTION_LIMITS } from "../src/deploy/executors/executor.js";
import { runRelease } from "../src/deploy/executors/run-release.js";
import { INSTALL_TIMEOUT_MS } from "./support/bubblewrap.js";
import { SKIP_PODMAN, startPodman, type TestPodman } from "./support/podman.js";

const MiB = 2 ** 20;
let podman: TestPodman;
let executor: Executor;
let directory: string;
let work: string;

describe.skipIf(SKIP_PODMAN)("a container", () => {
  beforeAll(async () => {
    podman = await startPodman(mkdtempSync(join(tmpdir(), "gitwharf-podman-")));
    const { image, programArguments } = podman;
    executor = createContainerExecutor({ image, programArguments });
  }, INSTALL_TIMEOUT_MS);
  afterAll(() => podman?.remove());
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
    chmodSync(directory, 0o711);
    work = join(directory, "work");
    mkdirSync(work);
    if (executor.user !== undefined) chownSync(work, executor.user.uid, executor.user.gid);
  });
  afterEach(async () => {
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
    expect(await podman.names()).toEqual([]);
  });

  async function run(
    script: string,
    more: Partial<Omit<Execution, "limits">> & { readonly limits?: Partial<ExecutionLimits> } = {},
  ): Promise<{ readonly end: ExecutionEnd; readonly text: string }> {
    const chunks: Uint8Array[] = [];
    const end = await executor.run({
      name: "test",
      command: ["/bin/sh", "-c", script],
      directory: "/tmp/build",
      environment: { PATH: "/bin" },
      mounts: [{ source: work, target: "/tmp/build", isWritable: true }],
      network: false,
      print: (bytes) => void chunks.push(bytes),
      signal: new AbortController().signal,
      ...more,
      limits: { ...DEFAULT_EXECUTION_LIMITS, timeoutMs: 60_000, killAfterMs: 1000, ...more.limits },
    });
    return { end, text: Buffer.concat(chunks).toString("utf8") };
  }

  it("runs a program: output, status, files, variables", async () => {
    await executor.check();
    const { end, text } = await run('echo out; echo "$SECRET" > file; id -u; exit 7', {
      environment: { PATH: "/bin", SECRET: "a 'b'\nc" },
    });
    expect({ end, text }).toEqual({
      end: { status: 7 },
      text: `out\n${executor.user?.uid ?? process.getuid?.()}\n`,
    });
    expect(readFileSync(join(work, "file"), "utf8")).toBe("a 'b'\nc\n");
    const long = "x".repeat(65_536);
    await run('printf %s "$LONG" > long', { environment: { PATH: "/bin", LONG: long } });
    expect(readFileSync(join(work, "long"), "utf8")).toBe(long);
  });

  it("sees nothing of the machine, and writes nowhere but where it may", async () => {
    const secret = join(directory, "secret");
    writeFileSync(secret, "hidden", { mode: 0o644 });
    const { text } = await run(
      `cat ${secret} /etc/shadow; for place in / /bin /etc /proc/sys/kernel; do echo x > $place/mark && echo wrote $place; done; echo x > /tmp/mark && echo may; grep CapEff /proc/self/status; ls /proc | grep -c '^[0-9]'`,
    );
    expect(text).not.toContain("hidden");
    expect(text).not.toContain("wrote");
    // Its two outputs come by two pipes: in which order nobody knows.
    expect(text).toMatch(/^may$/m);
    expect(text).toMatch(/^CapEff:\t0+$/m);
    expect(text).toMatch(/^\d$/m);
  });

  it("runs what was released, in its own directory", async () => {
    writeFileSync(join(work, "file"), "released");
    const chunks: Uint8Array[] = [];
    const ended = await runRelease(executor, {
      directory: work,
      command: 'pwd; cat file; echo; echo "$PORT" > written',
      environment: { PATH: "/bin", PORT: "1234" },
      limits: { timeoutMs: 60_000 },
      signal: new AbortController().signal,
      onOutput: (chunk) => void chunks.push(chunk),
    });
    expect([ended, Buffer.concat(chunks).toString("utf8")]).toEqual([{ status: 0 }, "/app\nreleased\n"]);
    expect(readFileSync(join(work, "written"), "utf8")).toBe("1234\n");
  });

  it("has no network unless it is given, and then the machine's", async () => {
    const server = createServer((socket) => socket.end("HTTP/1.0 200 OK\r\n\r\nhello"));
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const ask = `wget -q -O - http://127.0.0.1:${port}/`;
      const { end, text } = await run(ask);
      expect(end.status).not.toBe(0);
      expect(text).not.toContain("hello");
      expect((await run(ask, { network: true })).text).toBe("hello");
    } finally {
      server.close();
    }
  });

  it("ends what runs too long with all that it has started, gently first", async () => {
    const { end, text } = await run(
      "sh -c 'trap \"echo inner; exit 0\" TERM; while :; do sleep 0.05; done' & trap 'wait; echo outer; exit 0' TERM; echo begun; while :; do sleep 0.05; done",
      { limits: { timeoutMs: 2000, killAfterMs: 20_000 } },
    );
    expect(end).toEqual({ status: undefined, ended: "it ran for more than 2 seconds" });
    // The shells say of what they waited for that it was ended, too.
    expect(text.replaceAll("Terminated\n", "")).toBe("begun\ninner\nouter\n");
  });

  it("ends what does not listen, and daemons with it", async () => {
    const wanted = new AbortController();
    const { end } = await run("trap '' TERM; setsid sleep 1000 & echo begun; while :; do sleep 0.05; done", {
      signal: wanted.signal,
      print: () => wanted.abort("nobody wants it"),
    });
    expect(end).toEqual({ status: undefined, ended: "nobody wants it" });
  });

  it("bounds processes, output and the disk", async () => {
    const bomb = await run("bomb() { bomb | bomb & }; bomb; sleep 1000", {
      limits: { processesMax: 50, timeoutMs: 2000 },
    });
    expect(bomb.end.status).not.toBe(0);
    const loud = await run("yes", { limits: { outputBytesMax: MiB } });
    expect(loud.end.ended).toBe(`it printed more than ${MiB} bytes`);
    const large = await run("i=0; while :; do i=$((i+1)); head -c 4000000 /dev/zero > f$i; done", {
      limits: { diskBytesMax: 16 * MiB },
    });
    expect(large.end.ended).toBe(`it wrote more than ${16 * MiB} bytes to the disk`);
  });

  it("that a killed server has left is removed by the next one", async () => {
    const { image, programArguments } = podman;
    const index = new URL("../src/index.js", import.meta.url).href;
    const limits = new URL("../src/deploy/executors/executor.js", import.meta.url).href;
    const mark = randomUUID().slice(0, 8);
    const program = `
      import { createContainerExecutor } from ${JSON.stringify(index)};
      import { DEFAULT_EXECUTION_LIMITS } from ${JSON.stringify(limits)};
      void createContainerExecutor(${JSON.stringify({ image, programArguments })}).run({
        name: "left-${mark}", command: ["/bin/sh", "-c", "echo begun; exec sleep 1000"], directory: "/tmp",
        environment: { PATH: "/bin" }, mounts: [], network: false, limits: DEFAULT_EXECUTION_LIMITS,
        print: (bytes) => void process.stdout.write(bytes), signal: new AbortController().signal,
      });`;
    const server = spawn(process.execPath, ["--input-type=module", "--eval", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(server.stdout, "data");
    server.kill("SIGKILL");
    await once(server, "exit");
    expect(await podman.names()).toEqual([expect.stringContaining(`-left-${mark}-`)]);
    await executor.tidy();
    expect(await podman.names()).toEqual([]);
  });
});
