/** Packs that clients get from the bucket itself (`packfile-uris`), with the real git and Ceph; and where there is no such address. */
import { randomBytes } from "node:crypto";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { GitwharfError } from "../src/base/errors.js";
import { createGitServer } from "../src/server/git-server.js";
import { type ObjectStorage, openObjectStorage } from "../src/server/object-storage.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../src/storage/repository-settings-defaults.js";
import { CEPH_START_MS } from "./support/ceph-bucket.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type MadeCommit, makeCommit, pushCommit } from "./support/stored-history.js";
import { embeddedStorages, servedStorages } from "./support/object-storages.js";
import { command, discover, postFetch } from "./support/raw-fetch.js";

const LARGE_BYTES = 5_000_000;
const URIS = ["-c", "fetch.uriProtocols=http,https"];
const WHOLE = ["-c", "http.postBuffer=20000000"];

describe.each([
  ["an address", servedStorages(inject("cephSocket"))],
  ["no address", embeddedStorages()],
] as const)("packs with %s", (what, storages) => {
  const { isSkipped } = storages;
  const isAddressed = what === "an address";
  let client: GitClient;
  let tree: GitClient;
  let storage: ObjectStorage;
  let url = "";
  const closing: (() => Promise<void>)[] = [];

  const commit = async (name: string, content: string | Buffer): Promise<void> => {
    await writeFile(join(tree.directory, name), content);
    await tree.run("add", ".");
    await tree.run("commit", "-q", "-m", name);
  };
  /** @returns bytes that came from the server itself */
  const clone = async (to: string, ...args: readonly string[]): Promise<number> => {
    const trace = join(client.directory, `${to}.trace`);
    const env = { GIT_TRACE_PACKFILE: trace };
    const result = await client.tryWith({ env }, ...args, "clone", "-q", "--bare", url, to);
    expect(result).toMatchObject({ status: 0, stderr: "" });
    await client.in(to).run("fsck", "--strict");
    expect(await client.in(to).run("rev-parse", "main")).toBe(await tree.run("rev-parse", "main"));
    return (await stat(trace)).size;
  };

  beforeAll(async () => {
    client = createWorkspace();
    if (isSkipped) return;
    // A pack of which some bytes are chunks is no file.
    const largeBlobBytesMin = Number.POSITIVE_INFINITY;
    const options = await storages.open(client.directory);
    storage = await openObjectStorage({ ...options, largeBlobBytesMin, janitor: false });
    const server = createGitServer({
      repositories: storage,
      autoCreate: "push",
      packfileUris: { sizeBytesMin: 1_000_000, lifetimeSeconds: 60 },
      log: () => undefined,
    });
    closing.push(() => server.close({ graceMs: 0 }));
    url = `${(await server.listen({ http: "127.0.0.1:0" })).http.url}/app.git`;
    await client.run("init", "-q", "tree");
    tree = client.in("tree");
    await commit("noise", randomBytes(LARGE_BYTES));
    await tree.run(...WHOLE, "push", "-q", url, "main");
  }, CEPH_START_MS);
  afterAll(async () => {
    for (const close of closing) await close();
    await storage?.close();
    await storages.close();
    removeDirectory(client);
  });

  it.skipIf(isSkipped)("are got from there by clients that ask, the rest from the server", async () => {
    const features = (await discover(url, 2)).find((line) => line.startsWith("fetch=")) ?? "";
    expect(features.includes("packfile-uris")).toBe(isAddressed);
    // All of it is in one pack.
    const alone = await clone("alone.git", ...URIS);
    await commit("text", "a file\n");
    await tree.run("push", "-q", url, "main");
    const behind = await clone("behind.git", ...URIS);
    for (const bytes of [alone, behind]) {
      if (isAddressed) expect(bytes).toBeLessThan(2000);
      else expect(bytes).toBeGreaterThan(LARGE_BYTES);
    }
    // Who does not ask gets all from the server.
    expect(await clone("plain.git")).toBeGreaterThan(LARGE_BYTES);
  });

  it.skipIf(isSkipped)("are left in when not all that is in them is asked for", async () => {
    await tree.run("checkout", "-q", "--orphan", "side");
    await commit("other-noise", randomBytes(LARGE_BYTES));
    await tree.run("checkout", "-q", "-b", "third", "main");
    await commit("third", "of another branch\n");
    await tree.run(...WHOLE, "push", "-q", url, "side", "third");
    const copy = client.in("behind.git");
    const trace = join(client.directory, "third.trace");
    const fetched = await copy.tryWith(
      { env: { GIT_TRACE_PACKFILE: trace } },
      ...URIS,
      "fetch",
      "-q",
      url,
      "third",
    );
    expect(fetched.stderr).toBe("");
    expect((await readFile(trace)).length).toBeLessThan(2000);
    await copy.run("fsck", "--strict");
    const side = await tree.run("rev-parse", "side");
    expect((await copy.try("cat-file", "-e", side)).status).not.toBe(0);
    await copy.run(...URIS, "fetch", "-q", url, "side");
    await copy.run("fsck", "--strict");
    expect(await copy.run("rev-parse", "FETCH_HEAD")).toBe(side);
  });

  it.skipIf(isSkipped || !isAddressed)("are told by the protocols that a client takes", async () => {
    const oid = await tree.run("rev-parse", "main");
    const ask = async (protocols: string): Promise<readonly string[]> => {
      const lines = [`packfile-uris ${protocols}`, "thin-pack", "ofs-delta", `want ${oid}`, "done"];
      return (await postFetch(url, 2, command("fetch", ...lines))).packets;
    };
    const told = await ask("http,ftp");
    expect(told[0]).toBe("packfile-uris");
    expect(told[1]).toMatch(/^[0-9a-f]{40} http:\/\/.*[?&]X-Amz-Expires=60&/);
    expect(told.slice(2, 4)).toEqual(["delim", "packfile"]);
    expect((await ask("https"))[0]).toBe("packfile");
    expect((await ask("ftp"))[0]).toBe("packfile");
  });
});

it.each([
  [0.002, "packfile"],
  [60, "packfile-uris"],
])("with a sign of life due after %d s, a slow plan begins with %s", async (keepAliveSeconds, first) => {
  const { uploadPack, ...others } = DEFAULT_REPOSITORY_SETTINGS;
  const store = createMemoryRepositoryStore({
    settings: () => ({ ...others, uploadPack: { ...uploadPack, keepAliveSeconds } }),
  });
  const repository = await store.create("app");
  const plain = repository.snapshot.bind(repository);
  const slow = async <T>(body: () => T): Promise<T> => {
    await delay(1);
    return body();
  };
  Object.assign(repository, {
    addressOfPack: async () => "https://bucket.example.org/pack",
    snapshot: async () => {
      const snapshot = await plain();
      const { objects } = snapshot;
      const slowObjects = new Proxy(objects, {
        get(target, name) {
          if (name === "read") return (oid: string) => slow(() => target.read(oid));
          if (name === "readHeader") return (oid: string) => slow(() => target.readHeader(oid));
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === "function" ? (value.bind(target) as unknown) : value;
        },
      });
      return { ...snapshot, release: () => snapshot.release(), objects: slowObjects };
    },
  });
  const server = createGitServer({
    repositories: store,
    packfileUris: { sizeBytesMin: 0 },
    log: () => undefined,
  });
  try {
    const url = `${(await server.listen({ http: "127.0.0.1:0" })).http.url}/app.git`;
    // Not by a push: what was pushed as a whole would be sent as it is.
    let tip: MadeCommit | undefined;
    for (let i = 0; i < 60; i++) {
      tip = makeCommit(`${keepAliveSeconds} ${i}`, tip === undefined ? [] : [tip.oid]);
      await pushCommit(repository, tip, [{ name: "refs/heads/main", oldOid: undefined, newOid: tip.oid }]);
    }
    const want = `want ${tip?.oid}`;
    const { packets } = await postFetch(url, 2, command("fetch", "packfile-uris https", want, "done"));
    expect(packets[0]).toBe(first);
    expect(packets).toContain("packfile");
    expect(packets.length).toBeGreaterThan(3);
  } finally {
    await server.close({ graceMs: 0 });
  }
});

it("tells on band 3, with sideband-all, that no address could be made out", async () => {
  const client = createWorkspace();
  const store = createMemoryRepositoryStore();
  const repository = await store.create("app");
  Object.assign(repository, {
    addressOfPack: async () => {
      throw new GitwharfError("storage/io", "there are no credentials to sign with");
    },
  });
  const server = createGitServer({
    repositories: store,
    packfileUris: { sizeBytesMin: 0 },
    log: () => undefined,
  });
  try {
    const url = `${(await server.listen({ http: "127.0.0.1:0" })).http.url}/app.git`;
    await client.run("init", "-q", "tree");
    const tree = client.in("tree");
    await tree.run("commit", "-q", "--allow-empty", "-m", "one");
    await tree.run("push", "-q", url, "main");
    const want = `want ${await tree.run("rev-parse", "main")}`;
    const request = command("fetch", "packfile-uris http", want, "sideband-all", "done");
    const { packets } = await postFetch(url, 2, request);
    expect(packets[0]).toMatch(/^\x03.*storage\/io/);
  } finally {
    await server.close({ graceMs: 0 });
    removeDirectory(client);
  }
});
