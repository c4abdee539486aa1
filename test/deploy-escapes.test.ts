/**
 * What a program in the sandbox tries beyond what it may: files of the machine, other processes, the network, processes without
 * end, memory, the secrets of others.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { INSTALL_TIMEOUT_MS, installBubblewrap, SKIP_SANDBOX } from "./support/bubblewrap.js";
import {
  createProgramPlace,
  type Ended,
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

describe.each(EXECUTORS.slice(0, 2))("$name", ({ create, skipped }) => {
  let run: RunProgram;
  beforeEach(({ skip }) => {
    if (skipped) skip();
    run = running(create(), place);
  });

  it("sees nothing of the machine's files but programs", async () => {
    const secret = join(place.directory, "secret");
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
    for (const target of ["/usr", "/usr/bin", "/etc", "/", "/bin", "/lib", "/proc", "/sys"]) {
      const { end } = await run(`echo x > ${target}/${mark}`);
      expect(end.status, target).not.toBe(0);
      expect(existsSync(join(target, mark))).toBe(false);
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
