/** Looking at files and directories again only when they may have changed. */
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CachedFile, readSmallFile } from "./cached-file.js";
import { DirectoryListing } from "./directory-listing.js";
import { identityOf, isRacy, readStamp } from "./file-stamp.js";
import { oneAtATime } from "./one-at-a-time.js";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-looks-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const longAgo = new Date(Date.now() - 60_000);
function setBack(path: string): void {
  utimesSync(path, longAgo, longAgo);
}

describe("CachedFile", () => {
  it("reads a file again when it changed, also within one grain of time and at the same size", async () => {
    const path = join(directory, "file");
    const file = new CachedFile(path, { parse: (bytes) => bytes?.toString() ?? "absent", sizeBytesMax: 100 });
    expect(await file.read()).toBe("absent");
    for (let i = 0; i < 30; i++) {
      const text = String(i).padStart(5, "0");
      writeFileSync(path, text);
      expect(await file.read()).toBe(text);
    }
    const { generation } = file;
    expect(await file.read()).toBe("00029");
    expect(file.generation).toBe(generation);
    rmSync(path);
    expect(await file.read()).toBe("absent");
  });

  it("parses once while the content stays", async () => {
    const path = join(directory, "file");
    writeFileSync(path, "text");
    const parse = vi.fn((bytes: Buffer | undefined) => bytes?.toString());
    const file = new CachedFile(path, { parse, sizeBytesMax: 100 });
    for (let i = 0; i < 3; i++) await file.read();
    writeFileSync(path, "text");
    await file.read();
    expect(parse).toHaveBeenCalledTimes(1);
  });

  it("keeps nothing of a content that cannot be parsed", async () => {
    const path = join(directory, "file");
    writeFileSync(path, "bad");
    const parse = (bytes: Buffer | undefined): string => {
      if (bytes?.toString() === "bad") throw new Error("bad");
      return String(bytes);
    };
    const file = new CachedFile(path, { parse, sizeBytesMax: 100 });
    await expect(file.read()).rejects.toThrow("bad");
    await expect(file.read()).rejects.toThrow("bad");
    writeFileSync(path, "good");
    expect(await file.read()).toBe("good");
    writeFileSync(path, "bad");
    await expect(file.read()).rejects.toThrow("bad");
    await expect(file.read()).rejects.toThrow("bad");
  });

  it("refuses a file that is too large, at one byte past the limit", async () => {
    writeFileSync(join(directory, "at"), "x".repeat(100));
    writeFileSync(join(directory, "past"), "x".repeat(101));
    expect((await readSmallFile(join(directory, "at"), 100))?.length).toBe(100);
    await expect(readSmallFile(join(directory, "past"), 100)).rejects.toMatchObject({
      code: "storage/unsupported",
    });
  });
});

describe("DirectoryListing", () => {
  it("follows a directory that comes, changes and goes", async () => {
    const path = join(directory, "sub");
    const listing = new DirectoryListing(path);
    await listing.refresh();
    expect([...listing.names]).toEqual([]);
    mkdirSync(path);
    for (let i = 0; i < 30; i++) {
      writeFileSync(join(path, `f${i}`), "");
      await listing.refresh();
      expect(listing.names.has(`f${i}`)).toBe(true);
      if (i > 0) rmSync(join(path, `f${i - 1}`));
      await listing.refresh();
      expect([...listing.names]).toEqual([`f${i}`]);
    }
    const { generation, validatedAt } = listing;
    await listing.refresh();
    expect(listing.generation).toBe(generation);
    expect(listing.validatedAt).toBeGreaterThan(validatedAt);
    rmSync(path, { recursive: true });
    await listing.refresh();
    expect([...listing.names]).toEqual([]);
  });

  it("notices what changed although the directory's time was set back", async () => {
    writeFileSync(join(directory, "a"), "");
    setBack(directory);
    const listing = new DirectoryListing(directory);
    await listing.refresh();
    expect([...listing.names]).toEqual(["a"]);
    writeFileSync(join(directory, "b"), "");
    setBack(directory);
    await listing.refresh();
    expect([...listing.names].sort()).toEqual(["a", "b"]);
  });
});

describe("isRacy", () => {
  it("is so while the last change may share its grain of time with the reading", async () => {
    writeFileSync(join(directory, "a"), "");
    const stamp = await readStamp(join(directory, "a"));
    const racyAt = (laterMs: number): boolean => isRacy(stamp, Date.now() + laterMs, directory);
    expect(racyAt(0)).toBe(true);
    expect(racyAt(3000)).toBe(false);
    // A clock that was set back, or a file server's that is ahead.
    expect(racyAt(-3000)).toBe(true);
    expect(isRacy(undefined, Date.now(), directory)).toBe(false);
  });

  it("takes a time of whole seconds for one of a coarse grain", async () => {
    const stamp = await readStamp(directory);
    if (stamp === undefined) throw new Error("no stamp");
    const whole = { ...stamp, modifiedMs: 5_000_000, changedMs: 5_000_000 };
    expect(isRacy(whole, 5_002_000, directory)).toBe(true);
    expect(isRacy(whole, 5_003_000, directory)).toBe(false);
  });
});

describe("identityOf", () => {
  it("stays while content changes, and differs for a directory that is made anew", async () => {
    const path = join(directory, "sub");
    mkdirSync(path);
    const first = await readStamp(path);
    appendFileSync(join(path, "a"), "x");
    const second = await readStamp(path);
    rmSync(path, { recursive: true });
    mkdirSync(path);
    const third = await readStamp(path);
    if (first === undefined || second === undefined || third === undefined) throw new Error("no stamp");
    expect(identityOf(second)).toBe(identityOf(first));
    // Where the file system keeps no time of birth, inodes are all there is.
    if (statSync(path).birthtimeMs > 0) expect(identityOf(third)).not.toBe(identityOf(first));
  });
});

describe("oneAtATime", () => {
  it("gives all who ask during a run the next one", async () => {
    let runs = 0;
    const gates: (() => void)[] = [];
    const run = oneAtATime(() => {
      runs++;
      return new Promise<void>((resolve) => gates.push(resolve));
    });
    const first = run();
    const later = [run(), run(), run()];
    expect(runs).toBe(1);
    gates.shift()?.();
    await first;
    await new Promise((resolve) => setTimeout(resolve, 1));
    expect(runs).toBe(2);
    gates.shift()?.();
    await Promise.all(later);
    expect(runs).toBe(2);
    const again = run();
    expect(runs).toBe(3);
    gates.shift()?.();
    await again;
  });

  it("runs again after a failure", async () => {
    let fail = true;
    const run = oneAtATime(async () => {
      if (fail) throw new Error("failed");
    });
    const failed = [run(), run()];
    await expect(failed[0]).rejects.toThrow("failed");
    await expect(failed[1]).rejects.toThrow("failed");
    fail = false;
    await run();
  });
});
