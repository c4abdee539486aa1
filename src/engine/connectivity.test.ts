/** What a push may name: judged against histories that real git made. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { closeWorkerPool } from "../base/worker-pool.js";
import { hashObject, type ObjectId } from "../object/object-id.js";
import { formatTree } from "../object/tree.js";
import type { Repository, RepositoryStore } from "../storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../storage/disk/disk-repository-store.js";
import { checkConnectivity, type ConnectivityAnswer, type ConnectivityRequest } from "./connectivity.js";
import {
  createHistory,
  git,
  gitText,
  type HandMadeEntry,
  makeDirectory,
  makePack,
  packRevisions,
  takeIn,
} from "./ingest/ingest.test.support.js";

const directory = makeDirectory();
const source = join(directory.path, "source.git");
let store: RepositoryStore;
let repository: Repository;
let at: string;
let serial = 0;

beforeAll(() => {
  createHistory(source, "sha1", 60);
  store = createDiskRepositoryStore({ directory: join(directory.path, "store") });
});
afterAll(async () => {
  await store.close();
  await closeWorkerPool();
  directory.remove();
});
beforeEach(async () => {
  repository = await store.create(`r${serial++}`);
  at = repository.gitDirectory ?? "";
});

const rev = (name: string): ObjectId => gitText(source, ["rev-parse", name]);

/** Gives the repository what these revisions lead to, and refs. */
function give(revisions: readonly string[], refs: Readonly<Record<string, string>>): void {
  git(at, ["index-pack", "--stdin", "--fix-thin"], packRevisions(source, revisions, "--delta-base-offset"));
  for (const [name, target] of Object.entries(refs)) git(at, ["update-ref", name, target]);
}

interface Push {
  readonly tips: readonly ObjectId[];
  readonly pack?: Buffer;
  readonly hide?: (name: string) => boolean;
  readonly newShallow?: readonly ObjectId[];
  readonly workers?: boolean;
}

async function push({ tips, pack, hide, newShallow, workers }: Push): Promise<ConnectivityAnswer> {
  const snapshot = await repository.snapshot();
  const ask = (more: Partial<ConnectivityRequest>): Promise<ConnectivityAnswer> =>
    checkConnectivity({
      objects: snapshot.objects,
      tips,
      snapshot,
      isVisible: (name) => hide?.(name) !== true,
      shallow: snapshot.shallow,
      newShallow,
      ...more,
    });
  try {
    if (pack === undefined) return await ask({});
    let answer: ConnectivityAnswer | undefined;
    await takeIn(repository, pack, {
      ...(workers === true ? { inlineBytesMax: 0 } : {}),
      then: async ({ result, quarantine }) => {
        answer = await ask({ objects: quarantine.objects, ingest: result });
      },
    });
    return answer ?? { ok: false, missing: { oid: "", tip: "" } };
  } finally {
    snapshot.release();
  }
}

const OK: unknown = expect.objectContaining({ ok: true });
const missing = (oid: ObjectId, tip?: ObjectId) => ({
  ok: false,
  missing: { oid, ...(tip === undefined ? {} : { tip }) },
});

describe.each([
  ["here", false],
  ["in workers", true],
])("a pack taken in %s", (_, workers) => {
  it("that is complete is connected", async () => {
    expect(
      await push({ tips: [rev("main"), rev("v1")], pack: packRevisions(source, ["main", "v1"]), workers }),
    ).toEqual(OK);
  });

  it("onto what the repository has is connected, thin or not, from any commit on", async () => {
    for (const [n, options] of [
      [1, ["--thin"]],
      [2, []],
      [9, ["--thin", "--delta-base-offset"]],
      [30, ["--thin"]],
    ] as const) {
      repository = await store.create(`r${serial++}`);
      at = repository.gitDirectory ?? "";
      give([`main~${n}`], { "refs/heads/main": rev(`main~${n}`) });
      const pack = packRevisions(source, ["main", "side", "v1", `^main~${n}`], ...options);
      expect(await push({ tips: [rev("main"), rev("side"), rev("v1")], pack, workers })).toEqual(OK);
    }
  });

  it("whose grounds no visible ref leads to is not", async () => {
    give(["main~9"], { "refs/hidden/x": rev("main~9") });
    const pack = packRevisions(source, ["main", "^main~9"], "--delta-base-offset");
    const tips = [rev("main")];
    expect(await push({ tips, pack, workers })).toEqual(OK);
    const answer = await push({ tips, pack, workers, hide: (name) => name.startsWith("refs/hidden/") });
    expect(answer).toMatchObject({ ok: false, missing: { tip: rev("main") } });
    git(at, ["update-ref", "-d", "refs/hidden/x"]);
    expect(await push({ tips, pack, workers })).toMatchObject({ ok: false });
  });

  it("that lacks one object is told which", async () => {
    give(["main~9"], { "refs/heads/main": rev("main~9") });
    const all = gitText(source, ["rev-list", "--objects", "--no-object-names", "main", "^main~9"]).split(
      "\n",
    );
    for (const left of [0, 1, Math.floor(all.length / 2), all.length - 1]) {
      const oid = all[left] ?? "";
      const list = all.filter((other) => other !== oid).join("\n");
      const pack = git(
        source,
        ["pack-objects", "-q", "--stdout", "--window=0", "--no-reuse-delta"],
        `${list}\n`,
      );
      expect(await push({ tips: [rev("main")], pack, workers })).toEqual(missing(oid, rev("main")));
    }
  });
});

describe("without a pack", () => {
  it("a ref may name what visible refs lead to", async () => {
    give(["main", "v1"], { "refs/heads/main": rev("main"), "refs/tags/v1": rev("v1") });
    for (const name of ["main", "main~1", "main~40", "v1", "v1^{tree}", "main~7^{tree}", "main~7:dir1"]) {
      expect(await push({ tips: [rev(name)] }), name).toEqual(OK);
    }
  });

  it("and nothing else, be it in storage or not", async () => {
    give(["main", "side"], { "refs/heads/main": rev("main~20"), "refs/hidden/y": rev("main") });
    const hide = (name: string): boolean => name.startsWith("refs/hidden/");
    for (const name of ["main", "main~19", "main^{tree}", "main:dir1"]) {
      expect(await push({ tips: [rev("main~30"), rev(name)], hide }), name).toEqual(
        missing(rev(name), rev(name)),
      );
      expect(await push({ tips: [rev(name)] }), name).toEqual(OK);
    }
    expect(await push({ tips: ["ab".repeat(20)] })).toEqual(missing("ab".repeat(20), "ab".repeat(20)));
  });

  it("a detached HEAD counts when it may be seen", async () => {
    give(["main"], {});
    writeFileSync(join(at, "HEAD"), `${rev("main")}\n`);
    expect(await push({ tips: [rev("main~3")] })).toEqual(OK);
    expect(await push({ tips: [rev("main~3")], hide: (name) => name === "HEAD" })).toMatchObject({
      ok: false,
    });
  });
});

describe("objects that are in storage and not reachable", () => {
  const nobody = "Ada <ada@example.org> 1700000000 +0100";
  const secret = Buffer.from("a secret that nobody may see\n");
  const secretId = hashObject("sha1", "blob", secret);

  const commitOn = (
    entries: readonly HandMadeEntry[],
    tree: ObjectId,
    parents: readonly ObjectId[],
  ): { pack: Buffer; tip: ObjectId } => {
    const data = Buffer.from(
      [
        `tree ${tree}`,
        ...parents.map((p) => `parent ${p}`),
        `author ${nobody}`,
        `committer ${nobody}`,
        "",
        "x",
        "",
      ].join("\n"),
    );
    return {
      pack: makePack("sha1", [...entries, { type: "commit", data }]),
      tip: hashObject("sha1", "commit", data),
    };
  };

  beforeEach(() => {
    give(["main~9"], { "refs/heads/main": rev("main~9") });
    git(at, ["hash-object", "-w", "--stdin"], secret);
  });

  it("are not to be had by naming them in a tree", async () => {
    const tree = formatTree([{ mode: 0o100644, name: "x", oid: secretId }]);
    const treeId = hashObject("sha1", "tree", tree);
    const { pack, tip } = commitOn([{ type: "tree", data: tree }], treeId, [rev("main~9")]);
    expect(await push({ tips: [tip], pack })).toEqual(missing(secretId, tip));
  });

  it("nor by building a delta on them, nor by taking the base for the object", async () => {
    const delta = Buffer.from([secret.length, secret.length, 0x90, secret.length]);
    const made = Buffer.concat([secret, Buffer.from("!")]);
    const longer = Buffer.from([secret.length, secret.length + 1, 0x90, secret.length, 1, 0x21]);
    const tree = formatTree([{ mode: 0o100644, name: "x", oid: hashObject("sha1", "blob", made) }]);
    const treeId = hashObject("sha1", "tree", tree);
    const one = commitOn(
      [
        { type: "tree", data: tree },
        { base: secretId, delta: longer },
      ],
      treeId,
      [],
    );
    expect(await push({ tips: [one.tip], pack: one.pack })).toMatchObject({ ok: false });
    const bare = formatTree([{ mode: 0o100644, name: "x", oid: secretId }]);
    const two = commitOn(
      [
        { type: "tree", data: bare },
        { base: secretId, delta: longer },
      ],
      hashObject("sha1", "tree", bare),
      [],
    );
    expect(await push({ tips: [two.tip], pack: two.pack })).toMatchObject({ ok: false });
    expect(await push({ tips: [secretId], pack: two.pack })).toMatchObject({ ok: false });
    const copy = commitOn(
      [
        { type: "tree", data: bare },
        { base: secretId, delta },
      ],
      hashObject("sha1", "tree", bare),
      [],
    );
    const answer = await push({ tips: [copy.tip], pack: copy.pack }).catch((e: unknown) => e);
    expect(answer).not.toEqual(OK);
  });

  it("do not harm a push whose pack holds more than its tips lead to", async () => {
    const loose = formatTree([{ mode: 0o100644, name: "x", oid: secretId }]);
    const tree = rev("main~9^{tree}");
    const { pack, tip } = commitOn([{ type: "tree", data: loose }], tree, [rev("main~9")]);
    expect(await push({ tips: [tip], pack })).toEqual(OK);
    expect(await push({ tips: [tip, hashObject("sha1", "tree", loose)], pack })).toEqual(
      missing(secretId, hashObject("sha1", "tree", loose)),
    );
  });

  it("what comes back from old history is found", async () => {
    // A tree and a blob that only an old commit has: who has main~9 need not have them for all that was looked at.
    const old = rev("main~50^{tree}");
    const { pack, tip } = commitOn([], old, [rev("main~9")]);
    expect(await push({ tips: [tip], pack })).toEqual({ ok: true });
    const again = formatTree([
      { mode: 0o40000, name: "moved", oid: old },
      {
        mode: 0o100644,
        name: "file",
        oid: gitText(source, ["ls-tree", "-r", "main~50"]).split(/\s/)[2] ?? "",
      },
    ]);
    const moved = commitOn([{ type: "tree", data: again }], hashObject("sha1", "tree", again), [
      rev("main~9"),
    ]);
    expect(await push({ tips: [moved.tip], pack: moved.pack })).toEqual(OK);
  });

  it("a tree that is named as a blob is missing", async () => {
    const tree = formatTree([{ mode: 0o100644, name: "x", oid: rev("main~9^{tree}") }]);
    const { pack, tip } = commitOn([{ type: "tree", data: tree }], hashObject("sha1", "tree", tree), [
      rev("main~9"),
    ]);
    expect(await push({ tips: [tip], pack })).toEqual(missing(rev("main~9^{tree}"), tip));
  });

  it("links to submodules are nobody's business", async () => {
    const tree = formatTree([{ mode: 0o160000, name: "x", oid: "ab".repeat(20) }]);
    const { pack, tip } = commitOn([{ type: "tree", data: tree }], hashObject("sha1", "tree", tree), [
      rev("main~9"),
    ]);
    expect(await push({ tips: [tip], pack })).toEqual(OK);
  });
});

describe("shallow histories", () => {
  const clone = join(directory.path, "shallow.git");

  it("a commit without its parents comes only as a new shallow one", async () => {
    git(directory.path, ["clone", "-q", "--bare", "--depth=3", `file://${source}`, clone]);
    const shallow = gitText(clone, ["rev-list", "--max-parents=0", "HEAD"]).split("\n");
    const pack = git(clone, ["pack-objects", "-q", "--revs", "--stdout"], "HEAD\n");
    const tip = gitText(clone, ["rev-parse", "HEAD"]);
    expect(await push({ tips: [tip], pack })).toMatchObject({ ok: false, missing: { tip } });
    expect(await push({ tips: [tip], pack, newShallow: shallow })).toEqual(OK);
    expect(await push({ tips: [tip], pack, newShallow: shallow.slice(1) })).toMatchObject({ ok: false });
    // With what is behind there already, nothing is shallow.
    give(["main~1"], { "refs/heads/main": rev("main~1") });
    expect(await push({ tips: [tip], pack })).toEqual(OK);
  });

  it("a shallow repository is walked no further than it goes", async () => {
    const grounds = gitText(clone, ["rev-list", "HEAD~1"]).split("\n");
    const pack = git(clone, ["pack-objects", "-q", "--revs", "--stdout"], "HEAD~1\n");
    git(at, ["index-pack", "--stdin"], pack);
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, "shallow"), `${gitText(clone, ["rev-list", "--max-parents=0", "HEAD~1"])}\n`);
    git(at, ["update-ref", "refs/heads/main", grounds[0] ?? ""]);
    const more = git(clone, ["pack-objects", "-q", "--revs", "--stdout", "--thin"], "HEAD\n^HEAD~1\n");
    expect(await push({ tips: [gitText(clone, ["rev-parse", "HEAD"])], pack: more })).toEqual(OK);
    expect(await push({ tips: [rev("main~40")] })).toMatchObject({ ok: false });
  });
});
