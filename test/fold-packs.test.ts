/**
 * A server folds the small packs that pushes leave behind into larger ones: pushed with the real client, judged by git.
 */
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let workspace: GitClient;
let repository: GitClient;
let client: GitClient;
let server: GitServer;
let url: string;
let entries: ServiceLogEntry[];
let onEntry: (() => void) | undefined;

beforeEach(async () => {
  workspace = createWorkspace();
  entries = [];
  await workspace.run("init", "-q", "--bare", "repositories/app.git");
  await workspace.run("init", "-q", "client");
  repository = workspace.in("repositories/app.git");
  client = workspace.in("client");
  server = createGitServer({
    repositories: join(workspace.directory, "repositories"),
    durability: "none",
    log: (entry) => {
      entries.push(entry);
      onEntry?.();
    },
  });
  const { http } = await server.listen({ http: 0 });
  url = `${http.url}/app.git`;
});
afterEach(async () => {
  await server.close({ graceMs: 0 });
  removeDirectory(workspace);
});

/** Until the log has said so often that packs were folded. */
async function folded(times: number): Promise<void> {
  const count = (): number => entries.filter(({ message }) => message.startsWith("folded ")).length;
  while (count() < times) await new Promise<void>((resolve) => (onEntry = resolve));
}

function packNames(ending = ".pack"): string[] {
  const names = readdirSync(join(repository.directory, "objects/pack"));
  return names.filter((name) => name.endsWith(ending)).sort();
}

function packPath(name: string, ending: string): string {
  return join(repository.directory, "objects/pack", name.replace(/\.pack$/, ending));
}

let serial = 0;

/** A commit that changes one file and adds another, and its push: one pack. */
async function push(): Promise<void> {
  serial++;
  writeFileSync(join(client.directory, "shared"), `${"line\n".repeat(500)}${serial}\n`);
  writeFileSync(join(client.directory, `file-${serial}`), `${serial}\n`);
  await client.run("add", ".");
  await client.run("commit", "-q", "-m", `change ${serial}`);
  await client.run("push", "-q", url, "HEAD:refs/heads/main");
}

/** Each pack holds together, its index and reverse index are those that git makes, and nothing is missing. */
async function expectSound(): Promise<void> {
  await repository.run("fsck", "--strict", "--full");
  const format = await repository.run("rev-parse", "--show-object-format");
  const copy = join(workspace.directory, "copy");
  for (const name of packNames()) {
    const path = join(repository.directory, "objects/pack", name.slice(0, -".pack".length));
    await repository.run("verify-pack", `${path}.idx`);
    copyFileSync(`${path}.pack`, `${copy}.pack`);
    await workspace.run("index-pack", `--object-format=${format}`, "--rev-index", `${copy}.pack`);
    expect(readFileSync(`${path}.idx`).equals(readFileSync(`${copy}.idx`)), name).toBe(true);
    // Small packs of single pushes have none.
    if (existsSync(`${path}.rev`))
      expect(readFileSync(`${path}.rev`).equals(readFileSync(`${copy}.rev`)), name).toBe(true);
    for (const ending of [".pack", ".idx", ".rev"]) rmSync(copy + ending, { force: true });
  }
}

describe("folding packs after pushes", () => {
  it("leaves few packs of sixty pushes with the default limit, and nothing else behind", async () => {
    for (let i = 0; i < 64; i++) await push();
    const head = await client.run("rev-parse", "HEAD");
    await folded(1);
    expect(packNames().length).toBeLessThanOrEqual(51);
    await server.close();
    expect(packNames(".keep")).toEqual([]);
    expect(readdirSync(join(repository.directory, "objects")).sort()).toEqual(["info", "pack"]);
    expect(readdirSync(repository.directory)).not.toContain("gc.pid");
    expect((await repository.run("count-objects", "-v")).split("\n")).toContain("garbage: 0");
    expect(await repository.run("rev-parse", "main")).toBe(head);
    expect(await repository.run("rev-list", "--count", "main")).toBe("64");
    expect(packNames(".rev")).toHaveLength(1);
    await expectSound();
    // Sixty versions of one file did not become sixty whole copies of it.
    const large = packNames().find((name) => existsSync(packPath(name, ".rev"))) as string;
    const listed = await repository.run("verify-pack", "-v", packPath(large, ".idx"));
    expect(Number(/^non delta: (\d+)/m.exec(listed)?.[1])).toBeLessThan(64 * 2 + 30);
  });

  it("goes on folding as pushes go on, in SHA-256 too, and serves what it folded", async () => {
    rmSync(repository.directory, { recursive: true });
    rmSync(client.directory, { recursive: true });
    await workspace.run("init", "-q", "--bare", "--object-format=sha256", "repositories/app.git");
    await workspace.run("init", "-q", "--object-format=sha256", "client");
    await repository.run("config", "gc.autoPackLimit", "4");
    await push();
    await workspace.run("clone", "-q", url, "other");
    for (let i = 0; i < 20; i++) {
      await push();
      // A plan is kept for the one, and made anew for the packs that there are now.
      await workspace.in("other").run("pull", "-q");
    }
    await folded(2);
    await server.close();
    expect(packNames().length).toBeLessThanOrEqual(6);
    await expectSound();
    expect(await workspace.in("other").run("rev-list", "--count", "HEAD")).toBe("21");
    await workspace.in("other").run("fsck", "--strict");
  });

  it("answers clones and fetches while it folds", async () => {
    await repository.run("config", "gc.autoPackLimit", "2");
    for (let round = 0; round < 8; round++) {
      await push();
      const head = await client.run("rev-parse", "HEAD");
      await Promise.all(
        [0, 1, 2].map(async (number) => {
          const name = `clone-${round}-${number}`;
          await workspace.run("clone", "-q", url, name);
          expect(await workspace.in(name).run("rev-parse", "HEAD")).toBe(head);
        }),
      );
    }
    await folded(2);
    await workspace.run("clone", "-q", "--mirror", url, "mirror");
    await workspace.in("mirror").run("fsck", "--strict");
  });

  it.each([
    ["gc.auto", "0"],
    ["gc.autoPackLimit", "0"],
    ["receive.autogc", "false"],
    ["extensions.preciousObjects", "true"],
  ])("does nothing with %s = %s", async (key, value) => {
    await repository.run("config", "gc.autoPackLimit", "2");
    await repository.run("config", key, value);
    for (let i = 0; i < 6; i++) await push();
    await server.close();
    expect(packNames()).toHaveLength(6);
  });

  it("leaves packs alone that are kept, promised, unreachable, with a bitmap, or in a multi-pack-index", async () => {
    await repository.run("config", "gc.auto", "0");
    const left: string[] = [];
    for (const ending of [".keep", ".promisor", ".mtimes", ".bitmap"]) {
      const before = new Set(packNames());
      await push();
      const name = packNames().find((each) => !before.has(each)) as string;
      writeFileSync(packPath(name, ending), "");
      left.push(name);
    }
    const before = new Set(packNames());
    await push();
    const named = packNames().find((each) => !before.has(each)) as string;
    const written = await repository.tryWith(
      { input: `${named.replace(".pack", ".idx")}\n` },
      "multi-pack-index",
      "write",
      "--stdin-packs",
    );
    expect(written.stderr).toBe("");
    left.push(named);
    await repository.run("config", "gc.autoPackLimit", "2");
    await repository.run("config", "gc.auto", "1");
    for (let i = 0; i < 3; i++) await push();
    await folded(1);
    await server.close();
    expect(packNames()).toEqual(expect.arrayContaining(left));
    expect(packNames()).toHaveLength(left.length + 1);
  });
});
