/** Repositories out of the object store and into it: bare repositories on disk, and bundles. The real git is the judge. */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { ObjectStorage, ObjectStorageOptions } from "../src/server/object-storage.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { withBucket } from "./support/bucket-behind.js";
import { embeddedStorages, servedStorages } from "./support/object-storages.js";
import { serveStorage } from "./support/served-storage.js";

describe.each([embeddedStorages(), servedStorages(inject("cephSocket"))])(
  "export and import: $name",
  (kind) => {
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
      removeDirectory(client);
      await kind.close();
    });

    /** A history with branches, tags of both kinds, deltas and a large file. */
    const workTree = async (name: string, ...init: readonly string[]): Promise<GitClient> => {
      await client.run("init", "-q", ...init, name);
      const tree = client.in(name);
      for (let i = 0; i < 4; i++) {
        await mkdir(join(tree.directory, "lines"), { recursive: true });
        const lines = Array.from({ length: 200 + i }, (_, n) => `line ${n} of ${i}`).join("\n");
        await writeFile(join(tree.directory, "lines", "file.txt"), lines);
        await tree.run("add", ".");
        await tree.run("commit", "-q", "-m", `commit ${i}`);
        await tree.run("tag", `light-${i}`);
      }
      await tree.run("tag", "-a", "-m", "annotated", "v1");
      await tree.run("tag", "-a", "-m", "of a tag", "v1-again", "v1");
      await tree.run("branch", "topic", "main~2");
      return tree;
    };
    const refsOf = (place: string): Promise<string> => client.run("ls-remote", place);
    const exported = async (name: string, directory: string): Promise<GitClient> => {
      await store.exportTo(name, join(client.directory, directory));
      const bare = client.in(directory);
      await bare.run("fsck", "--strict", "--full");
      return bare;
    };

    it.skipIf(isSkipped)("exports what git takes for its own", async () => {
      const tree = await workTree("app");
      const push = (...args: readonly string[]): Promise<string> =>
        tree.run("push", "-q", `${url}/app.git`, ...args);
      await push("main~1:refs/heads/main");
      const before = await store.history("app");
      await writeFile(join(tree.directory, "large"), randomBytes(6_000_000));
      await tree.run("add", ".");
      await tree.run("commit", "-q", "-m", "large");
      await push("--all");
      await push("--tags");
      const handle = await store.open("app");
      await handle?.refs.transact({
        updates: [
          { name: "refs/heads/alias", oldOid: null, newOid: null, symbolicTarget: "refs/heads/topic" },
        ],
        atomic: true,
      });
      await handle?.close();
      const bare = await exported("app", "exported.git");
      expect(await refsOf(bare.directory)).toBe(await refsOf(`${url}/app.git`));
      expect(await bare.run("symbolic-ref", "HEAD")).toBe("refs/heads/main");
      expect(await bare.run("symbolic-ref", "refs/heads/alias")).toBe("refs/heads/topic");
      expect(await bare.run("rev-parse", "--is-bare-repository")).toBe("true");
      // Packs as they are in the bucket, each with its index; nothing loose.
      expect(await bare.run("count-objects", "-v")).toMatch(/^count: 0\n[^]*packs: [2-4]\n/);
      const packs = await readdir(join(bare.directory, "objects", "pack"));
      for (const ending of ["pack", "idx"])
        expect(packs.filter((name) => name.endsWith(`.${ending}`)).length).toBeGreaterThan(1);
      for (const name of packs.filter((one) => one.endsWith(".idx")))
        await bare.run("verify-pack", join("objects", "pack", name));
      // It is an ordinary one, to be worked with.
      await client.run("clone", "-q", bare.directory, "again");
      await bare.run("repack", "-a", "-d", "-q");
      await bare.run("fsck", "--strict");

      const summary = await store.exportTo("app", join(client.directory, "before.git"), {
        at: { generation: before[0]?.generation ?? -1 },
      });
      expect(summary).toMatchObject({ root: before[0]?.root, refs: 1, packs: 1 });
      expect(await client.in("before.git").run("rev-list", "--count", "--all")).toBe("3");

      const again = store.exportTo("app", bare.directory);
      await expect(again).rejects.toMatchObject({ code: "storage/exists" });
      await expect(store.exportTo("none", join(client.directory, "none"))).rejects.toMatchObject({
        code: "storage/not-found",
      });
    });

    it.skipIf(isSkipped)("exports repositories of SHA-256, empty ones and shallow ones", async () => {
      const tree = await workTree("wide", "--object-format=sha256");
      await store.importFrom(tree.directory, "wide");
      const wide = await exported("wide", "wide.git");
      expect(await refsOf(wide.directory)).toBe(await refsOf(`${url}/wide.git`));
      await (await store.create("empty", { defaultBranch: "trunk" })).close();
      const empty = await exported("empty", "empty.git");
      expect(await empty.run("symbolic-ref", "HEAD")).toBe("refs/heads/trunk");
      const deep = await workTree("deep");
      await client.run("clone", "-q", "--bare", "--depth=2", `file://${deep.directory}`, "cut.git");
      await store.importFrom(client.in("cut.git").directory, "cut");
      const cut = await exported("cut", "cut-again.git");
      expect(await readFile(join(cut.directory, "shallow"), "utf8")).toBe(
        await readFile(join(client.directory, "cut.git", "shallow"), "utf8"),
      );
      expect(await cut.run("rev-list", "--count", "main")).toBe("2");
    });

    it.skipIf(isSkipped)("exports nothing when the bucket holds something else", async () => {
      const tree = await workTree("changed");
      await store.importFrom(tree.directory, "changed");
      await withBucket(options, async (bucket) => {
        for await (const { key } of bucket.list("")) {
          const bytes = await bucket.get(key);
          await bucket.delete([key]);
          bytes.writeUInt8(bytes.readUInt8(100) ^ 1, 100);
          await bucket.put(key, [bytes]);
        }
      });
      const target = join(client.directory, "exports");
      await mkdir(target);
      await expect(store.exportTo("changed", join(target, "changed.git"))).rejects.toMatchObject({
        code: "storage/corrupt",
      });
      expect(await readdir(target)).toEqual([]);
    });

    it.skipIf(isSkipped)("imports a repository on disk, packed and loose, with all its refs", async () => {
      const tree = await workTree("source");
      await client.run("clone", "-q", "--mirror", tree.directory, "source.git");
      const source = client.in("source.git");
      await source.run("symbolic-ref", "HEAD", "refs/heads/topic");
      await source.run("symbolic-ref", "refs/heads/alias", "refs/heads/main");
      await source.run("update-ref", "refs/notes/x", "main~1");
      const loose = await source.tryWith({ input: "loose\n" }, "hash-object", "-w", "--stdin");
      await source.run("update-ref", "refs/tags/blob", loose.stdout.trim());
      const summary = await store.importFrom(source.directory, "imported/one");
      const refs = (await source.run("for-each-ref")).split("\n");
      expect(summary).toMatchObject({ repository: "imported/one", refs: refs.length, omitted: [] });
      expect(await refsOf(`${url}/imported/one.git`)).toBe(await refsOf(source.directory));
      await client.run("clone", "-q", "--mirror", `${url}/imported/one.git`, "imported.git");
      await client.in("imported.git").run("fsck", "--strict");
      expect((await store.verify("imported/one", { deep: true })).findings).toEqual([]);
      expect((await store.history("imported/one"))[0]?.about.who).toBe("import <source.git>");
      await expect(store.importFrom(source.directory, "imported/one")).rejects.toMatchObject({
        code: "storage/exists",
      });
      await source.run("update-ref", "--no-deref", "HEAD", "main");
      const { omitted } = await store.importFrom(source.directory, "detached");
      expect(omitted).toEqual([expect.stringContaining("HEAD")]);
    });

    it.skipIf(isSkipped)("imports bundles, and says which ones it cannot", async () => {
      const tree = await workTree("bundled");
      for (const version of [2, 3]) {
        const file = join(client.directory, `v${version}.bundle`);
        await tree.run("bundle", "create", "-q", `--version=${version}`, file, "--all", "HEAD");
        await store.importFrom(file, `bundle-${version}`);
        expect(await refsOf(`${url}/bundle-${version}.git`)).toBe(await refsOf(tree.directory));
        expect((await store.verify(`bundle-${version}`, { deep: true })).findings).toEqual([]);
      }
      const wide = await workTree("bundled-wide", "--object-format=sha256");
      const wideFile = join(client.directory, "wide.bundle");
      await wide.run("bundle", "create", "-q", wideFile, "--all");
      await store.importFrom(wideFile, "bundle-wide");
      expect(await tipOf("bundle-wide")).toBe(await wide.run("rev-parse", "main"));
      const some = join(client.directory, "some.bundle");
      await tree.run("bundle", "create", "-q", some, "main~1..main");
      await expect(store.importFrom(some, "some")).rejects.toMatchObject({
        code: "protocol/unsupported",
        message: expect.stringContaining("builds on 1 commits"),
      });
      const broken = join(client.directory, "broken.bundle");
      const whole = await readFile(join(client.directory, "v2.bundle"));
      for (const [bytes, code] of [
        [whole.subarray(0, -30), "base/truncated"],
        [whole.subarray(0, 60), "protocol/bad-request"],
        [Buffer.from("hello\n"), "protocol/bad-request"],
        [Buffer.alloc(0), "protocol/bad-request"],
        [Buffer.from("# v9 git bundle\n\n"), "protocol/unsupported"],
        [Buffer.from("# v3 git bundle\n@object-format=md5\n\n"), "protocol/unsupported"],
        [Buffer.from("# v2 git bundle\nzz refs/heads/main\n\n"), "protocol/bad-request"],
        [
          Buffer.concat([
            Buffer.from(`# v2 git bundle\n${"1".repeat(40)} refs/heads/main\n\n`),
            packOf(whole),
          ]),
          "object/corrupt",
        ],
      ] as const) {
        await writeFile(broken, bytes);
        await expect(store.importFrom(broken, "broken")).rejects.toMatchObject({ code });
      }
      await expect(store.importFrom(join(client.directory, "absent"), "broken")).rejects.toMatchObject({
        code: "storage/not-found",
      });
      await expect(store.importFrom(client.directory, "broken")).rejects.toMatchObject({
        code: "storage/not-found",
      });
      await expect(store.importFrom(`${url}/absent.git`, "broken")).rejects.toMatchObject({
        code: "client/refused",
      });
      expect(await store.open("broken")).toBeUndefined();
    });

    const tipOf = async (name: string): Promise<string> =>
      (await client.run("ls-remote", `${url}/${name}.git`, "refs/heads/main")).split("\t")[0] ?? "";
  },
);

function packOf(bundle: Buffer): Buffer {
  return bundle.subarray(bundle.indexOf("\n\nPACK") + 2);
}
