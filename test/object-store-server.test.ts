/** A server whose repositories are in a bucket and a database, with the real git: alone, several on one store, and killed. */
import { mkdtempSync, rmSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { createGitServer } from "../src/server/git-server.js";
import { type ObjectStorageOptions, openObjectStorage } from "../src/server/object-storage.js";
import { CEPH_START_MS } from "./support/ceph-bucket.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { embeddedStorages, servedStorages } from "./support/object-storages.js";
import { runGitwharf } from "./support/run-gitwharf.js";
import { startServe } from "./support/serve-process.js";

const STORAGES = [embeddedStorages(), servedStorages(inject("cephSocket"))];

describe.each(STORAGES)("object storage: $name", (storages) => {
  const { isSkipped } = storages;
  let client: GitClient;
  let storage: ObjectStorageOptions;
  beforeAll(async () => {
    client = createWorkspace();
    if (!isSkipped) storage = await storages.open(client.directory);
  }, CEPH_START_MS);
  afterAll(async () => {
    await storages.close();
    removeDirectory(client);
  });

  const withServers = async (
    count: number,
    body: (urls: readonly string[]) => Promise<void>,
  ): Promise<void> => {
    const closing: (() => Promise<void>)[] = [];
    try {
      const urls: string[] = [];
      for (let i = 0; i < count; i++) {
        const store = await openObjectStorage({
          ...storage,
          localDirectory: join(client.directory, "local"),
        });
        const server = createGitServer({ repositories: store, autoCreate: "push", log: () => undefined });
        closing.unshift(async () => {
          await server.close({ graceMs: 0 });
          await store.close();
        });
        urls.push((await server.listen({ http: "127.0.0.1:0" })).http.url);
      }
      await body(urls);
    } finally {
      for (const close of closing) await close();
    }
    // Neither a push on its way nor a copy of anything is left.
    expect(await readdir(join(client.directory, "local"))).toEqual([]);
  };

  /** A work tree with one commit. */
  const workTree = async (name: string): Promise<GitClient> => {
    await client.run("init", "-q", name);
    const tree = client.in(name);
    await commit(tree, "first");
    return tree;
  };
  const commit = async (tree: GitClient, text: string): Promise<string> => {
    await writeFile(join(tree.directory, `${text}.txt`), `${text}\n`);
    await tree.run("add", ".");
    await tree.run("commit", "-q", "-m", text);
    return tree.run("rev-parse", "HEAD");
  };

  it.skipIf(isSkipped)(
    "takes pushes, serves clones and fetches, and remembers both after a restart",
    async () => {
      const tree = await workTree("tree");
      await withServers(1, async ([url]) => {
        await tree.run("push", "-q", `${url}/group/app.git`, "main");
        await client.run("clone", "-q", `${url}/group/app.git`, "copy");
        await tree.run("tag", "-a", "-m", "one", "v1");
        await commit(tree, "second");
        await tree.run("push", "-q", `${url}/group/app.git`, "main", "v1", "HEAD:refs/heads/topic");
        await client.in("copy").run("pull", "-q");
      });
      const head = await tree.run("rev-parse", "HEAD");
      expect(await client.in("copy").run("rev-parse", "HEAD")).toBe(head);
      await client.in("copy").run("fsck", "--strict");
      await withServers(1, async ([url]) => {
        const listed = await client.run("ls-remote", `${url}/group/app.git`);
        expect(listed.split("\n").map((line) => line.split("\t"))).toEqual([
          [head, "HEAD"],
          [head, "refs/heads/main"],
          [head, "refs/heads/topic"],
          [await tree.run("rev-parse", "v1"), "refs/tags/v1"],
          [await tree.run("rev-parse", "v1^{}"), "refs/tags/v1^{}"],
        ]);
        await tree.run("push", "-q", `${url}/group/app.git`, ":topic");
        await client.run("clone", "-q", "--bare", `${url}/group/app.git`, "bare");
        expect(await client.in("bare").run("for-each-ref", "--format=%(refname)")).toBe(
          "refs/heads/main\nrefs/tags/v1",
        );
        await client.in("bare").run("fsck", "--strict");
      });
    },
  );

  it.skipIf(isSkipped)(
    "serves what another server was pushed, and lets one of two racing pushes win",
    async () => {
      const tree = await workTree("raced");
      await withServers(2, async ([one, other]) => {
        await tree.run("push", "-q", `${one}/raced.git`, "main");
        await client.run("clone", "-q", `${other}/raced.git`, "raced-a");
        await client.run("clone", "-q", `${one}/raced.git`, "raced-b");
        for (let round = 0; round < 4; round++) {
          const clones = [client.in("raced-a"), client.in("raced-b")];
          await Promise.all(clones.map((clone, i) => commit(clone, `round ${round} of ${i}`)));
          const results = await Promise.all(
            clones.map((clone, i) => clone.try("push", `${i === 0 ? other : one}/raced.git`, "main")),
          );
          const won = results.findIndex(({ status }) => status === 0);
          expect(results.filter(({ status }) => status === 0)).toHaveLength(1);
          const lost = results[1 - won];
          expect(lost?.stderr).toMatch(/rejected|incorrect old value|fetch first/);
          const tip = await clones[won]?.run("rev-parse", "HEAD");
          for (const url of [one, other])
            expect(await client.run("ls-remote", `${url}/raced.git`, "refs/heads/main")).toContain(tip);
          for (const clone of clones) {
            await clone.run("fetch", "-q", `${one}/raced.git`, "main");
            await clone.run("reset", "-q", "--hard", "FETCH_HEAD");
          }
        }
      });
    },
  );

  it.skipIf(isSkipped)(
    "sends a large pack while it is checked, keeps it apart from its index, and reads of it what is asked for",
    async () => {
      const tree = await workTree("large");
      for (let i = 0; i < 10; i++)
        await writeFile(join(tree.directory, `noise ${i}`), randomBytes(1_000_000));
      await commit(tree, "large");
      await withServers(1, async ([url]) => {
        await tree.run("push", "-q", `${url}/large.git`, "main");
        await commit(tree, "small");
        await tree.run("push", "-q", `${url}/large.git`, "main");
      });
      await withServers(1, async ([url]) => {
        await client.run("clone", "-q", "--bare", "--depth=1", `${url}/large.git`, "large-1.git");
        await client.run("clone", "-q", "--bare", "--filter=blob:none", `${url}/large.git`, "large-2.git");
        await client.run("clone", "-q", "--bare", `${url}/large.git`, "large.git");
        await client.in("large.git").run("fsck", "--strict");
        expect(await client.in("large.git").run("rev-parse", "main")).toBe(
          await tree.run("rev-parse", "main"),
        );
      });
    },
  );
});

describe("gitwharf serve --storage object-store", () => {
  it("has after SIGKILL what it said it had, and takes the next push", async () => {
    const directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
    const client = createWorkspace();
    try {
      await client.run("init", "-q");
      let acknowledged = "";
      for (let round = 0; round < 3; round++) {
        const server = await startServe(directory, "--storage", "object-store", "--log", "none");
        const pushes = async (): Promise<void> => {
          for (let i = 0; i < 100; i++) {
            await client.run("commit", "-q", "--allow-empty", "-m", `round ${round}, ${i}`);
            const { status } = await client.try("push", "-q", `${server.url}/app.git`, "HEAD:main");
            if (status !== 0) return;
            acknowledged = await client.run("rev-parse", "HEAD");
            if (i === 2 + round) setTimeout(() => server.child.kill("SIGKILL"), 20 * round);
          }
        };
        await pushes();
        await server.end("SIGKILL");
      }
      const server = await startServe(directory, "--storage", "object-store", "--log", "none");
      const tip = (await client.run("ls-remote", `${server.url}/app.git`, "refs/heads/main")).slice(0, 40);
      // A push whose answer was lost may be there as well.
      expect((await client.try("merge-base", "--is-ancestor", acknowledged, tip)).status).toBe(0);
      await client.run("push", "-q", `${server.url}/app.git`, "HEAD:main");
      await client.run("clone", "-q", "--bare", `${server.url}/app.git`, "copy.git");
      await client.in("copy.git").run("fsck", "--strict");
      expect(await server.end("SIGTERM")).toBe(0);
    } finally {
      removeDirectory(client);
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it("keeps large blobs in their packs where it is told to, and serves what was", async () => {
    const directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
    const client = createWorkspace();
    const flags = ["--large-blobs", "off", "--cache-bytes", "1000000", "--past", "--log", "none"];
    const server = await startServe(directory, "--storage", "object-store", ...flags);
    try {
      await client.run("init", "-q");
      await writeFile(join(client.directory, "large"), randomBytes(1_500_000));
      await client.run("add", ".");
      await client.run("commit", "-q", "-m", "large");
      const first = await client.run("rev-parse", "HEAD");
      await client.run("push", "-q", `${server.url}/app.git`, "HEAD:main");
      await client.run("commit", "-q", "--allow-empty", "-m", "next");
      await client.run("push", "-q", `${server.url}/app.git`, "HEAD:main");
      expect(await client.run("ls-remote", `${server.url}/app@{1}.git`, "main")).toContain(first);
      const imported = ["import", join(client.directory, ".git"), "imported", "-d", directory];
      const { stdout } = await runGitwharf([
        ...imported,
        "--storage",
        "object-store",
        "--large-blobs",
        "off",
      ]);
      expect(stdout).toContain("imported imported: 1 refs");
      const kinds = await readdir(join(directory, "bucket"));
      expect(kinds).toContain("l");
      expect(kinds).not.toContain("c");
    } finally {
      await server.end("SIGKILL");
      removeDirectory(client);
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
