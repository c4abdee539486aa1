/**
 * `npm run bench:object-store -- [--commits N]… [--bucket directory|ceph] [--repositories N]
 * [--versions N]`: the object store beside plain
 * repositories on disk and beside one key an object, by the same client in one run. Each row: wall time, CPU of the server
 * (this process), requests to the bucket and their bytes. docs/object-store.md has the figures.
 *
 * With `--bucket ceph` it starts Ceph's RADOS gateway and PostgreSQL, as the tests do.
 */
import { spawn } from "node:child_process";
import { createCipheriv } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { RepositoryStore } from "../src/storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import type { Bucket } from "../src/storage/object-store/bucket/bucket.js";
import {
  type CountedBucket,
  createCountedBucket,
} from "../src/storage/object-store/bucket/counted-bucket.js";
import { openDirectoryBucket } from "../src/storage/object-store/bucket/directory-bucket.js";
import { openS3Bucket } from "../src/storage/object-store/bucket/s3-bucket.js";
import { createMetadataStore } from "../src/storage/object-store/metadata/create-metadata-store.js";
import { openObjectStore } from "../src/storage/object-store/object-store.js";
import { startCeph, type TestCeph } from "../test/support/ceph.js";
import { startGitHttpBackend } from "../test/support/git-http-backend.js";
import { startPostgres, type TestPostgres } from "../test/support/postgres.js";
import { git, makeGeneratedRepository } from "./data.js";
import { clonePack, type PlainObject, putObjects } from "./object-per-key.js";

const { values } = parseArgs({
  options: {
    commits: { type: "string", multiple: true, default: ["200", "16000"] },
    bucket: { type: "string", default: "directory" },
    repositories: { type: "string", default: "1000" },
    versions: { type: "string", default: "5" },
  },
});
const USES_CEPH = values.bucket === "ceph";
const work = mkdtempSync(join(tmpdir(), "gitwharf-bench-object-store-"));

interface Served {
  readonly name: string;
  readonly url: string;
  readonly store: RepositoryStore;
  readonly bucket: CountedBucket | undefined;
  readonly close: () => Promise<void>;
}

let ceph: TestCeph | undefined;
let postgres: TestPostgres | undefined;
const closing: (() => Promise<unknown>)[] = [];

async function openBucket(prefix: string): Promise<Bucket> {
  if (ceph === undefined) return openDirectoryBucket({ directory: join(work, prefix) });
  const { endpoint, accessKeyId, secretAccessKey } = ceph;
  return openS3Bucket({ bucket: "bench", prefix, endpoint, credentials: { accessKeyId, secretAccessKey } });
}

async function makeBucket({ endpoint, accessKeyId, secretAccessKey }: TestCeph): Promise<void> {
  const { CreateBucketCommand, S3Client } = await import("@aws-sdk/client-s3");
  const credentials = { accessKeyId, secretAccessKey };
  const client = new S3Client({ endpoint, credentials, region: "us-east-1", forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: "bench" }));
  client.destroy();
}

async function serve(name: string, store: RepositoryStore, bucket?: CountedBucket): Promise<Served> {
  const server: GitServer = createGitServer({
    repositories: store,
    autoCreate: "push",
    log: () => undefined,
  });
  const { http } = await server.listen({ http: "127.0.0.1:0" });
  const close = async (): Promise<void> => {
    await server.close({ graceMs: 0 });
    await store.close();
  };
  return { name, url: http.url, store, bucket, close };
}

async function serveObjectStore(database: Database): Promise<Served> {
  const bucket = createCountedBucket(await openBucket("packs"));
  const store = await openObjectStore({
    bucket,
    metadata: createMetadataStore(database),
    localDirectory: join(work, "local"),
  });
  return serve("object store", store, bucket);
}

async function run(directory: string, ...args: readonly string[]): Promise<void> {
  const child = spawn("git", ["-C", directory, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  let text = "";
  child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const [status] = (await once(child, "close")) as [number | null];
  if (status !== 0) throw new Error(`git ${args.join(" ")}: ${text}`);
}

interface Row {
  readonly work: string;
  readonly who: string;
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly requests: number | undefined;
  readonly bytes: number | undefined;
}
const rows: Row[] = [];

async function measure(
  about: { readonly work: string; readonly who: string; readonly bucket: CountedBucket | undefined },
  act: () => Promise<unknown>,
): Promise<void> {
  about.bucket?.reset();
  const cpu = process.cpuUsage();
  const begun = performance.now();
  await act();
  const wallMs = performance.now() - begun;
  const { user, system } = process.cpuUsage(cpu);
  const counts = about.bucket === undefined ? undefined : Object.values(about.bucket.counts());
  const row: Row = {
    work: about.work,
    who: about.who,
    wallMs,
    cpuMs: (user + system) / 1000,
    requests: counts?.reduce((sum, { calls }) => sum + calls, 0),
    bytes: counts?.reduce((sum, { bytesRead, bytesWritten }) => sum + bytesRead + bytesWritten, 0),
  };
  rows.push(row);
  console.log(
    [
      row.work.padEnd(34),
      row.who.padEnd(16),
      `${row.wallMs.toFixed(1)} ms`.padStart(12),
      `CPU ${row.cpuMs.toFixed(1)} ms`.padStart(16),
      row.requests === undefined ? "" : `${row.requests} requests`.padStart(18),
      row.bytes === undefined ? "" : `${(row.bytes / 1e6).toFixed(2)} MB`.padStart(12),
    ].join("  "),
  );
}

async function* objectsOf(path: string, oids: readonly string[]): AsyncGenerator<PlainObject> {
  const store = createDiskRepositoryStore({ directory: join(path, "..") });
  const repository = await store.open(path.slice(path.lastIndexOf("/") + 1));
  if (repository === undefined) throw new Error(`${path} is no repository`);
  const snapshot = await repository.snapshot();
  for (const oid of oids) {
    const object = await snapshot.objects.read(oid);
    if (object !== undefined) yield { oid, ...object };
  }
  snapshot.release();
  await repository.close();
  await store.close();
}

async function compare(commits: number, openServers: () => Promise<readonly Served[]>): Promise<void> {
  const source = join(work, `generated-${commits}.git`);
  makeGeneratedRepository(source, commits);
  const oids = git(source, "rev-list", "--objects", "--all")
    .split("\n")
    .map((line) => line.slice(0, 40));
  const label = `${oids.length} objects`;
  const tip = git(source, "rev-parse", "main");
  const before = git(source, "rev-parse", "main~1");
  for (const served of await openServers()) {
    const { name: who, bucket } = served;
    const url = `${served.url}/app-${commits}.git`;
    await measure({ work: `first push, ${label}`, who, bucket }, () =>
      run(source, "push", "-q", url, `${before}:refs/heads/main`),
    );
    await measure({ work: `push of one commit, ${label}`, who, bucket }, () =>
      run(source, "push", "-q", url, "main"),
    );
    await served.close();
  }
  // Others, which know nothing yet.
  for (const served of await openServers()) {
    const { name: who, bucket } = served;
    const url = `${served.url}/app-${commits}.git`;
    for (const state of ["cold", "warm"]) {
      const target = join(work, `clone-${who.replaceAll(" ", "-")}-${commits}-${state}`);
      await measure({ work: `clone, ${state}, ${label}`, who, bucket }, () =>
        run(work, "clone", "-q", "--bare", url, target),
      );
    }
    const behind = join(work, `behind-${who.replaceAll(" ", "-")}-${commits}`);
    git(work, "init", "-q", "--bare", behind);
    git(behind, "fetch", "-q", source, `${before}:refs/heads/main`);
    await measure({ work: `fetch of one commit, ${label}`, who, bucket }, () =>
      run(behind, "fetch", "-q", url, "main"),
    );
    await served.close();
  }
  const bucket = createCountedBucket(await openBucket(`one-key-an-object-${commits}`));
  const who = "one key an object";
  await measure({ work: `first push, ${label}`, who, bucket }, () =>
    putObjects(bucket, objectsOf(source, oids)),
  );
  await measure({ work: `clone, ${label}`, who, bucket }, () => clonePack(bucket, tip));
  await bucket.close();
}

const LARGE_BYTES = 50 * 1024 * 1024;

/**
 * Versions of a binary that nothing compresses, each with a few bytes changed and some more in its middle: pushed as git does it (a delta), and
 * whole, as it does with what is larger than `core.bigFileThreshold`.
 */
async function versions(database: Database, count: number): Promise<void> {
  const root = join(work, "http-backend");
  await mkdir(root);
  for (const [how, settings] of [
    ["as deltas", []],
    ["whole", ["-c", "core.bigFileThreshold=1m"]],
  ] as const) {
    const source = join(work, `large-${how.replaceAll(" ", "-")}`);
    git(work, "init", "-q", "-b", "main", source);
    const name = `${how.replaceAll(" ", "-")}.git`;
    git(work, "init", "-q", "--bare", "-b", "main", join(root, name));
    git(join(root, name), "config", "http.receivepack", "true");
    const backend = await startGitHttpBackend(root);
    const served = await serveObjectStore(database);
    const others = [
      { who: "git http-backend", url: backend.urlOf(name), bucket: undefined },
      { who: served.name, url: `${served.url}/${name}`, bucket: served.bucket },
    ];
    const key = Buffer.alloc(16, how.length);
    let large = createCipheriv("aes-128-ctr", key, key).update(Buffer.alloc(LARGE_BYTES));
    let written = 0;
    try {
      for (let i = 1; i <= count; i++) {
        writeFileSync(join(source, "large"), large);
        git(source, "add", ".");
        git(
          source,
          "-c",
          "user.name=bench",
          "-c",
          "user.email=bench@localhost",
          "commit",
          "-q",
          "-m",
          `${i}`,
        );
        for (const { who, url, bucket } of others)
          await measure({ work: `push of version ${i}, ${how}`, who, bucket }, () =>
            run(source, ...settings, "push", "-q", url, "main"),
          );
        written += Object.values(served.bucket?.counts() ?? {}).reduce(
          (sum, { bytesWritten }) => sum + bytesWritten,
          0,
        );
        const at = Math.floor((LARGE_BYTES * i) / (count + 1));
        large = Buffer.concat([large.subarray(0, at), Buffer.from(`version ${i}`), large.subarray(at + 3)]);
      }
      for (const { who, url, bucket } of others)
        await measure({ work: `clone of ${count} versions, ${how}`, who, bucket }, () =>
          run(work, "clone", "-q", "--bare", url, `${source}-${who.replaceAll(" ", "-")}`),
        );
    } finally {
      await served.close();
      await backend.close();
    }
    console.log(
      `${count} versions of ${LARGE_BYTES / 1e6} MB, ${how}: ${(written / 1e6).toFixed(2)} MB in the bucket, ` +
        `${((count * LARGE_BYTES) / written).toFixed(2)} to 1`,
    );
  }
}

/** Medians in milliseconds, and bytes of the database each. */
async function many(database: Database, count: number): Promise<void> {
  const metadata = createMetadataStore(database);
  const store = await openObjectStore({
    bucket: await openBucket("many"),
    metadata,
    localDirectory: join(work, "local"),
  });
  const sizeOf = async (): Promise<number> => {
    if (USES_CEPH) return Number.NaN;
    await database.sql`pragma wal_checkpoint(truncate)`.execute(database.db);
    return statSync(join(work, "state.sqlite")).size;
  };
  const timesOf = async (act: (i: number) => Promise<unknown>): Promise<string> => {
    const begun = await sizeOf();
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const start = performance.now();
      await act(i);
      times.push(performance.now() - start);
    }
    times.sort((a, b) => a - b);
    const at = (share: number): string => (times[Math.floor(share * (count - 1))] ?? 0).toFixed(2);
    const each = ((await sizeOf()) - begun) / count;
    return `median ${at(0.5)} ms, p95 ${at(0.95)} ms${Number.isNaN(each) ? "" : `, ${each.toFixed(0)} bytes each`}`;
  };
  console.log(
    `create, ${count} repositories: ${await timesOf(async (i) => (await store.create(`many/r${i}`)).close())}`,
  );
  const parent = await metadata.find("many/r0");
  if (parent === undefined) throw new Error("it is not there");
  console.log(`fork, ${count} forks: ${await timesOf((i) => metadata.fork(parent.id, `forks/r${i}`))}`);
  await store.close();
}

try {
  await mkdir(join(work, "disk"), { recursive: true });
  writeFileSync(join(work, "README"), "bench\n");
  if (USES_CEPH) {
    ceph = await startCeph();
    closing.unshift(async () => ceph?.stop());
    postgres = await startPostgres();
    closing.unshift(async () => postgres?.stop());
    await makeBucket(ceph);
  }
  const location =
    postgres === undefined ? `sqlite:${join(work, "state.sqlite")}` : await postgres.createDatabase();
  const database = await openDatabase(parseDatabaseLocation(location));
  closing.unshift(() => database.close());
  const openServers = async (): Promise<readonly Served[]> => [
    await serve("disk", createDiskRepositoryStore({ directory: join(work, "disk") })),
    await serveObjectStore(database),
  ];
  for (const commits of values.commits) await compare(Number(commits), openServers);
  await versions(database, Number(values.versions));
  await many(database, Number(values.repositories));
} finally {
  for (const close of closing) await close();
  rmSync(work, { recursive: true, force: true });
}
