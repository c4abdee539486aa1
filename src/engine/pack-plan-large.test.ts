import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { closeWorkerPool } from "../base/worker-pool.js";
import { openGitDirectory, type OpenedDirectory } from "./fetch/git-directory.test.support.js";
import {
  createTestRepository,
  importHistory,
  revList,
  type TestDirectory,
} from "./fetch/history.test.support.js";
import { parseFilter } from "./filter.js";
import { type PackPlanOptions, planPack, type PackPlan } from "./pack-plan.js";
import { streamPack } from "./pack-stream.js";
import { createPlanCache } from "./plan-cache.js";
import { areReachable } from "./reachability.js";

const removals: (() => void)[] = [];
afterAll(async () => {
  for (const remove of removals) remove();
  await closeWorkerPool();
});

function made(options: { alternate?: TestDirectory } = {}): TestDirectory {
  const repository = createTestRepository();
  removals.push(repository.remove);
  if (options.alternate !== undefined) {
    mkdirSync(join(repository.path, "objects/info"), { recursive: true });
    writeFileSync(join(repository.path, "objects/info/alternates"), `${options.alternate.path}/objects\n`);
  }
  return repository;
}

function open(source: TestDirectory): OpenedDirectory {
  const opened = openGitDirectory(source.path);
  removals.push(opened.release);
  return opened;
}

interface Sent {
  readonly plan: PackPlan;
  readonly pack: Buffer;
  readonly objects: ReadonlySet<string>;
}

async function send(options: PackPlanOptions, chunkBytes?: number): Promise<Sent> {
  const plan = await planPack({ ofsDelta: true, ...options });
  const chunks: Buffer[] = [];
  for await (const chunk of streamPack(plan, { chunkBytes })) chunks.push(chunk);
  const pack = Buffer.concat(chunks);
  const receiver = createTestRepository();
  try {
    // Strict also asks that everything that is referred to is there.
    const isWhole = options.haves.length === 0 && options.filter === undefined;
    receiver.git(["index-pack", ...(isWhole ? ["--strict"] : []), "--stdin"], pack);
    const listed = receiver.git(["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    return { plan, pack, objects: new Set(listed.split("\n").filter((line) => line !== "")) };
  } finally {
    receiver.remove();
  }
}

const sorted = (set: Iterable<string>): string[] => [...set].sort();

describe("a repository with thousands of objects", () => {
  const source = made();
  const commits = importHistory(source, { seed: 77, commits: 900 });
  const tip = commits.at(-1) as string;
  const older = commits.at(-400) as string;
  const tips = (): string[] => [
    ...new Set(source.git(["for-each-ref", "--format=%(objectname)"]).trim().split("\n")),
  ];

  const everyWay = async (): Promise<void> => {
    const snapshot = open(source);
    const all = await send({ snapshot, wants: tips(), haves: [], cache: createPlanCache() });
    expect(sorted(all.objects)).toEqual(sorted(revList(source, ["--all"])));
    const one = await send({ snapshot, wants: [tip], haves: [], cache: createPlanCache() });
    expect(sorted(one.objects)).toEqual(sorted(revList(source, [tip])));
    const theirs = revList(source, [older]);
    const more = await send({ snapshot, wants: [tip], haves: [older], cache: createPlanCache() });
    expect([...revList(source, [tip])].filter((oid) => !theirs.has(oid) && !more.objects.has(oid))).toEqual(
      [],
    );
    expect(more.objects.size).toBeLessThanOrEqual(revList(source, [tip, "--not", older]).size + 10);
    for (const spec of ["blob:none", "blob:limit=300", "object:type=tree", "tree:2"]) {
      const filter = parseFilter(spec, { filterDepthMax: 4 });
      const part = await send({ snapshot, wants: [tip], haves: [], filter, cache: createPlanCache() });
      expect(sorted(part.objects)).toEqual(sorted(revList(source, [`--filter=${spec}`, tip])));
    }
    const stored = sorted(all.objects);
    expect(await areReachable(snapshot, stored, [older])).toEqual(stored.filter((oid) => !theirs.has(oid)));
  };

  test("packed once", async () => {
    source.git(["repack", "-a", "-d", "-q"]);
    await everyWay();
  });
  test("with bitmaps and a commit-graph", async () => {
    source.git(["repack", "-a", "-d", "-q", "-b"]);
    source.git(["commit-graph", "write", "--reachable"]);
    await everyWay();
  });
  test("with bitmaps that are older than the newest commits", async () => {
    const more = importHistory(source, { seed: 78, commits: 30 });
    source.git(["replace", "--graft", more[0] as string, tip]);
    source.git([
      "update-ref",
      "refs/heads/more",
      source.git(["rev-parse", `refs/replace/${more[0]}`]).trim(),
    ]);
    source.git(["replace", "-d", more[0] as string]);
    await everyWay();
  });
  test("in several packs", async () => {
    source.git(["repack", "-d", "-q"]);
    await everyWay();
  });
});

describe("what is planned is kept", () => {
  const source = made();
  const commits = importHistory(source, { seed: 79, commits: 800 });
  source.git(["repack", "-a", "-d", "-q"]);
  source.git(["update-ref", "refs/heads/main", commits.at(-1) as string]);

  test("a clone is one run of the pack, its checksum is known, and a second clone plans nothing", async () => {
    const snapshot = open(source);
    const wants = snapshot.refs.all.map((ref) => ref.oid);
    const cache = createPlanCache();
    const first = await send({ snapshot, wants, haves: [], cache });
    expect(first.plan.data.segmentPacks.length).toBe(1);
    expect(first.plan.trailer).toBe(snapshot.objects.packs[0]?.index.packTrailer);
    const second = await planPack({
      snapshot: open(source),
      wants: wants.toReversed(),
      haves: [],
      ofsDelta: true,
      cache,
    });
    expect(second.data).toBe(first.plan.data);
    expect(second.packs[0]).not.toBe(first.plan.packs[0]);
  });

  test("the checksum of a pack that was put together is known the second time", async () => {
    const snapshot = open(source);
    const cache = createPlanCache();
    const options = { snapshot, wants: [commits[600] as string], haves: [], cache };
    const first = await send(options);
    const again = await planPack({ ...options, ofsDelta: true });
    expect(again.trailer).toBe(first.pack.subarray(-20).toString("hex"));
    const chunks: Buffer[] = [];
    for await (const chunk of streamPack(again, { chunkBytes: 65_536 })) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(first.pack)).toBe(true);
    expect(createHash("sha1").update(first.pack.subarray(0, -20)).digest("hex")).toBe(again.trailer);
  });

  test("after a push the next clone holds what was pushed", async () => {
    const tree = source.git(["rev-parse", "main^{tree}"]).trim();
    for (let i = 0; i < 3; i++) {
      const pushed = source
        .git(["commit-tree", tree, "-p", source.git(["rev-parse", "main"]).trim(), "-m", `${i}`])
        .trim();
      source.git(["update-ref", "refs/heads/main", pushed]);
      const snapshot = open(source);
      const wants = snapshot.refs.all.map((ref) => ref.oid);
      const { objects } = await send({ snapshot, wants, haves: [], cache: createPlanCache() });
      expect(sorted(objects)).toEqual(sorted(revList(source, ["--all"])));
    }
    // A branch that goes takes its objects along.
    source.git(["update-ref", "-d", "refs/heads/main"]);
    const snapshot = open(source);
    const wants = snapshot.refs.all.map((ref) => ref.oid);
    const { objects } = await send({ snapshot, wants, haves: [], cache: createPlanCache() });
    expect(sorted(objects)).toEqual(sorted(revList(source, ["--all"])));
  });

  test("who leaves stops the computing, and who stays gets the plan", async () => {
    const snapshot = open(source);
    const cache = createPlanCache();
    const wants = [commits[700] as string];
    const leaving = new AbortController();
    const first = planPack({ snapshot, wants, haves: [], cache, signal: leaving.signal });
    const second = planPack({ snapshot, wants, haves: [], cache });
    leaving.abort();
    await expect(first).rejects.toMatchObject({ code: "base/aborted" });
    expect((await second).objectCount).toBe(revList(source, wants).size);
  });

  test("a stream that is left ends its reading; one that is aborted says so", async () => {
    const snapshot = open(source);
    const plan = await planPack({ snapshot, wants: [commits[500] as string], haves: [], ofsDelta: true });
    for await (const chunk of streamPack(plan)) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    const leaving = new AbortController();
    leaving.abort();
    await expect(streamPack(plan, { signal: leaving.signal }).next()).rejects.toMatchObject({
      code: "base/aborted",
    });
  });
});

describe("packs of every kind", () => {
  test("objects of alternates, loose objects and several copies are sent once each", async () => {
    const base = made();
    const commits = importHistory(base, { seed: 80, commits: 120 });
    base.git(["repack", "-a", "-d", "-q"]);
    const fork = made({ alternate: base });
    fork.git(["update-ref", "refs/heads/main", commits.at(-1) as string]);
    // A second copy of a part of it, with deltas of its own; and loose objects.
    fork.git(
      ["pack-objects", "-q", "--revs", "--no-reuse-delta", `${fork.path}/objects/pack/pack`],
      `${commits[60]}\n`,
    );
    const blob = fork.git(["hash-object", "-w", "--stdin"], "loose ".repeat(1000)).trim();
    const large = fork.git(["hash-object", "-w", "--stdin"], Buffer.alloc(3_000_000, "large object ")).trim();
    const tree = fork.git(["mktree"], `100644 blob ${blob}\ta\n100644 blob ${large}\tb\n`).trim();
    const commit = fork.git(["commit-tree", tree, "-p", commits.at(-1) as string, "-m", "loose"]).trim();
    const snapshot = open(fork);
    for (const ofsDelta of [true, false]) {
      const { objects, plan, pack } = await send({
        snapshot,
        wants: [commit],
        haves: [],
        ofsDelta,
        cache: createPlanCache(),
      });
      expect(sorted(objects)).toEqual(sorted(revList(fork, [commit])));
      expect(plan.data.deferred).toEqual([large]);
      basesFirst(pack);
    }
  });

  test("a pack whose bases stand behind their deltas is put in order", async () => {
    const source = made();
    const commits = importHistory(source, { seed: 81, commits: 150 });
    source.git(["repack", "-a", "-d", "-q"]);
    // A thin pack, completed by git with its bases at the end and deltas by reference.
    const target = made();
    const half = commits[75] as string;
    const last = commits.at(-1) as string;
    target.git(["index-pack", "--stdin"], await packBytes(source, [half], []));
    const thin = execPack(source, `${last}\n^${half}\n`);
    target.git(["index-pack", "--stdin", "--fix-thin"], thin);
    const snapshot = open(target);
    for (const ofsDelta of [true, false]) {
      const whole = await send({ snapshot, wants: [last], haves: [], ofsDelta, cache: createPlanCache() });
      expect(sorted(whole.objects)).toEqual(sorted(revList(source, [last])));
      const part = await send({ snapshot, wants: [last], haves: [half], ofsDelta, cache: createPlanCache() });
      const theirs = revList(source, [half]);
      expect(
        [...revList(source, [last])].filter((oid) => !theirs.has(oid) && !part.objects.has(oid)),
      ).toEqual([]);
      basesFirst(whole.pack);
      basesFirst(part.pack);
    }
  });

  test("loose objects become deltas of each other", async () => {
    const source = made();
    let parent: string[] = [];
    let tip = "";
    for (let i = 0; i < 12; i++) {
      const text = Array.from(
        { length: 400 },
        (_, n) => `line ${n === i ? `changed ${i}` : (n * 7919) % 1000}`,
      ).join("\n");
      const blob = source.git(["hash-object", "-w", "--stdin"], text).trim();
      const tree = source.git(["mktree"], `100644 blob ${blob}\ttext\n`).trim();
      tip = source.git(["commit-tree", tree, ...parent, "-m", `${i}`]).trim();
      parent = ["-p", tip];
    }
    const { plan, objects } = await send({
      snapshot: open(source),
      wants: [tip],
      haves: [],
      cache: createPlanCache(),
    });
    expect(objects.size).toBe(36);
    expect(plan.deltaCount).toBeGreaterThanOrEqual(11);
    expect(plan.sizeBytesEstimate).toBeLessThan(8000);
  });

  test("a pack that is shorter than its index says is an error, not a short reply", async () => {
    const source = made();
    const commits = importHistory(source, { seed: 82, commits: 20 });
    const snapshot = open(source);
    const wants = [commits.at(-1) as string];
    const plan = await planPack({ snapshot, wants, haves: [], ofsDelta: true, cache: createPlanCache() });
    const broken = plan.packs.map((pack) =>
      Object.assign(Object.create(pack) as typeof pack, {
        bytes: { ...pack.bytes, read: () => Buffer.alloc(1) },
      }),
    );
    const stream = streamPack({ ...plan, packs: broken, trailer: undefined, setTrailer() {} });
    const drain = async (): Promise<void> => {
      for await (const chunk of stream) void chunk;
    };
    if (plan.data.segmentPacks.some((pack) => pack >= 0)) {
      await expect(drain()).rejects.toMatchObject({ code: "storage/io" });
    }
  });
});

/** Every delta stands behind its base, as git lists the pack. */
function basesFirst(pack: Buffer): void {
  const receiver = createTestRepository();
  try {
    const name = receiver.git(["index-pack", "--stdin"], pack).trim().split("\t")[1] as string;
    const listed = receiver.git(["verify-pack", "-v", `${receiver.path}/objects/pack/pack-${name}.idx`]);
    const entries = listed.split("\n").map((line) => line.split(/ +/));
    const offsets = new Map(entries.filter((f) => f.length >= 5).map((f) => [f[0], Number(f[4])]));
    for (const f of entries) {
      if (f.length >= 7 && /^[0-9a-f]{40}$/.test(f[6] ?? "")) {
        expect(offsets.get(f[6])).toBeLessThan(offsets.get(f[0]) as number);
      }
    }
  } finally {
    receiver.remove();
  }
}

async function packBytes(source: TestDirectory, wants: string[], haves: string[]): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const plan = await planPack({ snapshot: open(source), wants, haves, cache: createPlanCache() });
  for await (const chunk of streamPack(plan)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function execPack(source: TestDirectory, revs: string): Buffer {
  return Buffer.from(source.git(["pack-objects", "-q", "--revs", "--thin", "--stdout"], revs), "latin1");
}
