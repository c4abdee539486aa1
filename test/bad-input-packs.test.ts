/**
 * Packs that no honest client sends, over HTTP: the pusher is told why, the repository stays as it was. (What ingest
 * makes of many more of them: src/engine/ingest/hostile-packs.test.ts.)
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashObject, type ObjectType } from "../src/object/object-id.js";
import { formatEntryHeader } from "../src/pack/entry-header.js";
import { formatDeltaEntry, formatEntry } from "../src/pack/pack-writer.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";
import { send } from "./support/raw-http.js";
import {
  blobOid,
  formatCommands,
  NULL_OID,
  packOfBlobs,
  RECEIVE_PACK_TYPE,
  sealPack,
} from "./support/raw-push.js";
import { flips } from "./support/mutations.js";
import { deflateSync } from "node:zlib";

const WHO = "Ada <ada@example.org> 1700000000 +0100";

interface Made {
  readonly oid: string;
  readonly entry: Buffer;
}

function object(type: ObjectType, data: Buffer | string): Made {
  const bytes = Buffer.from(data);
  return { oid: hashObject("sha1", type, bytes), entry: formatEntry(type, bytes) };
}

const tree = (...entries: readonly (readonly [mode: string, name: string, oid: string])[]): Made =>
  object(
    "tree",
    Buffer.concat(
      entries.map(([mode, name, oid]) =>
        Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, "hex")]),
      ),
    ),
  );

const commit = (treeOid: string, extra = ""): Made =>
  object("commit", `tree ${treeOid}\n${extra}author ${WHO}\ncommitter ${WHO}\n\nmade\n`);

const pack = (...made: readonly Made[]): Buffer => sealPack(made.length, ...made.map(({ entry }) => entry));

const blob = object("blob", "a blob\n");
const goodTree = tree(["100644", "file", blob.oid]);
const good = commit(goodTree.oid);
const goodPack = pack(good, goodTree, blob);
const missing = blobOid("nowhere");

/** The header says one size, the data has another. */
const lying = (says: number, data: Buffer): Buffer =>
  Buffer.concat([formatEntryHeader(3, says), deflateSync(data)]);

function inTree(entry: readonly [string, string, string]): readonly [Buffer, string] {
  const bad = tree(entry);
  const top = commit(bad.oid);
  return [pack(top, bad, blob), top.oid];
}

function badCommit(text: string): readonly [Buffer, string] {
  const bad = object("commit", text);
  return [pack(bad, goodTree, blob), bad.oid];
}

const UNPACK = /^unpack (?!ok).+\n.*ng refs\/heads\/bad /s;

type Case = readonly [what: string, pack: Buffer, oid: string, answer: RegExp, name?: string];

const CASES: readonly Case[] = [
  ["no pack", Buffer.alloc(0), good.oid, UNPACK],
  ["something else", Buffer.from("<html>not found</html>"), good.oid, UNPACK],
  ["half a pack", goodPack.subarray(0, goodPack.length >> 1), good.oid, UNPACK],
  ["no trailer", goodPack.subarray(0, -20), good.oid, UNPACK],
  ["another trailer", Buffer.concat([goodPack.subarray(0, -20), Buffer.alloc(20)]), good.oid, UNPACK],
  ["bytes behind the trailer", Buffer.concat([goodPack, Buffer.from("PACK")]), good.oid, UNPACK],
  ["version 5", Buffer.concat([Buffer.from("PACK\0\0\0\x05"), goodPack.subarray(8)]), good.oid, UNPACK],
  ["more objects than there are", sealPack(9, good.entry, goodTree.entry, blob.entry), good.oid, UNPACK],
  ["fewer objects than there are", sealPack(2, good.entry, goodTree.entry, blob.entry), good.oid, UNPACK],
  ["four thousand million objects", sealPack(0xffff_ffff, blob.entry), good.oid, UNPACK],
  ["an object twice", pack(good, goodTree, blob, blob), good.oid, UNPACK],
  ["an object that is shorter than it says", sealPack(1, lying(100, Buffer.alloc(10))), good.oid, UNPACK],
  [
    "an object that inflates past its size",
    sealPack(1, lying(10, Buffer.alloc(5_000_000))),
    good.oid,
    UNPACK,
  ],
  ["an object of 2^60 bytes", sealPack(1, lying(2 ** 60, Buffer.alloc(10))), good.oid, UNPACK],
  ["a type that does not exist", sealPack(1, Buffer.from([0x50, 0])), good.oid, UNPACK],
  ["deflated data that is none", sealPack(1, Buffer.from([0x35, 1, 2, 3, 4, 5])), good.oid, UNPACK],
  [
    "a delta on nothing",
    sealPack(1, formatDeltaEntry(missing, Buffer.from([1, 1, 1, 65]))),
    good.oid,
    UNPACK,
  ],
  [
    "a delta on what is before the pack",
    sealPack(1, formatDeltaEntry(9999, Buffer.from([1, 1, 1, 65]))),
    good.oid,
    UNPACK,
  ],
  [
    "a delta on a place inside an entry",
    sealPack(2, blob.entry, formatDeltaEntry(3, Buffer.from([7, 1, 1, 65]))),
    good.oid,
    UNPACK,
  ],
  [
    "a delta that copies from past its base",
    sealPack(2, blob.entry, formatDeltaEntry(blob.entry.length, Buffer.from([7, 9, 0x91, 5, 9]))),
    good.oid,
    UNPACK,
  ],
  [
    "a delta whose base has another size",
    sealPack(2, blob.entry, formatDeltaEntry(blob.entry.length, Buffer.from([8, 1, 1, 65]))),
    good.oid,
    UNPACK,
  ],
  [
    "a delta that makes 2^50 bytes",
    sealPack(
      2,
      blob.entry,
      formatDeltaEntry(
        blob.entry.length,
        Buffer.from([7, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 1, 65]),
      ),
    ),
    good.oid,
    UNPACK,
  ],
  ["a commit without a tree", ...badCommit(`author ${WHO}\ncommitter ${WHO}\n\nx\n`), UNPACK],
  ["a commit without an author", ...badCommit(`tree ${goodTree.oid}\ncommitter ${WHO}\n\nx\n`), UNPACK],
  [
    "a commit with NUL in its head",
    ...badCommit(`tree ${goodTree.oid}\nauthor A\0da <a> 1 +0000\ncommitter ${WHO}\n\nx\n`),
    UNPACK,
  ],
  [
    "a commit of a year that does not fit",
    ...badCommit(`tree ${goodTree.oid}\nauthor Ada <a> 99999999999999999999 +0000\ncommitter ${WHO}\n\nx\n`),
    UNPACK,
  ],
  ["a tree with ..", ...inTree(["100644", "..", blob.oid]), UNPACK],
  ["a tree with .git", ...inTree(["100644", ".git", blob.oid]), UNPACK],
  ["a tree with .GIT", ...inTree(["40000", ".GIT", goodTree.oid]), UNPACK],
  ["a tree with a path", ...inTree(["100644", "a/b", blob.oid]), UNPACK],
  ["a tree with an empty name", ...inTree(["100644", "", blob.oid]), UNPACK],
  ["a tree with the null id", ...inTree(["100644", "file", NULL_OID]), UNPACK],
  ["a tree that is cut off", pack(object("tree", "100644 file\0short")), good.oid, UNPACK],
  ["a link out of the repository as .gitmodules", ...inTree(["120000", ".gitmodules", blob.oid]), UNPACK],
  [
    "a commit whose tree is missing",
    pack(commit(missing)),
    commit(missing).oid,
    /^unpack ok\nng refs\/heads\/bad missing necessary objects/,
  ],
  [
    "a tree whose blob is missing",
    pack(good, goodTree),
    good.oid,
    /ng refs\/heads\/bad missing necessary objects/,
  ],
  [
    "a commit whose parent is missing",
    pack(commit(goodTree.oid, `parent ${missing}\n`), goodTree, blob),
    commit(goodTree.oid, `parent ${missing}\n`).oid,
    /ng refs\/heads\/bad missing necessary objects/,
  ],
  [
    "a commit whose tree is a blob",
    pack(commit(blob.oid), blob),
    commit(blob.oid).oid,
    /(ng refs\/heads\/bad |unpack (?!ok))/,
  ],
  [
    "a pack without what the ref names",
    packOfBlobs("other"),
    good.oid,
    /ng refs\/heads\/bad missing necessary objects/,
  ],
  ["a branch on a blob", packOfBlobs("a blob\n"), blob.oid, /ng refs\/heads\/bad /],
  ...[
    "refs/heads/../x",
    "refs/heads/.x",
    "refs/heads/x.lock",
    "refs/heads/a b",
    "refs/heads/a..b",
    "refs/heads/a\u0001",
    "refs/heads/@{x",
    "refs/heads/x/",
    "refs//heads/x",
    "x",
    "HEAD",
    "config",
    "../config",
    "objects/x",
    "refs/heads/a\\b",
    `refs/heads/${"x".repeat(5000)}`,
  ].map((name): Case => [`the ref ${name.slice(0, 30)}`, goodPack, good.oid, /\nng |ERR /, name]),
];

describe("hostile pushes over HTTP", () => {
  let workspace: GitClient;
  let server: TestServer;
  let bare: GitClient;
  const errors: unknown[] = [];

  beforeAll(async () => {
    workspace = createWorkspace();
    bare = workspace.in("repositories/app.git");
    await workspace.run("init", "-q", "--bare", "repositories/app.git");
    server = await createTestServer({
      repositories: join(workspace.directory, "repositories"),
      durability: "none",
      log: ({ level, message, error }) => {
        if (level === "error") errors.push(message, error);
      },
    });
    const seed = await push(
      formatCommands([{ newOid: blobOid("seed"), name: "refs/tags/seed" }]),
      packOfBlobs("seed"),
    );
    expect(seed).toBe("unpack ok\nok refs/tags/seed\n");
  });
  afterAll(async () => {
    await server.close();
    removeDirectory(workspace);
  });

  /** The report, without its frames. */
  async function push(commands: string, bytes: Buffer): Promise<string> {
    const { status, body } = await send(`${server.urlOf("app")}/git-receive-pack`, {
      body: Buffer.concat([Buffer.from(commands), bytes]),
      headers: { "Content-Type": RECEIVE_PACK_TYPE },
    });
    expect(status).toBe(200);
    return body.toString("latin1").replaceAll(/(?:^|(?<=\n))[0-9a-f]{4}/g, "");
  }

  const listing = (): readonly string[] =>
    readdirSync(bare.directory, { recursive: true, encoding: "utf8" }).toSorted();

  it.each(CASES.map((it) => ({ what: it[0], it })))(
    "$what",
    async ({ it: [, bytes, newOid, answer, name] }) => {
      const before = listing();
      expect(await push(formatCommands([{ newOid, name: name ?? "refs/heads/bad" }]), bytes)).toMatch(answer);
      expect(listing()).toEqual(before);
      expect(errors).toEqual([]);
    },
  );

  it("keeps what is right when only some refs of a push are wrong", async () => {
    const commands = formatCommands([
      { newOid: good.oid, name: "refs/heads/right" },
      { newOid: missing, name: "refs/heads/wrong" },
      { newOid: good.oid, oldOid: missing, name: "refs/heads/stale" },
      { newOid: NULL_OID, oldOid: missing, name: "refs/heads/absent" },
    ]);
    const report = await push(commands, goodPack);
    expect(report).toMatch(
      /^unpack ok\nok refs\/heads\/right\nng refs\/heads\/wrong .*\nng refs\/heads\/stale /,
    );
    const refs = await bare.run("for-each-ref", "--format=%(refname)");
    expect(refs.split("\n").filter((ref) => ref !== "refs/heads/absent")).toEqual([
      "refs/heads/right",
      "refs/tags/seed",
    ]);
  });

  it("takes no pack with any bit changed", async () => {
    const before = listing();
    const other = commit(goodTree.oid, `parent ${good.oid}\n`);
    const bytes = pack(other);
    const commands = formatCommands([{ newOid: other.oid, name: "refs/heads/flipped" }]);
    for (const { bytes: flipped, what } of flips(bytes))
      expect(`${what}: ${await push(commands, flipped)}`).toMatch(/: (unpack (?!ok)|unpack ok\nng )/);
    expect(listing()).toEqual(before);
    expect(errors).toEqual([]);
  });

  it("leaves a repository that git finds nothing wrong with", async () => {
    expect(await bare.try("fsck", "--strict", "--no-dangling")).toMatchObject({ status: 0 });
    expect(await workspace.run("ls-remote", server.urlOf("app"))).toContain("refs/heads/right");
  });
});
