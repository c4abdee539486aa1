/** Parting with what nothing leads to on a disk: what stays, what waits, what goes, and what git makes of it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { closeWorkerPool } from "../src/base/worker-pool.js";
import { packLooseObjects } from "../src/engine/maintenance/pack-loose.js";
import { sweepGarbage, type SweepOutcome } from "../src/engine/maintenance/sweep-garbage.js";
import { PackIndex } from "../src/pack/pack-index.js";
import { formatPackMtimes, parsePackMtimes } from "../src/pack/pack-mtimes.js";
import type { Repository, RepositoryStore } from "../src/storage/contracts/repository.js";
import type { SweepWork, Upkeep } from "../src/storage/contracts/upkeep.js";
import { finishPack, type SampleObject } from "../src/storage/contracts/suites/sample-objects.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const GRACE_MS = 14 * DAY_MS;
let workspace: GitClient;
let bare: GitClient;
let local: GitClient;
let store: RepositoryStore;
let repository: Repository & { readonly upkeep?: Upkeep };
let serial = 0;

async function begin(...options: readonly string[]): Promise<void> {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "--bare", ...options, "app.git");
  await workspace.run("init", "-q", ...options, "local");
  bare = workspace.in("app.git");
  local = workspace.in("local");
  // Each push is a pack.
  await bare.run("config", "receive.unpackLimit", "1");
  store = createDiskRepositoryStore({ directory: workspace.directory, durability: "none" });
  const opened = await store.open("app");
  if (opened === undefined) throw new Error("it is not there");
  repository = opened;
}

beforeEach(() => begin());
afterEach(async () => {
  await repository.close();
  await store.close();
  removeDirectory(workspace);
});
afterAll(closeWorkerPool);

/** Upon the last commit, or another one. @returns the commit */
async function push(branch: string, from?: string): Promise<string> {
  if (from !== undefined) await local.run("reset", "-q", "--hard", from);
  const name = `file-${serial++}`;
  writeFileSync(join(local.directory, name), `content of ${name}\n`);
  await local.run("add", ".");
  await local.run("commit", "-q", "-m", name);
  await local.run("push", "-q", "-f", bare.directory, `HEAD:refs/heads/${branch}`);
  return local.run("rev-parse", "HEAD");
}

async function makeLoose(text: string): Promise<string> {
  const { stdout } = await bare.tryWith({ input: text }, "hash-object", "-w", "--stdin");
  return stdout.trim();
}

function upkeepOf(): Upkeep {
  if (repository.upkeep === undefined) throw new Error("it is not looked after");
  return repository.upkeep;
}

const sweep = (graceMs = GRACE_MS): Promise<SweepOutcome> => sweepGarbage(upkeepOf(), { graceMs });
const packPath = (name = ""): string => join(bare.directory, "objects/pack", name);
const packs = (ending: string): string[] =>
  readdirSync(packPath())
    .filter((name) => name.endsWith(ending))
    .map((name) => name.slice(0, -ending.length));

async function allObjects(): Promise<string[]> {
  const text = await bare.run("cat-file", "--batch-check=%(objectname)", "--batch-all-objects");
  return text === "" ? [] : text.split("\n").sort();
}

async function reachable(...revisions: readonly string[]): Promise<string[]> {
  const text = await bare.run("rev-list", "--objects", "--no-object-names", ...revisions);
  return text === "" ? [] : [...new Set(text.split("\n"))].sort();
}

function indexOf(name: string): PackIndex {
  const bytes = readFileSync(packPath(`${name}.idx`));
  const shared = new SharedArrayBuffer(bytes.length);
  bytes.copy(Buffer.from(shared));
  return PackIndex.parse(shared, repository.objectFormat);
}

/** The one pack of unreachable objects: each with the age that it shall have. */
function age(daysOf: (oid: string) => number): void {
  const [name] = packs(".mtimes");
  if (name === undefined) throw new Error("there is no pack of unreachable objects");
  const index = indexOf(name);
  const now = Date.now() / 1000;
  const seconds = Uint32Array.from({ length: index.objectCount }, (_, i) =>
    Math.floor(now - daysOf(index.oidAt(i)) * 24 * 60 * 60),
  );
  const path = packPath(`${name}.mtimes`);
  writeFileSync(`${path}.new`, formatPackMtimes(index, seconds));
  renameSync(`${path}.new`, path);
}

const leftovers = (): string[] =>
  readdirSync(bare.directory, { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.lock$|tmp_|\.keep$|gc\.pid/.test(name),
  );

describe("sweeping", () => {
  it.each(["sha1", "sha256"])("takes apart what is needed and what waits, in %s", async (format) => {
    if (format !== "sha1") {
      await repository.close();
      await store.close();
      removeDirectory(workspace);
      await begin(`--object-format=${format}`);
    }
    await push("main");
    await push("main");
    await bare.run("tag", "-a", "-m", "tag", "v1", "main");
    await push("topic");
    await bare.run("update-ref", "-d", "refs/heads/topic");
    const loose = [await makeLoose("one"), await makeLoose("two")];
    const before = await allObjects();
    const outcome = await sweep();
    expect(outcome).toEqual({
      kind: "swept",
      reachable: 7,
      unreachable: 5,
      dropped: 0,
      packsRemoved: 3,
      looseRemoved: 3,
      keptBecause: undefined,
    });
    expect(await allObjects()).toEqual(before);
    const counted = await bare.run("count-objects", "-v");
    expect(counted).toContain("count: 0\n");
    expect(counted).toContain("in-pack: 12\npacks: 2\n");
    expect(counted).toContain("garbage: 0\n");
    const [cruft = ""] = packs(".mtimes");
    const index = indexOf(cruft);
    for (const oid of loose) expect(index.find(oid)).toBeGreaterThanOrEqual(0);
    const times = parsePackMtimes(readFileSync(packPath(`${cruft}.mtimes`)), index);
    for (const each of times) expect(Math.abs(each - Date.now() / 1000)).toBeLessThan(3600);
    await bare.run("fsck", "--full", "--strict");
    expect(await bare.run("prune", "--dry-run", "--expire=now")).toBe("");
    expect(leftovers()).toEqual([]);
    // Readers that begin now find all of it.
    const snapshot = await repository.snapshot();
    for (const oid of before) expect(await snapshot.objects.has(oid)).toBe(true);
    snapshot.release();
    expect(await sweep()).toEqual({ kind: "nothing to do" });
    // git goes on with what it finds.
    await bare.run("gc", "-q", "--cruft", "--prune=2.weeks.ago");
    expect(await allObjects()).toEqual(before);
    await bare.run("gc", "-q", "--cruft", "--prune=now");
    expect(await allObjects()).toEqual(await reachable("--all"));
  });

  it("drops what has waited long enough, and keeps what something younger leads to", async () => {
    await push("main");
    const old = await push("topic");
    const young = await push("topic");
    await bare.run("update-ref", "-d", "refs/heads/topic");
    const alone = await makeLoose("alone");
    await sweep();
    age((oid) => (oid === young ? 1 : 20));
    const kept = await reachable(young, old);
    expect(await sweep()).toMatchObject({ kind: "swept", dropped: 1 });
    expect(await allObjects()).toEqual([...new Set([...kept, ...(await reachable("main"))])].sort());
    expect(await allObjects()).not.toContain(alone);
    // It keeps the time that it had.
    age((oid) => (oid === young ? 15 : 20));
    expect(await sweep()).toMatchObject({ kind: "swept", unreachable: 0 });
    expect(await allObjects()).toEqual(await reachable("main"));
    expect(packs(".mtimes")).toEqual([]);
    expect(packs(".pack")).toHaveLength(1);
    await bare.run("fsck", "--full", "--strict");
  });

  it("brings back what something leads to again, and counts anew what somebody writes again", async () => {
    await push("main");
    const topic = await push("topic");
    await bare.run("update-ref", "-d", "refs/heads/topic");
    const again = await makeLoose("again");
    await sweep();
    age(() => 20);
    await bare.run("update-ref", "refs/heads/topic", topic);
    expect(await makeLoose("again")).toBe(again);
    expect(existsSync(join(bare.directory, "objects", again.slice(0, 2), again.slice(2)))).toBe(true);
    expect(await sweep()).toMatchObject({ kind: "swept", reachable: 6, unreachable: 1, dropped: 0 });
    const [cruft = ""] = packs(".mtimes");
    const [seconds = 0] = parsePackMtimes(readFileSync(packPath(`${cruft}.mtimes`)), indexOf(cruft));
    expect(Math.abs(seconds - Date.now() / 1000)).toBeLessThan(3600);
    await bare.run("fsck", "--full", "--strict");
  });

  it("takes a pack of unreachable objects that is pushed again for any other", async () => {
    const main = await push("main");
    const topic = await push("topic");
    await bare.run("update-ref", "-d", "refs/heads/topic");
    await sweep();
    age(() => 20);
    const [before] = packs(".mtimes");
    const snapshot = await repository.snapshot();
    const bytes: SampleObject[] = [];
    for (const oid of await reachable(topic, `^${main}`)) {
      const object = await snapshot.objects.read(oid);
      if (object !== undefined) bytes.push({ oid, type: object.type, data: object.data });
    }
    snapshot.release();
    const quarantine = await repository.openQuarantine();
    const pack = await finishPack(await quarantine.createPack(), "sha1", bytes);
    expect(pack.objectCount).toBe(3);
    await quarantine.publish();
    expect(packs(".keep").length).toBe(1);
    await quarantine.discard();
    expect(await sweep()).toMatchObject({ kind: "swept", unreachable: 3, dropped: 0 });
    expect(before).toBeDefined();
    for (const { oid } of bytes) expect(await allObjects()).toContain(oid);
  });

  it("writes anew what was stored as a delta on what goes the other way", async () => {
    await push("main");
    const lines = Array.from({ length: 500 }, (_, i) => `line ${i} of a file that changes little`);
    const write = async (branch: string, count: number): Promise<string> => {
      writeFileSync(join(local.directory, "large"), lines.slice(0, count).join("\n"));
      return push(branch);
    };
    const old = await write("old", 400);
    await write("new", 500);
    // git makes the older one a delta on the newer one, which is larger.
    await bare.run("repack", "-adfq");
    const before = await reachable(old);
    expect(await bare.run("verify-pack", "-v", packPath(`${packs(".pack")[0]}.idx`))).toContain(
      "chain length = 1",
    );
    await bare.run("update-ref", "-d", "refs/heads/new");
    expect(await sweep()).toMatchObject({ kind: "swept", reachable: before.length, unreachable: 4 });
    await bare.run("fsck", "--full", "--strict");
    age(() => 20);
    expect(await sweep()).toMatchObject({ dropped: 4 });
    expect(await allObjects()).toEqual(before);
    await bare.run("fsck", "--full", "--strict");
  });

  it("makes one pack of the other kind where all of it is", async () => {
    await push("main");
    await sweep();
    const only = packs(".pack");
    await bare.run("repack", "-adbq");
    const head = await bare.run("rev-parse", "main");
    await bare.run("update-ref", "-d", "refs/heads/main");
    expect(await sweep()).toMatchObject({ kind: "swept", reachable: 0, unreachable: 3 });
    expect(packs(".mtimes")).toEqual(packs(".pack"));
    expect(packs(".bitmap")).toEqual([]);
    await bare.run("update-ref", "refs/heads/main", head);
    expect(await sweep()).toMatchObject({ kind: "swept", reachable: 3, unreachable: 0 });
    expect(packs(".mtimes")).toEqual([]);
    expect(packs(".pack")).toHaveLength(only.length);
    await bare.run("fsck", "--full", "--strict");
  });

  it("sees what stands in reflogs, work trees and notes of commands at work", async () => {
    const main = await push("main");
    await bare.run("config", "core.logAllRefUpdates", "always");
    const logged = await push("logged");
    await push("main", main);
    await bare.run("update-ref", "refs/heads/logged", "main");
    await bare.run("worktree", "add", "-q", "--detach", "../tree", "main");
    const tree = workspace.in("tree");
    writeFileSync(join(tree.directory, "new"), "detached\n");
    await tree.run("add", ".");
    await tree.run("commit", "-q", "-m", "detached");
    const detached = await tree.run("rev-parse", "HEAD");
    writeFileSync(join(tree.directory, "staged"), "staged\n");
    await tree.run("add", ".");
    const staged = await tree.run("rev-parse", ":staged");
    const noted = await makeLoose("noted");
    writeFileSync(join(bare.directory, "FETCH_HEAD"), `${noted}\tnot-for-merge\tblob of somewhere\n`);
    const before = await allObjects();
    expect(await sweep(0)).toMatchObject({ kind: "swept", unreachable: 0, dropped: 0 });
    expect(await allObjects()).toEqual(before);
    for (const oid of [logged, detached, staged, noted]) expect(before).toContain(oid);
    await bare.run("fsck", "--full");
    await tree.run("status", "--short");
  });

  it("keeps all where another repository borrows objects", async () => {
    const main = await push("main");
    await push("topic");
    await bare.run("update-ref", "-d", "refs/heads/topic");
    await sweep();
    age(() => 20);
    const before = await allObjects();
    await workspace.run("clone", "-q", "--bare", "--shared", "app.git", "fork.git");
    expect(await sweep()).toEqual({ kind: "nothing to do" });
    await push("other", main);
    expect(await sweep()).toMatchObject({ dropped: 0, keptBecause: "'fork' borrows objects from it" });
    for (const oid of before) expect(await allObjects()).toContain(oid);
    await workspace.in("fork.git").run("fsck", "--full");
    rmSync(join(workspace.directory, "fork.git"), { recursive: true });
    expect(await sweep()).toMatchObject({ dropped: 3, keptBecause: undefined });
  });

  it("leaves what stands in alternates to their owner", async () => {
    await push("main");
    await workspace.run("clone", "-q", "--bare", "--shared", "app.git", "fork.git");
    const fork = workspace.in("fork.git");
    await local.run("push", "-q", fork.directory, "HEAD:refs/heads/own");
    await local.run("commit", "-q", "--allow-empty", "-m", "of the fork");
    await local.run("push", "-q", fork.directory, "HEAD:refs/heads/own");
    const opened = await store.open("fork");
    expect(await sweepGarbage(opened?.upkeep as Upkeep, { graceMs: GRACE_MS })).toMatchObject({
      kind: "swept",
      reachable: 1,
    });
    await opened?.close();
    await fork.run("fsck", "--full");
    expect(await fork.run("count-objects", "-v")).toContain("in-pack: 1\n");
  });

  it("does not touch packs that are kept", async () => {
    await push("main");
    await push("topic");
    const [kept = ""] = packs(".pack");
    writeFileSync(packPath(`${kept}.keep`), "mine\n");
    await bare.run("update-ref", "-d", "refs/heads/topic");
    await sweep(0);
    expect(packs(".pack")).toContain(kept);
    expect(readFileSync(packPath(`${kept}.keep`), "utf8")).toBe("mine\n");
    rmSync(packPath(`${kept}.keep`));
    await bare.run("fsck", "--full");
  });

  it("removes a multi-pack-index before the packs that it names", async () => {
    await push("main");
    await push("main");
    await bare.run("multi-pack-index", "write");
    expect(await sweep()).toMatchObject({ kind: "swept", packsRemoved: 2 });
    expect(existsSync(packPath("multi-pack-index"))).toBe(false);
    await push("main");
    await bare.run("multi-pack-index", "write");
    writeFileSync(packPath("multi-pack-index.lock"), "");
    expect(await sweep()).toEqual({ kind: "left to others" });
    await bare.run("multi-pack-index", "verify");
    await bare.run("fsck", "--full");
  });

  it("does nothing where something is not understood, or others are at work", async () => {
    await push("main");
    const before = readdirSync(packPath());
    const cases: [() => Promise<unknown> | void, () => Promise<unknown> | void, object][] = [
      [
        () => bare.run("config", "extensions.preciousObjects", "true"),
        () => bare.run("config", "--unset", "extensions.preciousObjects"),
        { kind: "impossible" },
      ],
      [
        () => writeFileSync(packPath(`${packs(".pack")[0]}.promisor`), ""),
        () => rmSync(packPath(`${packs(".pack")[0]}.promisor`)),
        { kind: "impossible", why: "it has objects from a promisor, and others that only that one has" },
      ],
      [
        () => writeFileSync(join(bare.directory, "info/grafts"), ""),
        () => rmSync(join(bare.directory, "info/grafts")),
        { kind: "impossible", why: "grafts change what commits say" },
      ],
      [
        () => writeFileSync(join(bare.directory, "refs/heads/broken"), "nonsense\n"),
        () => rmSync(join(bare.directory, "refs/heads/broken")),
        { kind: "impossible", why: "the ref refs/heads/broken is broken" },
      ],
      [
        () => writeFileSync(join(bare.directory, "gc.pid"), `1 ${hostname()}`),
        () => rmSync(join(bare.directory, "gc.pid")),
        { kind: "left to others" },
      ],
    ];
    for (const [spoil, mend, expected] of cases) {
      await spoil();
      expect(await sweep(0)).toMatchObject(expected);
      await mend();
      expect(readdirSync(packPath())).toEqual(before);
    }
    // A symbolic ref that leads nowhere is no harm.
    await bare.run("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/gone");
    expect(await sweep(0)).toEqual({ kind: "nothing to do" });
  });

  it("removes nothing where something that is needed is missing or damaged", async () => {
    await push("main");
    await push("main");
    const before = await allObjects();
    const oid = await makeLoose("needed");
    await bare.run("update-ref", "refs/tags/needed", oid);
    const path = join(bare.directory, "objects", oid.slice(0, 2), oid.slice(2));
    const bytes = readFileSync(path);
    rmSync(path);
    await expect(sweep(0)).rejects.toMatchObject({ code: "object/corrupt" });
    writeFileSync(path, "damaged");
    await expect(sweep(0)).rejects.toMatchObject({ code: "object/corrupt" });
    for (const each of before) expect(await allObjects()).toContain(each);
    expect(packs(".pack")).toHaveLength(2);
    expect(leftovers()).toEqual([]);
    chmodSync(path, 0o644);
    writeFileSync(path, bytes);
    expect(await sweep(0)).toMatchObject({ kind: "swept", reachable: 7 });
  });

  it("removes no copy of what has rotted in the pack that would stay", async () => {
    const head = await push("main");
    const blob = await bare.run("rev-parse", `${head}:file-${serial - 1}`);
    await sweep();
    const [whole = ""] = packs(".pack");
    // The same blob once more, in a pack of its own.
    const snapshot = await repository.snapshot();
    const object = await snapshot.objects.read(blob);
    snapshot.release();
    const quarantine = await repository.openQuarantine();
    const copy = { oid: blob, type: "blob", data: object?.data ?? Buffer.alloc(0) } as const;
    await finishPack(await quarantine.createPack(), "sha1", [copy]);
    await quarantine.publish();
    await quarantine.discard();
    const path = packPath(`${whole}.pack`);
    const bytes = readFileSync(path);
    const index = indexOf(whole);
    const at = index.offsetAt(index.find(blob)) + 5;
    bytes.writeUInt8(bytes.readUInt8(at) ^ 0xff, at);
    writeFileSync(`${path}.new`, bytes);
    renameSync(`${path}.new`, path);
    // Nothing of it is in memory.
    await repository.close();
    await store.close();
    store = createDiskRepositoryStore({ directory: workspace.directory, durability: "none" });
    repository = (await store.open("app")) ?? repository;
    await expect(sweep()).rejects.toMatchObject({ code: "object/corrupt" });
    expect(packs(".pack")).toHaveLength(2);
    expect(leftovers()).toEqual([]);
  });

  it("leaves loose files alone that cannot be read and that nobody needs", async () => {
    await push("main");
    mkdirSync(join(bare.directory, "objects/ab"));
    const path = join(bare.directory, `objects/ab/${"c".repeat(38)}`);
    writeFileSync(path, "damaged");
    await makeLoose("fine");
    expect(await sweep(0)).toMatchObject({ kind: "swept", looseRemoved: 1, dropped: 1 });
    expect(existsSync(path)).toBe(true);
    expect(leftovers()).toEqual([]);
  });

  it("asks once more, right before something goes, what leads to it", async () => {
    const main = await push("main");
    const topic = await push("topic");
    await bare.run("update-ref", "-d", "refs/heads/topic");
    await sweep();
    age(() => 20);
    await push("main", main);
    const upkeep = upkeepOf();
    const late: Upkeep = {
      ...upkeep,
      async beginSweep() {
        const beginning = await upkeep.beginSweep();
        if (beginning.kind !== "begun") return beginning;
        const { work } = beginning;
        const watched: SweepWork = Object.create(work, {
          replace: {
            value: async (change: Parameters<SweepWork["replace"]>[0]) => {
              // A tag upon what is about to go: nothing that was known leads there.
              await bare.run("tag", "-a", "-m", "back", "back", topic);
              return work.replace(change);
            },
          },
          release: { value: () => work.release() },
          ...Object.fromEntries(
            (["nowMs", "snapshot", "packs", "held", "loose", "roots", "rawRoots"] as const).map((key) => [
              key,
              { get: () => work[key] },
            ]),
          ),
          whyKept: { value: () => work.whyKept() },
          createPack: { value: () => work.createPack() },
        }) as SweepWork;
        return { kind: "begun", work: watched };
      },
    };
    expect(await sweepGarbage(late, { graceMs: GRACE_MS })).toMatchObject({
      kind: "swept",
      dropped: 0,
      keptBecause: "something leads to it again, or a push is under way",
    });
    await bare.run("fsck", "--full", "--strict");
    expect(await bare.run("rev-parse", "back^{commit}")).toBe(topic);
    expect(await sweep()).toMatchObject({ kind: "swept", unreachable: 0 });
    await bare.run("fsck", "--full", "--strict");
  });

  it("drops nothing while somebody pushes, ours or git", async () => {
    await push("main");
    await push("topic");
    await bare.run("update-ref", "-d", "refs/heads/topic");
    await sweep();
    age(() => 20);
    const before = await allObjects();
    const quarantine = await repository.openQuarantine();
    const sink = await quarantine.createPack();
    await sink.append(Buffer.from("PACK"));
    // Made while the pack is on its way.
    while (
      !readdirSync(join(bare.directory, "objects")).some((name) => name.startsWith("tmp_objdir-incoming-"))
    )
      await new Promise((resolve) => setImmediate(resolve));
    expect(await sweep()).toMatchObject({
      kind: "swept",
      dropped: 0,
      keptBecause: "something leads to it again, or a push is under way",
    });
    expect(await allObjects()).toEqual(before);
    await quarantine.discard();
    mkdirSync(join(bare.directory, "objects/tmp_objdir-incoming-a1b2c3"));
    expect(await sweep()).toMatchObject({ dropped: 0 });
    rmSync(join(bare.directory, "objects/tmp_objdir-incoming-a1b2c3"), { recursive: true });
    expect(await sweep()).toMatchObject({ kind: "swept", dropped: 3, keptBecause: undefined });
    await bare.run("fsck", "--full", "--strict");
  });

  it("keeps what the main work tree alone names, served by a linked one", async () => {
    await push("main");
    const own = await makeLoose("own");
    await bare.run("update-ref", "refs/worktree/own", own);
    await bare.run("worktree", "add", "-q", "--detach", "../tree", "main");
    const linked = await store.open("tree");
    const outcome = await sweepGarbage(linked?.upkeep as Upkeep, { graceMs: 0 });
    await linked?.close();
    expect(outcome).toMatchObject({ kind: "swept", reachable: 4, dropped: 0 });
    expect(await bare.run("cat-file", "-t", own)).toBe("blob");
    await bare.run("fsck", "--full", "--strict");
  });

  it("lets readers go on that began before, of ours and of git", async () => {
    await push("main");
    await push("main");
    await push("topic");
    await bare.run("update-ref", "-d", "refs/heads/topic");
    const all = await allObjects();
    const before = await repository.snapshot();
    const child = spawn("git", ["cat-file", "--batch-check"], { cwd: bare.directory });
    const answers: string[] = [];
    let onAnswer: (() => void) | undefined;
    child.stdout.on("data", (chunk: Buffer) => {
      answers.push(...chunk.toString().trimEnd().split("\n"));
      onAnswer?.();
    });
    child.stdin.write(`${all[0]}\n`);
    while (answers.length < 1) await new Promise<void>((resolve) => (onAnswer = resolve));
    expect(await sweep()).toMatchObject({ kind: "swept", packsRemoved: 2, unreachable: 3 });
    child.stdin.end(`${all.join("\n")}\n`);
    await once(child, "close");
    for (const answer of answers) expect(answer).not.toContain("missing");
    for (const oid of all) expect(await before.objects.read(oid)).toBeDefined();
    before.release();
  });

  it("drops the commit-graph with commits that it knows", async () => {
    await push("main");
    await push("topic");
    await bare.run("commit-graph", "write", "--reachable", "--split");
    await bare.run("update-ref", "-d", "refs/heads/topic");
    await sweep();
    age(() => 20);
    expect(await sweep()).toMatchObject({ dropped: 3 });
    await bare.run("fsck", "--full");
    expect(readdirSync(join(bare.directory, "objects/info/commit-graphs"))).toEqual([]);
  });
});

describe("packing loose objects", () => {
  it("puts them into a pack, needed or not, and removes what packs hold", async () => {
    await push("main");
    const before = [await makeLoose("one"), await makeLoose("two")];
    await bare.run("repack", "-q");
    await makeLoose("three");
    const all = await allObjects();
    expect(await packLooseObjects(upkeepOf())).toEqual({ kind: "packed", packed: 3, written: 3 });
    expect(await bare.run("count-objects", "-v")).toContain("count: 0\n");
    expect(await allObjects()).toEqual(all);
    for (const oid of before) expect(await bare.run("cat-file", "-t", oid)).toBe("blob");
    expect(await packLooseObjects(upkeepOf())).toEqual({ kind: "nothing to do" });
    await bare.run("fsck", "--full");
    expect(leftovers()).toEqual([]);
  });

  it("takes a copy among unreachable objects for none", async () => {
    await push("main");
    const oid = await makeLoose("again");
    await sweep();
    age(() => 20);
    await makeLoose("again");
    expect(await packLooseObjects(upkeepOf())).toEqual({ kind: "packed", packed: 1, written: 1 });
    expect(await sweep()).toMatchObject({ kind: "swept", dropped: 0, unreachable: 1 });
    expect(await allObjects()).toContain(oid);
  });

  it("leaves what cannot be read where it is", async () => {
    mkdirSync(join(bare.directory, "objects/ab"), { recursive: true });
    writeFileSync(join(bare.directory, `objects/ab/${"c".repeat(38)}`), "damaged");
    expect(await packLooseObjects(upkeepOf())).toEqual({ kind: "nothing to do" });
    expect(readdirSync(join(bare.directory, "objects/ab"))).toHaveLength(1);
  });
});
