/** The log of an app, written and read at the same time. */
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AppLog, createAppLog } from "./app-log.js";
import { readLog, type ReadLogOptions } from "./read-log.js";

const NOW = new Date("2026-11-21T10:00:00.000Z");

let directory: string;
let log: AppLog;
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), "gitwharf-log-")), "log");
  log = createAppLog({ directory, now: () => NOW });
});
afterEach(async () => {
  await log.close();
  rmSync(join(directory, ".."), { recursive: true, force: true });
});

async function read(options?: ReadLogOptions): Promise<readonly string[]> {
  const lines: string[] = [];
  for await (const line of readLog(directory, options)) lines.push(line);
  return lines;
}

describe("the log of an app", () => {
  it("has who said what and when", async () => {
    expect(await read().catch((error: unknown) => error)).toEqual([]);
    await log.write("app[web.1]", ["hello", "world"]);
    await log.write("gitwharf[web.1]", ["Stopped"]);
    expect(await read()).toEqual([
      "2026-11-21T10:00:00.000Z app[web.1]: hello",
      "2026-11-21T10:00:00.000Z app[web.1]: world",
      "2026-11-21T10:00:00.000Z gitwharf[web.1]: Stopped",
    ]);
  });

  it("is read from its end, and for one process or type", async () => {
    for (const name of ["web.1", "web.2", "worker.1"])
      await log.write(`app[${name}]`, [`of ${name}`, "more"]);
    expect((await read({ lines: 1 })).map((line) => line.slice(25))).toEqual(["app[worker.1]: more"]);
    expect(await read({ lines: 0 })).toEqual([]);
    expect((await read({ process: "web", lines: 3 })).map((line) => line.slice(25))).toEqual([
      "app[web.1]: more",
      "app[web.2]: of web.2",
      "app[web.2]: more",
    ]);
    expect(await read({ process: "web.2" })).toHaveLength(2);
    expect(await read({ process: "we" })).toEqual([]);
  });

  it("begins a new file when one is full, and keeps so many", async () => {
    await log.close();
    log = createAppLog({ directory, now: () => NOW, fileBytesMax: 100, oldFilesMax: 2 });
    for (let i = 0; i < 20; i++) await log.write("app[web.1]", [`line ${i}`]);
    expect(readdirSync(directory).toSorted()).toEqual(["app.log", "app.log.1", "app.log.2"]);
    for (const name of readdirSync(directory))
      expect(statSync(join(directory, name)).size).toBeLessThanOrEqual(100);
    // Two lines a file.
    expect((await read()).map((line) => line.split(" ").at(-1))).toEqual([
      "14",
      "15",
      "16",
      "17",
      "18",
      "19",
    ]);
  });

  it("is followed from file to file without a line lost or told twice", async () => {
    await log.close();
    log = createAppLog({ directory, now: () => NOW, fileBytesMax: 200, oldFilesMax: 100 });
    await log.write("app[web.1]", ["before"]);
    const seen: string[] = [];
    const end = new AbortController();
    const reading = (async () => {
      for await (const line of readLog(directory, { follow: true, pollMs: 1, signal: end.signal })) {
        seen.push(line.split(": ")[1] ?? "");
        if (seen.at(-1) === "last") end.abort();
      }
    })();
    for (let i = 0; i < 200; i++) await log.write("app[web.1]", [`line ${i}`]);
    await log.write("app[web.1]", ["last"]);
    await reading;
    expect(seen).toEqual(["before", ...Array.from({ length: 200 }, (_, i) => `line ${i}`), "last"]);
  });

  it("tells once that it cannot be written, and goes on when it can", async () => {
    await log.close();
    const errors: unknown[] = [];
    writeFileSync(directory, "in its way");
    log = createAppLog({ directory, now: () => NOW, onFailure: (error) => errors.push(error) });
    await log.write("app[web.1]", ["lost"]);
    await log.write("app[web.1]", ["lost too"]);
    expect(errors).toHaveLength(1);
    rmSync(directory);
    await log.write("app[web.1]", ["kept"]);
    expect(await read()).toHaveLength(1);
  });
});
