import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bucketSuite } from "./bucket-suite.js";
import { openDirectoryBucket } from "./directory-bucket.js";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-bucket-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

for (const sync of [true, false])
  bucketSuite(
    { describe, it },
    {
      name: `directory, ${sync ? "synced" : "not synced"}`,
      async open() {
        const open = () => openDirectoryBucket({ directory, sync });
        return { bucket: await open(), reopen: open, dispose: async () => undefined };
      },
    },
  );

describe("openDirectoryBucket", () => {
  it("makes the directory, for its owner alone, as everything in it", async () => {
    const inner = join(directory, "made", "here");
    const bucket = await openDirectoryBucket({ directory: inner });
    await bucket.put("p/00/x", [Buffer.from("x")]);
    const modeOf = (path: string): string => (statSync(join(inner, path)).mode & 0o777).toString(8);
    expect([modeOf(""), modeOf("p"), modeOf("p/00"), modeOf(".incoming")]).toEqual([
      "700",
      "700",
      "700",
      "700",
    ]);
    expect(modeOf("p/00/x")).toBe("600");
  });

  it("removes what killed writers left, once it is old", async () => {
    const incoming = join(directory, ".incoming");
    mkdirSync(incoming);
    writeFileSync(join(incoming, "old"), "");
    writeFileSync(join(incoming, "young"), "");
    const dayAgo = Date.now() / 1000 - 25 * 60 * 60;
    utimesSync(join(incoming, "old"), dayAgo, dayAgo);
    const bucket = await openDirectoryBucket({ directory });
    expect(readdirSync(incoming)).toEqual(["young"]);
    for await (const entry of bucket.list("")) expect.unreachable(entry.key);
  });

  it("leaves nothing behind of what was refused, ended or written twice", async () => {
    const bucket = await openDirectoryBucket({ directory });
    await bucket.put("p/00/x", [Buffer.from("x")]);
    await bucket.put("p/00/x", [Buffer.from("x")]);
    // A file stands where a directory would have to be.
    await expect(bucket.put("p/00/x/y", [Buffer.from("y")])).rejects.toMatchObject({
      code: "storage/io",
      message: expect.stringContaining(`writing p/00/x/y in ${directory} failed`),
    });
    const upload = await bucket.createUpload("p/00/z");
    await upload.append(Buffer.from("z"));
    expect(readdirSync(join(directory, ".incoming"))).toHaveLength(1);
    await upload.abort();
    expect(readdirSync(join(directory, ".incoming"))).toEqual([]);
    expect(readdirSync(join(directory, "p/00"))).toEqual(["x"]);
  });

  it("makes directories anew that somebody has removed", async () => {
    const bucket = await openDirectoryBucket({ directory });
    await bucket.put("p/00/x", [Buffer.from("x")]);
    rmSync(join(directory, "p"), { recursive: true });
    await bucket.put("p/00/y", [Buffer.from("y")]);
    expect((await bucket.get("p/00/y")).toString()).toBe("y");
  });

  it("notices an object that became shorter while it is read", async () => {
    const bucket = await openDirectoryBucket({ directory });
    await bucket.put("p/00/x", [Buffer.alloc(600_000, 1)]);
    const read = async (): Promise<void> => {
      for await (const chunk of bucket.stream("p/00/x"))
        if (chunk.length > 0) writeFileSync(join(directory, "p/00/x"), "short");
    };
    await expect(read()).rejects.toMatchObject({
      code: "storage/io",
      message: expect.stringContaining("reading p/00/x"),
    });
  });

  it("says where it cannot be", async () => {
    const file = join(directory, "file");
    writeFileSync(file, "");
    await expect(openDirectoryBucket({ directory: file })).rejects.toMatchObject({
      code: "storage/io",
      message: expect.stringContaining(file),
    });
    const bucket = await openDirectoryBucket({ directory: join(directory, "lost") });
    await bucket.probe();
    rmSync(join(directory, "lost"), { recursive: true });
    await expect(bucket.probe()).rejects.toMatchObject({ code: "storage/io" });
  });

  it("has everything that was acknowledged, and nothing by halves, when writers are killed", async () => {
    const program = fileURLToPath(new URL("write-forever.test.process.js", import.meta.url));
    const acknowledged: string[] = [];
    for (let round = 0; round < 4; round++) {
      const child = spawn(process.execPath, [program, directory, String(round)], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const closed = once(child, "close");
      let lines = 0;
      for await (const line of createInterface(child.stdout)) {
        acknowledged.push(line);
        // Somewhere in the midst of three others.
        if (++lines === 5 + round * 4) child.kill("SIGKILL");
      }
      await closed;
    }
    const bucket = await openDirectoryBucket({ directory });
    const there = new Set<string>();
    for await (const { key, sizeBytes } of bucket.list("")) {
      there.add(key);
      expect(sizeBytes).toBe(100_000);
      expect((await bucket.get(key)).equals(Buffer.alloc(100_000, key))).toBe(true);
    }
    expect(acknowledged.length).toBeGreaterThanOrEqual(5 + 9 + 13 + 17);
    expect(acknowledged.filter((key) => !there.has(key))).toEqual([]);
    await bucket.sweep({ olderThanMs: -60_000 });
    expect(readdirSync(join(directory, ".incoming"))).toEqual([]);
  });
});
