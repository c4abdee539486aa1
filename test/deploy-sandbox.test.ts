/**
 * What a program in the sandbox may do, and what it tries to do beyond: files of the machine, other processes, the network,
 * processes without end, a full disk, output without end, daemons. The same limits hold for plain processes where they can.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  createPlainExecutor,
  createSandboxExecutor,
  type Execution,
  type ExecutionEnd,
  type ExecutionLimits,
  type Executor,
} from "../src/index.js";
import { DEFAULT_EXECUTION_LIMITS } from "../src/deploy/executors/executor.js";
import { installBubblewrap, SKIP_SANDBOX } from "./support/bubblewrap.js";

interface Ended {
  readonly end: ExecutionEnd;
  readonly text: string;
}

const MiB = 2 ** 20;
let directory: string;
let work: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  // Who runs in the sandbox passes through to its mounts.
  chmodSync(directory, 0o711);
  work = join(directory, "work");
  mkdirSync(work);
});
afterEach(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));

function running(executor: Executor) {
  if (executor.user !== undefined) chownSync(work, executor.user.uid, executor.user.gid);
  const mount = { source: work, target: "/tmp/build", isWritable: true };
  const place = executor.placeOf(mount);
  return async (
    script: string,
    more: Partial<Omit<Execution, "limits">> & { readonly limits?: Partial<ExecutionLimits> } = {},
  ): Promise<Ended> => {
    const chunks: Uint8Array[] = [];
    const end = await executor.run({
      name: "test",
      command: ["/bin/sh", "-c", script],
      directory: place,
      environment: { PATH: "/usr/local/bin:/usr/bin:/bin" },
      mounts: [mount],
      network: false,
      print: (bytes) => void chunks.push(bytes),
      signal: new AbortController().signal,
      ...more,
      limits: { ...DEFAULT_EXECUTION_LIMITS, timeoutMs: 60_000, killAfterMs: 500, ...more.limits },
    });
    return { end, text: Buffer.concat(chunks).toString("utf8") };
  };
}

/** Is there a process with this text among its arguments? */
function isThere(text: string): boolean {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .some((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(text);
      } catch {
        return false;
      }
    });
}

const EXECUTORS = [
  { name: "sandbox", create: () => createSandboxExecutor(), skipped: SKIP_SANDBOX },
  {
    name: "sandbox without control groups",
    create: () => createSandboxExecutor({ controlGroups: "never" }),
    skipped: SKIP_SANDBOX,
  },
  { name: "plain process", create: () => createPlainExecutor({ warn: () => undefined }), skipped: false },
];

beforeAll(async () => {
  if (!SKIP_SANDBOX) await installBubblewrap();
});

describe.each(EXECUTORS)("$name", ({ create, skipped }) => {
  let executor: Executor;
  let run: ReturnType<typeof running>;
  beforeEach(({ skip }) => {
    if (skipped) skip();
    executor = create();
    run = running(executor);
  });

  it("runs a program: output, status, files, variables", async () => {
    await executor.check();
    expect(
      await run('echo out; echo err >&2; echo "$SECRET" > file; exit 7', {
        environment: { PATH: "/usr/bin:/bin", SECRET: "a 'b'\nc" },
      }),
    ).toEqual({ end: { status: 7 }, text: expect.stringMatching(/^(?:out\nerr\n|err\nout\n)$/) });
    expect(readFileSync(join(work, "file"), "utf8")).toBe("a 'b'\nc\n");
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
    expect(text).toBe("gently\n");
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
    expect(readFileSync(join(work, "big")).length).toBeLessThanOrEqual(8 * MiB);
    const many = await run("i=0; while :; do i=$((i+1)); head -c 4000000 /dev/zero > f$i; done", { limits });
    expect(many.end.ended).toBe(`it wrote more than ${16 * MiB} bytes to the disk`);
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
});

describe.each(EXECUTORS.slice(0, 2))("$name: escapes", ({ create, skipped }) => {
  let run: ReturnType<typeof running>;
  beforeEach(({ skip }) => {
    if (skipped) skip();
    run = running(create());
  });

  it("sees nothing of the machine's files but programs", async () => {
    const secret = join(directory, "secret");
    writeFileSync(secret, "hidden", { mode: 0o644 });
    const tries = [
      `cat ${secret}`,
      "cat /etc/shadow",
      "ls /root /home /var/lib",
      "cat /proc/1/root/etc/shadow",
      `cat /proc/1/cwd${secret}`,
      `ln -s ${secret} link; cat link`,
    ];
    for (const attempt of tries) {
      const { end, text } = await run(attempt);
      expect(end.status, attempt).not.toBe(0);
      expect(text).not.toContain("hidden");
    }
    expect((await run("cat /etc/passwd")).text).toMatch(/^build:x:\d+:\d+:build:\/app:\/bin\/sh\n$/);
  });

  it("writes nowhere but where it may", async () => {
    const mark = `gitwharf-${randomUUID()}`;
    for (const place of ["/usr", "/usr/bin", "/etc", "/", "/bin", "/lib", "/proc", "/sys"]) {
      const { end } = await run(`echo x > ${place}/${mark}`);
      expect(end.status, place).not.toBe(0);
      expect(existsSync(join(place, mark))).toBe(false);
    }
    expect((await run(`echo x > /tmp/${mark} && echo x > /app/${mark}`)).end.status).toBe(0);
    expect(existsSync(join("/tmp", mark))).toBe(false);
  });

  it("is nobody, and becomes nobody else", async () => {
    expect((await run("id -u")).text.trim()).not.toBe("0");
    for (const attempt of [
      "mount -t tmpfs none /mnt",
      "unshare -U true",
      "unshare -rm true",
      "chroot / true",
    ])
      expect((await run(attempt)).end.status, attempt).not.toBe(0);
    expect((await run("grep CapEff /proc/self/status")).text).toMatch(/:\t0+\n$/);
    expect((await run("grep NoNewPrivs /proc/self/status")).text).toMatch(/:\t1\n$/);
  });

  it("sees no other process, and reaches none", async () => {
    const other = spawn("sleep", ["1000"]);
    try {
      const { text } = await run(`ls /proc | grep -c '^[0-9]'; kill -9 ${other.pid} 2>&1`);
      expect(Number(text.split("\n")[0])).toBeLessThan(10);
      expect(other.exitCode).toBeNull();
      expect(other.signalCode).toBeNull();
    } finally {
      other.kill("SIGKILL");
    }
  });

  it("ends nobody else, not even of its own user", async () => {
    const ids = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
    const other = spawn("sleep", ["1000"], ids);
    try {
      await run("kill -9 -1; sleep 0.1");
      await run(`kill -9 ${other.pid}; kill -9 -${other.pid}`);
      expect([other.exitCode, other.signalCode]).toEqual([null, null]);
    } finally {
      other.kill("SIGKILL");
    }
  });

  it("sees nothing of another sandbox beside it", async () => {
    const mark = `gitwharf-${randomUUID()}`;
    const wanted = new AbortController();
    let seen: Ended | undefined;
    await run(`echo x > /tmp/${mark}; echo x > /dev/shm/${mark}; echo begun; : ${mark}; sleep 1000`, {
      signal: wanted.signal,
      async print() {
        seen = await run(
          `ls /tmp /dev/shm; cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 100[0]'`,
        );
        wanted.abort("seen");
      },
    });
    expect(seen?.text).not.toContain(mark);
    expect(seen?.text).toMatch(/(^|\n)0\n$/);
  });

  it("finds no devices, no sockets of the machine and no settings of the kernel to change", async () => {
    const { text } = await run("ls /dev");
    expect(text.split("\n")).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^(sd|vd|nvme|mem|kmsg|fuse)/)]),
    );
    for (const attempt of [
      "ls /run/* /var/run/*",
      "mknod device c 1 3",
      "head -c 1 /proc/kcore",
      "cat /proc/sys/kernel/core_pattern > /proc/sys/kernel/core_pattern",
      "ls /sys/class",
      "nsenter -t 1 -m true",
    ])
      expect((await run(attempt)).end.status, attempt).not.toBe(0);
  });

  it("finds nothing of the server's environment in any process", async () => {
    process.env["GITWHARF_TEST_SECRET"] = "hidden";
    try {
      expect((await run("cat /proc/[0-9]*/environ | tr '\\0' '\n'")).text).not.toContain("hidden");
    } finally {
      delete process.env["GITWHARF_TEST_SECRET"];
    }
  });

  it("gains nothing by a program that is to run as its owner", async () => {
    const { text } = await run("cp /bin/sh sh && chmod 6755 sh && ./sh -c 'id -u; id -g'");
    const own = (await run("id -u; id -g")).text;
    expect(text).toBe(own);
  });

  it("has no network unless it is given", async () => {
    const server = createServer((socket) => socket.end("hello"));
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const ask = `exec 3<>/dev/tcp/127.0.0.1/${port} && cat <&3`;
    const command = ["/bin/bash", "-c", ask] as const;
    try {
      expect((await run("", { command })).end.status).not.toBe(0);
      expect((await run("", { command, network: true })).text).toBe("hello");
      expect((await run("cat /proc/net/dev | grep -vc 'lo:'")).text).toBe("2\n");
    } finally {
      server.close();
    }
  });

  it("stops processes without end", async () => {
    const mark = `gitwharf-${randomUUID()}`;
    const { end } = await run(`bomb() { bomb | bomb & }; : ${mark}; bomb; sleep 1000`, {
      limits: { processesMax: 100, timeoutMs: 2000 },
    });
    expect(end.status).not.toBe(0);
    expect(isThere(mark)).toBe(false);
    // The machine still starts programs.
    expect((await run("echo well")).text).toBe("well\n");
  });

  it("stops memory without end", async () => {
    const { end } = await run(
      `exec ${process.execPath.startsWith("/usr/") ? process.execPath : "node"} -e 'const a = []; for (;;) a.push(Buffer.alloc(1e7, 1))'`,
      { limits: { memoryBytesMax: 256 * MiB, timeoutMs: 60_000 } },
    );
    expect(end.status === 0).toBe(false);
    expect(end.ended ?? "").not.toMatch(/^it ran for/);
  });

  it("keeps directories in memory small", async () => {
    const { end } = await run("head -c 200000000 /dev/zero > /tmp/big", {
      limits: { memoryBytesMax: 128 * MiB, diskBytesMax: 64 * MiB },
    });
    expect(end.status).not.toBe(0);
  });

  it("shows the values of variables to nobody else on the machine", async () => {
    const secret = `secret-${randomUUID()}`;
    const wanted = new AbortController();
    let seen: boolean | undefined;
    await run("echo begun; sleep 1000", {
      environment: { PATH: "/usr/bin:/bin", SECRET: secret },
      signal: wanted.signal,
      print: () => {
        seen = isThere(secret);
        wanted.abort("seen");
      },
    });
    expect(seen).toBe(false);
  });

  it("lets no variable of the program's into what starts it", async () => {
    const { end } = await run("echo well", {
      environment: { PATH: "/usr/bin:/bin", LD_PRELOAD: "/nonexistent.so", BASH_ENV: "/nonexistent" },
    });
    expect(end.status).toBe(0);
  });
});
