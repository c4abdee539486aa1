/** `verify` of the object store: what is whole is said to be, and what was damaged is named. */
import { randomBytes } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { DEFAULT_LIMITS } from "../src/base/limits.js";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { ingestPack } from "../src/engine/ingest/ingest-pack.js";
import {
  type ObjectStorage,
  type ObjectStorageOptions,
  openObjectStorage,
} from "../src/server/object-storage.js";
import { createMetadataStore } from "../src/storage/object-store/metadata/create-metadata-store.js";
import type { MetadataStore } from "../src/storage/object-store/metadata/metadata-store.js";
import { verifyState } from "../src/storage/object-store/verify-state.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { withBucket } from "./support/bucket-behind.js";
import { embeddedStorages, servedStorages } from "./support/object-storages.js";

describe.each([embeddedStorages(), servedStorages(inject("cephSocket"))])("verify: $name", (kind) => {
  const { isSkipped } = kind;
  let client: GitClient;
  let options: ObjectStorageOptions;
  let store: ObjectStorage;

  beforeAll(async () => {
    client = createWorkspace();
    if (isSkipped) return;
    options = {
      ...(await kind.open(client.directory)),
      localDirectory: join(client.directory, "local"),
    };
    store = await openObjectStorage(options);
    await client.run("init", "-q", "tree");
    const tree = client.in("tree");
    for (let i = 0; i < 6; i++) await writeFile(join(tree.directory, `noise ${i}`), randomBytes(1_000_000));
    await tree.run("add", ".");
    await tree.run("commit", "-q", "-m", "large");
    await tree.run("tag", "-a", "-m", "one", "v1");
  }, 300_000);
  afterAll(async () => {
    if (!isSkipped) await store.close();
    removeDirectory(client);
    await kind.close();
  });

  /** A repository with a pack and an index that are objects of their own, and its name. */
  const imported = async (name: string): Promise<string> => {
    await store.importFrom(client.in("tree").directory, name);
    return name;
  };
  const objectsOf = async (name: string): Promise<{ readonly pack: string; readonly side: string }> => {
    const keys: string[] = [];
    await withBucket(options, async (bucket) => {
      for await (const { key } of bucket.list("p/")) keys.push(key);
    });
    const database = await openDatabase(parseDatabaseLocation(options.database));
    try {
      const metadata = createMetadataStore(database);
      const { networkId = "" } = (await metadata.find(name)) ?? {};
      const [row] = await metadata.listPacks(networkId, { limit: 10 });
      expect(keys).toEqual(expect.arrayContaining([row?.key, row?.sideKey]));
      return { pack: row?.key ?? "", side: row?.sideKey ?? "" };
    } finally {
      await database.close();
    }
  };
  const change = (key: string, make: (bytes: Buffer) => Buffer | undefined): Promise<void> =>
    withBucket(options, async (bucket) => {
      const changed = make(await bucket.get(key));
      await bucket.delete([key]);
      if (changed !== undefined) await bucket.put(key, [changed]);
    });

  it.skipIf(isSkipped)("finds nothing wrong with what is whole", async () => {
    await imported("whole");
    const shallow = await store.verify("whole");
    expect(shallow).toMatchObject({ repository: "whole", refs: 2, packs: 1, bucketObjects: 2, findings: [] });
    expect(shallow.bucketBytes).toBeGreaterThan(6_000_000);
    expect(shallow.root).toBe((await store.history("whole"))[0]?.root);
    expect(shallow.objects).toBeUndefined();
    const deep = await store.verify("whole", { deep: true });
    const count = (await client.in("tree").run("rev-list", "--objects", "--all")).split("\n").length;
    expect(deep).toEqual({ ...shallow, objects: count });
    await expect(store.verify("none")).rejects.toMatchObject({ code: "storage/not-found" });
  });

  it.skipIf(isSkipped)("names a pack with a flipped byte", async () => {
    const { pack } = await objectsOf(await imported("flipped"));
    await change(pack, (bytes) => {
      bytes.writeUInt8(bytes.readUInt8(3_000_000) ^ 1, 3_000_000);
      return bytes;
    });
    const { findings } = await store.verify("flipped", { deep: true });
    expect(findings).toEqual([
      { what: "object", where: pack, message: expect.stringContaining("its SHA-256 is") },
    ]);
  });

  it.skipIf(isSkipped)("names an index that was cut off", async () => {
    const { side } = await objectsOf(await imported("cut"));
    await change(side, (bytes) => bytes.subarray(0, -1));
    const { findings } = await store.verify("cut");
    expect(findings).toEqual([
      { what: "object", where: side, message: expect.stringContaining("bytes instead of") },
    ]);
  });

  it.skipIf(isSkipped)("names what is not there", async () => {
    const { pack, side } = await objectsOf(await imported("missing"));
    await change(pack, () => undefined);
    await change(side, () => undefined);
    const { findings } = await store.verify("missing", { deep: true });
    expect(findings.every(({ what }) => what === "object")).toBe(true);
    expect(findings.map(({ where }) => where).toSorted()).toEqual([pack, side].toSorted());
    expect(findings[0]?.message).toContain("is not in the bucket");
  });

  it.skipIf(isSkipped)("names the object that a ref leads to and nobody has", async () => {
    await client.run("init", "-q", "holed");
    const tree = client.in("holed");
    await tree.run("commit", "-q", "--allow-empty", "-m", "first");
    await tree.run("commit", "-q", "--allow-empty", "-m", "second");
    const [second = "", first = ""] = (await tree.run("rev-list", "main")).split("\n");
    await tree.tryWith({ input: `${second}\n` }, "pack-objects", "-q", "one");
    const file = (await readdir(tree.directory)).find((name) => name.endsWith(".pack")) ?? "";
    const bytes = await readFile(join(tree.directory, file));
    // As nothing can be pushed: nobody looks whether all is there.
    const repository = await store.create("holed");
    const quarantine = await repository.openQuarantine();
    await ingestPack({
      quarantine,
      objects: quarantine.objects,
      source: (async function* () {
        yield bytes;
      })(),
      objectFormat: "sha1",
      limits: DEFAULT_LIMITS,
      collisionDetection: false,
      maxInputSizeBytes: Infinity,
    });
    await quarantine.publish();
    await repository.refs.transact({
      updates: [{ name: "refs/heads/main", oldOid: null, newOid: second }],
      atomic: true,
    });
    await quarantine.discard();
    await repository.close();
    expect((await store.verify("holed")).findings).toEqual([]);
    const { findings } = await store.verify("holed", { deep: true });
    expect(findings.map(({ what, where }) => [what, where])).toContainEqual(["repository", first]);
  });

  it.skipIf(isSkipped)("names nodes of the state that are wrong or missing", async () => {
    await imported("nodes");
    const database = await openDatabase(parseDatabaseLocation(options.database));
    try {
      const metadata = createMetadataStore(database);
      const record = await metadata.find("nodes");
      if (record === undefined) throw new Error("it has gone");
      const seen = (readNodes: MetadataStore["readNodes"]): ReturnType<typeof verifyState> =>
        withBucket(options, (bucket) =>
          verifyState({ metadata: { ...metadata, readNodes }, bucket }, record),
        );
      const all = new Set<string>();
      await seen(async (network, ids) => {
        for (const id of ids) all.add(id);
        return metadata.readNodes(network, ids);
      });
      // The root, the refs, the packs.
      expect(all.size).toBe(3);
      for (const id of all) {
        const missing = await seen(async (network, ids) => {
          const found = new Map(await metadata.readNodes(network, ids));
          found.delete(id);
          return found;
        });
        expect(missing.findings).toEqual([
          { what: "node", where: id, message: expect.stringContaining("it is not there") },
        ]);
        const flipped = await seen(async (network, ids) => {
          const found = new Map(await metadata.readNodes(network, ids));
          const bytes = found.get(id);
          if (bytes !== undefined) {
            const changed = Buffer.from(bytes);
            changed.writeUInt8(changed.readUInt8(9) ^ 1, 9);
            found.set(id, changed);
          }
          return found;
        });
        expect(flipped.findings).toEqual([
          { what: "node", where: id, message: expect.stringContaining("do not hash") },
        ]);
      }
    } finally {
      await database.close();
    }
  });
});
