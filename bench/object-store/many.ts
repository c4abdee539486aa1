/** How long it takes to make a repository, or a fork, when there are many, and the bytes of one. Without a server and without git. */
import { closeSync, fdatasyncSync, lstatSync, openSync, readdirSync, writeSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { openDatabase, parseDatabaseLocation } from "../../src/database/open-database.js";
import { createDiskRepositoryStore } from "../../src/storage/disk/disk-repository-store.js";
import { createMetadataStore } from "../../src/storage/object-store/metadata/create-metadata-store.js";
import { openObjectStore } from "../../src/storage/object-store/object-store.js";
import { bytes, count, milliseconds, type Table } from "./figures.js";
import type { Ground } from "./ground.js";
import { openMeasuredBucket } from "./measured-bucket.js";

const TARGET_MS = { create: 5, fork: 10 } as const;
/** Enough to know what one is. */
const ON_DISK_MAX = 1000;

/** What a disk that others use takes for one write is known from a bare one, now and then. */
const BARE_EVERY = 10;
const BARE = Buffer.alloc(8192);

interface Series {
  readonly times: readonly number[];
  readonly bareTimes: readonly number[];
  readonly cpuMsEach: number;
  readonly bytesEach: number;
}

export async function many(ground: Ground, repositories: number): Promise<readonly Table[]> {
  const location = await ground.createDatabase();
  const database = await openDatabase(parseDatabaseLocation(location));
  const measured = await openMeasuredBucket(ground.place("many"));
  const store = await openObjectStore({
    bucket: measured.bucket,
    metadata: createMetadataStore(database),
    localDirectory: join(ground.work, "local"),
    janitor: false,
  });
  const bare = openSync(join(ground.work, "bare"), "w");
  const disk = join(ground.work, "disk");
  await mkdir(disk);
  const plain = createDiskRepositoryStore({ directory: disk });
  try {
    const sizeOf = (): Promise<number> => ground.sizeOf(database, location);
    const onDisk = Math.min(repositories, ON_DISK_MAX);
    measured.begin();
    const created = await series({ length: repositories, bare, sizeOf }, async (i) => {
      await (await store.create(`made/r${i}`)).close();
    });
    const forked = await series({ length: repositories, bare, sizeOf }, async (i) => {
      await (await store.fork("made/r0", `forked/r${i}`)).close();
    });
    const { requests } = measured.figures();
    const plainly = await series(
      { length: onDisk, bare, sizeOf: async () => bytesOnDisk(disk) },
      async (i) => {
        await (await plain.create(`made/r${i}`)).close();
      },
    );
    const n = count(repositories);
    return [
      {
        remarks: `Each by itself, one after the other, durable when it is answered; bytes are those that the database grew by. A bare write is 8 KiB appended to a file and synced, beside every tenth (median): what the disk itself takes. Requests to the bucket: ${count(requests)}.`,
        head: [
          "work",
          "median",
          "p95",
          "p99",
          "worst",
          "best",
          "median of the first tenth",
          "of the last",
          "bare write",
          "CPU each",
          "bytes each",
          "target",
        ],
        rows: [
          rowOf(`create ${n} repositories`, created, TARGET_MS.create),
          rowOf(`fork one of them ${n} times`, forked, TARGET_MS.fork),
          rowOf(`beside it: create ${count(onDisk)} on disk`, plainly),
        ],
      },
    ];
  } finally {
    closeSync(bare);
    await plain.close();
    await store.close();
    await database.close();
  }
}

async function series(
  about: {
    readonly length: number;
    /** A file of nobody else's. */
    readonly bare: number;
    readonly sizeOf: () => Promise<number>;
  },
  act: (i: number) => Promise<void>,
): Promise<Series> {
  const { length, bare, sizeOf } = about;
  const before = await sizeOf();
  const times: number[] = [];
  const bareTimes: number[] = [];
  const cpu = process.cpuUsage();
  for (let i = 0; i < length; i++) {
    const begun = performance.now();
    await act(i);
    times.push(performance.now() - begun);
    if (i % BARE_EVERY !== 0) continue;
    const bareBegun = performance.now();
    writeSync(bare, BARE);
    fdatasyncSync(bare);
    bareTimes.push(performance.now() - bareBegun);
  }
  const { user, system } = process.cpuUsage(cpu);
  return {
    times,
    bareTimes,
    cpuMsEach: (user + system) / 1000 / length,
    bytesEach: ((await sizeOf()) - before) / length,
  };
}

function rowOf(work: string, series: Series, targetMs?: number): readonly string[] {
  const { times, bareTimes, cpuMsEach, bytesEach } = series;
  const tenth = Math.ceil(times.length / 10);
  const median = share(times, 0.5);
  const cells = [
    work,
    milliseconds(median),
    milliseconds(share(times, 0.95)),
    milliseconds(share(times, 0.99)),
    milliseconds(share(times, 1)),
    milliseconds(share(times, 0)),
    milliseconds(share(times.slice(0, tenth), 0.5)),
    milliseconds(share(times.slice(-tenth), 0.5)),
    milliseconds(share(bareTimes, 0.5)),
    milliseconds(cpuMsEach),
    bytes(bytesEach),
    targetMs === undefined ? "" : `≤ ${targetMs} ms: ${median <= targetMs ? "met" : "**missed**"}`,
  ];
  console.log(cells.join("  "));
  return cells;
}

function share(times: readonly number[], part: number): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.round(part * (sorted.length - 1))] ?? Number.NaN;
}

/** Blocks of all files and directories. */
function bytesOnDisk(directory: string): number {
  return readdirSync(directory, { withFileTypes: true, recursive: true }).reduce(
    (sum, { parentPath, name }) => sum + lstatSync(join(parentPath, name)).blocks * 512,
    0,
  );
}
