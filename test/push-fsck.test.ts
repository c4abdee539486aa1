/**
 * Pushes of malformed objects with the real client, to this server over HTTP and to `git receive-pack`, both with the
 * same configuration: the same is taken and refused, and the person who pushes reads the same.
 */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";

const IDENTITY = "Ada <ada@example.org> 1700000000 +0100";

let workspace: GitClient;
let app: GitClient;
let server: TestServer;
/** Ids by what is wrong. */
const objects = new Map<string, string>();
let count = 0;

async function write(type: string, data: string | Buffer): Promise<string> {
  const written = await app.tryWith(
    { input: data },
    "hash-object",
    "-t",
    type,
    "--literally",
    "-w",
    "--stdin",
  );
  if (written.status !== 0) throw new Error(written.stderr);
  return written.stdout.trim();
}

function commitOf(tree: string, author = IDENTITY): string {
  return `tree ${tree}\nauthor ${author}\ncommitter ${IDENTITY}\n\nmessage ${author}\n`;
}

function treeOf(...entries: readonly (readonly [mode: string, name: string, oid: string])[]): Buffer {
  return Buffer.concat(
    entries.flatMap(([mode, name, oid]) => [Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, "hex")]),
  );
}

beforeAll(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  server = await createTestServer({ repositories: join(workspace.directory, "served"), durability: "none" });
  const blob = await write("blob", "content\n");
  const empty = await write("tree", "");
  const good = await write("tree", treeOf(["100644", "a", blob]));
  const wholeTree = async (name: string, tree: Buffer): Promise<void> => {
    const oid = await write("tree", tree);
    objects.set(`${name} itself`, oid);
    objects.set(name, await write("commit", commitOf(oid)));
  };
  objects.set("good", await write("commit", commitOf(good)));
  objects.set("no space", await write("commit", commitOf(good, "Ada<ada@example.org> 1 +0000")));
  await wholeTree("zero-padded", treeOf(["040000", "a", empty]));
  await wholeTree(
    "odd in three ways",
    treeOf(["100644", "b", blob], ["100600", "a", blob], ["040000", "x", empty]),
  );
  await wholeTree(".git", treeOf(["40000", ".GIT", empty]));
  const modules = await write("blob", '[submodule "a"]\n\turl = -u\n\tpath = -p\n');
  objects.set("modules blob", modules);
  await wholeTree("modules", treeOf(["100644", ".gitmodules", modules]));
  const long = await write(
    "blob",
    `${"# said at length\n".repeat(50_000)}[submodule "a"]\n\turl = -u\n\tpath = -p\n`,
  );
  await wholeTree("long modules", treeOf(["100644", ".gitmodules", long]));
  const lines = await write("blob", `${"* text\n".repeat(50_000)}${"x".repeat(3000)}\n`);
  await wholeTree("long attributes", treeOf(["100644", ".gitattributes", lines]));
  await wholeTree("modules that are a tree", treeOf(["40000", ".gitmodules", good]));
  const large = await write("blob", randomBytes(3 << 20));
  await wholeTree("large", treeOf(["100644", "b", blob], ["100644", "a", large]));
  const tag = `object ${objects.get("good")}\ntype commit\ntag v 1\ntagger ${IDENTITY}\n\nm\n`;
  objects.set("tag", await write("tag", tag));
  const nul = `object ${objects.get("good")}\ntype commit\ntag v1\ntagger ${IDENTITY}\0\n\nm\n`;
  objects.set("nul", await write("tag", nul));
});
afterAll(async () => {
  await server.close();
  removeDirectory(workspace);
});

interface Outcome {
  readonly status: number | null;
  /** What is said of objects. */
  readonly lines: readonly string[];
  readonly output: string;
}

function outcomeOf({ status, stderr }: GitResult): Outcome {
  const lines = stderr
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => /^remote: (error|warning): object /.test(line));
  return { status, lines, output: stderr };
}

/** The same push to both. */
async function push(
  what: string,
  config: Readonly<Record<string, string>>,
): Promise<{ readonly ours: Outcome; readonly theirs: Outcome }> {
  const oid = objects.get(what) ?? "";
  const name = `r${count++}`;
  const ref = /^tag|^nul/.test(what) ? "refs/tags/v1" : "refs/heads/main";
  const outcomes: Outcome[] = [];
  for (const [directory, url] of [
    [`served/${name}.git`, server.urlOf(name)],
    [`theirs/${name}.git`, join(workspace.directory, `theirs/${name}.git`)],
  ] as const) {
    await workspace.run("init", "-q", "--bare", directory);
    const bare = workspace.in(directory);
    for (const [key, value] of Object.entries({ "receive.fsckObjects": "true", ...config }))
      await bare.run("config", key, value);
    outcomes.push(outcomeOf(await app.try("push", url, `${oid}:${ref}`)));
  }
  const [ours, theirs] = outcomes as [Outcome, Outcome];
  return { ours, theirs };
}

async function expectSame(what: string, config: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  const { ours, theirs } = await push(what, config);
  const said = `ours:\n${ours.output}theirs:\n${theirs.output}`;
  expect({ status: ours.status, lines: ours.lines }, said).toEqual({
    status: theirs.status,
    lines: theirs.lines,
  });
  const fatal = /^remote: fatal: fsck error in pack/m;
  expect([ours.output, fatal.test(ours.output)]).toEqual([ours.output, fatal.test(theirs.output)]);
  return ours;
}

describe("a push of malformed objects, beside git receive-pack", () => {
  it("takes what is in order", async () => {
    expect(await expectSame("good")).toMatchObject({ status: 0, lines: [] });
  });

  it("refuses errors, and warnings too", async () => {
    const refused = await expectSame("no space");
    expect(refused.lines).toEqual([
      `remote: error: object ${objects.get("no space")}: missingSpaceBeforeEmail: ` +
        "invalid author/committer line - missing space before email",
    ]);
    expect(refused.output).toMatch(/ ! \[remote rejected\] .* \(unpacker error\)/);
    expect(refused.output).toMatch(
      new RegExp(`^error: remote unpack failed: index-pack: ${objects.get("no space")}: missingSpace`, "m"),
    );
    expect((await expectSame("zero-padded")).lines).toHaveLength(1);
    expect((await expectSame(".git")).lines).toHaveLength(1);
    expect((await expectSame("modules that are a tree")).lines).toHaveLength(1);
  });

  it("tells all that is wrong with an object", async () => {
    expect((await expectSame("odd in three ways")).lines).toHaveLength(3);
    expect((await expectSame("modules")).lines).toHaveLength(2);
    expect((await expectSame("modules", { "receive.fsck.gitmodulesUrl": "warn" })).lines).toHaveLength(2);
  });

  it("says the same of files that are long, which a worker looks through", async () => {
    expect((await expectSame("long modules")).lines).toHaveLength(2);
    const config = { "receive.fsck.gitmodulesUrl": "warn", "receive.fsck.gitmodulesPath": "warn" };
    expect(await expectSame("long modules", config)).toMatchObject({ status: 0 });
    expect((await expectSame("long attributes")).lines).toHaveLength(1);
  });

  it("refuses a large push in the same words", async () => {
    expect((await expectSame("large")).lines).toEqual([
      `remote: error: object ${objects.get("large itself")}: treeNotSorted: not properly sorted`,
    ]);
  });

  it.each([
    ["no space", "receive.fsck.missingSpaceBeforeEmail"],
    ["zero-padded", "receive.fsck.ZEROPADDEDFILEMODE"],
    [".git", "receive.fsck.hasdotgit"],
    ["modules that are a tree", "receive.fsck.gitmodulesBlob"],
  ])("lowers a severity: %s, %s", async (what, key) => {
    const warned = await expectSame(what, { [key]: "warn" });
    expect(warned.status).toBe(0);
    expect(warned.lines).toHaveLength(1);
    expect(warned.lines[0]).toMatch(/^remote: warning: object /);
    expect(await expectSame(what, { [key]: "ignore" })).toMatchObject({ status: 0, lines: [] });
    expect((await expectSame(what, { [key]: "error" })).status).toBe(1);
  });

  it("raises a severity", async () => {
    const warned = await expectSame("tag");
    expect(warned).toMatchObject({ status: 0 });
    expect(warned.lines).toEqual([
      `remote: warning: object ${objects.get("tag")}: badTagName: invalid 'tag' name: v 1`,
    ]);
    expect((await expectSame("tag", { "receive.fsck.badTagName": "error" })).status).toBe(1);
  });

  it.each(["no space", "zero-padded itself", "modules blob"])(
    "passes over the skip list: %s",
    async (listed) => {
      const list = join(workspace.directory, `skip-${count}`);
      writeFileSync(list, `# known\n${objects.get(listed)}\n`);
      const what = listed.replace(/ (itself|blob)$/, "");
      expect(await expectSame(what, { "receive.fsck.skipList": list })).toMatchObject({
        status: 0,
        lines: [],
      });
    },
  );

  it("looks at what a tree on the skip list names", async () => {
    const list = join(workspace.directory, `skip-${count}`);
    writeFileSync(list, `${objects.get("modules itself")}\n`);
    expect((await expectSame("modules", { "receive.fsck.skipList": list })).status).toBe(1);
  });

  it("tells of ids that do not exist, and goes on", async () => {
    const { ours, theirs } = await push("good", { "receive.fsck.noSuchThing": "warn" });
    expect([ours.status, theirs.status]).toEqual([0, 0]);
    expect(ours.output).toMatch(/^remote: warning: skipping unknown msg id 'nosuchthing'/m);
    expect(theirs.output).toMatch(/^warning: skipping unknown msg id 'nosuchthing'/m);
    const known = await push("good", { "receive.fsck.refMissingNewline": "warn" });
    expect(known.ours.output).not.toMatch(/skipping/);
  });

  it("does not lower what cannot be lowered", async () => {
    const { ours, theirs } = await push("nul", { "receive.fsck.nulInHeader": "ignore" });
    expect([ours.status, theirs.status]).toEqual([1, 1]);
    expect(theirs.output).toMatch(/Cannot demote nulinheader to ignore/);
    expect(ours.output).toMatch(/^remote: warning: cannot demote nulinheader to ignore/m);
    expect(ours.lines).toEqual([expect.stringMatching(/: nulInHeader: unterminated header: NUL at offset /)]);
    // Unlike git, which refuses every push then.
    expect((await push("good", { "receive.fsck.nulInHeader": "ignore" })).ours.status).toBe(0);
  });

  it("takes anything when the checks are off", async () => {
    expect((await expectSame("no space", { "receive.fsckObjects": "false" })).status).toBe(0);
    expect((await expectSame("modules", { "receive.fsckObjects": "false" })).status).toBe(0);
  });
});
