/** What is synced when, told by the calls that reach the file system. */
import fs, { mkdtempSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  finishPack,
  sampleCommit,
  type SampleObject,
  sampleObject,
} from "../contracts/suites/sample-objects.js";
import { createDiskRepositoryStore } from "./disk-repository-store.js";
import { KEEP_TEXT } from "./publish-packs.js";

let directory: string;
let calls: string[];
/** Of each `.keep`, what it said when it appeared. */
let keepTexts: string[];
let restore: () => void;

/** `fsync` and `link`, with paths below the test's directory, as they end. */
function record(): () => void {
  const { fsync } = fs;
  const { link } = fs.promises;
  const name = (path: string): string =>
    relative(directory, path).replace(/tmp_objdir-incoming-\w+/, "QUARANTINE");
  fs.fsync = ((fd: number, done: (error: NodeJS.ErrnoException | null) => void) => {
    const path = name(readlinkSync(`/proc/self/fd/${fd}`));
    fsync(fd, (error) => {
      calls.push(`sync ${path}`);
      done(error);
    });
  }) as typeof fsync;
  fs.promises.link = async (from, to) => {
    await link(from, to);
    calls.push(`link ${name(String(to))}`);
    if (String(to).endsWith(".keep")) keepTexts.push(readFileSync(to, "latin1"));
  };
  syncBuiltinESMExports();
  return () => {
    fs.fsync = fsync;
    fs.promises.link = link;
    syncBuiltinESMExports();
  };
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-durability-"));
  calls = [];
  keepTexts = [];
  restore = record();
});

afterEach(() => {
  restore();
  rmSync(directory, { recursive: true });
});

async function pushOnce(durability: "sync" | "none", sizeBytes: number): Promise<string> {
  const store = createDiskRepositoryStore({ directory, durability });
  const repository = await store.create("app");
  calls = [];
  const { objects } = sampleCommit("sha1", "one");
  const noise = Buffer.from(Array.from({ length: sizeBytes }, (_, i) => (i * i * 31) >> 5));
  const quarantine = await repository.openQuarantine();
  const pack = await finishPack(await quarantine.createPack(), "sha1", [
    ...objects,
    sampleObject("sha1", "blob", noise),
  ]);
  await quarantine.publish();
  calls.push("published");
  await quarantine.discard();
  await repository.close();
  await store.close();
  return pack.name;
}

describe("publishing", () => {
  it.each([10, 3_000_000])(
    "syncs content, then links, then syncs the directory (%i bytes)",
    async (sizeBytes) => {
      const name = await pushOnce("sync", sizeBytes);
      const first = calls.indexOf(`link app.git/objects/pack/${name}.keep`);
      expect(
        calls
          .slice(0, first)
          .map((call) => basename(call))
          .sort(),
      ).toEqual([`${name}.idx`, `${name}.pack`]);
      expect(
        calls.slice(0, first).every((call) => call.startsWith("sync app.git/objects/QUARANTINE/pack/")),
      ).toBe(true);
      expect(calls.slice(first)).toEqual([
        `link app.git/objects/pack/${name}.keep`,
        `link app.git/objects/pack/${name}.pack`,
        `link app.git/objects/pack/${name}.idx`,
        "sync app.git/objects/pack",
        "published",
      ]);
    },
  );

  it("shows a .keep only with its text, by which a forgotten one is known", async () => {
    await pushOnce("sync", 10);
    expect(keepTexts).toEqual([KEEP_TEXT]);
  });

  it("waits for nothing when it need not be durable", async () => {
    await pushOnce("none", 10);
    expect(calls.filter((call) => call.startsWith("sync"))).toEqual([]);
  });
});

describe("replacing packs", () => {
  it("removes none before the new one and its name are on the disk, and each index before its pack", async () => {
    const store = createDiskRepositoryStore({ directory });
    const repository = await store.create("app");
    const objects: SampleObject[] = [];
    for (const label of ["one", "two"]) {
      const sample = sampleCommit("sha1", label);
      objects.push(...sample.objects);
      const quarantine = await repository.openQuarantine();
      await finishPack(await quarantine.createPack(), "sha1", sample.objects);
      await quarantine.publish();
      await quarantine.discard();
    }
    const replacement = await repository.packMaintenance?.begin();
    if (replacement === undefined) throw new Error("somebody else is at work");
    const pack = await finishPack(await replacement.createPack(), "sha1", objects);
    const { unlink, rename } = fs.promises;
    // They are moved aside first, then removed.
    fs.promises.rename = async (from, to) => {
      await rename(from, to);
      calls.push(`move ${relative(directory, String(from))}`);
    };
    fs.promises.unlink = async (path) => {
      await unlink(path);
      calls.push(`unlink ${relative(directory, String(path))}`);
    };
    syncBuiltinESMExports();
    calls = [];
    try {
      expect(await replacement.replace(replacement.packs)).toBe(true);
      await replacement.release();
    } finally {
      fs.promises.unlink = unlink;
      fs.promises.rename = rename;
      syncBuiltinESMExports();
    }
    const removals = calls.filter(
      (call) => /^move .*pack-.*\.(?:idx|pack)$/.test(call) && !/tmp_/.test(call),
    );
    const expected = replacement.packs.flatMap(({ name }) => [`${name}.idx`, `${name}.pack`]);
    expect(removals.map((call) => basename(call))).toEqual(expected);
    const first = calls.indexOf(removals[0] as string);
    expect(calls.lastIndexOf("sync app.git/objects/pack", first)).toBeGreaterThan(
      calls.indexOf(`link app.git/objects/pack/${pack.name}.idx`),
    );
    // What shields the new pack from a git repack stands until then.
    expect(calls.indexOf(`unlink app.git/objects/pack/${pack.name}.keep`)).toBeGreaterThan(
      calls.indexOf(removals.at(-1) as string),
    );
    await repository.close();
    await store.close();
  });
});

describe("a file system that fails or cannot", () => {
  async function failToPublish(fail: () => () => void): Promise<unknown> {
    const store = createDiskRepositoryStore({ directory });
    const repository = await store.create("app");
    const quarantine = await repository.openQuarantine();
    const undo = fail();
    try {
      await finishPack(await quarantine.createPack(), "sha1", sampleCommit("sha1", "one").objects);
      return await quarantine.publish().then(
        () => undefined,
        (error: unknown) => error,
      );
    } catch (error) {
      return error;
    } finally {
      undo();
      await quarantine.discard();
      const snapshot = await repository.snapshot();
      expect(snapshot.objects.packs).toEqual([]);
      snapshot.release();
      expect(fs.readdirSync(join(directory, "app.git/objects/pack"))).toEqual([]);
      expect(fs.readdirSync(join(directory, "app.git/objects")).sort()).toEqual(["info", "pack"]);
      await repository.close();
      await store.close();
    }
  }

  const failing = (code: string): NodeJS.ErrnoException => Object.assign(new Error(code), { code });

  it("tells that the disk is full, and leaves nothing", async () => {
    const error = await failToPublish(() => {
      const { write } = fs;
      fs.write = ((_fd: number, ...rest: unknown[]) => {
        (rest.at(-1) as (error: Error) => void)(failing("ENOSPC"));
      }) as typeof write;
      syncBuiltinESMExports();
      return () => {
        fs.write = write;
        syncBuiltinESMExports();
      };
    });
    expect(error).toMatchObject({ code: "storage/io" });
  });

  it("publishes nothing when the content cannot be synced", async () => {
    const error = await failToPublish(() => {
      const { fsync } = fs;
      fs.fsync = ((_fd: number, done: (error: Error) => void) => done(failing("EIO"))) as typeof fsync;
      syncBuiltinESMExports();
      return () => {
        fs.fsync = fsync;
        syncBuiltinESMExports();
      };
    });
    expect(error).toMatchObject({ code: "storage/io" });
  });

  it("leaves no pack without an index when the index cannot be put in place", async () => {
    const error = await failToPublish(() => {
      const { link } = fs.promises;
      fs.promises.link = (from, to) =>
        String(to).endsWith(".idx") ? Promise.reject(failing("EIO")) : link(from, to);
      syncBuiltinESMExports();
      return () => {
        fs.promises.link = link;
        syncBuiltinESMExports();
      };
    });
    expect(error).toMatchObject({ code: "storage/io" });
  });

  it("renames where there are no hard links", async () => {
    const { link } = fs.promises;
    fs.promises.link = () => Promise.reject(failing("EPERM"));
    syncBuiltinESMExports();
    try {
      const name = await pushOnce("sync", 10);
      const names = fs.readdirSync(join(directory, "app.git/objects/pack")).sort();
      expect(names).toEqual([`${name}.idx`, `${name}.pack`]);
      const store = createDiskRepositoryStore({ directory });
      const repository = await store.open("app");
      const quarantine = await repository?.openQuarantine();
      if (quarantine === undefined) throw new Error("the repository is gone");
      await finishPack(await quarantine.createPack(), "sha1", sampleCommit("sha1", "two").objects);
      await quarantine.publish();
      await quarantine.discard();
      expect(fs.readdirSync(join(directory, "app.git/objects/pack"))).toHaveLength(4);
      await repository?.close();
      await store.close();
    } finally {
      fs.promises.link = link;
      syncBuiltinESMExports();
    }
  });
});

describe("making a repository", () => {
  it("syncs its files and the directories on the way", async () => {
    const store = createDiskRepositoryStore({ directory });
    await (await store.create("group/app")).close();
    await store.close();
    const synced = calls.map((call) => call.replace(/\.gitwharf-new-[^/]+/, "NEW"));
    for (const path of ["NEW/HEAD", "NEW/config", "NEW", "NEW/objects", "NEW/refs", "group", ""]) {
      expect(synced).toContain(`sync ${path}`);
    }
  });
});
