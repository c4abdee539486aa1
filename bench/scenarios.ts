/** What is measured: each scenario prepares its own repositories, then runs the same work against both servers. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { addRefs, copyRepository, git, makeBehind, makePack, packBytes } from "./data.js";
import { discoverAndListRefs, fetchPack, listRefs, push, type Remote } from "./raw-client.js";

export interface Scenario {
  readonly name: string;
  /** Times in one measured run; the figures are for all of them together, divided by this. */
  readonly repeat: number;
  /** Runs of each server; the median counts. */
  readonly rounds: number;
  /** Makes what one run needs, before the clock starts. */
  prepare?(run: RunContext): Promise<void> | void;
  work(run: RunContext): Promise<void>;
  cleanUp?(run: RunContext): void;
}

/** Concurrent clients of a repository. */
const CROWD = 50;
/** The same for one whose clone alone takes seconds of git's time. */
const CROWD_OF_LARGE = 8;
const LARGE_PACK_BYTES = 64 * 1024 * 1024;

export interface RunContext {
  readonly port: number;
  /** Directory that both servers serve. */
  readonly repositories: string;
  /** Unique to the run: a name for copies. */
  readonly id: string;
}

export interface ScenarioSource {
  /** Bare repository below `repositories`, `NAME.git`. */
  readonly repository: string;
  readonly label: string;
}

async function times(count: number, work: (i: number) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < count; i++) await work(i);
}

export function readingScenarios(repositories: string, source: ScenarioSource): readonly Scenario[] {
  const path = join(repositories, source.repository);
  const remote = (run: RunContext): Remote => ({ port: run.port, repository: source.repository });
  const tips = [
    ...new Set(git(path, "for-each-ref", "--format=%(objectname)", "refs/heads", "refs/tags").split("\n")),
  ];
  const head = git(path, "rev-parse", "HEAD");
  const isLarge = packBytes(path) > LARGE_PACK_BYTES;
  const crowd = isLarge ? CROWD_OF_LARGE : CROWD;
  return [
    {
      name: `clone, ${source.label}`,
      repeat: 1,
      rounds: isLarge ? 3 : 5,
      work: async (run) => {
        await listRefs(remote(run));
        await fetchPack(remote(run), tips, []);
      },
    },
    ...[1, 10, 100].map((behind): Scenario => {
      const have = git(path, "rev-parse", `HEAD~${behind}`);
      return {
        name: `fetch ${behind} ${behind === 1 ? "commit" : "commits"}, ${source.label}`,
        repeat: 20,
        rounds: 5,
        work: (run) => times(20, () => fetchPack(remote(run), [head], [have])),
      };
    }),
    {
      name: `${crowd} concurrent clones, ${source.label}`,
      repeat: crowd,
      rounds: crowd === CROWD ? 3 : 1,
      work: async (run) => {
        await Promise.all(Array.from({ length: crowd }, () => fetchPack(remote(run), [head], [])));
      },
    },
  ];
}

export function refScenarios(repositories: string, base: string): readonly Scenario[] {
  return [1000, 50_000].map((count): Scenario => {
    const repository = `refs-${count}.git`;
    const path = join(repositories, repository);
    makeBehind(join(repositories, base), path, 0);
    addRefs(path, count);
    const repeat = count > 10_000 ? 5 : 50;
    return {
      name: `ls-refs, ${count.toLocaleString("en")} refs`,
      repeat,
      rounds: 5,
      work: (run) => times(repeat, () => discoverAndListRefs({ port: run.port, repository })),
    };
  });
}

export function pushScenarios(
  repositories: string,
  source: ScenarioSource,
  scratch: string,
): readonly Scenario[] {
  const path = join(repositories, source.repository);
  const head = git(path, "rev-parse", "HEAD");
  const old = git(path, "rev-parse", "HEAD~10");
  const small = makePack(path, head, old);
  const large = makePack(path, head, undefined);
  const behind = join(scratch, `behind-${source.repository}`);
  const empty = join(scratch, "empty.git");
  makeBehind(path, behind, 10);
  makeBehind(path, empty, Number.POSITIVE_INFINITY);
  const copies = (from: string, count: number): Pick<Scenario, "prepare" | "cleanUp"> => ({
    prepare: (run) => {
      for (let i = 0; i < count; i++) copyRepository(from, join(repositories, `${run.id}-${i}.git`));
    },
    cleanUp: (run) => {
      for (let i = 0; i < count; i++) rmSync(join(repositories, `${run.id}-${i}.git`), { recursive: true });
    },
  });
  const nothing = "0".repeat(head.length);
  const one = (run: RunContext, i: number): Promise<void> =>
    push(
      { port: run.port, repository: `${run.id}-${i}.git` },
      { name: "refs/heads/main", oldOid: old, newOid: head, pack: small },
    );
  return [
    {
      name: `push of 10 commits, ${source.label}`,
      repeat: 10,
      rounds: 5,
      ...copies(behind, 10),
      work: (run) => times(10, (i) => one(run, i)),
    },
    {
      name: `50 concurrent pushes to 50 repositories, ${source.label}`,
      repeat: 50,
      rounds: 3,
      ...copies(behind, 50),
      work: async (run) => {
        await Promise.all(Array.from({ length: 50 }, (_, i) => one(run, i)));
      },
    },
    {
      name: `push of everything, ${source.label}`,
      repeat: 1,
      rounds: large.length > LARGE_PACK_BYTES ? 3 : 7,
      ...copies(empty, 1),
      work: (run) =>
        push(
          { port: run.port, repository: `${run.id}-0.git` },
          { name: "refs/heads/main", oldOid: nothing, newOid: head, pack: large },
        ),
    },
  ];
}
