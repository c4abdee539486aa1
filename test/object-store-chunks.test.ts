/**
 * Large blobs in the object store: versions of them share chunks, forks share, networks do not; and the real git sees nothing
 * of it.
 */
import { createCipheriv } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { collectGarbage } from "../src/engine/maintenance/collect-garbage.js";
import { foldPacks } from "../src/engine/maintenance/fold-packs.js";
import { formatPackHeader, PACK_HEADER_BYTES } from "../src/pack/pack-writer.js";
import { createGitServer } from "../src/server/git-server.js";
import {
  type ObjectStorage,
  type ObjectStorageOptions,
  openObjectStorage,
} from "../src/server/object-storage.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { withBucket } from "./support/bucket-behind.js";
import { embeddedStorages, servedStorages } from "./support/object-storages.js";

const MiB = 1024 * 1024;
/** Nothing is kept that is not named now. */
const AT_ONCE = { uploadAgeMsMax: -1000, preparedAgeMsMax: -1000, retentionMs: -1000, graceMs: -1000 };

/** The same in every run, and nothing compresses it. */
function noise(length: number, seed: number): Buffer {
  const key = Buffer.alloc(16, seed);
  return createCipheriv("aes-128-ctr", key, key).update(Buffer.alloc(length));
}

function lines(length: number): Buffer {
  const text: string[] = [];
  for (let bytes = 0, i = 0; bytes < length; i++) {
    text.push(`line ${i} of ${Math.imul(i, 2654435761) >>> 20}\n`);
    bytes += text.at(-1)?.length ?? 0;
  }
  return Buffer.from(text.join("")).subarray(0, length);
}

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at] = (changed[at] as number) ^ 1;
  return changed;
}

describe.each([embeddedStorages(), servedStorages(inject("cephSocket"))])("large blobs: $name", (kind) => {
  const { isSkipped } = kind;
  /** What does not depend on where it is kept. */
  const isOther = isSkipped || kind.name !== "a directory and SQLite";
  let client: GitClient;
  let tree: GitClient;
  let options: ObjectStorageOptions;
  let store: ObjectStorage;
  let url: string;
  let closing: (() => Promise<void>)[] = [];

  /** A server of its own, with nothing in its cache. */
  const startServer = async (
    more: Pick<ObjectStorageOptions, "largeBlobBytesMin"> = {},
  ): Promise<{ store: ObjectStorage; url: string }> => {
    const localDirectory = join(client.directory, `local-${closing.length}`);
    const opened = await openObjectStorage({ ...options, ...more, localDirectory, janitor: false });
    const server = createGitServer({ repositories: opened, autoCreate: "push", log: () => undefined });
    closing.push(async () => {
      await server.close({ graceMs: 0 });
      await opened.close();
    });
    return { store: opened, url: (await server.listen({ http: "127.0.0.1:0" })).http.url };
  };

  beforeEach(async () => {
    client = createWorkspace();
    if (isSkipped) return;
    options = await kind.open(client.directory);
    ({ store, url } = await startServer());
    await client.run("init", "-q", "tree");
    tree = client.in("tree");
    // Noise does not get smaller.
    await tree.run("config", "core.compression", "0");
  }, 300_000);
  afterEach(async () => {
    for (const close of closing.toReversed()) await close();
    closing = [];
    removeDirectory(client);
  });
  afterAll(() => kind.close());

  const commit = async (files: Readonly<Record<string, Buffer>>): Promise<string> => {
    for (const [name, content] of Object.entries(files)) await writeFile(join(tree.directory, name), content);
    await tree.run("add", ".");
    await tree.run("commit", "-q", "-m", "commit");
    return tree.run("rev-parse", "HEAD");
  };
  const push = (name: string, ...settings: readonly string[]) =>
    tree.run(...settings, "push", "-q", `${url}/${name}.git`, "HEAD:refs/heads/main");
  const bytesIn = async (prefix = ""): Promise<number> => {
    let sum = 0;
    await withBucket(options, async (bucket) => {
      for await (const { sizeBytes } of bucket.list(prefix)) sum += sizeBytes;
    });
    return sum;
  };
  const containers = async (): Promise<readonly string[]> => {
    const keys: string[] = [];
    await withBucket(options, async (bucket) => {
      for await (const { key } of bucket.list("c/")) keys.push(key);
    });
    return keys;
  };
  /** From a server that has read nothing. */
  const expectWell = async (name: string, files: Readonly<Record<string, Buffer>>): Promise<void> => {
    const cold = await startServer();
    const directory = `clone-${closing.length}`;
    await client.run("clone", "-q", `${cold.url}/${name}.git`, directory);
    const clone = client.in(directory);
    await clone.run("fsck", "--strict", "--full");
    expect(await clone.run("rev-parse", "HEAD")).toBe(await tree.run("rev-parse", "HEAD"));
    for (const [file, content] of Object.entries(files))
      expect((await readFile(join(clone.directory, file))).equals(content)).toBe(true);
    const deep = await cold.store.verify(name, { deep: true });
    expect(deep.findings).toEqual([]);
  };

  it.skipIf(isSkipped)(
    "share what versions have in common, however they are pushed",
    async () => {
      let large = noise(9 * MiB, 1);
      await commit({ large });
      await push("app");
      const first = await bytesIn();
      expect(first).toBeLessThan(large.length * 1.01);
      expect((await containers()).length).toBe(1);
      // As a delta, as git does.
      large = flipped(large, 5_000_000);
      await commit({ large });
      await push("app");
      const second = await bytesIn();
      expect(second - first).toBeLessThan(100_000);
      // Whole, and with bytes that came in.
      large = Buffer.concat([
        large.subarray(0, 2_000_000),
        Buffer.from("new"),
        flipped(large.subarray(2_000_000), 4_000_000),
      ]);
      await commit({ large, small: Buffer.from("small\n") });
      await push("app", "-c", "core.bigFileThreshold=1m");
      expect((await bytesIn()) - second).toBeLessThan(2 * MiB);
      await expectWell("app", { large });
      expect(await tree.run("ls-remote", `${url}/app.git`)).toContain("refs/heads/main");
    },
    60_000,
  );

  it.skipIf(isOther)(
    "are shared by forks and by nobody else, and seen by nobody",
    async () => {
      const large = noise(3 * MiB, 2);
      await commit({ large });
      await push("app");
      await (await store.fork("app", "fork")).close();
      const before = await bytesIn();
      const pushed = await commit({ large: flipped(large, 1_000_000) });
      const whole = ["-c", "core.bigFileThreshold=1m"];
      await push("fork", ...whole);
      expect((await bytesIn()) - before).toBeLessThan(MiB);
      // The parent has no such commit, and no such blob.
      const blob = await tree.run("rev-parse", "HEAD:large");
      for (const oid of [pushed, blob]) {
        await client.run("init", "-q", "--bare", `empty-${oid}`);
        const fetched = await client.in(`empty-${oid}`).try("fetch", "-q", `${url}/app.git`, oid);
        expect(fetched.stderr).toContain("not our ref");
      }
      await expectWell("fork", { large: flipped(large, 1_000_000) });
      // Elsewhere the same bytes are other bytes.
      const shared = await bytesIn();
      await push("other", ...whole);
      expect((await bytesIn()) - shared).toBeGreaterThan(large.length);
    },
    60_000,
  );

  it.skipIf(isOther)(
    "stay for as long as something of their network needs them",
    async () => {
      const large = noise(2 * MiB, 3);
      await commit({ large });
      await push("app");
      const [first] = await containers();
      await (await store.fork("app", "fork")).close();
      const second = flipped(large, 1_000_000);
      await commit({ large: second });
      const whole = ["-c", "core.bigFileThreshold=1m"];
      await push("fork", ...whole);
      expect(await containers()).toHaveLength(2);
      expect(await store.clean(AT_ONCE)).toMatchObject({ packsDropped: 0, failures: [] });
      await store.delete("app");
      await store.clean(AT_ONCE);
      // The fork has them, and what is new in it.
      expect(await containers()).toHaveLength(2);
      await expectWell("fork", { large: second });
      await (await store.fork("fork", "app")).close();
      await store.restore("app", { generation: 1 }).catch(() => undefined);
      await store.delete("fork");
      await store.clean(AT_ONCE);
      await expectWell("app", { large: second });
      expect(await containers()).toContain(first);
      await store.delete("app");
      const report = await store.clean(AT_ONCE);
      expect(report.failures).toEqual([]);
      expect(await bytesIn()).toBe(0);
    },
    60_000,
  );

  it.skipIf(isOther)(
    "leave to the next push what of them nobody needs any more",
    async () => {
      const large = noise(2 * MiB, 4);
      await commit({ large });
      await push("app");
      await (await store.fork("app", "fork")).close();
      const second = flipped(large, 1_000_000);
      await commit({ large: second });
      const whole = ["-c", "core.bigFileThreshold=1m"];
      await push("fork", ...whole);
      await store.delete("fork");
      await store.clean(AT_ONCE);
      const [first, ...others] = await containers();
      expect(first).toBeDefined();
      expect(others).toEqual([]);
      await push("app", ...whole);
      expect(await containers()).toHaveLength(2);
      await store.clean(AT_ONCE);
      await expectWell("app", { large: second });
    },
    60_000,
  );

  it.skipIf(isSkipped)(
    "are missed, and told of, where a container is damaged",
    async () => {
      const large = noise(2 * MiB, 5);
      await commit({ large });
      await push("app");
      const [key = ""] = await containers();
      const change = (make: (bytes: Buffer) => Buffer | undefined): Promise<void> =>
        withBucket(options, async (bucket) => {
          const changed = make(await bucket.get(key));
          await bucket.delete([key]);
          if (changed !== undefined) await bucket.put(key, [changed]);
        });
      const findings = async () => (await store.verify("app", { deep: true })).findings;
      expect(await findings()).toEqual([]);
      let whole = Buffer.alloc(0);
      for (const [make, told] of [
        [(bytes: Buffer) => flipped((whole = Buffer.from(bytes)), 700_000), /1 of its \d+ chunks/],
        [() => whole.subarray(0, -1), /1 of its \d+ chunks/],
      ] as const) {
        await change(make);
        const found = await findings();
        expect(found).toMatchObject([{ what: "object", where: key }]);
        expect(found[0]?.message).toMatch(told);
        await expect(store.exportTo("app", join(client.directory, "damaged.git"))).rejects.toMatchObject({
          code: "storage/corrupt",
        });
      }
      // What is damaged is not used again.
      await change(() => flipped(whole, 700_000));
      const second = flipped(large, 1_500_000);
      await (await store.fork("app", "fork")).close();
      await commit({ large: second });
      await tree.run("checkout", "-q", "--orphan", "fresh");
      await tree.run("commit", "-q", "-m", "fresh");
      await tree.run(
        "-c",
        "core.bigFileThreshold=1m",
        "push",
        "-q",
        `${url}/fork.git`,
        "HEAD:refs/heads/fresh",
      );
      expect(await containers()).toHaveLength(2);
      await change(() => whole);
      expect(await findings()).toEqual([]);
      expect((await store.verify("fork", { deep: true })).findings).toEqual([]);
    },
    60_000,
  );

  it.skipIf(isOther)(
    "become chunks where garbage is collected, and the bitmap goes with their pack",
    async () => {
      const files: Record<string, Buffer> = { large: noise(2 * MiB, 10), text: lines(2 * MiB) };
      // As many objects as bitmaps are made of.
      for (let i = 0; i < 1000; i++) files[`small-${i}`] = Buffer.from(`${i}\n`);
      await commit(files);
      const before = await startServer({ largeBlobBytesMin: Number.POSITIVE_INFINITY });
      await tree.run("push", "-q", `${before.url}/app.git`, "HEAD:refs/heads/main");
      expect(await containers()).toEqual([]);
      await commit({ later: Buffer.from("later\n") });
      await push("app");
      expect(await store.collectGarbage("app")).toMatchObject({ kind: "collected", packsAfter: 1 });
      expect(await containers()).toHaveLength(1);
      const cold = await startServer();
      const repository = await cold.store.open("app");
      const snapshot = await repository?.snapshot();
      const pack = snapshot?.objects.packs[0];
      const bitmap = pack?.beside?.bitmap;
      if (pack === undefined || bitmap === undefined) throw new Error("there is no bitmap");
      expect(snapshot?.objects.commitGraph).toBeDefined();
      // Git takes it for that of the pack.
      await client.run("init", "-q", "--bare", "judge.git");
      const judge = client.in("judge.git");
      const path = join(judge.directory, "objects", "pack", `pack-${pack.index.packTrailer}`);
      await writeFile(`${path}.pack`, await pack.bytes.read(0, pack.bytes.sizeBytes));
      await writeFile(`${path}.idx`, new Uint8Array(pack.index.bytes));
      await writeFile(`${path}.bitmap`, new Uint8Array(bitmap));
      snapshot?.release();
      await repository?.close();
      await judge.run("rev-list", "--test-bitmap", await tree.run("rev-parse", "HEAD"));
      await judge.run("fsck", "--full");
      await expectWell("app", files);
    },
    60_000,
  );

  it.skipIf(isOther)(
    "go as they are kept to who fetches just the push that brought them",
    async () => {
      const large = noise(2 * MiB, 8);
      await commit({ large });
      await push("app");
      const copies = ["warm", "cold"] as const;
      for (const copy of copies) await client.run("clone", "-q", "--mirror", `${url}/app.git`, copy);
      // A delta upon what the repository has, and something new that is large.
      await commit({ large: flipped(large, 1_000_000), other: noise(MiB + 99, 9) });
      await push("app");
      const repository = await store.open("app");
      const snapshot = await repository?.snapshot();
      const pack = snapshot?.objects.packs[0];
      const record = pack?.recordedPush;
      if (pack === undefined || record === undefined) throw new Error("what the push has shown is not kept");
      expect(record).toMatchObject({
        sentCount: 4,
        sentDeltas: expect.toSatisfy((count: number) => count >= 1),
      });
      expect(pack.objectCount).toBe(5);
      const entries = await pack.bytes.read(PACK_HEADER_BYTES, record.sentEnd - PACK_HEADER_BYTES);
      // Chunks would not be written again, so that they are no reason to collect what was just pushed.
      const survey = await repository?.packMaintenance?.garbage?.survey();
      expect(survey?.newBytes).toBeLessThan(MiB / 4);
      expect(survey).toMatchObject({ newPacks: 2, bytes: survey?.newBytes });
      snapshot?.release();
      await repository?.close();
      const cold = await startServer();
      for (const [copy, server] of [
        ["warm", url],
        ["cold", cold.url],
      ] as const) {
        const trace = join(client.directory, `${copy}.pack`);
        const fetched = await client
          .in(copy)
          .tryWith(
            { env: { GIT_TRACE_PACKFILE: trace } },
            "fetch",
            "-q",
            `${server}/app.git`,
            "+refs/heads/*:refs/heads/*",
          );
        expect(fetched.stderr).toBe("");
        await client.in(copy).run("fsck", "--strict", "--full");
        const sent = Buffer.concat([formatPackHeader(record.sentCount), entries]);
        expect((await readFile(trace)).subarray(0, -20).equals(sent)).toBe(true);
      }
      await expectWell("app", {});
    },
    60_000,
  );

  it.skipIf(isOther)(
    "are written once more by who pushes what the bucket has lost of them",
    async () => {
      const large = noise(2 * MiB, 7);
      await commit({ large });
      await push("app");
      const [key = ""] = await containers();
      /** From elsewhere, so that the blob is sent though the repository has it; to a server that has read nothing. */
      const pushAgain = async (name: string, largeBlobBytesMin?: number): Promise<void> => {
        const { url: cold } = await startServer(largeBlobBytesMin === undefined ? {} : { largeBlobBytesMin });
        await client.run("init", "-q", name);
        const again = client.in(name);
        await writeFile(join(again.directory, "large"), large);
        await again.run("add", ".");
        await again.run("commit", "-q", "-m", name);
        await again.run(
          "-c",
          "core.compression=0",
          "push",
          "-q",
          `${cold}/app.git`,
          `HEAD:refs/heads/${name}`,
        );
      };
      /** The blob stands in the packs of all these pushes: looked into is that of one. */
      const expectReadable = async (name: string): Promise<void> => {
        const cold = await startServer();
        const repository = await cold.store.open("app");
        const snapshot = await repository?.snapshot();
        const tip = await client.in(name).run("rev-parse", "HEAD");
        const pack = snapshot?.objects.packs.find(({ index }) => index.find(tip) >= 0);
        if (pack === undefined) throw new Error(`the pack of ${name} is not there`);
        const input = await pack.bytes.read(0, pack.bytes.sizeBytes);
        snapshot?.release();
        await repository?.close();
        await client.run("init", "-q", "--bare", `read-${name}.git`);
        const judge = client.in(`read-${name}.git`);
        const indexed = await judge.tryWith({ input }, "index-pack", "--strict", "--stdin");
        expect(indexed.stderr).toBe("");
        const blob = await tree.run("hash-object", "large");
        expect(await judge.run("rev-list", "--objects", "--no-object-names", tip)).toContain(blob);
      };
      await pushAgain("known");
      expect(await containers()).toEqual([key]);
      // What is pushed is compared with a copy that is as it was.
      await pushAgain("whole", Number.POSITIVE_INFINITY);
      await withBucket(options, async (bucket) => {
        const bytes = await bucket.get(key);
        await bucket.delete([key]);
        await bucket.put(key, [flipped(bytes, 700_000)]);
      });
      await pushAgain("damaged");
      expect(await containers()).toHaveLength(2);
      await expectReadable("damaged");
      // What was written for it is found from now on.
      const before = await bytesIn("c/");
      await pushAgain("mended");
      expect(await bytesIn("c/")).toBe(before);
      await withBucket(options, (bucket) => bucket.delete([key]));
      await pushAgain("missing");
      await expectReadable("missing");
      expect(await containers()).toHaveLength(2);
    },
    60_000,
  );

  it.skipIf(isOther)(
    "stand among deltas, and come through folding, garbage collection, export and import",
    async () => {
      const files: Record<string, Buffer> = { text: lines(2 * MiB), noise: noise(MiB + 17, 6) };
      for (let i = 0; i < 12; i++) {
        files["small"] = Buffer.from(
          Array.from({ length: 400 + i }, (_, n) => `${n} of ${i % 3}\n`).join(""),
        );
        if (i % 5 === 4) files["text"] = Buffer.concat([Buffer.from(`version ${i}\n`), lines(2 * MiB)]);
        await commit(files);
        if (i % 3 === 2) {
          await tree.run("repack", "-a", "-d", "-q", "--window=20");
          await push("app");
        }
      }
      // Deltas whose bases stand before large blobs, and behind them.
      await push("whole");
      await expectWell("whole", files);
      const before = (await store.verify("app")).findings;
      expect(before).toEqual([]);
      const repository = await store.open("app");
      if (repository?.packMaintenance === undefined) throw new Error("it has gone");
      const grown = await bytesIn();
      expect(await foldPacks(repository.packMaintenance)).toMatchObject({ kind: "folded" });
      await expectWell("app", files);
      const { garbage } = repository.packMaintenance;
      if (garbage === undefined) throw new Error("nobody collects garbage");
      expect(await collectGarbage(garbage, { graceMs: 0 })).toMatchObject({
        kind: "collected",
        packsAfter: 1,
      });
      await repository.close();
      await expectWell("app", files);
      // Neither has written a large blob once more.
      expect((await bytesIn()) - grown).toBeLessThan(200_000);
      await store.clean(AT_ONCE);
      await expectWell("app", files);
      await store.exportTo("app", join(client.directory, "out.git"));
      const out = client.in("out.git");
      await out.run("fsck", "--strict", "--full");
      await store.importFrom(out.directory, "back");
      await expectWell("back", files);
    },
    100_000,
  );
});
