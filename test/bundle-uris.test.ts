/** Bundles that the server makes of repositories in the object store, and offers: with the real git, and by raw requests. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { createGitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import {
  type ObjectStorage,
  type ObjectStorageOptions,
  openObjectStorage,
} from "../src/server/object-storage.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../src/storage/repository-settings-defaults.js";
import {
  GIT_WITH_REFTABLE,
  gitEnvironment,
  gitWithReftable,
} from "../src/storage/disk/refs/git-refs.test.support.js";
import { CEPH_START_MS } from "./support/ceph-bucket.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { embeddedStorages, servedStorages } from "./support/object-storages.js";
import { command, discover, postFetch } from "./support/raw-fetch.js";

const run = promisify(execFile);
const STORAGES = [embeddedStorages(), servedStorages(inject("cephSocket"))];

describe.each(STORAGES)("bundles in $name", (storages) => {
  const { isSkipped } = storages;
  let client: GitClient;
  let tree: GitClient;
  let options: ObjectStorageOptions;
  let storage: ObjectStorage;
  let hideRefs: readonly string[] = [];
  const closing: (() => Promise<void>)[] = [];
  let made: () => void = () => undefined;

  const serve = async (more: Partial<GitServerOptions>): Promise<string> => {
    const server = createGitServer({
      repositories: storage,
      autoCreate: "push",
      bundleUris: { sizeBytesMin: 1000, lifetimeSeconds: 60 },
      log: ({ message }) => {
        if (message.startsWith("made a bundle")) made();
      },
      ...more,
    });
    closing.push(() => server.close({ graceMs: 0 }));
    return `${(await server.listen({ http: "127.0.0.1:0" })).http.url}/app.git`;
  };
  const whenMade = async (body: () => Promise<unknown>): Promise<void> => {
    const done = new Promise<void>((resolve) => (made = resolve));
    await body();
    await done;
  };
  const commit = async (name: string, bytes: number): Promise<string> => {
    await writeFile(join(tree.directory, name), randomBytes(bytes));
    await tree.run("add", ".");
    await tree.run("commit", "-q", "-m", name);
    return tree.run("rev-parse", "HEAD");
  };
  /** Where the bundle is, as a client makes it out. */
  const addressOf = async (url: string): Promise<string | undefined> => {
    const { packets } = await postFetch(url, 2, command("bundle-uri"));
    expect(packets.slice(0, 2)).toEqual(["bundle.version=1", "bundle.mode=all"]);
    const uri = packets
      .map((line) => /^bundle\.[0-9a-f-]{36}\.uri=(.*)$/.exec(line)?.[1])
      .find((found) => found);
    return uri?.startsWith("./") === true ? `${url}/${uri.slice(2)}` : uri;
  };
  const download = async (address: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(address, { headers });

  beforeAll(async () => {
    client = createWorkspace();
    if (isSkipped) return;
    options = await storages.open(client.directory);
    storage = await openObjectStorage({
      ...options,
      janitor: false,
      settings: () => ({
        ...DEFAULT_REPOSITORY_SETTINGS,
        uploadPack: { ...DEFAULT_REPOSITORY_SETTINGS.uploadPack, hideRefs },
      }),
    });
    await client.run("init", "-q", "tree");
    tree = client.in("tree");
  }, CEPH_START_MS);
  afterAll(async () => {
    for (const close of closing) await close();
    await storage?.close();
    await storages.close();
    removeDirectory(client);
  });

  it.skipIf(isSkipped)("are made after pushes, and begin clones", async () => {
    const url = await serve({});
    const off = await serve({ bundleUris: false });
    hideRefs = ["refs/heads/secret"];
    await commit("one", 5000);
    await tree.run("tag", "-a", "-m", "tagged", "v1");
    await tree.run("checkout", "-q", "-b", "secret");
    const secret = await commit("hidden", 3000);
    await tree.run("checkout", "-q", "main");
    await whenMade(() => tree.run("push", "-q", url, "main", "v1", "secret"));
    expect(await discover(url, 2)).toContain("bundle-uri");
    expect(await discover(off, 2)).not.toContain("bundle-uri");
    const address = await addressOf(url);
    if (address === undefined) throw new Error("no bundle is offered");
    const answer = await download(address);
    expect(answer.status).toBe(200);
    const bundle = Buffer.from(await answer.arrayBuffer());
    const part = await download(address, { range: "bytes=20-99" });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer()).equals(bundle.subarray(20, 100))).toBe(true);

    await writeFile(join(client.directory, "app.bundle"), bundle);
    expect((await client.run("bundle", "list-heads", "app.bundle")).split("\n").toSorted()).toEqual(
      [
        `${await tree.run("rev-parse", "main")} refs/heads/main`,
        `${await tree.run("rev-parse", "v1")} refs/tags/v1`,
      ].toSorted(),
    );
    await client.run("clone", "-q", "--mirror", "app.bundle", "from-bundle.git");
    await client.in("from-bundle.git").run("fsck", "--strict");
    expect((await client.in("from-bundle.git").try("cat-file", "-e", secret)).status).not.toBe(0);

    // git of before 2.40 begins with one where it is told to.
    await client.run("clone", "-q", `--bundle-uri=${address}`, url, "told");
    const told = client.in("told");
    expect(await told.run("rev-parse", "refs/bundles/main")).toBe(await tree.run("rev-parse", "main"));
    await told.run("fsck", "--strict");

    // Nothing but what came since is fetched.
    await commit("two", 100);
    await tree.run("push", "-q", url, "main");
    await client.run("clone", "-q", `--bundle-uri=${(await addressOf(url)) ?? ""}`, url, "later");
    expect(await client.in("later").run("rev-parse", "HEAD")).toBe(await tree.run("rev-parse", "main"));
    await client.in("later").run("fsck", "--strict");
  });

  it.skipIf(isSkipped || gitWithReftable() === undefined)("are asked for by a newer git", async () => {
    const url = await serve({});
    const execPath = (await run("git", ["--exec-path"])).stdout.trim();
    const env = gitEnvironment(GIT_WITH_REFTABLE);
    // Of a git that was built without HTTP the helper is the other one's.
    const environment = { ...env, PATH: `${env["PATH"] ?? ""}:${execPath}` };
    await run(
      GIT_WITH_REFTABLE,
      ["-c", "transfer.bundleURI=true", "clone", "-q", "--bare", url, join(client.directory, "newer.git")],
      { env: environment },
    );
    const newer = client.in("newer.git");
    expect(await newer.run("for-each-ref", "--format=%(refname)")).toContain("refs/bundles/");
    expect(await newer.run("rev-parse", "main")).toBe(await tree.run("rev-parse", "main"));
    await newer.run("fsck", "--strict");
  });

  it.skipIf(isSkipped)("are offered to nobody who may not have all that is in them", async () => {
    const url = await serve({});
    const closed = await serve({
      authorize: () => ({ allowed: false, reason: "not for you" }),
    });
    const address = await addressOf(url);
    const path = address?.slice(url.length);
    expect(address).toBeDefined();
    expect((await postFetch(closed, 2, command("bundle-uri"))).status).not.toBe(200);
    if (address?.startsWith(url) === true) {
      expect((await download(`${closed}${path}`)).status).not.toBe(200);
      expect(
        (await download(`${url}/bundles/${"0".repeat(8)}-0000-4000-8000-${"0".repeat(12)}.bundle`)).status,
      ).toBe(404);
    }
    // What is in it is hidden from now on: another one is made.
    hideRefs = ["refs/heads/secret", "refs/tags"];
    await whenMade(async () => expect(await addressOf(url)).toBeUndefined());
    const other = (await addressOf(url)) ?? "";
    expect(other).not.toBe(address);
    if (address?.startsWith(url) === true) expect((await download(address)).status).toBe(404);
    await writeFile(
      join(client.directory, "other.bundle"),
      Buffer.from(await (await download(other)).arrayBuffer()),
    );
    expect(await client.run("bundle", "list-heads", "other.bundle")).toMatch(/^[0-9a-f]+ refs\/heads\/main$/);
    hideRefs = ["refs/heads/secret"];
  });

  it.skipIf(isSkipped)("are made anew when what they hold has gone, and go when nobody asks", async () => {
    const url = await serve({});
    const before = await addressOf(url);
    await tree.run("checkout", "-q", "--orphan", "other");
    await commit("elsewhere", 2000);
    await whenMade(() => tree.run("push", "-q", "--force", url, "other:main", ":v1"));
    const after = await addressOf(url);
    expect(after).not.toBe(before);
    expect(after).toBeDefined();
    const head = await storage.clean({ uploadAgeMsMax: 0, graceMs: 0 });
    expect(head.uploadsTaken).toBeGreaterThan(0);
    await whenMade(async () => expect(await addressOf(url)).toBeUndefined());
    expect(await addressOf(url)).toBeDefined();
  });

  it.skipIf(isSkipped)("are kept for those alone who may have them", async () => {
    // None is made anew.
    const url = await serve({ bundleUris: { sizeBytesMin: Number.MAX_SAFE_INTEGER } });
    const { db, close } = await openDatabase(parseDatabaseLocation(options.database));
    closing.push(close);
    await db
      .updateTable("uploads")
      .set((column) => ({ touched_at: column("touched_at", "-", 2 * 60 * 60 * 1000) }))
      .where("bundle", "is not", null)
      .execute();
    const touched = async (): Promise<number> =>
      Math.max(
        ...(
          await db.selectFrom("uploads").select("touched_at").where("bundle", "is not", null).execute()
        ).map((row) => row.touched_at),
      );
    const before = await touched();
    hideRefs = ["refs/heads"];
    expect(await addressOf(url)).toBeUndefined();
    expect(await touched()).toBe(before);
    hideRefs = [];
    expect(await addressOf(url)).toBeDefined();
    expect(await touched()).toBeGreaterThan(before);
  });

  it.skipIf(isSkipped)("are not offered where they tell a name that is hidden by now", async () => {
    const url = await serve({});
    await tree.run("push", "-q", url, "other:refs/heads/second");
    const before = await addressOf(url);
    expect(before).toBeDefined();
    // What it leads to is to be seen under another name.
    hideRefs = ["refs/heads/main"];
    const plain = (address: string | undefined): string | undefined => address?.split("?")[0];
    expect(plain(await addressOf(url))).not.toBe(plain(before));
    if (before?.startsWith(url) === true) expect((await download(before)).status).toBe(404);
  });
});
