/** What a large binary costs that is pushed again and again with small changes, in time and in bytes kept. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { openDatabase, parseDatabaseLocation } from "../../src/database/open-database.js";
import { fetchPack, push } from "../raw-client.js";
import { bytes, count, type Figures, medianOf, milliseconds, ratio, type Table } from "./figures.js";
import type { Ground } from "./ground.js";
import { LARGE_BYTES, type LargeVersion, makeLargeBinary } from "./large-binary.js";
import { bytesIn } from "./measured-bucket.js";
import { type Served, startGit, startServed } from "./served.js";

interface Pushed {
  readonly ours: Figures;
  readonly git: Figures;
}

export interface VersionsOptions {
  readonly how: "as deltas" | "whole";
  readonly versions: number;
}

/** One repository, version upon version. */
export async function pushVersions(ground: Ground, options: VersionsOptions): Promise<readonly Table[]> {
  return withBoth(ground, async ({ ours, git, kept }) => {
    const binary = makeLargeBinary(ground.work, options.how);
    for (const served of [ours, git]) await served.create("large");
    const pushed: Pushed[] = [];
    let last: LargeVersion | undefined;
    for (let i = 0; i < options.versions; i++) {
      last = binary.next();
      pushed.push(await pushToBoth({ ours, git }, last, "large", i));
    }
    const now = await kept("large");
    const tip = last?.tip ?? "";
    await ours.restart();
    const clone = async (served: Served): Promise<Figures> =>
      served.measure(() => fetchPack(served.remote("large"), [tip], []));
    const cloned = { ours: await clone(ours), git: await clone(git) };
    return [
      workTable([
        ["push of the first version", pushed.slice(0, 1)],
        [`push of a later version (median of ${pushed.length - 1})`, pushed.slice(1)],
        [`clone of all, the object store cold`, [cloned]],
      ]),
      keptTable(options.versions, now, `${options.versions} versions`),
    ];
  });
}

/** As many forks of one repository, in each of which the binary was changed in another way. */
export async function pushToForks(
  ground: Ground,
  { forks }: { readonly forks: number },
): Promise<readonly Table[]> {
  return withBoth(ground, async ({ ours, git, kept }) => {
    const binary = makeLargeBinary(ground.work, "whole");
    for (const served of [ours, git]) await served.create("large");
    const first = await pushToBoth({ ours, git }, binary.next(), "large", 0);
    const before = await kept("large");
    const forked: Pushed[] = [];
    const names = Array.from({ length: forks }, (_, i) => `fork-${i}`);
    for (const name of names) {
      const [mine, theirs] = [await ours.fork("large", name), await git.fork("large", name)];
      if (mine !== undefined && theirs !== undefined) forked.push({ ours: mine, git: theirs });
    }
    const untouched = await kept("large", ...names);
    const pushed: Pushed[] = [];
    for (const [i, name] of names.entries())
      pushed.push(await pushToBoth({ ours, git }, binary.next("first"), name, i));
    const after = await kept("large", ...names);
    const each = (a: Kept, b: Kept): readonly string[] => [
      bytes((b.bucket - a.bucket) / forks),
      bytes((b.database - a.database) / forks),
      bytes((b.git - a.git) / forks),
    ];
    return [
      workTable([
        ["push of the first version", [first]],
        [`fork (median of ${forks})`, forked],
        [`push of its own version to a fork (median of ${forks})`, pushed],
      ]),
      keptTable(forks + 1, after, `${forks} forks and their parent, each with a version of its own`),
      {
        remarks:
          "Bytes that each fork adds. Git's clones on one disk have the packs as hard links, which share nothing from then on. A database grows by pages; `many` has the bytes of one fork.",
        head: ["", "bucket", "database", "git's disk"],
        rows: [
          ["a fork", ...each(before, untouched)],
          ["its own version", ...each(untouched, after)],
        ],
      },
    ];
  });
}

interface Kept {
  readonly bucket: number;
  readonly database: number;
  /** On disk, of all repositories of that name. */
  readonly git: number;
}

interface Both {
  readonly ours: Served;
  readonly git: Served;
  kept(...names: readonly string[]): Promise<Kept>;
}

async function withBoth(
  ground: Ground,
  body: (both: Both) => Promise<readonly Table[]>,
): Promise<readonly Table[]> {
  const { work } = ground;
  const place = ground.place("versions");
  const location = await ground.createDatabase();
  const storage = {
    kind: "object store",
    place,
    database: location,
    localDirectory: join(work, "local"),
  } as const;
  const ours = await startServed(storage);
  let git: Served | undefined;
  try {
    const started = (git = await startGit(work));
    const empty = await sizeOf();
    const kept = async (...names: readonly string[]): Promise<Kept> => ({
      bucket: await bytesIn(place),
      database: (await sizeOf()) - empty,
      git: diskBytes(names.map((name) => join(started.directory ?? "", `${name}.git`))),
    });
    return await body({ ours, git, kept });
  } finally {
    await ours.close();
    await git?.close();
  }

  async function sizeOf(): Promise<number> {
    const database = await openDatabase(parseDatabaseLocation(location));
    try {
      return await ground.sizeOf(database, location);
    } finally {
      await database.close();
    }
  }
}

/** Hard links count once. */
function diskBytes(paths: readonly string[]): number {
  const total = execFileSync("du", ["-s", "-c", "--block-size=1", ...paths], { encoding: "utf8" });
  return Number(total.trim().split("\n").at(-1)?.split("\t")[0]);
}

async function pushToBoth(
  both: { readonly ours: Served; readonly git: Served },
  { before, tip, pack }: LargeVersion,
  name: string,
  round: number,
): Promise<Pushed> {
  const pushTo = (served: Served): Promise<Figures> =>
    served.measure(() =>
      push(served.remote(name), {
        name: "refs/heads/main",
        oldOid: before ?? "0".repeat(tip.length),
        newOid: tip,
        pack,
      }),
    );
  let git = round % 2 === 0 ? undefined : await pushTo(both.git);
  const ours = await pushTo(both.ours);
  git ??= await pushTo(both.git);
  console.log(
    `push ${round} of ${bytes(pack.length)}: ${milliseconds(ours.wallMs)}, git ${milliseconds(git.wallMs)}, ` +
      `${bytes(ours.bucket?.writtenBytes)} to the bucket`,
  );
  return { ours, git };
}

function workTable(works: readonly (readonly [string, readonly Pushed[]])[]): Table {
  return {
    head: [
      "work",
      "object store",
      "git",
      "ratio",
      "CPU: object store",
      "git",
      "ratio",
      "bucket: requests",
      "read",
      "written",
    ],
    rows: works.map(([work, all]) => {
      const ours = medianOf(all.map((each) => each.ours));
      const git = medianOf(all.map((each) => each.git));
      return [
        work,
        milliseconds(ours.wallMs),
        milliseconds(git.wallMs),
        ratio(ours.wallMs, git.wallMs),
        milliseconds(ours.cpuMs),
        milliseconds(git.cpuMs),
        ratio(ours.cpuMs, git.cpuMs),
        count(ours.bucket?.requests),
        bytes(ours.bucket?.readBytes),
        bytes(ours.bucket?.writtenBytes),
      ];
    }),
  };
}

function keptTable(versions: number, kept: Kept, what: string): Table {
  const given = versions * LARGE_BYTES;
  const row = (where: string, sizeBytes: number): readonly string[] => [
    where,
    bytes(given),
    bytes(sizeBytes),
    `**${(given / sizeBytes).toFixed(2)} to 1**`,
  ];
  return {
    remarks: `What is kept of ${what}, just after the last push. One key an object would keep each version whole.`,
    head: ["", "content", "kept", "deduplicated"],
    rows: [
      row("object store: bucket and database", kept.bucket + kept.database),
      row("git http-backend: disk", kept.git),
      row("one key an object", given),
    ],
  };
}
