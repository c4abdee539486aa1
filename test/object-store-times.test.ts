/** What only the object store can: forks, history, reading and restoring what was, deleting and bringing back. With the real git. */
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { createGitServer } from "../src/server/git-server.js";
import {
  type ObjectStorage,
  type ObjectStorageOptions,
  openObjectStorage,
} from "../src/server/object-storage.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { embeddedStorages, servedStorages } from "./support/object-storages.js";
import { serveStorage } from "./support/served-storage.js";

describe.each([embeddedStorages(), servedStorages(inject("cephSocket"))])("object storage: $name", (kind) => {
  const { isSkipped } = kind;
  let client: GitClient;
  let options: ObjectStorageOptions;
  let store: ObjectStorage;
  let url: string;
  let close: (() => Promise<void>) | undefined;

  beforeAll(async () => {
    client = createWorkspace();
    if (isSkipped) return;
    ({ options, store, url, close } = await serveStorage(kind, client.directory));
  }, 300_000);
  afterAll(async () => {
    await close?.();
    if (!isSkipped) expect(await readdir(join(client.directory, "local"))).toEqual([]);
    removeDirectory(client);
    await kind.close();
  });

  const commit = async (tree: GitClient, text: string): Promise<string> => {
    await writeFile(join(tree.directory, `${text}.txt`), `${text}\n`);
    await tree.run("add", ".");
    await tree.run("commit", "-q", "-m", text);
    return tree.run("rev-parse", "HEAD");
  };
  /** A work tree that has pushed one commit. */
  const pushed = async (name: string): Promise<{ readonly tree: GitClient; readonly first: string }> => {
    await client.run("init", "-q", name);
    const tree = client.in(name);
    await tree.run("remote", "add", "origin", `${url}/${name}.git`);
    const first = await commit(tree, "first");
    await tree.run("push", "-q", "origin", "main");
    return { tree, first };
  };
  const tipOf = async (name: string, ref = "refs/heads/main"): Promise<string> =>
    (await client.run("ls-remote", `${url}/${name}.git`, ref)).slice(0, 40);

  it.skipIf(isSkipped)("forks without copying, and both go their ways", async () => {
    const { tree, first } = await pushed("parent");
    const fork = await store.fork("parent", "people/ada/fork");
    expect(fork.name).toBe("people/ada/fork");
    await fork.close();
    const [made] = await store.history("people/ada/fork");
    expect(made).toMatchObject({ kind: "fork", root: (await store.history("parent"))[0]?.root });
    await client.run("clone", "-q", `${url}/people/ada/fork.git`, "fork");
    const ofParent = await commit(tree, "of the parent");
    await tree.run("push", "-q", "origin", "main");
    const ofFork = await commit(client.in("fork"), "of the fork");
    await client.in("fork").run("push", "-q", "origin", "main");
    expect([await tipOf("parent"), await tipOf("people/ada/fork")]).toEqual([ofParent, ofFork]);
    // They share packs up to here, and nobody sees what the other has pushed since.
    expect((await client.in("fork").try("fetch", "-q", "origin", ofParent)).status).not.toBe(0);
    expect((await tree.try("fetch", "-q", "origin", ofFork)).status).not.toBe(0);
    await store.delete("parent");
    expect((await client.try("ls-remote", `${url}/parent.git`)).status).not.toBe(0);
    await client.run("clone", "-q", "--bare", `${url}/people/ada/fork.git`, "fork.git");
    await client.in("fork.git").run("fsck", "--strict");
    expect(await client.in("fork.git").run("rev-parse", "main~1")).toBe(first);
    await expect(store.fork("parent", "another")).rejects.toMatchObject({ code: "storage/not-found" });
    await expect(store.fork("people/ada/fork", "people/ada/fork")).rejects.toMatchObject({
      code: "storage/exists",
    });
  });

  it.skipIf(isSkipped)("tells the history, reads what was and goes back to it", async () => {
    const { tree, first } = await pushed("timed");
    const second = await commit(tree, "second");
    await tree.run("push", "-q", "origin", "main", "HEAD:refs/heads/topic");
    await tree.run("reset", "-q", "--hard", first);
    const third = await commit(tree, "third");
    await tree.run("push", "-q", "--force", "origin", "main");
    const history = await store.history("timed");
    expect(history.map(({ generation, kind, about }) => [generation, kind, about.refs])).toEqual([
      [3, "push", ["refs/heads/main"]],
      [2, "push", ["refs/heads/main", "refs/heads/topic"]],
      [1, "push", ["refs/heads/main"]],
      [0, "create", undefined],
    ]);
    expect(history[1]?.about.who).toMatch(/^anonymous <anonymous@127\.0\.0\.1>$/);
    expect(await store.history("timed", { before: 2, limit: 1 })).toEqual([history[2]]);

    const past = await store.openAt("timed", { generation: 2 });
    const snapshot = await past.snapshot();
    expect(snapshot.refs.all.map(({ name }) => name)).toEqual(["refs/heads/main", "refs/heads/topic"]);
    expect(snapshot.refs.get("refs/heads/main")?.oid).toBe(second);
    expect(await snapshot.objects.read(second)).toMatchObject({ type: "commit" });
    snapshot.release();
    const readOnly = { code: "storage/read-only", message: expect.stringContaining("generation 2") };
    await expect(past.openQuarantine()).rejects.toMatchObject(readOnly);
    await expect(
      past.refs.transact({ updates: [{ name: "refs/heads/x", oldOid: null, newOid: first }], atomic: true }),
    ).rejects.toMatchObject(readOnly);
    await past.close();
    await expect(store.openAt("timed", { generation: 9 })).rejects.toMatchObject({
      code: "storage/not-found",
      message: expect.stringContaining("the newest is 3"),
    });

    // Another process's store, with what it knows of before.
    const other = await openObjectStorage(options);
    try {
      const handle = await other.open("timed");
      expect((await handle?.refs.snapshot())?.get("refs/heads/main")?.oid).toBe(third);
      const restored = await store.restore("timed", { generation: 2 });
      expect(restored).toMatchObject({ generation: 4, kind: "restore", about: { restored: 2 } });
      expect((await handle?.refs.snapshot())?.get("refs/heads/main")?.oid).toBe(second);
      await handle?.close();
    } finally {
      await other.close();
    }
    expect((await store.history("timed", { limit: 1 }))[0]).toMatchObject({
      generation: 4,
      kind: "restore",
      about: { restored: 2 },
    });
    expect(await tipOf("timed")).toBe(second);
    await client.run("clone", "-q", "--bare", `${url}/timed.git`, "timed.git");
    await client.in("timed.git").run("fsck", "--strict");
    // What came after is in the history still, and pushes go on from what was.
    await store.restore("timed", { generation: 3 });
    expect(await tipOf("timed")).toBe(third);
    const fourth = await commit(tree, "fourth");
    await tree.run("push", "-q", "origin", "main");
    expect(await tipOf("timed")).toBe(fourth);
    expect((await store.verify("timed", { deep: true })).findings).toEqual([]);
    await store.restore("timed", { timeMs: history[2]?.timeMs ?? 0 });
    expect(await tipOf("timed")).toBe(first);
    expect((await store.verify("timed", { deep: true })).findings).toEqual([]);
    await expect(store.restore("timed", { timeMs: 0 })).rejects.toMatchObject({ code: "storage/not-found" });
  });

  it.skipIf(isSkipped)("serves everything as it was at a time, to be read", async () => {
    const { tree, first } = await pushed("watched");
    const [made] = await store.history("watched");
    // The clock decides which one it is: the next is to be of a later time.
    await expect.poll(() => Date.now()).toBeGreaterThan(made?.timeMs ?? 0);
    await commit(tree, "second");
    await tree.run("push", "-q", "origin", "main", "HEAD:refs/heads/later");
    await pushed("later");
    const server = createGitServer({
      repositories: store.asOf(made?.timeMs ?? 0),
      autoCreate: "push",
      log: () => undefined,
    });
    try {
      const { http } = await server.listen({ http: "127.0.0.1:0" });
      const past = `${http.url}/watched.git`;
      expect(await client.run("ls-remote", past)).toBe(`${first}\tHEAD\n${first}\trefs/heads/main`);
      await client.run("clone", "-q", "--bare", past, "watched.git");
      await client.in("watched.git").run("fsck", "--strict");
      const push = await tree.try("push", past, "main");
      expect(push).toMatchObject({ status: 128, stderr: expect.stringContaining("403") });
      expect((await tree.try("push", `${http.url}/new.git`, "main")).status).not.toBe(0);
      expect((await client.try("ls-remote", `${http.url}/later.git`)).stderr).toContain("not found");
    } finally {
      await server.close({ graceMs: 0 });
    }
    expect(await store.open("new")).toBeUndefined();
  });

  it.skipIf(isSkipped)("refuses a change that was judged by what a restored repository lacks", async () => {
    const { tree, first } = await pushed("judged");
    const second = await commit(tree, "second");
    await tree.run("push", "-q", "origin", "main");
    const handle = await store.open("judged");
    expect((await handle?.refs.snapshot())?.get("refs/heads/main")?.oid).toBe(second);
    await store.restore("judged", { generation: 1 });
    const create = (newOid: string): ReturnType<NonNullable<typeof handle>["refs"]["transact"]> | undefined =>
      handle?.refs.transact({ updates: [{ name: "refs/heads/new", oldOid: null, newOid }], atomic: false });
    expect(await create(second)).toEqual([
      {
        name: "refs/heads/new",
        ok: false,
        code: "stale",
        reason: "the repository was restored or pruned meanwhile; push again",
      },
    ]);
    // What it leads to is there.
    expect(await create(first)).toEqual([{ name: "refs/heads/new", ok: true }]);
    await handle?.close();
  });

  it.skipIf(isSkipped)("renames, into another namespace too", async () => {
    const { tree } = await pushed("old");
    await pushed("taken");
    await store.rename("old", "team/new");
    expect((await tree.try("ls-remote", "origin")).status).not.toBe(0);
    await commit(tree, "second");
    await tree.run("push", "-q", `${url}/team/new.git`, "main");
    expect(await tipOf("team/new")).toBe(await tree.run("rev-parse", "HEAD"));
    expect(await store.history("team/new")).toHaveLength(3);
    await expect(store.rename("team/new", "taken")).rejects.toMatchObject({ code: "storage/exists" });
    await expect(store.rename("old", "older")).rejects.toMatchObject({ code: "storage/not-found" });
    await expect(store.rename("team/new", "../out")).rejects.toMatchObject({ code: "storage/bad-name" });
  });

  it.skipIf(isSkipped)("brings back what was deleted, the last of a name first", async () => {
    const { first } = await pushed("gone");
    await store.delete("gone");
    const { tree } = await pushed("gone/again");
    await store.rename("gone/again", "gone");
    const last = await commit(tree, "last");
    await tree.run("push", "-q", `${url}/gone.git`, "main");
    await store.delete("gone");
    const deleted = [];
    for await (const one of store.listDeleted()) if (one.formerName === "gone") deleted.push(one);
    expect(deleted.map(({ generation }) => generation)).toEqual([1, 2]);
    expect(await store.undelete("gone", "back")).toBe("back");
    expect(await tipOf("back")).toBe(last);
    expect(await store.undelete(deleted[0]?.id ?? "")).toBe("gone");
    expect(await tipOf("gone")).toBe(first);
    await client.run("clone", "-q", "--bare", `${url}/gone.git`, "gone.git");
    await client.in("gone.git").run("fsck", "--strict");
    await expect(store.undelete("gone")).rejects.toMatchObject({ code: "storage/not-found" });
    await store.delete("back");
    await expect(store.undelete("back", "gone")).rejects.toMatchObject({ code: "storage/exists" });
  });
});
