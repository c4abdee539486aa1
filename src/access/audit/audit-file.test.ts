/** The audit log as a file: its chain, other processes, files moved away, torn lines, full disks. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { type FileHandle, open as openFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AuditEntry, cleanText, LINE_BYTES_MAX } from "./audit-entry.js";
import { createAuditFile } from "./audit-file.js";
import { GENESIS, hashLine } from "./audit-line.js";
import type { AuditWriter } from "./audit-writer.js";
import { type AuditFinding, type AuditSummary, verifyAudit } from "./verify-audit.js";

const APPEND = fileURLToPath(new URL("append-entries.test.process.js", import.meta.url));

let directory: string;
let path: string;
let writers: AuditWriter[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-audit-"));
  path = join(directory, "log", "audit.jsonl");
  writers = [];
});
afterEach(async () => {
  for (const writer of writers) await writer.close();
  rmSync(directory, { recursive: true, force: true });
});

function open(onFailure?: () => void): AuditWriter {
  const failure = onFailure === undefined ? {} : { onFailure };
  const writer = createAuditFile({ path, durability: "none", ...failure });
  writers.push(writer);
  return writer;
}

async function append(writer: AuditWriter, ...names: readonly string[]): Promise<void> {
  for (const user of names) await writer.append([{ event: "request", user }]);
}

interface Line extends Record<string, unknown> {
  readonly sequence: number;
  readonly previous: string;
}

function lines(file: string = path): readonly Line[] {
  return texts(file).map((text) => JSON.parse(text) as Line);
}

function texts(file: string = path): readonly string[] {
  return readFileSync(file, "utf8").split("\n").slice(0, -1);
}

async function verify(
  ...files: readonly string[]
): Promise<AuditSummary & { findings: readonly AuditFinding[] }> {
  const findings: AuditFinding[] = [];
  const summary = await verifyAudit(files.length === 0 ? [path] : files, {
    onFinding: (finding) => void findings.push(finding),
  });
  return { ...summary, findings };
}

describe("an audit log", () => {
  it("is a chain over the exact bytes of its lines, and its owner's alone", async () => {
    await append(open(), "ada", "ben", "cyd");
    const [first, second, third] = texts();
    expect(lines()).toMatchObject([
      { sequence: 1, previous: GENESIS, event: "request", user: "ada" },
      { sequence: 2, previous: hashLine(first ?? ""), user: "ben" },
      { sequence: 3, previous: hashLine(second ?? ""), user: "cyd" },
    ]);
    expect(await verify()).toMatchObject({ lines: 3, errors: 0, head: hashLine(third ?? ""), findings: [] });
    for (const file of ["", ".lock", ".head"]) expect(statSync(path + file).mode & 0o777).toBe(0o600);
  });

  it("goes on where another process has written meanwhile", async () => {
    const [one, two] = [open(), open()];
    await append(one, "ada");
    await append(two, "ben");
    await append(one, "cyd");
    await Promise.all([append(one, "a", "b", "c"), append(two, "d", "e", "f")]);
    expect(await verify()).toMatchObject({ lines: 9, errors: 0, findings: [] });
  });

  it("is whole when several processes write at once", async () => {
    const run = promisify(execFile);
    await Promise.all(["a", "b", "c"].map((name) => run(process.execPath, [APPEND, path, name, "40"])));
    expect(await verify()).toMatchObject({ lines: 120, errors: 0, findings: [] });
    for (const name of ["a", "b", "c"]) expect(lines().filter(({ user }) => user === name)).toHaveLength(40);
  });

  it("goes on in a new file when the old one was moved away, whoever writes first", async () => {
    const [one, two] = [open(), open()];
    await append(one, "ada", "ben");
    renameSync(path, `${path}.1`);
    await append(two, "cyd");
    await append(one, "dan");
    renameSync(path, `${path}.2`);
    await append(open(), "eve");
    expect(lines().map(({ sequence }) => sequence)).toEqual([5]);
    expect(await verify(`${path}.1`, `${path}.2`, path)).toMatchObject({ lines: 5, errors: 0, findings: [] });
    const { errors, findings } = await verify(`${path}.2`, path);
    expect(errors).toBe(1);
    expect(findings[0]?.message).toContain("the log begins with sequence 3");
    const wrongOrder = await verify(`${path}.2`, `${path}.1`, path);
    expect(wrongOrder.errors).toBeGreaterThan(0);
  });

  it("goes on in a file whose lines were copied away and cut off", async () => {
    const writer = open();
    await append(writer, "ada", "ben");
    writeFileSync(`${path}.1`, readFileSync(path));
    truncateSync(path);
    await append(writer, "cyd");
    expect(await verify(`${path}.1`, path)).toMatchObject({ lines: 3, errors: 0 });
  });

  it("does not begin anew when its file is gone", async () => {
    await append(open(), "ada", "ben");
    rmSync(path);
    await append(open(), "cyd");
    const { findings } = await verify();
    expect(findings[0]?.message).toContain("the log begins with sequence 3");
  });

  it.each([1, 20, 90])("keeps and marks a last line of which only %d bytes were written", async (bytes) => {
    await append(open(), "ada", "ben");
    const torn = (texts()[1] ?? "").slice(0, bytes);
    appendFileSync(path, torn);
    const before = readFileSync(path);
    expect(await verify()).toMatchObject({ errors: 1 });
    await append(open(), "cyd");
    expect(readFileSync(path).subarray(0, before.length).equals(before)).toBe(true);
    const { errors, findings, last } = await verify();
    expect({ errors, last }).toEqual({ errors: 0, last: 4 });
    expect(findings.map(({ line, message }) => `${line} ${message}`)).toEqual([
      `3 torn, ${bytes} bytes, and marked by line 4`,
    ]);
    expect(JSON.parse(texts()[3] ?? "")).toMatchObject({
      sequence: 3,
      event: "recovery",
      recovery: { tornLines: 1, tornBytes: bytes, tornHash: hashLine(torn) },
    });
  });

  it("keeps and marks a very first line that was torn", async () => {
    mkdirSync(join(directory, "log"));
    writeFileSync(path, '{"sequence":1,"time":"20');
    await append(open(), "ada");
    expect(await verify()).toMatchObject({ errors: 0, last: 2 });
  });

  it("marks a line that lacks only its end, and loses none", async () => {
    await append(open(), "ada", "ben");
    truncateSync(path, statSync(path).size - 1);
    expect(await verify()).toMatchObject({ errors: 1 });
    await append(open(), "cyd");
    const { errors, findings, last } = await verify();
    expect({ errors, last }).toEqual({ errors: 0, last: 4 });
    expect(findings[0]?.message).toContain("lacked its line break");
  });

  it("tells of lines that were cut off", async () => {
    await append(open(), "ada", "ben", "cyd");
    truncateSync(path, (texts()[0] ?? "").length + 1);
    const seen = await verify();
    expect(seen.findings[0]?.message).toContain("2 lines are missing at the end");
    await append(open(), "dan");
    expect(lines().at(-2)).toMatchObject({ event: "recovery", recovery: { missing: { from: 2, to: 3 } } });
    const { errors, findings } = await verify();
    expect(errors).toBe(1);
    expect(findings[0]?.message).toContain("lines 2 to 3 were gone when a server opened the file");
  });

  it("tells of a last line that was changed while nobody wrote", async () => {
    await append(open(), "ada", "ben");
    writeFileSync(path, readFileSync(path, "utf8").replace('"user":"ben"', '"user":"eve"'));
    await append(open(), "cyd");
    expect(await verify()).toMatchObject({ errors: 1, findings: [{ line: 2 }] });
  });

  it("goes on behind damaged lines, and they stay an error", async () => {
    await append(open(), "ada");
    appendFileSync(path, "nonsense\n\n");
    await append(open(), "ben");
    expect(JSON.parse(texts().at(-2) ?? "")).toMatchObject({ recovery: { damagedLines: 2 } });
    const { errors, findings } = await verify();
    expect(errors).toBe(1);
    expect(findings[0]).toMatchObject({ line: 2 });
  });

  it("is not begun in somebody else's file, which stays as it was", async () => {
    mkdirSync(join(directory, "log"));
    writeFileSync(path, "root:x:0:0\n");
    await expect(append(open(), "ada")).rejects.toThrow(/is no audit log/);
    expect(readFileSync(path, "utf8")).toBe("root:x:0:0\n");
    rmSync(path);
    mkdirSync(path);
    await expect(append(open(), "ada")).rejects.toMatchObject({ code: "access/audit-failed" });
  });

  it("tells once that it cannot be written, writes what waited when it can be, and says so", async () => {
    let failures = 0;
    const writer = open(() => failures++);
    await append(writer, "ada");
    renameSync(path, `${path}.1`);
    mkdirSync(path);
    for (const name of ["ben", "cyd"])
      await expect(append(writer, name)).rejects.toThrow(/cannot be written/);
    await expect(writer.ready()).rejects.toMatchObject({ code: "access/audit-failed" });
    expect(failures).toBe(1);
    rmSync(path, { recursive: true });
    await writer.ready();
    expect(lines().map(({ user }) => user)).toEqual(["ben", "cyd"]);
    expect(await verify(`${path}.1`, path)).toMatchObject({ errors: 0, lines: 3 });
  });

  it("holds no more than so much of what waits, and counts the rest", async () => {
    const writer = open();
    mkdirSync(path, { recursive: true });
    const reason = "x".repeat(500);
    const many = Array.from({ length: 30_000 }, (): AuditEntry => ({ event: "request", reason }));
    await expect(writer.append(many)).rejects.toMatchObject({ code: "access/audit-failed" });
    rmSync(path, { recursive: true });
    await writer.append([{ event: "request" }]).catch(() => undefined);
    await writer.ready();
    await writer.append([{ event: "request", user: "last" }]);
    const lost = lines().find(({ event }) => event === "entries-lost")?.["details"];
    expect(lost).toEqual({ count: expect.any(Number) as number });
    expect((lost as { readonly count: number }).count).toBeGreaterThan(1000);
    expect(statSync(path).size).toBeLessThan(16 * 1024 * 1024);
    expect(await verify()).toMatchObject({ errors: 0 });
  });

  it("tears a line on a full disk, and tells of it when there is room again", async () => {
    const child = spawn("bash", [
      "-c",
      `ulimit -f 4; exec "$0" "$@"`,
      process.execPath,
      APPEND,
      path,
      "ada",
      "40",
      "300",
    ]);
    let printed = "";
    child.stderr.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    const [status] = (await once(child, "close")) as [number | null];
    expect({ status, printed }).toEqual({
      status: 3,
      printed: expect.stringContaining("cannot be written") as string,
    });
    expect(statSync(path).size).toBe(4096);
    expect(readFileSync(path).at(-1)).not.toBe(0x0a);
    await append(open(), "ben");
    const { errors, findings } = await verify();
    expect(errors).toBe(0);
    expect(findings[0]?.message).toMatch(/^torn, \d+ bytes/);
  });

  it("survives a writer that is killed at any moment", async () => {
    for (let round = 0; round < 4; round++) {
      const child = spawn(process.execPath, [APPEND, path, `r${round}`, "100000"]);
      const closed = once(child, "close");
      await expect
        .poll(() => existsSync(path) && statSync(path).size > 20_000 * (round + 1), { timeout: 30_000 })
        .toBe(true);
      child.kill("SIGKILL");
      await closed;
    }
    await append(open(), "last");
    expect(await verify()).toMatchObject({ errors: 0 });
  });

  it("waits no longer than it was told for a lock that somebody holds", async () => {
    await append(open(), "ada");
    const { createAuditLock } = await import("./audit-lock.js");
    const holder = createAuditLock(`${path}.lock`);
    await holder.hold(async () => {
      const writer = createAuditFile({ path, durability: "none", lockWaitMs: 50 });
      await expect(writer.append([{ event: "request" }])).rejects.toThrow(/another process has held/);
      await expect(writer.close()).resolves.toBeUndefined();
    });
    holder.close();
  });

  it("is locked against other processes, whoever in this one asks for the lock meanwhile", async () => {
    await append(open(), "ada");
    const { createAuditLock } = await import("./audit-lock.js");
    const [holder, other] = [createAuditLock(`${path}.lock`), createAuditLock(`${path}.lock`, 20)];
    const run = promisify(execFile);
    await holder.hold(async () => {
      await expect(other.hold(async () => undefined)).rejects.toThrow(/another process has held/);
      other.close();
      await expect(run(process.execPath, [APPEND, path, "ben", "1", "0", "100"])).rejects.toMatchObject({
        code: 3,
      });
    });
    await run(process.execPath, [APPEND, path, "cyd"]);
    holder.close();
    expect(await verify()).toMatchObject({ lines: 2, errors: 0 });
  });
});

describe("what is asked for as durable", () => {
  let asked: boolean[];
  let fails: boolean;
  let restore: () => void;

  beforeEach(async () => {
    const handle = await openFile(join(directory, "any"), "w");
    const prototype = Object.getPrototypeOf(handle) as FileHandle;
    await handle.close();
    const { datasync } = prototype;
    asked = [];
    fails = false;
    prototype.datasync = async function (this: FileHandle): Promise<void> {
      if (fails) throw new Error("EIO: i/o error, fdatasync");
      await datasync.call(this);
      asked.push(existsSync(path));
    };
    restore = () => void (prototype.datasync = datasync);
  });
  afterEach(() => restore());

  it("is on the disk before its writer is told, and nothing else is waited for", async () => {
    for (const durability of ["sync", "none"] as const) {
      asked = [];
      const writer = createAuditFile({ path, durability });
      writers.push(writer);
      await writer.append([{ event: "fetch" }]);
      expect(asked).toEqual([]);
      await writer.append([{ event: "push" }], { durable: true });
      expect(asked).toEqual(durability === "sync" ? [true] : []);
    }
  });

  it("is waited for once by all who write at the same time", async () => {
    const writer = createAuditFile({ path, durability: "sync" });
    writers.push(writer);
    await Promise.all(
      Array.from({ length: 20 }, () => writer.append([{ event: "push" }], { durable: true })),
    );
    expect(asked).toEqual([true]);
    expect(await verify()).toMatchObject({ lines: 20, errors: 0 });
  });

  it("is refused when the disk does not take it, and not written a second time", async () => {
    const writer = createAuditFile({ path, durability: "sync" });
    writers.push(writer);
    fails = true;
    await expect(writer.append([{ event: "push" }], { durable: true })).rejects.toThrow(/EIO/);
    await expect(writer.append([{ event: "push" }], { durable: true })).rejects.toThrow(/EIO/);
    fails = false;
    await writer.append([{ event: "push" }], { durable: true });
    expect(await verify()).toMatchObject({ lines: 3, errors: 0 });
  });
});

describe("a line of an audit log", () => {
  it("lets nothing through that drives a terminal or hides, and has an end", async () => {
    expect(cleanText("a\u001b[31m\n\u0085\u202eb\u200b\ud800c")).toBe(
      "a\\u{1b}[31m\\u{a}\\u{85}\\u{202e}b\\u{200b}\\u{d800}c",
    );
    expect(cleanText("x".repeat(600))).toBe(`${"x".repeat(512)}…(+88)`);
    const reason = "see https://ada:s3cret@example.org/x";
    await open().append([{ event: "request", user: "a\u0007\nb", reason, repository: "x:s3cret@host/app" }]);
    expect(readFileSync(path, "utf8")).not.toContain("s3cret");
    expect(lines()[0]).toMatchObject({ user: "a\\u{7}\\u{a}b", repository: "host/app" });
  });

  it("is never longer than verify takes, whatever was pushed; refs go on in further lines", async () => {
    const [old, to] = ["0".repeat(64), "f".repeat(64)];
    const refs = Array.from({ length: 500 }, (_, i) => ({
      name: `refs/heads/${i}/${'\u202e"'.repeat(2000)}`,
      old,
      new: to,
      kind: "create" as const,
      reason: "\\".repeat(2000),
    }));
    const long = '\\"\u0001'.repeat(1000);
    const entry: AuditEntry = {
      event: "push",
      requestId: long,
      user: long,
      method: long,
      credentialId: long,
      reason: long,
    };
    const full: AuditEntry = { ...entry, address: long, repository: long, outcome: long, refs };
    const details = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`${i}${long}`, long]));
    await open().append([{ ...full, details }]);
    expect(Math.max(...texts().map((text) => Buffer.byteLength(text)))).toBeLessThan(LINE_BYTES_MAX);
    const written = lines().flatMap((line) => line["refs"] as readonly object[]);
    expect(written).toHaveLength(500);
    expect(lines().map(({ part }) => part)).toEqual(lines().map((_, i) => i + 1));
    expect(await verify()).toMatchObject({ errors: 0 });
  });
});
