/** A fetch of exactly what pushes have brought is answered with their own bytes, and any other is not: with the real git. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { formatPackHeader, PACK_HEADER_BYTES } from "../src/pack/pack-writer.js";
import { type PackPlanOptions, planPack } from "../src/engine/pack-plan.js";
import { streamPack } from "../src/engine/pack-stream.js";
import { recordedPushOf } from "../src/engine/fetch/push-records.js";
import type { Pack } from "../src/pack/pack.js";
import type { RecordedPush } from "../src/pack/recorded-push.js";
import { createGitServer } from "../src/server/git-server.js";
import { openObjectStorage } from "../src/server/object-storage.js";
import type { RepositoryStore } from "../src/storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { embeddedStorages } from "./support/object-storages.js";

interface Opened {
  readonly store: RepositoryStore;
  /** Nothing of what the process knows is used: another one serves from here on. */
  readonly close: () => Promise<void>;
}

const STORES: readonly (readonly [string, (directory: string) => Promise<Opened>])[] = [
  ["memory", async () => ({ store: createMemoryRepositoryStore(), close: async () => undefined })],
  [
    "a disk",
    async (directory) => ({
      store: createDiskRepositoryStore({ directory: join(directory, "disk"), durability: "none" }),
      close: async () => undefined,
    }),
  ],
  [
    "a bucket",
    async (directory) => {
      const store = await openObjectStorage({
        ...(await embeddedStorages().open(directory)),
        janitor: false,
      });
      return { store, close: () => store.close() };
    },
  ],
];

let client: GitClient;
let closing: (() => Promise<void>)[] = [];
let serial = 0;

beforeAll(() => {
  client = createWorkspace();
});
afterEach(async () => {
  for (const close of closing.toReversed()) await close();
  closing = [];
});
afterAll(() => removeDirectory(client));

interface Served {
  readonly store: RepositoryStore;
  readonly tree: GitClient;
  readonly url: string;
  /** The last so many pushes, newest first. */
  pushes(): Promise<readonly Pushed[]>;
  plan(options: Omit<PackPlanOptions, "snapshot">): Promise<Buffer>;
}

interface Pushed {
  readonly entries: Buffer;
  readonly push: RecordedPush;
  readonly pack: Pack;
}

/** With a first push to `main` of a file that deltas are worth while for. */
async function serve(open: (directory: string) => Promise<Opened>): Promise<Served> {
  const name = `served-${serial++}`;
  await client.run("init", "-q", name);
  const tree = client.in(name);
  const { store, close } = await open(join(client.directory, `${name}-stored`));
  const server = createGitServer({ repositories: store, autoCreate: "push", log: () => undefined });
  closing.push(close, () => server.close({ graceMs: 0 }));
  const url = `${(await server.listen({ http: "127.0.0.1:0" })).http.url}/app.git`;
  await tree.run("remote", "add", "origin", url);
  await commit(tree, "one");
  await tree.run("push", "-q", "origin", "main");
  const withSnapshot = async <T>(
    body: (about: Pick<PackPlanOptions, "snapshot" | "repositoryId">) => Promise<T>,
  ): Promise<T> => {
    const repository = await store.open("app");
    if (repository === undefined) throw new Error("nothing was pushed");
    const snapshot = await repository.snapshot();
    try {
      return await body({ snapshot, repositoryId: repository.id });
    } finally {
      snapshot.release();
      await repository.close();
    }
  };
  return {
    store,
    tree,
    url,
    pushes: () =>
      withSnapshot(async ({ snapshot, repositoryId }) => {
        const found: Pushed[] = [];
        for (const pack of snapshot.objects.packs) {
          const push = recordedPushOf(repositoryId, pack);
          if (push === undefined) continue;
          const length = push.sentEnd - PACK_HEADER_BYTES;
          found.push({ pack, push, entries: await pack.bytes.read(PACK_HEADER_BYTES, length) });
        }
        return found;
      }),
    plan: (options) =>
      withSnapshot(async (about) => {
        const plan = await planPack({ ...about, ...options });
        const chunks: Buffer[] = [];
        for await (const chunk of streamPack(plan)) chunks.push(chunk);
        return Buffer.concat(chunks);
      }),
  };
}

let lines = Array.from({ length: 2000 }, (_, i) => `line ${i} of a file\n`);

async function commit(tree: GitClient, what: string): Promise<string> {
  lines = lines.with(lines.length - 3, `${what}\n`);
  await writeFile(join(tree.directory, "text"), lines.join(""));
  await tree.run("add", ".");
  await tree.run("commit", "-q", "-m", what);
  return tree.run("rev-parse", "HEAD");
}

/** @returns the pack as the client got it */
async function fetchInto(copy: GitClient, ...args: readonly string[]): Promise<Buffer> {
  const trace = join(copy.directory, `pack-${serial++}`);
  const result = await copy.tryWith({ env: { GIT_TRACE_PACKFILE: trace } }, "fetch", "-q", ...args);
  expect(result.stderr).toBe("");
  await copy.run("fsck", "--strict");
  return readFile(trace);
}

async function cloneOf({ url }: Pick<Served, "url">, ...args: readonly string[]): Promise<GitClient> {
  const name = `copy-${serial++}.git`;
  await client.run("clone", "-q", "--bare", ...args, url, name);
  const copy = client.in(name);
  await copy.run("config", "remote.origin.fetch", "+refs/heads/*:refs/heads/*");
  return copy;
}

/** Without the checksum. */
function packOf(pushes: readonly Pushed[]): Buffer {
  const count = pushes.reduce((sum, { push }) => sum + push.sentCount, 0);
  return Buffer.concat([formatPackHeader(count), ...pushes.toReversed().map(({ entries }) => entries)]);
}

describe.each(STORES)("pushed to %s", (_, open) => {
  it("one push is fetched as it was sent, and so are several together", async () => {
    const served = await serve(open);
    const { tree } = served;
    const [copy, late] = [await cloneOf(served), await cloneOf(served)];
    await commit(tree, "two");
    await tree.run("push", "-q", "origin", "main");
    const [second] = (await served.pushes()) as [Pushed];
    // Thin: a commit, a tree, and a delta on a blob that is not in what was sent.
    expect(second.push).toMatchObject({ sentCount: 3, grounds: [await tree.run("rev-parse", "main~1")] });
    expect(second.pack.objectCount).toBeGreaterThan(3);
    expect(second.entries.length).toBeLessThan(1000);
    expect((await fetchInto(copy, "origin")).subarray(0, -20)).toEqual(packOf([second]));
    expect(await copy.run("rev-parse", "main")).toBe(await tree.run("rev-parse", "main"));

    await commit(tree, "three");
    await tree.run("push", "-q", "origin", "main");
    await tree.run("tag", "-a", "-m", "tagged", "v1");
    await tree.run("push", "-q", "origin", "v1");
    const pushes = (await served.pushes()).slice(0, 3);
    const got = await fetchInto(late, "origin", "main", "v1");
    expect(got.readUInt32BE(8)).toBe(7);
    expect(got.length).toBe(packOf(pushes).length + 20);
    for (const { entries } of pushes) expect(got.includes(entries)).toBe(true);
    // A tag that is not asked for goes along with what it names.
    expect((await fetchInto(copy, "origin")).readUInt32BE(8)).toBe(4);
    expect(await copy.run("rev-parse", "v1^{commit}")).toBe(await tree.run("rev-parse", "main"));
  });

  it("what is not exactly one or some of the pushes is planned as ever", async () => {
    const served = await serve(open);
    const { tree } = served;
    const names = ["whole", "single", "shallow", "partial", "between"] as const;
    const copies = Object.fromEntries(
      await Promise.all(
        names.map(async (name) => [
          name,
          await cloneOf(
            served,
            ...(name === "shallow" ? ["--depth=1"] : name === "partial" ? ["--filter=blob:none"] : []),
          ),
        ]),
      ),
    ) as Record<(typeof names)[number], GitClient>;
    await commit(tree, "two");
    await tree.run("branch", "side");
    await commit(tree, "three");
    await tree.run("checkout", "-q", "-b", "other", "main~2");
    await commit(tree, "elsewhere");
    await tree.run("push", "-q", "origin", "main", "side", "other");
    const [pushed] = (await served.pushes()) as [Pushed];
    expect(pushed.push.roots.toSorted()).toEqual(
      [await tree.run("rev-parse", "main"), await tree.run("rev-parse", "other")].toSorted(),
    );
    const { sentCount } = pushed.push;
    expect(sentCount).toBe(9);
    // One branch of two: nothing of the other may come along.
    expect((await fetchInto(copies.single, "origin", "main")).readUInt32BE(8)).toBe(6);
    const other = await tree.run("rev-parse", "other");
    expect((await copies.single.try("cat-file", "-e", other)).status).not.toBe(0);
    // One who has some of it gets the rest.
    await fetchInto(copies.between, "origin", "side");
    await copies.between.run("update-ref", "refs/heads/side", "FETCH_HEAD");
    expect((await fetchInto(copies.between, "origin")).readUInt32BE(8)).toBe(6);
    await fetchInto(copies.shallow, "origin");
    expect((await fetchInto(copies.partial, "--filter=blob:none", "origin")).readUInt32BE(8)).toBe(6);
    expect(packOf([pushed])).toEqual((await fetchInto(copies.whole, "origin")).subarray(0, -20));

    // Without offsets as bases, and without thin packs.
    const wants = [await tree.run("rev-parse", "main"), other];
    const haves = [await tree.run("rev-parse", "main~2")];
    const whole = await served.plan({ wants, haves, ofsDelta: true });
    expect(whole.equals(await pushed.pack.bytes.read(0, pushed.pack.bytes.sizeBytes))).toBe(true);
    expect((await served.plan({ wants, haves, thinPack: true })).length).toBeGreaterThan(0);
    for (const [options, isThin] of [
      [{ ofsDelta: true }, false],
      [{ thinPack: true }, true],
      [{ thinPack: true, ofsDelta: true }, true],
    ] as const) {
      const pack = await served.plan({ wants, haves, ...options });
      const check = await tree.tryWith(
        { input: pack },
        "index-pack",
        "--stdin",
        "--strict",
        ...(isThin ? ["--fix-thin"] : []),
      );
      expect(check.stderr).toBe("");
    }
  });

  it("an object of the past that comes back is sent to who may lack it", async () => {
    const served = await serve(open);
    const { tree } = served;
    const first = await tree.run("rev-parse", "HEAD^{tree}");
    await commit(tree, "two");
    await tree.run("push", "-q", "origin", "main");
    // Its history stops above the commit that has the tree.
    const copy = await cloneOf(served, "--depth=1");
    const again = await tree.run("commit-tree", "-p", "HEAD", "-m", "back", first);
    await tree.run("push", "-q", "origin", `${again}:refs/heads/main`);
    await fetchInto(copy, "origin");
    expect(await copy.run("rev-parse", "main^{tree}")).toBe(first);
  });
});

it("a fork answers as well, and only what it has itself", async () => {
  const directory = join(client.directory, "forks");
  const storage = await openObjectStorage({ ...(await embeddedStorages().open(directory)), janitor: false });
  const served = await serve(async () => ({ store: storage, close: () => storage.close() }));
  const { tree, url } = served;
  const copies = [await cloneOf(served), await cloneOf(served)] as const;
  await storage.fork("app", "early");
  await commit(tree, "two");
  await tree.run("push", "-q", "origin", "main");
  await storage.fork("app", "late");
  const [second] = (await served.pushes()) as [Pushed];
  const got = await fetchInto(copies[0], url.replace("app.git", "late.git"), "+main:main");
  expect(got.subarray(0, -20)).toEqual(packOf([second]));
  const oid = await tree.run("rev-parse", "main");
  const refused = await copies[1].try("fetch", "-q", url.replace("app.git", "early.git"), oid);
  expect(refused.stderr).toContain("not our ref");
});

it("what hidden refs lead to is not sent along", async () => {
  const directory = join(client.directory, "hidden");
  const served = await serve(async () => ({
    store: createDiskRepositoryStore({ directory, durability: "none" }),
    close: async () => undefined,
  }));
  const { tree } = served;
  await client.in("hidden/app.git").run("config", "uploadpack.hideRefs", "refs/heads/secret");
  const copy = await cloneOf(served);
  await commit(tree, "two");
  await tree.run("branch", "secret");
  await tree.run("reset", "-q", "--hard", "main~1");
  await commit(tree, "three");
  await tree.run("push", "-q", "origin", "main", "secret");
  await fetchInto(copy, "origin");
  expect((await copy.run("rev-list", "--all", "--objects", "--no-object-names")).split("\n")).toHaveLength(6);
  expect((await copy.try("cat-file", "-e", await tree.run("rev-parse", "secret"))).status).not.toBe(0);
});
