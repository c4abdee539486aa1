import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { openGitDirectory } from "./fetch/git-directory.test.support.js";
import {
  createRandom,
  createTestRepository,
  importHistory,
  type TestDirectory,
} from "./fetch/history.test.support.js";
import { planPack } from "./pack-plan.js";
import { streamPack } from "./pack-stream.js";
import { createPlanCache } from "./plan-cache.js";
import { computeShallow, INFINITE_DEPTH, type ShallowRequest } from "./shallow.js";

const removals: (() => void)[] = [];
afterAll(() => {
  for (const remove of removals) remove();
});

function shallowOf(repository: TestDirectory): string[] {
  const path = join(repository.path, "shallow");
  return existsSync(path)
    ? readFileSync(path, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .sort()
    : [];
}

type Step = Pick<ShallowRequest, "depth" | "since" | "not" | "relative"> & {
  readonly arguments: readonly string[];
};

/** Does to a copy what git's own fetch does to the repository, and answers both. */
async function fetchBothWays(
  source: TestDirectory,
  client: TestDirectory,
  want: string,
  step: Step,
): Promise<void> {
  const copy = createTestRepository();
  removals.push(copy.remove);
  rmSync(copy.path, { recursive: true });
  cpSync(client.path, copy.path, { recursive: true });
  const git = ["-c", "protocol.version=2", "fetch", "-q", "--no-tags", "--update-shallow", ...step.arguments];
  client.git([...git, `file://${source.path}`, `+${want}:refs/heads/got`]);

  const snapshot = openGitDirectory(source.path);
  const clientShallow = shallowOf(copy);
  const haves = copy
    .git(["for-each-ref", "--format=%(objectname)"])
    .split("\n")
    .filter((line) => line !== "");
  const { arguments: _, ...request } = step;
  const boundary = await computeShallow({ snapshot, wants: [want], clientShallow, ...request });
  const after = new Set([...clientShallow, ...boundary.shallow]);
  for (const oid of boundary.unshallow) after.delete(oid);
  const ofGit = shallowOf(client);
  // Git also tells commits that it does not send.
  const untold = ofGit.filter((oid) => !after.has(oid));
  expect([...after, ...untold].sort(), "boundary").toEqual(ofGit);

  const look = (): string =>
    copy.git(["cat-file", "--batch-check"], Buffer.from(untold.map((oid) => `${oid}\n`).join("")));
  const before = look();
  const plan = await planPack({
    snapshot,
    wants: [want],
    haves,
    clientShallow,
    ...boundary,
    thinPack: true,
    ofsDelta: true,
    cache: createPlanCache(),
  });
  const chunks: Buffer[] = [];
  for await (const chunk of streamPack(plan)) chunks.push(chunk);
  copy.git(["index-pack", "--stdin", "--fix-thin"], Buffer.concat(chunks));
  writeFileSync(join(copy.path, "shallow"), [...after].map((oid) => `${oid}\n`).join(""));
  copy.git(["rev-list", "--objects", "--quiet", want, ...haves]);
  expect(look(), "what was not told was not sent").toBe(before);
  snapshot.release();
}

describe.each([1, 2, 5])("seed %i: boundaries are git's and what is sent is enough", (seed) => {
  test("depth, deepening, since, exclude, unshallow", async () => {
    const source = createTestRepository();
    removals.push(source.remove);
    const commits = importHistory(source, { seed: seed + 20, commits: 50 });
    if (seed === 2) source.git(["repack", "-a", "-d", "-q"]);
    if (seed === 5) source.git(["commit-graph", "write", "--reachable"]);
    const random = createRandom(seed);
    const client = createTestRepository();
    removals.push(client.remove);
    const at = (n: number): string => commits[n] as string;
    const date = (oid: string): number => Number(source.git(["log", "-1", "--format=%ct", oid]).trim());
    const since = date(at(20)) - 1;
    source.git(["update-ref", "refs/heads/old", at(12)]);
    const steps: [number, Step][] = [
      [30, { depth: 1, arguments: ["--depth=1"] }],
      [34, { depth: 3, arguments: ["--depth=3"] }],
      [34, { depth: 2, relative: true, arguments: ["--deepen=2"] }],
      [40, { arguments: [] }],
      [41, { depth: 1, arguments: ["--depth=1"] }],
      [44, { since, arguments: [`--shallow-since=${since}`] }],
      [46, { not: [at(12)], arguments: ["--shallow-exclude=refs/heads/old"] }],
      [46, { depth: 1 + random(6), arguments: [] }],
      [49, { depth: INFINITE_DEPTH, arguments: ["--unshallow"] }],
      [49, { depth: 2, arguments: ["--depth=2"] }],
    ];
    for (const [n, step] of steps) {
      const own = step.depth !== undefined && step.arguments.length === 0;
      await fetchBothWays(
        source,
        client,
        at(n),
        own ? { ...step, arguments: [`--depth=${step.depth}`] } : step,
      );
    }
  });
});

test("nothing newer than the given time is refused in git's words", async () => {
  const source = createTestRepository();
  removals.push(source.remove);
  const commits = importHistory(source, { seed: 5, commits: 5 });
  const snapshot = openGitDirectory(source.path);
  removals.push(snapshot.release);
  const request = { snapshot, wants: [commits[4] as string], since: 4_000_000_000, clientShallow: [] };
  await expect(computeShallow(request)).rejects.toThrow("no commits selected for shallow requests");
});
