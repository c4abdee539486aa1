import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  createTestRepository,
  createRandom,
  importHistory,
  revList,
  type TestDirectory,
} from "./fetch/history.test.support.js";
import { openGitDirectory, type OpenedDirectory } from "./fetch/git-directory.test.support.js";
import { createPlanCache } from "./plan-cache.js";
import { type PackPlanOptions, planPack } from "./pack-plan.js";
import { streamPack } from "./pack-stream.js";

const removals: (() => void)[] = [];
afterAll(() => {
  for (const remove of removals) remove();
});

function repository(format: "sha1" | "sha256" = "sha1"): TestDirectory {
  const made = createTestRepository(format);
  removals.push(made.remove);
  return made;
}

function open(source: TestDirectory): OpenedDirectory {
  const opened = openGitDirectory(source.path);
  removals.push(opened.release);
  return opened;
}

async function packOf(options: Omit<PackPlanOptions, "cache">): Promise<Buffer> {
  const plan = await planPack({ cache: createPlanCache(), ...options });
  const chunks: Buffer[] = [];
  for await (const chunk of streamPack(plan)) chunks.push(chunk);
  const pack = Buffer.concat(chunks);
  expect(pack.readUInt32BE(8)).toBe(plan.objectCount);
  if (plan.data.deferred.length === 0) expect(pack.length).toBe(plan.sizeBytesEstimate);
  return pack;
}

/** What is in a pack that is whole in itself, after git has checked it. */
function objectsOf(pack: Buffer, format: "sha1" | "sha256"): Set<string> {
  const receiver = createTestRepository(format);
  try {
    receiver.git(["index-pack", "--stdin"], pack);
    const listed = receiver.git(["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    return new Set(listed.split("\n").filter((line) => line !== ""));
  } finally {
    receiver.remove();
  }
}

/** Gives git the pack in a repository that has what `haves` lead to, and lets it check that nothing is missing. */
function receive(
  source: TestDirectory,
  format: "sha1" | "sha256",
  haves: readonly string[],
  wants: readonly string[],
  pack: Buffer,
): void {
  const receiver = createTestRepository(format);
  try {
    if (haves.length > 0) {
      receiver.git([
        "fetch",
        "-q",
        "--no-tags",
        source.path,
        ...haves.map((oid, i) => `${oid}:refs/haves/${i}`),
      ]);
    }
    receiver.git(["index-pack", "--strict", "--stdin", "--fix-thin"], pack);
    receiver.git(["rev-list", "--objects", "--quiet", ...wants]);
    receiver.git(["fsck", "--connectivity-only", ...wants]);
  } finally {
    receiver.remove();
  }
}

/** Everything as loose objects. */
function unpackAll(source: TestDirectory): void {
  const directory = join(source.path, "objects/pack");
  for (const name of readdirSync(directory).filter((n) => n.endsWith(".pack"))) {
    const moved = readFileSync(join(directory, name));
    for (const end of [".pack", ".idx", ".rev"])
      rmSync(join(directory, name.replace(".pack", end)), { force: true });
    source.git(["unpack-objects", "-q"], moved);
  }
}

const minus = (a: ReadonlySet<string>, b: ReadonlySet<string>): string[] =>
  [...a].filter((x) => !b.has(x)).sort();

describe.each([
  ["sha1", [1, 2, 3]],
  ["sha256", [4, 5, 6]],
] as const)("%s: random histories", (format, seeds) => {
  test.each(seeds)("seed %i: what is sent is what git would send, and git takes it", async (seed) => {
    const source = repository(format);
    const commits = importHistory(source, { seed, commits: 60, wrongClocks: seed % 3 === 0 });
    const random = createRandom(seed * 1000);
    // Loose objects, one pack, several packs, with and without a commit-graph.
    if (seed % 3 === 1) source.git(["repack", "-a", "-d", "-q", "--depth=20"]);
    if (seed % 3 === 2) unpackAll(source);
    if (seed % 2 === 0) source.git(["commit-graph", "write", "--reachable"]);
    const snapshot = open(source);
    const pick = (n: number): string[] =>
      Array.from({ length: n }, () => commits[random(commits.length)] as string);
    for (let round = 0; round < 6; round++) {
      const wants = pick(1 + random(3));
      const haves = pick(random(4));
      const ofsDelta = round % 4 !== 3;
      const whole = await packOf({ snapshot, wants, haves, ofsDelta });
      const sent = objectsOf(whole, format);
      const reachable = revList(source, wants);
      const theirs = haves.length > 0 ? revList(source, haves) : new Set<string>();
      expect(minus(new Set(minus(reachable, theirs)), sent), "missing").toEqual([]);
      expect(minus(sent, reachable), "unasked").toEqual([]);
      const git = revList(source, [...wants, "--not", ...haves]);
      expect(minus(sent, git).length, "more than git").toBeLessThanOrEqual(3);
      if (haves.length === 0) expect(sent.size).toBe(git.size);
      const thin = await packOf({ snapshot, wants, haves, ofsDelta, thinPack: true });
      receive(source, format, haves, wants, thin);
    }
  });
});
