/**
 * Repositories that git maintains behind the server's back, with everything that it writes to make reading faster:
 * multi-pack-index, bitmaps with lookup tables, reverse indexes, chains of commit-graphs. Served with them, and when
 * they are out of date or damaged, a client gets the same.
 */
import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

const WRITE_ALL = ["-c", "pack.writeBitmapLookupTable=true", "-c", "pack.writeReverseIndex=true"] as const;

describe.each(["sha1", "sha256"] as const)("a repository that git maintains, %s", (objectFormat) => {
  let workspace: GitClient;
  let server: TestServer;
  let app: GitClient;
  let bare: GitClient;
  let commits = 0;

  beforeEach(async () => {
    workspace = createWorkspace();
    const repositories = join(workspace.directory, "repositories");
    server = await createTestServer({ objectFormat, durability: "none", repositories });
    await workspace.run("init", "-q", `--object-format=${objectFormat}`, "app");
    app = workspace.in("app");
    bare = workspace.in("repositories/app.git");
    await app.run("remote", "add", "origin", server.urlOf("app"));
    await push(8);
  });
  afterEach(async () => {
    await server.close();
    removeDirectory(workspace);
  });

  /** Commits, some of them merges, and pushes them: a pack more. */
  async function push(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      commits++;
      const lines = Array.from(
        { length: 200 },
        (_, k) => `line ${k} ${k % 50 === commits % 50 ? commits : ""}`,
      );
      writeFileSync(join(app.directory, `file${commits % 3}`), lines.join("\n"));
      await app.run("add", ".");
      await app.run("commit", "-q", "-m", `commit ${commits}`);
      if (i === 2) {
        await app.run("checkout", "-q", "-b", `side${commits}`, "HEAD~1");
        await app.run("commit", "-q", "--allow-empty", "-m", "aside");
        await app.run("checkout", "-q", "main");
        await app.run("merge", "-q", "--no-ff", "-m", "merge", `side${commits}`);
      }
    }
    await app.run("push", "-q", "origin", "main");
  }

  let clones = 0;
  async function expectServed(existing?: GitClient): Promise<GitClient> {
    const name = `clone${clones++}`;
    await workspace.run("clone", "-q", server.urlOf("app"), name);
    const clone = workspace.in(name);
    for (const copy of existing === undefined ? [clone] : [clone, existing]) {
      if (copy === existing) await copy.run("fetch", "-q");
      expect(await copy.run("rev-parse", "origin/main")).toBe(await app.run("rev-parse", "main"));
      expect(await copy.run("rev-list", "--objects", "--count", "origin/main")).toBe(
        await app.run("rev-list", "--objects", "--count", "main"),
      );
      await copy.run("fsck", "--strict");
    }
    return clone;
  }

  const packDirectory = (): string => join(bare.directory, "objects/pack");
  const files = (ending: string): string[] =>
    readdirSync(packDirectory()).filter((name) => name.endsWith(ending));

  it("is served through a multi-pack-index and a chain of commit-graphs, and takes pushes", async () => {
    for (let i = 0; i < 3; i++) {
      await bare.run("commit-graph", "write", "--reachable", "--split=no-merge");
      await push(3);
    }
    await bare.run("multi-pack-index", "write");
    expect(files(".pack").length).toBeGreaterThan(3);
    const clone = await expectServed();
    await push(3);
    await bare.run("commit-graph", "write", "--reachable", "--split=no-merge");
    const later = await expectServed(clone);
    // All into one, the multi-pack-index stays behind, names what has gone, and a push comes on top.
    const outdated = readFileSync(join(packDirectory(), "multi-pack-index"));
    await bare.run("repack", "-adq");
    writeFileSync(join(packDirectory(), "multi-pack-index"), outdated);
    await push(2);
    await expectServed(later);
  });

  it("is served through bitmaps of many packs, which are of no use to us", async () => {
    await push(2);
    await bare.run("repack", "-adbq", "--write-midx");
    expect(readdirSync(packDirectory()).some((name) => /^multi-pack-index-.*\.bitmap$/.test(name))).toBe(
      true,
    );
    const clone = await expectServed();
    await push(2);
    await expectServed(clone);
  });

  it("is served through a bitmap with a lookup table and a reverse index, sound, outdated and damaged", async () => {
    await push(10);
    await bare.run(...WRITE_ALL, "repack", "-adbq");
    const [bitmap = "", ...others] = files(".bitmap");
    expect(others).toEqual([]);
    expect(files(".rev")).toHaveLength(1);
    expect(readFileSync(join(packDirectory(), bitmap)).readUInt16BE(6) & 16).toBe(16);
    const clone = await expectServed();
    await push(3);
    const later = await expectServed(clone);
    for (const damage of [
      (bytes: Buffer) => bytes.subarray(0, bytes.length >> 1),
      (bytes: Buffer) => Buffer.from(bytes).fill(0xff, bytes.length >> 1),
      (bytes: Buffer) => Buffer.from(bytes).fill(0xff, 12 + 2 * 32, bytes.length >> 2),
    ]) {
      // Git itself does not survive what is done here.
      for (const name of [...files(".bitmap"), ...files(".rev")]) rmSync(join(packDirectory(), name));
      await bare.run(...WRITE_ALL, "repack", "-adfbq");
      for (const name of [...files(".bitmap"), ...files(".rev")]) {
        const path = join(packDirectory(), name);
        const bytes = readFileSync(path);
        chmodSync(path, 0o644);
        rmSync(path);
        writeFileSync(path, damage(bytes));
      }
      await push(1);
      await expectServed(later);
    }
  });
});
