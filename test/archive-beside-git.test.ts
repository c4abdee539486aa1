/** Archives beside those of the real git on the same repository: tar byte for byte, the others by what comes out. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ArchiveFormat, writeArchive } from "../src/engine/archive/write-archive.js";
import { parsePathSelection } from "../src/engine/archive/path-selection.js";
import { openDiskRepositoryAt } from "../src/storage/disk/disk-repository-store.js";
import { createGitClient } from "./support/git-client.js";

const LIMITS = { archiveEntriesMax: 100_000, archiveSizeBytesMax: 1 << 30, objectSizeBytesMax: 1 << 30 };

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-archive-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const long = (character: string, length: number): string => character.repeat(length);

/** Everything that an archive can meet, in one tree. */
async function makeRepository(name: string, format: "sha1" | "sha256"): Promise<string> {
  const path = join(directory, name);
  mkdirSync(path);
  const git = createGitClient(path);
  await git.run("init", "-q", `--object-format=${format}`, "-b", "main");
  const write = (file: string, content: string | Buffer, mode = 0o644): void => {
    mkdirSync(dirname(join(path, file)), { recursive: true });
    writeFileSync(join(path, file), content, { mode });
  };
  write("plain.txt", "one\ntwo\n");
  write("run.sh", "#!/bin/sh\n", 0o755);
  write("empty", "");
  write("block-512", Buffer.alloc(512, "x"));
  write("block-9728", Buffer.alloc(9728, "y"));
  write("large.bin", Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) % 251)));
  write("dir/deeper/file", "deep\n");
  write("dir/deeper/back\\slash", "odd\n");
  write(`${long("d", 90)}/${long("f", 60)}`, "prefix field\n");
  write(`${long("e", 60)}/${long("g", 150)}`, "pax path\n");
  write(`${long("h", 120)}/${long("i", 50)}/${long("j", 99)}/file`, "far\n");
  write("umlaut-ü-漢.txt", "utf-8\n");
  symlinkSync("plain.txt", join(path, "link"));
  symlinkSync(long("t", 130), join(path, "long-link"));
  write("secret/inner.txt", "not for you\n");
  write("docs/draft.md", "draft\n");
  write("docs/kept.md", "kept\n");
  write("docs/deep/draft.md", "kept too? no\n");
  write("windows/a.bat", "echo 1\necho 2\n");
  write("windows/mixed.bat", "echo 1\r\necho 2\n");
  write("windows/auto.txt", "a\nb\n");
  write("windows/auto.bin", Buffer.from("a\nb\0c\n"));
  write("ident.c", "/* $Id$ */\n/* $Id: old $ */\n/* $Id: not ours $ */\n");
  write("all-ignored/x", "x\n");
  write("quoted name", "q\n");
  write("macro.x", "m\n");
  write("not-text.txt", "looks like text\n");
  write("is-text.bin", Buffer.from("a\0b"));
  write(
    ".gitattributes",
    [
      "# comment",
      "[attr]gone export-ignore",
      "/secret export-ignore",
      "draft.md export-ignore",
      "*.bat text eol=crlf",
      "windows/auto.* text=auto eol=crlf",
      "*.c ident",
      "all-ignored/** export-ignore",
      '"quoted name" export-ignore',
      "*.x gone",
      "not-text.txt -diff",
      "is-text.bin diff",
      "plain.txt export-ignore",
      "plain.txt !export-ignore",
      "only-dir/ export-ignore",
    ].join("\n"),
  );
  write("docs/.gitattributes", "deep/draft.md -export-ignore\n");
  write("only-dir", "a file, not a directory\n");
  await git.run("add", "-A");
  await git.run(
    "update-index",
    "--add",
    "--cacheinfo",
    `160000,${long("ab", format === "sha1" ? 20 : 32)},module`,
  );
  await git.run("commit", "-q", "-m", "First");
  await git.run("tag", "-a", "-m", "v1", "v1");
  return path;
}

interface Ask {
  readonly format: ArchiveFormat;
  readonly treeish?: string;
  readonly prefix?: string;
  readonly paths?: readonly string[];
  readonly level?: number;
  readonly limits?: typeof LIMITS;
}

function byGit(path: string, { format, treeish = "HEAD", prefix, paths = [], level }: Ask): Buffer {
  const args = [
    "archive",
    `--format=${format}`,
    ...(prefix === undefined ? [] : [`--prefix=${prefix}`]),
    ...(level === undefined ? [] : [`-${level}`]),
    treeish,
    "--",
    ...paths,
  ];
  return execFileSync("git", args, { cwd: path, maxBuffer: 1 << 28 });
}

async function byUs(path: string, ask: Ask): Promise<Buffer> {
  const { format, treeish = "HEAD", prefix = "", paths = [], level, limits = LIMITS } = ask;
  const git = createGitClient(path);
  const tree = await git.run("rev-parse", `${treeish}^{tree}`);
  const commit = await git.try("rev-parse", "--verify", "-q", `${treeish}^{commit}`);
  const isCommit = commit.status === 0;
  const repository = await openDiskRepositoryAt(path);
  const snapshot = await repository.snapshot();
  try {
    const chunks: Uint8Array[] = [];
    const stream = writeArchive({
      objects: snapshot.objects,
      tree,
      prefix: Buffer.from(prefix).toString("latin1"),
      selection: parsePathSelection(paths.map((each) => Buffer.from(each).toString("latin1"))),
      limits,
      signal: new AbortController().signal,
      format,
      level,
      origin: { commit: isCommit ? commit.stdout.trim() : undefined, modifiedSeconds: 1_700_000_000 },
    });
    for await (const chunk of stream) chunks.push(chunk);
    return Buffer.concat(chunks);
  } finally {
    snapshot.release();
    await repository.close();
  }
}

function expectSame(ours: Buffer, theirs: Buffer): void {
  const file = join(directory, "ours.tar");
  if (!ours.equals(theirs)) {
    writeFileSync(file, ours);
    const listed = spawnSync("tar", ["-tvf", file], { encoding: "utf8" });
    writeFileSync(file, theirs);
    const wanted = spawnSync("tar", ["-tvf", file], { encoding: "utf8" });
    expect(listed.stdout + listed.stderr).toBe(wanted.stdout + wanted.stderr);
  }
  expect(ours.equals(theirs)).toBe(true);
}

/** Names, kinds, modes and contents of what unzip makes of it. */
function unzipped(bytes: Buffer): unknown {
  const file = join(directory, "one.zip");
  writeFileSync(file, bytes);
  const script = [
    "import sys, zipfile, hashlib, json",
    "z = zipfile.ZipFile(sys.argv[1])",
    "assert z.testzip() is None",
    "print(json.dumps([z.comment.decode()] + [[i.filename, i.date_time, i.external_attr, i.internal_attr, i.create_system,",
    " i.flag_bits, i.file_size, i.extra.hex(), hashlib.sha1(z.read(i)).hexdigest()] for i in z.infolist()]))",
  ].join("\n");
  return JSON.parse(execFileSync("python3", ["-c", script, file], { encoding: "utf8" }));
}

describe.each(["sha1", "sha256"] as const)("an archive of a %s repository", (format) => {
  let path: string;
  beforeAll(async () => {
    path = await makeRepository(`repository-${format}`, format);
  });

  it.each<Omit<Ask, "format">>([
    {},
    { treeish: "v1", prefix: "release-1.0/" },
    { prefix: "pre" },
    { prefix: "a/b//" },
    { prefix: `${long("p", 95)}/` },
    { paths: ["dir"] },
    { paths: ["dir/deeper/file", "./docs/"] },
    { paths: ["*.bat", "module/"] },
    { paths: [":(glob)*.txt"] },
    { paths: [".", ":!dir", ":(exclude)windows/*"] },
    { paths: ["umlaut-ü-漢.txt"] },
    { paths: [`${long("h", 120)}`] },
  ])("is the same tar, with %o", async (ask) => {
    expectSame(await byUs(path, { format: "tar", ...ask }), byGit(path, { format: "tar", ...ask }));
  });

  it("is the same tar.gz once it is unpacked, at every level", async () => {
    const tar = byGit(path, { format: "tar" });
    for (const level of [undefined, 0, 1, 9]) {
      const packed = await byUs(path, { format: "tar.gz", ...(level === undefined ? {} : { level }) });
      const file = join(directory, "one.tar.gz");
      writeFileSync(file, packed);
      expectSame(execFileSync("gzip", ["-dc", file], { maxBuffer: 1 << 28 }), tar);
      if (level !== 0) expect(packed.length).toBeLessThan(tar.length / 2);
    }
  });

  it("is the same zip, at every level", async () => {
    for (const level of [undefined, 0, 9]) {
      const ask: Ask = { format: "zip", prefix: "x/", ...(level === undefined ? {} : { level }) };
      expect(unzipped(await byUs(path, ask))).toEqual(unzipped(byGit(path, ask)));
    }
  });
});

it("numbers more files in a zip than sixteen bits can", async () => {
  const path = join(directory, "many");
  mkdirSync(path);
  const git = createGitClient(path);
  await git.run("init", "-q", "-b", "main");
  const makeTree = async (rows: readonly string[]): Promise<string> =>
    (await git.tryWith({ input: `${rows.join("\n")}\n` }, "mktree")).stdout.trim();
  const blob = (await git.tryWith({ input: "" }, "hash-object", "-w", "--stdin")).stdout.trim();
  const files = Array.from({ length: 1000 }, (_, i) => `100644 blob ${blob}\tf${String(i).padStart(3, "0")}`);
  const inner = await makeTree(files);
  const tree = await makeTree(
    Array.from({ length: 70 }, (_, i) => `040000 tree ${inner}\td${String(i).padStart(2, "0")}`),
  );
  await git.run("update-ref", "refs/heads/main", await git.run("commit-tree", "-m", "Many", tree));
  await git.run("repack", "-adq");
  const ask: Ask = { format: "zip", treeish: "main" };
  expect((await byUs(path, ask)).equals(byGit(path, ask))).toBe(true);
});

it("ends at its limits", async () => {
  const path = join(directory, "small");
  mkdirSync(path);
  const git = createGitClient(path);
  await git.run("init", "-q", "-b", "main");
  for (const name of ["a", "b", "c"]) writeFileSync(join(path, name), "12345");
  await git.run("add", "-A");
  await git.run("commit", "-q", "-m", "First");
  const archive = (archiveEntriesMax: number, archiveSizeBytesMax: number): Promise<Buffer> =>
    byUs(path, { format: "tar", limits: { ...LIMITS, archiveEntriesMax, archiveSizeBytesMax } });
  await expect(archive(3, 15)).resolves.toHaveLength(10_240);
  await expect(archive(2, 15)).rejects.toThrow(/more entries than.*archiveEntriesMax/);
  for (const name of ["d/x", "d/y", "e/x", "e/y"]) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), "");
  }
  await git.run("add", "-A");
  await git.run("commit", "-q", "-m", "Second");
  await expect(archive(9, 15)).resolves.toHaveLength(10_240);
  await expect(archive(8, 15)).rejects.toThrow(/more than 8 entries.*archiveEntriesMax/);
  await expect(archive(9, 14)).rejects.toThrow(/more than 14 bytes.*archiveSizeBytesMax/);
});

it.each([
  ["../x"],
  ["/x"],
  [":(icase)x"],
  [":(attr:x)y"],
  [":(glob"],
  [""],
  [":(glob,literal)x"],
  [":(glob"],
])("does not take the pathspec %s", (spec) => {
  expect(() => parsePathSelection([spec])).toThrow(expect.objectContaining({ code: "protocol/bad-request" }));
});

it("does not take pathspecs that are long together", () => {
  const specs = ["a", "b"].map((letter) => letter.repeat(8192));
  expect(() => parsePathSelection(specs)).not.toThrow();
  expect(() => parsePathSelection([...specs, "c"])).toThrow(/more than 16384 characters/);
});
