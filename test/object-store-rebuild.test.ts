/** A lost database made again from what the bucket tells: pushes, forks, names, what was deleted, the history. With the real git. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { createGitServer } from "../src/server/git-server.js";
import {
  type ObjectStorage,
  type ObjectStorageOptions,
  openObjectStorage,
  rebuildObjectStorage,
} from "../src/server/object-storage.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { withBucket } from "./support/bucket-behind.js";
import { embeddedStorages, servedStorages } from "./support/object-storages.js";

describe.each([embeddedStorages(), servedStorages(inject("cephSocket"))])("rebuilding: $name", (kind) => {
  const { isSkipped } = kind;
  let client: GitClient;
  let options: ObjectStorageOptions;
  const closing: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    client = createWorkspace();
    if (!isSkipped) options = await kind.open(join(client.directory, "first"));
  }, 300_000);
  afterAll(async () => {
    for (const close of closing.splice(0)) await close();
    removeDirectory(client);
    await kind.close();
  });

  const serve = async (): Promise<{ readonly store: ObjectStorage; readonly url: string }> => {
    const localDirectory = join(client.directory, "local");
    const store = await openObjectStorage({ ...options, localDirectory, janitor: false, witnesses: false });
    const server = createGitServer({ repositories: store, autoCreate: "push", log: () => undefined });
    closing.push(
      () => server.close({ graceMs: 0 }),
      () => store.close(),
    );
    return { store, url: (await server.listen({ http: "127.0.0.1:0" })).http.url };
  };
  const stop = async (): Promise<void> => {
    for (const close of closing.splice(0)) await close();
  };
  const commit = async (tree: GitClient, text: string): Promise<string> => {
    await writeFile(join(tree.directory, `${text}.txt`), `${text}\n`);
    await tree.run("add", ".");
    await tree.run("commit", "-q", "-m", text);
    return tree.run("rev-parse", "HEAD");
  };
  /** All that is told of the repositories. */
  const look = async (store: ObjectStorage, url: string): Promise<unknown> => {
    const all: Record<string, unknown> = {};
    for await (const name of store.list())
      all[name] = {
        refs: await client.run("ls-remote", "--symref", `${url}/${name}.git`),
        history: await store.history(name),
      };
    const deleted = [];
    for await (const one of store.listDeleted()) deleted.push(one);
    return { all, deleted };
  };

  it.skipIf(isSkipped)("brings back refs, HEAD, names, forks, the history and what was deleted", async () => {
    let { store, url } = await serve();
    await client.run("init", "-q", "app");
    const tree = client.in("app");
    const first = await commit(tree, "first");
    await tree.run("push", "-q", `${url}/team/app.git`, "HEAD:main");
    expect(await store.writeWitnesses()).toMatchObject({ witnessesWritten: 1, failures: [] });
    expect(await store.writeWitnesses()).toMatchObject({ witnessesWritten: 0 });
    const second = await commit(tree, "second");
    await tree.run("tag", "-a", "-m", "v1", "v1");
    await tree.run("push", "-q", `${url}/team/app.git`, "HEAD:main", "v1", "HEAD:topic");
    await (await store.fork("team/app", "people/ada")).close();
    await tree.run("push", "-q", `${url}/team/app.git`, "--delete", "topic");
    await tree.run("push", "-q", `${url}/gone.git`, "HEAD:main");
    await tree.run("push", "-q", `${url}/back.git`, "HEAD:main");
    await store.delete("gone");
    await store.delete("back");
    expect(await store.writeWitnesses()).toMatchObject({ witnessesWritten: 4, failures: [] });
    await store.rename("team/app", "other/app");
    await store.undelete("back");
    const third = await commit(tree, "third");
    await tree.run("push", "-q", `${url}/people/ada.git`, "HEAD:main");
    await store.restore("people/ada", { generation: 2 });
    expect(await store.writeWitnesses()).toMatchObject({ witnessesWritten: 3, failures: [] });
    const before = await look(store, url);
    await stop();

    options = { ...options, database: (await kind.open(join(client.directory, "second"))).database };
    // Stopped in the middle, it leaves nothing that would be served.
    const stopping = new AbortController();
    const stopped = rebuildObjectStorage({
      ...options,
      signal: stopping.signal,
      onProgress: (what) => void (what === "Restoring" && stopping.abort()),
    });
    await expect(stopped).rejects.toMatchObject({ code: "base/aborted" });
    await expect(openObjectStorage(options)).rejects.toMatchObject({ code: "server/bad-configuration" });
    const told: string[] = [];
    const report = await rebuildObjectStorage({
      ...options,
      deep: true,
      onProgress: (what, done, total) => void told.push(`${what} ${done}/${total}`),
    });
    expect(report).toMatchObject({ networks: 3, repositories: 4, deleted: 1, otherObjects: 0, findings: [] });
    expect(told).toContain("Reading witnesses 4/4");
    expect(told).toContain("Restoring 3/3");
    await expect(rebuildObjectStorage(options)).rejects.toMatchObject({ code: "storage/exists" });

    ({ store, url } = await serve());
    expect(await look(store, url)).toEqual(before);
    for await (const name of store.list())
      expect(await store.verify(name, { deep: true })).toMatchObject({ findings: [] });
    await store.undelete("gone");
    for (const [name, tip] of [
      ["other/app", second],
      ["people/ada", second],
      ["gone", second],
      ["back", second],
    ] as const) {
      const copy = `${name.replace("/", "-")}.git`;
      await client.run("clone", "-q", "--bare", `${url}/${name}.git`, copy);
      await client.in(copy).run("fsck", "--strict");
      expect(await client.in(copy).run("rev-parse", "main")).toBe(tip);
    }
    await store.restore("other/app", { generation: 1 });
    expect((await client.run("ls-remote", `${url}/other/app.git`, "refs/heads/main")).slice(0, 40)).toBe(
      first,
    );
    await tree.run("push", "-q", `${url}/other/app.git`, `${third}:main`);
    await tree.run("push", "-q", `${url}/people/ada.git`, "HEAD:main");
    // All of them are told whole, and nothing that is needed goes.
    expect(await store.writeWitnesses()).toMatchObject({ witnessesWritten: 4, failures: [] });
    expect(await store.clean({ graceMs: 0 })).toMatchObject({ failures: [], packsDropped: 0 });
    expect(await store.verify("other/app", { deep: true })).toMatchObject({ findings: [] });
    await stop();
  });

  it.skipIf(isSkipped)("finds chunks of large blobs again, and looks into them when it is to", async () => {
    const containers = async (): Promise<ReadonlyMap<string, number>> => {
      const found = new Map<string, number>();
      await withBucket(options, async (bucket) => {
        for await (const { key, sizeBytes } of bucket.list("c/")) found.set(key, sizeBytes);
      });
      return found;
    };
    let { store, url } = await serve();
    await client.run("init", "-q", "large");
    const tree = client.in("large");
    const large = randomBytes(3 * 1024 * 1024);
    await writeFile(join(tree.directory, "large"), large);
    await commit(tree, "whole");
    await tree.run("push", "-q", `${url}/large.git`, "HEAD:main");
    expect(await store.writeWitnesses()).toMatchObject({ failures: [] });
    const [[key, sizeBytes] = ["", 0], ...others] = await containers();
    expect(others).toEqual([]);
    await stop();

    options = { ...options, database: (await kind.open(join(client.directory, "third"))).database };
    expect((await rebuildObjectStorage({ ...options, deep: true })).findings).toEqual([]);
    ({ store, url } = await serve());
    large[1_500_000] = (large[1_500_000] as number) ^ 1;
    await writeFile(join(tree.directory, "large"), large);
    await commit(tree, "changed");
    // No delta: the blob is another one, and has most chunks in common with what was there.
    await tree.run("-c", "core.bigFileThreshold=1m", "push", "-q", `${url}/large.git`, "HEAD:main");
    const added = [...(await containers())].filter(([other]) => other !== key);
    expect(added).toHaveLength(1);
    expect(added[0]?.[1]).toBeLessThan(sizeBytes / 2);
    expect(await store.verify("large", { deep: true })).toMatchObject({ findings: [] });
    expect(await store.writeWitnesses()).toMatchObject({ failures: [] });
    await stop();

    await withBucket(options, async (bucket) => {
      const bytes = Buffer.from(await bucket.get(key));
      bytes[1000] = (bytes[1000] as number) ^ 1;
      await bucket.delete([key]);
      await bucket.put(key, [bytes]);
    });
    options = { ...options, database: (await kind.open(join(client.directory, "fourth"))).database };
    const { findings } = await rebuildObjectStorage({ ...options, deep: true });
    expect(findings).toMatchObject([{ kind: "loss", repository: "large" }]);
    expect(findings[0]?.message).toContain(key);
  });
});
