/** Output of builds that is followed while it grows: nothing is lost, nothing piles up, nobody is held for ever. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createBuildLogs } from "./build-log.js";

let directory: string;
let path: string;
const never = new AbortController().signal;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  path = join(directory, "one.log");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("the output of a build", () => {
  it("reaches who follows from before its beginning, and who comes after its end", async () => {
    const logs = createBuildLogs();
    let over = false;
    const taken: string[] = ["", ""];
    const follow = (i: number): Promise<void> =>
      logs.follow({
        id: "one",
        path,
        slows: false,
        signal: never,
        isOver: async () => over,
        print: (bytes) => void (taken[i] += Buffer.from(bytes).toString("utf8")),
      });
    const early = follow(0);
    const writer = await logs.write("one", path, never);
    for (let i = 0; i < 1000; i++) await writer.append(Buffer.from(`line ${i}\n`));
    over = true;
    logs.notify("one");
    await writer.close();
    await early;
    await follow(1);
    const expected = Array.from({ length: 1000 }, (_, i) => `line ${i}\n`).join("");
    expect(taken).toEqual([expected, expected]);
  });

  it("waits for a follower who slows, until he leaves", async () => {
    const logs = createBuildLogs();
    const leaving = new AbortController();
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const following = logs.follow({
      id: "one",
      path,
      slows: true,
      signal: leaving.signal,
      isOver: async () => false,
      print: () => held,
    });
    const writer = await logs.write("one", path, never);
    let written = 0;
    const chunk = Buffer.alloc(16 * 1024, "x");
    const writing = (async () => {
      for (; written < 64; written++) await writer.append(chunk);
    })();
    // Time enough to write everything, were nobody waited for: twice as much goes to where nobody follows.
    const other = await logs.write("two", join(directory, "two.log"), never);
    for (let i = 0; i < 128; i++) await other.append(chunk);
    await other.close();
    expect(written).toBeLessThan(10);
    leaving.abort();
    release();
    await following;
    await writing;
    expect(written).toBe(64);
    await writer.close();
  });

  it("goes on without a follower who takes nothing for too long, and brings him everything when he wakes", async () => {
    const logs = createBuildLogs({ patienceMs: 20 });
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    let over = false;
    let taken = 0;
    const following = logs.follow({
      id: "one",
      path,
      slows: true,
      signal: never,
      isOver: async () => over,
      print: async (bytes) => {
        taken += bytes.length;
        await held;
      },
    });
    const writer = await logs.write("one", path, never);
    for (let i = 0; i < 64; i++) await writer.append(Buffer.alloc(16 * 1024, "x"));
    expect(taken).toBeLessThan(1024 * 1024);
    over = true;
    await writer.close();
    release();
    await following;
    expect(taken).toBe(1024 * 1024);
  });

  it("waits for nobody once the build is to end", async () => {
    const logs = createBuildLogs();
    const ending = new AbortController();
    const leaving = new AbortController();
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const following = logs.follow({
      id: "one",
      path,
      slows: true,
      signal: leaving.signal,
      isOver: async () => false,
      print: () => held,
    });
    const writer = await logs.write("one", path, ending.signal);
    const writing = writer.append(Buffer.alloc(1024 * 1024));
    ending.abort();
    await writing;
    await writer.close();
    leaving.abort();
    release();
    await following;
  });

  it("begins anew with another builder", async () => {
    const logs = createBuildLogs();
    const first = await logs.write("one", path, never);
    await first.append(Buffer.from("of a builder that died\n"));
    await first.close();
    const second = await logs.write("one", path, never);
    await second.append(Buffer.from("again\n"));
    await second.close();
    let text = "";
    await logs.follow({
      id: "one",
      path,
      slows: false,
      signal: never,
      isOver: async () => true,
      print: (bytes) => void (text += Buffer.from(bytes).toString("utf8")),
    });
    expect(text).toBe("again\n");
  });
});
