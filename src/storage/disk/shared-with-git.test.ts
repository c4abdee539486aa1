/** One repository, used by us and by the real git at the same time. */
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "../../../test/support/git-client.js";
import type { Pack } from "../../pack/pack.js";
import { PackOffsets } from "../../pack/reverse-index.js";
import type { Repository, RepositoryStore, Snapshot } from "../contracts/repository.js";
import { finishPack, sampleCommit } from "../contracts/suites/sample-objects.js";
import { openObjectReader } from "../object-database.js";
import { createDiskRepositoryStore, openDiskRepositoryAt } from "./disk-repository-store.js";

let workspace: GitClient;
let store: RepositoryStore;
let work: GitClient;
let bare: GitClient;
let repository: Repository;

beforeEach(async () => {
  workspace = createWorkspace();
  store = createDiskRepositoryStore({ directory: workspace.directory, durability: "none" });
  await (await store.create("app")).close();
  bare = workspace.in("app.git");
  await workspace.run("init", "-q", "work");
  work = workspace.in("work");
  await commit("first");
  repository = (await store.open("app")) as Repository;
});

afterEach(async () => {
  await repository.close();
  await store.close();
  removeDirectory(workspace);
});

/** Commits a file and pushes it with git itself, straight into the directory. */
async function commit(label: string): Promise<string> {
  writeFileSync(join(work.directory, "file"), `${label}\n`.repeat(50));
  await work.run("add", ".");
  await work.run("commit", "-q", "-m", label);
  await work.run("push", "-q", bare.directory, "HEAD:refs/heads/main");
  return work.run("rev-parse", "HEAD");
}

async function allObjects(client: GitClient): Promise<string[]> {
  const text = await client.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname)");
  return text.split("\n");
}

async function expectReadable(snapshot: Snapshot, oids: readonly string[]): Promise<void> {
  for (const oid of oids) expect((await snapshot.objects.read(oid))?.type, oid).toBeDefined();
}

/** Paths of the packs that this process has open. */
function openPacks(): string[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(workspace.directory) ? [target] : [];
    } catch {
      return [];
    }
  });
}

async function withSnapshot<T>(body: (snapshot: Snapshot) => Promise<T>): Promise<T> {
  const snapshot = await repository.snapshot();
  try {
    return await body(snapshot);
  } finally {
    snapshot.release();
  }
}

/** More than the packs that are kept in memory. */
async function commitLarge(): Promise<void> {
  const noise = Buffer.alloc(600_000);
  let state = 1;
  for (let i = 0; i < noise.length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    noise[i] = state >>> 23;
  }
  writeFileSync(join(work.directory, "large"), noise);
  await commit("large");
}

describe("packs that git moves", () => {
  it("are read to the end by who holds them, and closed with the last", async () => {
    await commitLarge();
    await bare.run("repack", "-adq");
    const oids = await allObjects(bare);
    const first = await repository.snapshot();
    const second = await repository.snapshot();
    expect(openPacks()).toHaveLength(1);
    await commit("more");
    await bare.run("repack", "-adq");
    await bare.run("prune-packed");
    const third = await repository.snapshot();
    expect(openPacks().filter((path) => path.endsWith("(deleted)"))).toHaveLength(1);
    await expectReadable(first, oids);
    await expectReadable(second, oids);
    await expectReadable(third, await allObjects(bare));
    first.release();
    expect(openPacks().filter((path) => path.endsWith("(deleted)"))).toHaveLength(1);
    second.release();
    await expect.poll(() => openPacks().filter((path) => path.endsWith("(deleted)"))).toEqual([]);
    third.release();
  });

  it("are found again when loose objects are packed under a snapshot", async () => {
    await commit("second");
    const oids = await allObjects(bare);
    expect(readdirSync(join(bare.directory, "objects/pack"))).toEqual([]);
    const snapshot = await repository.snapshot();
    await bare.run("repack", "-adq");
    await bare.run("prune-packed");
    for (const oid of oids) {
      expect(await snapshot.objects.has(oid)).toBe(true);
      expect((await snapshot.objects.readHeader(oid))?.sizeBytes).toBeGreaterThan(0);
    }
    await expectReadable(snapshot, oids);
    snapshot.release();
  });

  it("are found again after a listing said that the object is loose", async () => {
    const oids = await allObjects(bare);
    const snapshot = await repository.snapshot();
    for (const oid of oids) expect(await snapshot.objects.has(oid)).toBe(true);
    await bare.run("repack", "-adq");
    await bare.run("prune-packed");
    await expectReadable(snapshot, oids);
    snapshot.release();
  });

  it("are found by snapshots that follow each other closely", async () => {
    for (let i = 0; i < 20; i++) {
      const oid = await commit(`round ${i}`);
      if (i % 5 === 4) await bare.run("repack", i % 2 === 0 ? "-adq" : "-dq");
      await withSnapshot(async (snapshot) => {
        expect(snapshot.head.oid).toBe(oid);
        await expectReadable(snapshot, await allObjects(bare));
      });
    }
  });

  it("stay readable through a gc", async () => {
    for (let i = 0; i < 5; i++) await commit(`round ${i}`);
    const snapshot = await repository.snapshot();
    const oids = await allObjects(bare);
    await bare.run("gc", "--quiet", "--prune=now");
    await expectReadable(snapshot, oids);
    snapshot.release();
    await withSnapshot(async (after) => {
      await expectReadable(after, oids);
      expect(after.objects.packs).toHaveLength(1);
    });
  });

  it("may be damaged while another copy is whole", async () => {
    await bare.run("repack", "-q");
    await commit("second");
    await bare.run("repack", "-aq");
    const packs = readdirSync(join(bare.directory, "objects/pack")).filter((name) => name.endsWith(".pack"));
    expect(packs).toHaveLength(2);
    const oids = await allObjects(bare);
    for (const name of packs) {
      const path = join(bare.directory, "objects/pack", name);
      const bytes = readFileSync(path);
      if (bytes.readUInt32BE(8) !== 3) continue;
      chmodSync(path, 0o644);
      writeFileSync(path, Buffer.concat([bytes.subarray(0, 13), Buffer.alloc(20, 0xff), bytes.subarray(33)]));
    }
    const fresh = await openDiskRepositoryAt(bare.directory);
    const snapshot = await fresh.snapshot();
    await expectReadable(snapshot, oids);
    snapshot.release();
    await fresh.close();
  });
});

describe("files beside the packs", () => {
  it("a reverse index is used when git writes one, here and in a worker's reader", async () => {
    await commitLarge();
    const of = vi.spyOn(PackOffsets, "of");
    const orders = (): Promise<number[][]> =>
      withSnapshot(async ({ objects }) => {
        const reader = openObjectReader(structuredClone(objects.describe()), { blocking: true });
        return [objects, reader].map(({ packs }) => {
          const { offsets } = packs[0] as Pack;
          return Array.from({ length: offsets.objectCount }, (_, rank) => offsets.offsetAtRank(rank));
        });
      });
    for (const isWritten of [true, false]) {
      await commit(`with reverse index: ${isWritten}`);
      await bare.run("-c", `pack.writeReverseIndex=${isWritten}`, "repack", "-adq");
      of.mockClear();
      const [own = [], others] = await orders();
      expect(of.mock.calls.map(([, , file]) => file !== undefined)).toEqual([isWritten, isWritten]);
      expect(others).toEqual(own);
      expect(own).toEqual([...own].sort((x, y) => x - y));
      expect(own).toHaveLength((await allObjects(bare)).length);
    }
    of.mockRestore();
  });

  it("a commit-graph is used when git writes one, single or split", async () => {
    expect(await withSnapshot(async ({ objects }) => objects.commitGraph)).toBeUndefined();
    await bare.run("commit-graph", "write", "--reachable");
    const head = await work.run("rev-parse", "HEAD");
    await withSnapshot(async ({ objects }) => expect(objects.commitGraph?.find(head)).toBe(0));
    const later = await commit("second");
    await bare.run("commit-graph", "write", "--reachable", "--split=no-merge");
    await withSnapshot(async ({ objects }) => {
      expect(objects.commitGraph?.find(later)).not.toBe(-1);
      expect(objects.describe().commitGraph.length).toBeGreaterThan(0);
    });
  });

  it("a chain of commit-graphs is used up to a layer that is damaged or gone", async () => {
    const heads: string[] = [];
    for (const label of ["a", "b", "c"]) {
      heads.push(await commit(label));
      await bare.run("commit-graph", "write", "--reachable", "--split=no-merge");
    }
    const layers = join(bare.directory, "objects/info/commit-graphs");
    const chain = readFileSync(join(layers, "commit-graph-chain"), "latin1").trim().split("\n");
    const known = (): Promise<boolean[]> =>
      withSnapshot(async ({ objects }) => heads.map((head) => (objects.commitGraph?.find(head) ?? -1) >= 0));
    expect(await known()).toEqual([true, true, true]);
    const rewriteChain = (): void => {
      rmSync(join(layers, "commit-graph-chain"));
      writeFileSync(join(layers, "commit-graph-chain"), chain.map((hash) => `${hash}\n`).join(""));
    };
    const top = join(layers, `graph-${chain[2]}.graph`);
    const bytes = readFileSync(top);
    chmodSync(top, 0o644);
    writeFileSync(top, bytes.subarray(0, bytes.length >> 1));
    rewriteChain();
    expect(await known()).toEqual([true, true, false]);
    rmSync(join(layers, `graph-${chain[1]}.graph`));
    rewriteChain();
    expect(await known()).toEqual([true, false, false]);
    await withSnapshot(async ({ objects }) => expect(objects.describe().commitGraph).toHaveLength(1));
    rmSync(join(layers, `graph-${chain[0]}.graph`));
    rewriteChain();
    await withSnapshot(async ({ objects }) => expect(objects.commitGraph).toBeUndefined());
  });

  it("a commit-graph that is damaged is passed by", async () => {
    mkdirSync(join(bare.directory, "objects/info"), { recursive: true });
    writeFileSync(join(bare.directory, "objects/info/commit-graph"), "CGPH but not really");
    await withSnapshot(async ({ objects }) => expect(objects.commitGraph).toBeUndefined());
  });

  it("a commit-graph is not used in a shallow repository", async () => {
    await commit("second");
    await bare.run("commit-graph", "write", "--reachable");
    const head = await work.run("rev-parse", "HEAD");
    await withSnapshot(async ({ objects }) => expect(objects.commitGraph).toBeDefined());
    writeFileSync(join(bare.directory, "shallow"), `${head}\n`);
    await withSnapshot(async ({ objects, shallow }) => {
      expect([...shallow]).toEqual([head]);
      expect(objects.commitGraph).toBeUndefined();
    });
    rmSync(join(bare.directory, "shallow"));
    await withSnapshot(async ({ objects }) => expect(objects.commitGraph).toBeDefined());
  });

  it("a multi-pack-index does no harm, fresh or stale", async () => {
    await bare.run("repack", "-dq");
    await commit("second");
    await bare.run("repack", "-dq");
    await bare.run("multi-pack-index", "write");
    await withSnapshot(async (snapshot) => expectReadable(snapshot, await allObjects(bare)));
    await commit("third");
    await bare.run("repack", "-dq");
    await withSnapshot(async (snapshot) => expectReadable(snapshot, await allObjects(bare)));
    await bare.run("repack", "-adq");
    await withSnapshot(async (snapshot) => expectReadable(snapshot, await allObjects(bare)));
  });

  it("a bitmap that git adds later is offered", async () => {
    await bare.run("-c", "repack.writeBitmaps=false", "repack", "-adq");
    await withSnapshot(async ({ objects }) => expect(await objects.packs[0]?.openBitmap()).toBeUndefined());
    await bare.run("repack", "-adbq");
    await withSnapshot(async ({ objects }) => {
      expect(await objects.packs[0]?.openBitmap()).toBeDefined();
      expect(objects.describe().packs[0]?.bitmapPath).toMatch(/\.bitmap$/);
    });
  });

  it("config changes count at once", async () => {
    for (let i = 0; i < 4; i++) {
      await bare.run("config", "receive.denyDeletes", i % 2 === 0 ? "true" : "yes");
      expect((await repository.settings()).receive.denyDeletes).toBe(true);
      await bare.run("config", "receive.denyDeletes", i % 2 === 0 ? "off" : "no");
      expect((await repository.settings()).receive.denyDeletes).toBe(false);
    }
  });
});

describe("a repository that git deletes and makes anew", () => {
  it("is another one", async () => {
    const before = repository.id;
    rmSync(bare.directory, { recursive: true });
    await workspace.run("init", "-q", "--bare", "--object-format=sha256", "app.git");
    await expect(repository.snapshot()).rejects.toMatchObject({ code: "storage/not-found" });
    await expect(repository.openQuarantine()).rejects.toMatchObject({ code: "storage/not-found" });
    const anew = await store.open("app");
    expect(anew?.id).not.toBe(before);
    expect(anew?.objectFormat).toBe("sha256");
    await anew?.close();
  });

  it("does not get what was pushed to the old one", async () => {
    const quarantine = await repository.openQuarantine();
    await finishPack(await quarantine.createPack(), "sha1", sampleCommit("sha1", "late").objects);
    rmSync(bare.directory, { recursive: true });
    await workspace.run("init", "-q", "--bare", "app.git");
    await expect(quarantine.publish()).rejects.toMatchObject({ code: "storage/not-found" });
    await quarantine.discard();
    expect(readdirSync(join(bare.directory, "objects/pack"))).toEqual([]);
  });

  it("is found under its name at once when git makes it", async () => {
    expect(await store.open("new")).toBeUndefined();
    await workspace.run("init", "-q", "--bare", "new.git");
    const made = await store.open("new");
    expect(made?.name).toBe("new");
    await made?.close();
  });
});

describe("what we write", () => {
  for (const objectFormat of ["sha1", "sha256"] as const) {
    it(`is a good repository to git (${objectFormat})`, async () => {
      const made = await store.create(`made-${objectFormat}`, { objectFormat, defaultBranch: "trunk" });
      const client = workspace.in(`made-${objectFormat}.git`);
      expect(await client.run("rev-parse", "--is-bare-repository", "--show-object-format")).toBe(
        `true\n${objectFormat}`,
      );
      expect(await client.run("symbolic-ref", "HEAD")).toBe("refs/heads/trunk");
      let parent: string | null = null;
      for (let i = 0; i < 3; i++) {
        const { commit: made1, objects } = sampleCommit(
          objectFormat,
          `commit ${i}`,
          parent === null ? [] : [parent],
        );
        const quarantine = await made.openQuarantine();
        await finishPack(await quarantine.createPack(), objectFormat, objects);
        await quarantine.publish();
        await quarantine.discard();
        await made.refs.transact({
          updates: [{ name: "refs/heads/trunk", oldOid: parent, newOid: made1.oid }],
          atomic: true,
        });
        parent = made1.oid;
      }
      expect(await client.run("rev-parse", "HEAD")).toBe(parent);
      await client.run("fsck", "--strict", "--full");
      expect(await client.run("count-objects", "-v")).toMatch(/packs: 3\n[^]*garbage: 0/);
      await client.run("gc", "-q");
      await client.run("fsck", "--strict", "--full");
      await made.close();
    });
  }

  it("has the layout that git init makes", async () => {
    await workspace.run("init", "-q", "--bare", "--template=", "reference.git");
    const list = (directory: string): string[] =>
      readdirSync(join(workspace.directory, directory), { recursive: true, encoding: "utf8" }).sort();
    await (await store.create("ours")).close();
    const ours = list("ours.git");
    for (const name of list("reference.git")) expect(ours).toContain(name);
    expect(await workspace.in("ours.git").run("config", "--list", "--local")).toBe(
      await workspace.in("reference.git").run("config", "--list", "--local"),
    );
  });

  it("has the modes that core.sharedRepository asks for", async () => {
    for (const shared of ["group", "all", "0640", "umask"]) {
      await bare.run("config", "core.sharedRepository", shared);
      const quarantine = await repository.openQuarantine();
      const pack = await finishPack(
        await quarantine.createPack(),
        "sha1",
        sampleCommit("sha1", shared).objects,
      );
      await quarantine.publish();
      await quarantine.discard();
      const mode = statSync(join(bare.directory, "objects/pack", `${pack.name}.idx`)).mode & 0o777;
      expect(mode.toString(8), shared).toBe(shared === "0640" ? "440" : "444");
    }
  });

  it("never replaces a pack that stands under the same name", async () => {
    const { objects } = sampleCommit("sha1", "one");
    const first = await repository.openQuarantine();
    const pack = await finishPack(await first.createPack(), "sha1", objects);
    // A different pack is there already, under the name that ours would get.
    const stem = join(bare.directory, "objects/pack", pack.name);
    mkdirSync(join(bare.directory, "objects/pack"), { recursive: true });
    writeFileSync(`${stem}.pack`, "another content");
    await first.publish();
    await first.discard();
    await withSnapshot(async (snapshot) =>
      expectReadable(
        snapshot,
        objects.map(({ oid }) => oid),
      ),
    );
    expect(readFileSync(`${stem}.pack`, "utf8")).toBe("another content");
  });

  it("leaves no quarantine behind, and removes those of the dead after a day", async () => {
    const objects = join(bare.directory, "objects");
    const quarantines = (): string[] => readdirSync(objects).filter((name) => name.startsWith("tmp_objdir"));
    const old = join(objects, "tmp_objdir-incoming-dead00");
    const young = join(objects, "tmp_objdir-incoming-live00");
    for (const path of [old, young]) {
      mkdirSync(join(path, "pack"), { recursive: true });
      writeFileSync(join(path, "pack/tmp_pack_1"), "x");
    }
    const longAgo = new Date(Date.now() - 25 * 60 * 60 * 1000);
    for (const path of [join(old, "pack/tmp_pack_1"), join(old, "pack"), old])
      utimesSync(path, longAgo, longAgo);
    const other = await openDiskRepositoryAt(bare.directory);
    const quarantine = await other.openQuarantine();
    await finishPack(await quarantine.createPack(), "sha1", sampleCommit("sha1", "x").objects);
    expect(quarantines()).toHaveLength(quarantines().includes("tmp_objdir-incoming-dead00") ? 3 : 2);
    expect(existsSync(join(quarantine.directory ?? "", "pack"))).toBe(true);
    await quarantine.discard();
    await other.close();
    expect(quarantines()).toEqual(["tmp_objdir-incoming-live00"]);
  });
});

describe("objects that no ref names yet", () => {
  it("are kept from a git that repacks between publishing and the refs", async () => {
    const { commit: pushed, objects } = sampleCommit("sha1", "in between");
    const quarantine = await repository.openQuarantine();
    await finishPack(await quarantine.createPack(), "sha1", objects);
    await quarantine.publish();
    await bare.run("repack", "-adq");
    await bare.run("gc", "-q", "--prune=now");
    await repository.refs.transact({
      updates: [{ name: "refs/heads/new", oldOid: null, newOid: pushed.oid }],
      atomic: true,
    });
    await quarantine.discard();
    await bare.run("repack", "-adq");
    await bare.run("fsck", "--full", "--strict");
    expect(await bare.run("rev-parse", "refs/heads/new")).toBe(pushed.oid);
    expect(
      readdirSync(join(bare.directory, "objects/pack")).filter((name) => name.endsWith(".pack")),
    ).toHaveLength(1);
  });

  it("are kept no longer than a day when the push was killed, what others keep stays", async () => {
    const packs = join(bare.directory, "objects/pack");
    const quarantine = await repository.openQuarantine();
    await finishPack(await quarantine.createPack(), "sha1", sampleCommit("sha1", "killed").objects);
    await quarantine.publish();
    const [keep = ""] = readdirSync(packs).filter((name) => name.endsWith(".keep"));
    writeFileSync(join(packs, "pack-other.keep"), "mine\n");
    const longAgo = new Date(Date.now() - 25 * 60 * 60 * 1000);
    for (const name of [keep, "pack-other.keep"]) utimesSync(join(packs, name), longAgo, longAgo);
    await (await openDiskRepositoryAt(bare.directory)).close();
    expect(readdirSync(packs).filter((name) => name.endsWith(".keep"))).toEqual(["pack-other.keep"]);
    await quarantine.discard();
  });
});

describe("alternates", () => {
  beforeEach(async () => {
    await workspace.run("clone", "-q", "--bare", "--shared", "app.git", "fork.git");
    await workspace.run("clone", "-q", "--bare", "--shared", "fork.git", "fork-of-fork.git");
  });

  it("are borrowed from, also through another, and offer their tips", async () => {
    const head = await commit("only in app");
    for (const name of ["fork", "fork-of-fork"]) {
      const fork = await store.open(name);
      const snapshot = await (fork as Repository).snapshot();
      expect(
        snapshot.objects.packs.length +
          readdirSync(join(workspace.directory, `${name}.git/objects/pack`)).length,
      ).toBe(0);
      await expectReadable(snapshot, [head]);
      expect(snapshot.alternateTips).toContain(head);
      expect(snapshot.refs.get("refs/heads/main")?.oid).not.toBe(head);
      snapshot.release();
      await fork?.close();
    }
  });

  it("are followed when they repack, and when the file changes", async () => {
    const fork = (await store.open("fork")) as Repository;
    const before = await fork.snapshot();
    const oids = await allObjects(bare);
    await bare.run("repack", "-adq");
    await bare.run("prune-packed");
    await expectReadable(before, oids);
    before.release();
    const file = join(workspace.directory, "fork.git/objects/info/alternates");
    writeFileSync(file, "# none\n");
    const without = await fork.snapshot();
    expect(await without.objects.has(oids[0] as string)).toBe(false);
    expect(without.alternateTips).toEqual([]);
    expect(without.version).not.toBe(before.version);
    without.release();
    appendFileSync(file, "../../app.git/objects\n");
    const again = await fork.snapshot();
    await expectReadable(again, oids);
    again.release();
    await fork.close();
  });

  it("may name each other in a circle, or what does not exist", async () => {
    mkdirSync(join(bare.directory, "objects/info"), { recursive: true });
    writeFileSync(
      join(bare.directory, "objects/info/alternates"),
      "../../fork-of-fork.git/objects\n/nonexistent/objects\n",
    );
    for (const name of ["app", "fork-of-fork"]) {
      const opened = (await store.open(name)) as Repository;
      const snapshot = await opened.snapshot();
      await expectReadable(snapshot, await allObjects(workspace.in(`${name}.git`)));
      snapshot.release();
      await opened.close();
    }
  });

  it("outside of the allowed directories are not used", async () => {
    const narrow = createDiskRepositoryStore({
      directory: join(workspace.directory, "narrow"),
      alternateDirectories: [join(workspace.directory, "elsewhere")],
    });
    await (await narrow.create("app")).close();
    writeFileSync(
      join(workspace.directory, "narrow/app.git/objects/info/alternates"),
      `${bare.directory}/objects\n`,
    );
    const opened = (await narrow.open("app")) as Repository;
    const snapshot = await opened.snapshot();
    expect(await snapshot.objects.has((await allObjects(bare))[0] as string)).toBe(false);
    snapshot.release();
    await opened.close();
    await narrow.close();
  });
});

describe("work trees", () => {
  it("are served, and their branches told", async () => {
    await work.run("branch", "side");
    await work.run("worktree", "add", "-q", join(workspace.directory, "linked"), "side");
    const opened = (await store.open("work")) as Repository;
    expect((await opened.settings()).core.bare).toBe(false);
    const uses = await opened.checkedOutBranches();
    expect(uses.get("refs/heads/main")).toEqual({
      path: work.directory,
      gitDirectory: join(work.directory, ".git"),
      bare: false,
    });
    expect(uses.get("refs/heads/side")).toEqual({
      path: join(workspace.directory, "linked"),
      gitDirectory: join(work.directory, ".git/worktrees/linked"),
      bare: false,
    });
    await opened.close();
  });

  it("that are linked are opened through their .git file", async () => {
    await work.run("worktree", "add", "-q", "-b", "side", join(workspace.directory, "linked"));
    const opened = await openDiskRepositoryAt(join(workspace.directory, "linked"));
    const snapshot = await opened.snapshot();
    expect(snapshot.head.symbolicTarget).toBe("refs/heads/side");
    expect(snapshot.refs.get("refs/heads/main")?.oid).toBe(await work.run("rev-parse", "main"));
    await expectReadable(snapshot, await allObjects(work));
    snapshot.release();
    await opened.close();
  });

  it("whose rebase is under way hold their branch", async () => {
    await work.run("checkout", "-q", "-b", "topic");
    writeFileSync(join(work.directory, "file"), "topic\n");
    await work.run("commit", "-q", "-am", "topic");
    await work.run("checkout", "-q", "main");
    writeFileSync(join(work.directory, "file"), "main\n");
    await work.run("commit", "-q", "-am", "main");
    await work.run("checkout", "-q", "topic");
    expect((await work.try("rebase", "main")).status).not.toBe(0);
    const opened = await openDiskRepositoryAt(work.directory);
    expect((await opened.checkedOutBranches()).has("refs/heads/topic")).toBe(true);
    await opened.close();
  });

  it("are not deleted", async () => {
    await expect(store.delete("work")).rejects.toMatchObject({ code: "storage/unsupported" });
    expect(existsSync(join(work.directory, ".git/HEAD"))).toBe(true);
  });

  it("hide what lies inside of them", async () => {
    await workspace.run("init", "-q", "--bare", "work/inner.git");
    await workspace.run("init", "-q", "--bare", "app.git/inner.git");
    expect(await store.open("work/inner")).toBeUndefined();
    await expect(store.create("work/another")).rejects.toMatchObject({ code: "storage/bad-name" });
    const names: string[] = [];
    for await (const name of store.list()) names.push(name);
    expect(names).toEqual(["app", "work"]);
  });
});

describe("links", () => {
  it("inside of the served directory are followed, out of it they are not", async () => {
    const outside = createWorkspace();
    try {
      await outside.run("init", "-q", "--bare", "secret.git");
      mkdirSync(join(outside.directory, "group"));
      await outside.run("init", "-q", "--bare", "group/secret.git");
      symlinkSync(join(outside.directory, "secret.git"), join(workspace.directory, "leak.git"));
      symlinkSync(join(outside.directory, "group"), join(workspace.directory, "group"));
      symlinkSync("app.git", join(workspace.directory, "alias.git"));
      mkdirSync(join(workspace.directory, "pointer"));
      writeFileSync(
        join(workspace.directory, "pointer/.git"),
        `gitdir: ${join(outside.directory, "secret.git")}\n`,
      );
      for (const name of ["leak", "group/secret", "pointer"]) {
        await expect(store.open(name), name).rejects.toMatchObject({ code: "storage/not-found" });
      }
      await expect(store.create("group/new")).rejects.toMatchObject({ code: "storage/bad-name" });
      expect(readdirSync(join(outside.directory, "group"))).toEqual(["secret.git"]);
      const alias = await store.open("alias");
      expect(alias?.gitDirectory).toBe(bare.directory);
      await alias?.close();
      const names: string[] = [];
      for await (const name of store.list()) names.push(name);
      expect(names).toEqual(["alias", "app", "work"]);
    } finally {
      removeDirectory(outside);
    }
  });

  it("that are changed under an open repository are looked at again", async () => {
    const outside = createWorkspace();
    try {
      await outside.run("init", "-q", "--bare", "secret.git");
      symlinkSync("app.git", join(workspace.directory, "alias.git"));
      const alias = await store.open("alias");
      await alias?.close();
      rmSync(join(workspace.directory, "alias.git"));
      symlinkSync(join(outside.directory, "secret.git"), join(workspace.directory, "alias.git"));
      await expect(store.open("alias")).rejects.toMatchObject({ code: "storage/not-found" });
    } finally {
      removeDirectory(outside);
    }
  });
});

describe("openFile", () => {
  async function read(path: string): Promise<Buffer | undefined> {
    const file = await repository.openFile?.(path);
    if (file === undefined) return undefined;
    const chunks: Uint8Array[] = [];
    for await (const chunk of file.read({ start: 0, end: file.sizeBytes })) chunks.push(chunk);
    await file.close();
    return Buffer.concat(chunks);
  }

  it("serves what a dumb client needs and nothing else", async () => {
    const loose = await commit("second");
    await bare.run("repack", "-dq");
    const later = await commit("third");
    expect(String(await read("HEAD"))).toBe("ref: refs/heads/main\n");
    const [name] = readdirSync(join(bare.directory, "objects/pack")).filter((each) => each.endsWith(".pack"));
    expect(String(await read("objects/info/packs"))).toBe(`P ${name}\n\n`);
    for (const path of [
      `objects/pack/${name}`,
      `objects/pack/${name?.replace(".pack", ".idx")}`,
      `objects/${later.slice(0, 2)}/${later.slice(2)}`,
    ]) {
      expect((await read(path))?.equals(readFileSync(join(bare.directory, path))), path).toBe(true);
    }
    expect(await read(`objects/${loose.slice(0, 2)}/${loose.slice(2)}`)).toBeUndefined();
    for (const path of [
      "config",
      "description",
      "objects",
      "objects/../config",
      "objects/pack",
      "objects/pack/../../config",
      "objects/info/alternates",
      "hooks/x",
      "/etc/passwd",
      "../app.git/config",
      "objects/pack/pack-.pack",
      "objects/ab/../../../config",
    ]) {
      expect(await read(path), path).toBeUndefined();
    }
  });

  it("follows no link out of the repository", async () => {
    const oid = `ab${"0".repeat(38)}`;
    mkdirSync(join(bare.directory, "objects/ab"), { recursive: true });
    symlinkSync("/etc/passwd", join(bare.directory, "objects/ab", oid.slice(2)));
    expect(await read(`objects/ab/${oid.slice(2)}`)).toBeUndefined();
    rmSync(join(bare.directory, "objects/ab"), { recursive: true });
    mkdirSync(join(workspace.directory, "elsewhere"));
    writeFileSync(join(workspace.directory, "elsewhere", oid.slice(2)), "secret");
    symlinkSync(join(workspace.directory, "elsewhere"), join(bare.directory, "objects/ab"));
    expect(await read(`objects/ab/${oid.slice(2)}`)).toBeUndefined();
  });

  it("serves a whole range and closes early", async () => {
    const oid = await commit("second");
    const file = await repository.openFile?.(`objects/${oid.slice(0, 2)}/${oid.slice(2)}`);
    const whole = readFileSync(join(bare.directory, `objects/${oid.slice(0, 2)}/${oid.slice(2)}`));
    const parts: Uint8Array[] = [];
    for await (const chunk of file?.read({ start: 3, end: 20 }) ?? []) parts.push(chunk);
    expect(Buffer.concat(parts)).toEqual(whole.subarray(3, 20));
    await file?.close();
    await file?.close();
  });
});

describe("repositories that cannot be served", () => {
  it.each([
    ["a later format version", "core.repositoryFormatVersion", "2"],
    ["an extension that is not known", "extensions.somethingNew", "true"],
    ["an object format that is not known", "extensions.objectFormat", "sha3"],
    ["a ref format that is not known", "extensions.refStorage", "sqlite"],
  ])("%s", async (_, key, value) => {
    if (key.startsWith("extensions."))
      appendFileSync(join(bare.directory, "config"), "[core]\n\trepositoryFormatVersion = 1\n");
    const [section, name] = key.split(".");
    appendFileSync(join(bare.directory, "config"), `[${section}]\n\t${name} = ${value}\n`);
    await expect(store.open("app")).rejects.toMatchObject({ code: "storage/unsupported" });
    await expect(openDiskRepositoryAt(bare.directory)).rejects.toMatchObject({ code: "storage/unsupported" });
  });

  it("a path that is no repository", async () => {
    await expect(openDiskRepositoryAt(workspace.directory)).rejects.toMatchObject({
      code: "storage/not-found",
    });
    await expect(openDiskRepositoryAt("/nonexistent")).rejects.toMatchObject({ code: "storage/not-found" });
  });
});

describe("openDiskRepositoryAt", () => {
  it("takes the paths that git takes", async () => {
    for (const path of ["app.git", "app", "work", "work/.git"]) {
      const opened = await openDiskRepositoryAt(join(workspace.directory, path));
      const snapshot = await opened.snapshot();
      expect(snapshot.head.symbolicTarget, path).toBe("refs/heads/main");
      snapshot.release();
      await opened.close();
    }
  });
});
