/**
 * An object store whose parts break under the real git: PostgreSQL is restarted in the middle of a push or loses the
 * connection at the commit, the bucket answers with errors, late, halfway or not at all, the local disk is full. Who pushes
 * or fetches gets there, or reads a sentence; what was acknowledged is there, and the next push works.
 */
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { createGitServer } from "../src/server/git-server.js";
import type { Bucket } from "../src/storage/object-store/bucket/bucket.js";
import { createMemoryBucket } from "../src/storage/object-store/bucket/memory-bucket.js";
import { openS3Bucket } from "../src/storage/object-store/bucket/s3-bucket.js";
import { createMetadataStore } from "../src/storage/object-store/metadata/create-metadata-store.js";
import type { MetadataStore } from "../src/storage/object-store/metadata/metadata-store.js";
import { openObjectStore } from "../src/storage/object-store/object-store.js";
import { INSTALL_TIMEOUT_MS, installBubblewrap, SKIP_SANDBOX } from "./support/bubblewrap.js";
import { cutPostgres, type CutPostgres } from "./support/cut-postgres.js";
import { createFaultyBucket } from "./support/faulty-bucket.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { checkKeys } from "./support/listed-keys.js";
import { SKIP_POSTGRES, startPostgres, type TestPostgres } from "./support/postgres.js";
import { type S3StandIn, type StandInFault, startS3StandIn } from "./support/s3-stand-in.js";
import { SERVE_COMMAND, type ServeProcess, startServeWith } from "./support/serve-process.js";

/** What the server says when it is at fault. */
const SENTENCE = /the server could not do this \(storage\/io\); ask its operator/;

let client: GitClient;
let tree: GitClient;
/** Opened last, closed first. */
let closing: (() => Promise<unknown>)[];
let commits = 0;
beforeEach(async () => {
  client = createWorkspace();
  await client.run("init", "-q", "tree");
  tree = client.in("tree");
  closing = [];
});
afterEach(async () => {
  for (const close of closing.toReversed()) await close();
  removeDirectory(client);
});

interface Opened {
  readonly url: string;
  readonly metadata: MetadataStore;
}

/** For who waits for the end of its patience, not for the database: half a minute is no other than this. */
const IMPATIENT_MS = 1000;

/**
 * A server with an empty cache.
 * @param giveUpMs how long it waits for its database
 */
async function startServer(bucket: Bucket, database: string, giveUpMs?: number): Promise<Opened> {
  const opened = await openDatabase(
    parseDatabaseLocation(database),
    giveUpMs === undefined ? {} : { giveUpMs },
  );
  const metadata = createMetadataStore(opened);
  const localDirectory = join(client.directory, "local");
  const store = await openObjectStore({ bucket, metadata, localDirectory, janitor: false });
  const server = createGitServer({ repositories: store, autoCreate: "push", log: () => undefined });
  closing.push(async () => {
    await server.close({ graceMs: 0 });
    await store.close();
    await opened.close();
  });
  const { http } = await server.listen({ http: "127.0.0.1:0" });
  return { url: `${http.url}/app.git`, metadata };
}

async function commitFile(content: string | Buffer = `${++commits}\n`): Promise<string> {
  await writeFile(join(tree.directory, "file"), content);
  await tree.run("add", ".");
  await tree.run("commit", "-q", "-m", `${commits}`);
  return tree.run("rev-parse", "HEAD");
}

/** What main is. */
async function tipAt(url: string): Promise<string> {
  return (await client.run("ls-remote", url, "refs/heads/main")).slice(0, 40);
}

/** A clone has it all, and the next push works. */
async function expectWell(url: string): Promise<void> {
  const copy = `copy-${++commits}.git`;
  await client.run("clone", "-q", "--bare", url, copy);
  await client.in(copy).run("fsck", "--strict");
  const next = await commitFile();
  await tree.run("push", "-q", url, "HEAD:refs/heads/main");
  expect(await tipAt(url)).toBe(next);
}

const push = (url: string) => tree.try("push", "-q", url, "HEAD:refs/heads/main");

describe.skipIf(SKIP_POSTGRES)("PostgreSQL", () => {
  let postgres: TestPostgres;
  let database: string;
  let memory: Bucket;
  /** Runs while the next object is put, once. */
  let whilePut: (() => Promise<void>) | undefined;
  let bucket: Bucket;
  beforeAll(async () => {
    postgres = await startPostgres();
  }, INSTALL_TIMEOUT_MS);
  afterAll(() => postgres.stop());
  beforeEach(async () => {
    database = await postgres.createDatabase();
    memory = createMemoryBucket();
    whilePut = undefined;
    bucket = createFaultyBucket(memory, ({ operation }) => {
      const work = operation === "put" ? whilePut : undefined;
      if (work === undefined) return undefined;
      whilePut = undefined;
      return { slow: work() };
    });
  });

  it("is restarted in the middle of a push, which gets there", async () => {
    const { url, metadata } = await startServer(bucket, database);
    await commitFile();
    await tree.run("push", "-q", url, "HEAD:refs/heads/main");
    const pushed = await commitFile();
    whilePut = async () => {
      await postgres.halt();
      await postgres.resume();
    };
    expect(await push(url)).toMatchObject({ status: 0 });
    expect(await tipAt(url)).toBe(pushed);
    await expectWell(url);
    expect(await checkKeys(memory, metadata)).toMatchObject({ unlisted: [], missing: [], uncommitted: [] });
  });

  it("goes in the middle of a push, which says so, and comes back", async () => {
    const { url, metadata } = await startServer(bucket, database, IMPATIENT_MS);
    const before = await commitFile();
    await tree.run("push", "-q", url, "HEAD:refs/heads/main");
    await commitFile();
    whilePut = () => postgres.halt();
    const { status, stderr } = await push(url);
    await postgres.resume();
    expect(status).not.toBe(0);
    expect(stderr).toMatch(SENTENCE);
    expect(await tipAt(url)).toBe(before);
    await expectWell(url);
    expect(await checkKeys(memory, metadata)).toMatchObject({ unlisted: [], missing: [] });
  });

  describe("through a connection that breaks at the commit", () => {
    let way: CutPostgres;
    beforeEach(async () => {
      way = await cutPostgres(database);
      closing.push(() => way.close());
    });

    it.each(["before", "after"] as const)("%s it is carried out: the push is made once", async (how) => {
      const { url, metadata } = await startServer(bucket, way.url);
      await commitFile();
      await tree.run("push", "-q", url, "HEAD:refs/heads/main");
      const pushed = await commitFile();
      const cut = way.cut("commit\0", how);
      expect(await push(url)).toMatchObject({ status: 0 });
      await cut;
      expect(await tipAt(url)).toBe(pushed);
      const [record] = await metadata.list({ limit: 1 });
      expect(record?.generation).toBe(2);
      await expectWell(url);
      expect(await checkKeys(memory, metadata)).toMatchObject({ unlisted: [], missing: [], uncommitted: [] });
    });

    it("and stays broken: the push says that it failed, and the next one finds what it did", async () => {
      const { url, metadata } = await startServer(bucket, way.url, IMPATIENT_MS);
      await commitFile();
      await tree.run("push", "-q", url, "HEAD:refs/heads/main");
      const pushed = await commitFile();
      const cut = way.cut("commit\0", "after").then(() => way.refuse(true));
      const { status, stderr } = await push(url);
      await cut;
      way.refuse(false);
      expect(status).not.toBe(0);
      expect(stderr).toMatch(SENTENCE);
      expect(await tipAt(url)).toBe(pushed);
      expect((await tree.try("push", url, "HEAD:refs/heads/main")).stderr).toContain("Everything up-to-date");
      await expectWell(url);
      expect(await checkKeys(memory, metadata)).toMatchObject({ unlisted: [], missing: [] });
    });
  });
});

describe("a bucket", () => {
  let standIn: S3StandIn;
  let bucket: Bucket;
  let database: string;
  beforeEach(async () => {
    standIn = await startS3StandIn();
    closing.push(() => standIn.close());
    bucket = await openS3Bucket(standInOptions(standIn));
    database = `sqlite:${join(client.directory, "state", "db.sqlite")}`;
  });

  /** At the first request of this operation. */
  const once =
    (operation: string, fault: () => StandInFault): S3StandIn["decide"] =>
    (request) =>
      request.operation === operation && request.number === 1 ? fault() : undefined;
  const always =
    (operation: string, fault: StandInFault): S3StandIn["decide"] =>
    (request) =>
      request.operation === operation ? fault : undefined;

  const PASSING: readonly (readonly [string, () => StandInFault])[] = [
    ["says that it has failed", () => ({ status: 500, code: "InternalError" })],
    ["wants us to slow down", () => ({ status: 503, code: "SlowDown" })],
    ["breaks the connection before it has done anything", () => "reset"],
    ["breaks the connection when it is done", () => "lost"],
    ["says nothing", () => "silent"],
    ["is so late that it is asked again", () => ({ late: delay(2 * PATIENCE_MS) })],
  ];

  it.each(PASSING)("that %s, once, takes a push", async (_, fault) => {
    const { url, metadata } = await startServer(bucket, database);
    standIn.decide = once("PutObject", fault);
    const pushed = await commitFile();
    expect(await push(url)).toMatchObject({ status: 0 });
    expect(standIn.operations().filter((operation) => operation === "PutObject").length).toBeGreaterThan(1);
    expect(await tipAt(url)).toBe(pushed);
    await expectWell(url);
    const keys = [...standIn.objects.keys()].length;
    const [network = ""] = await metadata.listNetworks({ limit: 1 });
    expect(await metadata.listPacks(network, { limit: 10 })).toHaveLength(keys);
  });

  it.each([
    ...PASSING,
    ["breaks off halfway", () => ({ bytes: 100 })],
    ["stalls halfway", () => ({ bytes: 100, stalls: true })],
  ] as readonly (readonly [string, () => StandInFault])[])(
    "that %s, once, serves a clone",
    async (_, fault) => {
      const first = await startServer(bucket, database);
      await commitFile();
      await tree.run("push", "-q", first.url, "HEAD:refs/heads/main");
      const other = await startServer(await openS3Bucket(standInOptions(standIn)), database);
      standIn.decide = once("GetObject", fault);
      await expectWell(other.url);
    },
  );

  it("that takes nothing for a while leaves nothing of a push, which says so", async () => {
    const { url } = await startServer(bucket, database);
    const before = await commitFile();
    await tree.run("push", "-q", url, "HEAD:refs/heads/main");
    const keys = [...standIn.objects.keys()];
    await commitFile();
    standIn.decide = always("PutObject", { status: 503, code: "SlowDown" });
    const { status, stderr } = await push(url);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(SENTENCE);
    expect([...standIn.objects.keys()]).toEqual(keys);
    standIn.decide = () => undefined;
    expect(await tipAt(url)).toBe(before);
    await expectWell(url);
  });

  it("that takes no first push makes no repository", async () => {
    const { url } = await startServer(bucket, database);
    await commitFile();
    standIn.decide = always("PutObject", { status: 500, code: "InternalError" });
    const { status, stderr } = await push(url);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(SENTENCE);
    standIn.decide = () => undefined;
    expect((await client.try("ls-remote", url)).stderr).toContain("not found");
    await tree.run("push", "-q", url, "HEAD:refs/heads/main");
    await expectWell(url);
  });

  it("that takes no parts leaves nothing of a large push, which says so", async () => {
    const { url } = await startServer(bucket, database);
    const before = await commitFile();
    await tree.run("push", "-q", url, "HEAD:refs/heads/main");
    const keys = [...standIn.objects.keys()];
    await commitFile(randomBytes(9_000_000));
    standIn.decide = always("UploadPart", { status: 500, code: "InternalError" });
    const { status, stderr } = await push(url);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(SENTENCE);
    expect([...standIn.objects.keys()]).toEqual(keys);
    expect(standIn.operations()).toContain("UploadPart");
    expect(standIn.uploads.size).toBe(0);
    standIn.decide = () => undefined;
    expect(await tipAt(url)).toBe(before);
    await tree.run("push", "-q", url, "HEAD:refs/heads/main");
    await expectWell(url);
  });

  it.each([
    ["that gives nothing", { status: 500, code: "InternalError" }],
    ["that always breaks off", { bytes: 10 }],
  ] as const)("%s for a while fails clones and pushes, which say so", async (_, fault) => {
    const first = await startServer(bucket, database);
    const before = await commitFile();
    await tree.run("push", "-q", first.url, "HEAD:refs/heads/main");
    const other = await startServer(await openS3Bucket(standInOptions(standIn)), database);
    standIn.decide = always("GetObject", fault);
    // Refs are not in the bucket.
    expect(await tipAt(other.url)).toBe(before);
    await commitFile();
    for (const failed of [
      await client.try("clone", "-q", "--bare", other.url, "no.git"),
      await push(other.url),
    ]) {
      expect(failed.status).not.toBe(0);
      expect(failed.stderr).toMatch(SENTENCE);
    }
    standIn.decide = () => undefined;
    expect(await tipAt(other.url)).toBe(before);
    await expectWell(other.url);
  });
});

const PATIENCE_MS = 400;

function standInOptions({ options }: S3StandIn): S3StandIn["options"] {
  const partBytes = 5 * 1024 * 1024;
  return { ...options, requestMs: PATIENCE_MS, idleMs: PATIENCE_MS, partBytes };
}

describe.skipIf(SKIP_SANDBOX)("a full local disk", () => {
  const DISK_BYTES = 12 * 1024 * 1024;
  let standIn: S3StandIn;
  let small: ServeProcess;
  beforeAll(() => installBubblewrap(), INSTALL_TIMEOUT_MS);
  beforeEach(async () => {
    standIn = await startS3StandIn();
    closing.push(() => standIn.close());
    const disk = join(client.directory, "disk");
    await mkdir(disk);
    small = await startServeWith(
      {
        command: [
          "bwrap",
          "--dev-bind",
          "/",
          "/",
          "--size",
          `${DISK_BYTES}`,
          "--tmpfs",
          disk,
          "--die-with-parent",
          ...SERVE_COMMAND,
        ],
        env: { ...environmentOf(standIn), TMPDIR: disk },
      },
      ...serveArguments(standIn),
    );
    closing.push(() => small.end("SIGKILL"));
  });
  function environmentOf({ options }: S3StandIn): NodeJS.ProcessEnv {
    return {
      AWS_ACCESS_KEY_ID: options.credentials?.accessKeyId,
      AWS_SECRET_ACCESS_KEY: options.credentials?.secretAccessKey,
    };
  }

  function serveArguments({ options }: S3StandIn): [string, ...string[]] {
    const bucket = ["--storage", "s3", "--bucket", `s3://${options.bucket}`];
    return [
      join(client.directory, "served"),
      ...bucket,
      "--s3-endpoint",
      options.endpoint ?? "",
      "--log",
      "none",
    ];
  }

  it("refuses what has no room on it, and gives it back", async () => {
    const url = `${small.url}/app.git`;
    const first = await commitFile();
    await tree.run("push", "-q", url, "HEAD:refs/heads/main");
    await commitFile(randomBytes(2 * DISK_BYTES));
    const { status, stderr } = await push(url);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(SENTENCE);
    expect(await tipAt(url)).toBe(first);
    await tree.run("reset", "-q", "--hard", first);
    await commitFile(randomBytes(DISK_BYTES / 2));
    await tree.run("push", "-q", url, "HEAD:refs/heads/main");
    await expectWell(url);
  });

  it("keeps copies as long as there is room, and says so when there is none for one", async () => {
    const urls = ["a", "b", "c", "d"].map((name) => `${small.url}/${name}.git`);
    // Each of them, and all of them together are more than the disk holds.
    for (const url of urls) {
      await tree.run("checkout", "-q", "--orphan", `branch-${++commits}`);
      await commitFile(randomBytes(3_500_000));
      await tree.run("push", "-q", url, "HEAD:refs/heads/main");
    }
    for (const [i, url] of urls.entries()) await client.run("clone", "-q", "--bare", url, `${i}.git`);
    const roomy = await startServeWith({ env: environmentOf(standIn) }, ...serveArguments(standIn));
    try {
      await commitFile(randomBytes(2 * DISK_BYTES));
      await tree.run("push", "-q", `${roomy.url}/large.git`, "HEAD:refs/heads/main");
    } finally {
      await roomy.end("SIGTERM");
    }
    const { status, stderr } = await client.try(
      "clone",
      "-q",
      "--bare",
      `${small.url}/large.git`,
      "large.git",
    );
    expect(status).not.toBe(0);
    expect(stderr).toMatch(SENTENCE);
    await client.run("clone", "-q", "--bare", urls[0] ?? "", "again.git");
    await client.in("again.git").run("fsck", "--strict");
  });
});
