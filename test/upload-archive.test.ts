/** git archive --remote: over standard input and output with the real client, and raw requests to the service. */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { ByteSink } from "../src/base/byte-streams.js";
import { GitwharfError } from "../src/base/errors.js";
import { DEFAULT_LIMITS, type Limits } from "../src/base/limits.js";
import { createFormatSubstitution } from "../src/engine/archive/format-substitution.js";
import { serveUploadArchive } from "../src/protocol/upload-archive/serve-upload-archive.js";
import { createGitServer } from "../src/server/git-server.js";
import type { ObjectReader } from "../src/storage/contracts/object-reader.js";
import { openDiskRepositoryAt } from "../src/storage/disk/disk-repository-store.js";
import { createGitClient, type GitClient } from "./support/git-client.js";
import { createSshClient } from "./support/ssh-client.js";
import { pktLine } from "./support/raw-http.js";

const COMMAND = `${process.execPath} ${fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url))} upload-archive`;

let directory: string;
let path: string;
let git: GitClient;
let commit: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-upload-archive-"));
  path = join(directory, "app");
  mkdirSync(join(path, "docs"), { recursive: true });
  git = createGitClient(path);
  await git.run("init", "-q", "-b", "main");
  writeFileSync(join(path, "a.txt"), "a\n");
  writeFileSync(join(path, "docs/b.txt"), "b\n");
  writeFileSync(join(path, "docs/ü.txt"), "u\n");
  await git.run("add", "-A");
  await git.run("commit", "-q", "-m", "First");
  await git.run("tag", "-a", "-m", "v1", "v1");
  await git.run("update-ref", "refs/hidden/x", "HEAD");
  await git.run("config", "transfer.hideRefs", "refs/hidden");
  await git.run("commit", "-q", "--allow-empty", "-m", "Second");
  commit = await git.run("rev-parse", "HEAD");
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const argument = (text: string): string => pktLine(`argument ${text}\n`);

/** @returns everything that the service writes, and what it says went wrong */
async function serve(
  request: Buffer | string,
  limits: Partial<Limits> = {},
  signal = new AbortController().signal,
): Promise<{ readonly answer: string; readonly failure: unknown }> {
  const repository = await openDiskRepositoryAt(path);
  const chunks: Uint8Array[] = [];
  async function* input(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(request);
  }
  try {
    const { failure } = await serveUploadArchive(
      { repository, settings: await repository.settings(), limits: { ...DEFAULT_LIMITS, ...limits }, signal },
      { input: input(), output: { write: (...more) => void chunks.push(...more) } },
    );
    return { answer: Buffer.concat(chunks).toString("latin1"), failure };
  } finally {
    await repository.close();
  }
}

describe("git archive --remote over standard input and output", () => {
  const remote = (...args: readonly string[]) =>
    git.try("archive", `--remote=${path}`, `--exec=${COMMAND}`, ...args);

  it("gives what git gives", async () => {
    for (const args of [
      ["HEAD"],
      ["--prefix=x/", "v1", "docs"],
      ["--format=zip", "main", "--", "docs/ü.txt"],
      ["--format=tar", "refs/tags/v1"],
    ]) {
      expect((await remote("-o", join(directory, "ours"), ...args)).stderr).toBe("");
      await git.run("archive", "-o", join(directory, "theirs"), ...args);
      expect(readFileSync(join(directory, "ours")).equals(readFileSync(join(directory, "theirs")))).toBe(
        true,
      );
    }
    // A directory of a commit is of no commit: git takes the time of now.
    expect((await remote("-o", join(directory, "ours.tar"), "main:docs")).status).toBe(0);
    const listed = spawnSync("tar", ["-tf", join(directory, "ours.tar")], { encoding: "utf8" });
    expect(listed.stdout).toContain("b.txt\n");
    expect((await remote("-o", join(directory, "ours.tgz"), "main")).status).toBe(0);
    expect(readFileSync(join(directory, "ours.tgz")).subarray(0, 2).toString("hex")).toBe("1f8b");
  });

  it("lists the formats and the files, as git does", async () => {
    expect((await remote("--list")).stdout).toBe(
      (await git.try("archive", `--remote=${path}`, "--list")).stdout,
    );
    expect(
      (await remote("-v", "--format=tar", "-o", "/dev/null", "main")).stderr.replaceAll(/ +$/gm, ""),
    ).toBe("remote: a.txt\nremote: docs/\nremote: docs/b.txt\nremote: docs/ü.txt\n");
  });

  it.each([
    [["nope"], "no such ref: nope"],
    [["main", "nope"], "pathspec 'nope' did not match any files"],
    [["main:nope"], "not a valid object name: main:nope"],
    [["main:a.txt"], "not a tree object"],
    [["main~1"], "no such ref: main~1"],
    [["refs/hidden/x"], "no such ref: refs/hidden/x"],
    [["hidden/x"], "no such ref: hidden/x"],
    [["--format=rar", "main"], "Unknown archive format 'rar'"],
    [["--format=tar", "-9", "main"], "Argument not supported for format 'tar': -9"],
    [["--worktree-attributes", "main"], "not taken from afar"],
    [["--add-file=/etc/passwd", "main"], "not taken from afar"],
    [["--prefix"], "requires a value"],
    [["--wrong", "main"], "unknown option 'wrong'"],
  ])("refuses %j", async (args, why) => {
    const { status, stderr } = await remote(...args);
    expect(stderr).toContain(why);
    expect(status).not.toBe(0);
  });

  it("gives objects by their ids only where the repository says so", async () => {
    const blob = await git.run("rev-parse", "HEAD:a.txt");
    expect((await remote(commit)).stderr).toContain(`no such ref: ${commit}`);
    await git.run("config", "uploadarchive.allowUnreachable", "true");
    expect((await remote(commit)).status).toBe(0);
    expect((await remote(`${commit}:docs`)).status).toBe(0);
    expect((await remote(blob)).stderr).toContain("not a tree object");
    expect((await remote("0".repeat(40))).stderr).toContain("not a valid object name");
    await git.run("config", "--unset", "uploadarchive.allowUnreachable");
  });
});

describe("$Format:…$ in files with export-subst", () => {
  let formats: string;
  let client: GitClient;
  const FORMATS = [
    ..."HTPhtpdDsBn".split("").map((letter) => `%${letter}`),
    ...["an", "ae", "al", "at", "ad", "aD", "ai", "aI", "as", "cn", "ce", "ct", "ci", "cI", "%", "x41"].map(
      (word) => `%${word}`,
    ),
    "%h (%ci) by %an%n%s",
    "100%% of %H",
    "",
    "two\nlines %h",
  ];
  beforeAll(async () => {
    formats = join(directory, "formats");
    mkdirSync(formats);
    client = createGitClient(formats);
    await client.run("init", "-q", "-b", "main");
    writeFileSync(join(formats, ".gitattributes"), "version* export-subst\n");
    const lines = FORMATS.map((format) => `${format}: [$Format:${format}$]\n`).join("");
    writeFileSync(join(formats, "version"), `${lines}$Format: $Format:%h$ and $Format:%H`);
    writeFileSync(join(formats, "untouched"), "$Format:%H$\n");
    await client.run("add", "-A");
    await client.run(
      "commit",
      "-q",
      "-m",
      "Über\nzwei\n\nBody\n\n  more\n",
      "--author=Zoë <zoe@example.org>",
    );
    await client.run("tag", "-a", "-m", "v1", "v1");
    await client.run("tag", "light");
    await client.run("branch", "other");
    await client.run("update-ref", "refs/remotes/origin/main", "HEAD");
    await client.run("commit", "-q", "--allow-empty", "-m", "Second", "--date=1700000000 -0330");
    await client.run("branch", "also");
    await client.run("merge", "-q", "--no-ff", "-m", "Merge", "other", "--allow-unrelated-histories");
  });

  it.each(["main", "v1", "also"])("says of %s what git says", async (ref) => {
    for (const turn of ["loose", "packed"]) {
      const ours = join(directory, `formats-${turn}.tar`);
      await client.run("archive", `--remote=${formats}`, `--exec=${COMMAND}`, "-o", ours, ref);
      await client.run("archive", "-o", join(directory, "theirs.tar"), ref);
      const text = (file: string): string =>
        spawnSync("tar", ["-xOf", file, "version", "untouched"], { encoding: "utf8" }).stdout;
      expect(text(ours)).toBe(text(join(directory, "theirs.tar")));
      expect(text(ours)).toContain(`%H: [${await client.run("rev-parse", `${ref}^{commit}`)}]`);
      await client.run("repack", "-adq");
    }
  });

  it("leaves what it does not know, and what would grow without bound", async () => {
    const substitution = createFormatSubstitution({
      objects: {
        packs: [],
        read: () => ({
          type: "commit",
          data: Buffer.from(
            `tree ${"a".repeat(40)}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\n${"m".repeat(100_000)}`,
          ),
        }),
      } as unknown as ObjectReader,
      commit: "b".repeat(40),
      decorations: async () => [],
    });
    const apply = async (text: string): Promise<string> =>
      (await substitution.apply(Buffer.from(text))).toString();
    for (const text of [
      "$Format:%(describe)$",
      "$Format:%<(10)%H$",
      "$Format:%C(red)x$",
      "$Format:%G?$",
      "$Format:%",
    ])
      expect(await apply(text)).toBe(text);
    expect(await apply("$Format:%T$")).toBe("a".repeat(40));
    const bomb = "$Format:%B$".repeat(900);
    expect(await apply(bomb)).toBe(bomb);
    const inside = `$Format:${"%B".repeat(900)}$`;
    expect(await apply(inside)).toBe(inside);
  });
});

describe("a large archive", () => {
  let large: string;
  beforeAll(async () => {
    large = join(directory, "large");
    mkdirSync(large);
    const client = createGitClient(large);
    await client.run("init", "-q", "-b", "main");
    for (let i = 0; i < 40; i++) writeFileSync(join(large, `f${i}`), randomBytes(1 << 20));
    await client.run("add", "-A");
    await client.run("commit", "-q", "-m", "Large");
  });

  it.each(["tar", "tgz", "zip"])("waits for who reads it, as %s, and ends with him", async (format) => {
    const repository = await openDiskRepositoryAt(large);
    const left = new AbortController();
    let written = 0;
    let writes = 0;
    async function* input(): AsyncGenerator<Uint8Array> {
      yield Buffer.from(`${argument(`--format=${format}`)}${argument("main")}0000`);
    }
    const { promise: stalled, resolve: stall } = withResolvers();
    const output: ByteSink = {
      write(...chunks) {
        for (const chunk of chunks) written += chunk.length;
        if (++writes < 5) return undefined;
        stall();
        return new Promise((_, reject) => {
          left.signal.addEventListener("abort", () => reject(new GitwharfError("base/aborted", "gone")));
        });
      },
    };
    const settings = await repository.settings();
    const served = serveUploadArchive(
      { repository, settings, limits: DEFAULT_LIMITS, signal: left.signal },
      { input: input(), output },
    );
    const ended = expect(served).rejects.toMatchObject({ code: "base/aborted" });
    await stalled;
    left.abort();
    await ended;
    // Of forty megabytes no more than what was asked for had been made.
    expect(written).toBeLessThan(10 << 20);
    await repository.close();
  });
});

function withResolvers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}

it("git archive --remote works over SSH", async () => {
  const server = createGitServer({
    repositories: directory,
    sshServer: { hostKeyDirectory: inject("hostKeyDirectory") },
  });
  try {
    await git.run("clone", "-q", "--bare", path, join(directory, "app.git"));
    const { ssh } = await server.listen({ http: 0, ssh: 0 });
    const { environment: env } = createSshClient({ directory, port: ssh?.port ?? 0 });
    const remote = (...args: readonly string[]): ReturnType<GitClient["try"]> =>
      git.tryWith({ env }, "archive", `--remote=ssh://git@127.0.0.1:${ssh?.port}/app`, ...args);
    expect(await remote("-o", join(directory, "ssh.zip"), "main")).toMatchObject({ status: 0, stderr: "" });
    await git.run("archive", "-o", join(directory, "local.zip"), "main");
    expect(readFileSync(join(directory, "ssh.zip")).equals(readFileSync(join(directory, "local.zip")))).toBe(
      true,
    );
    expect(await remote("nope")).toMatchObject({
      status: 128,
      stderr: "fatal: git archive: NACK no such ref: nope\n",
    });
  } finally {
    await server.close({ graceMs: 0 });
  }
});

describe("a raw request", () => {
  const request =
    argument("--format=zip") + argument("--prefix=x/") + argument("main") + argument("docs") + "0000";

  it("that ends anywhere is answered, or was empty", async () => {
    for (let length = 0; length < request.length; length++) {
      const { answer, failure } = await serve(request.slice(0, length));
      expect(answer).toMatch(/^[0-9a-f]{4}NACK the request ends/);
      expect(failure).toMatchObject({ kind: "peer" });
    }
    expect((await serve(request)).answer.slice(0, 12)).toBe("0008ACK\n0000");
  });

  it.each([
    ["0000", "names no tree-ish"],
    ["0001", "'argument' token or flush expected"],
    ["zzzz", "bad line length"],
    [pktLine("command=ls-refs\n"), "'argument' token"],
    [`${argument("a\0b")}0000`, "contains NUL"],
    [`${argument("-x")}0000`, "unknown switch"],
    [`${argument("--o")}${argument("y")}0000`, "names no tree-ish"],
    [`${argument("--")}0000`, "names no tree-ish"],
    [`${argument("--list")}${argument("main")}0000`, "extra command line parameter"],
    [`${argument("main")}${argument("")}0000`, "empty string is not a valid pathspec"],
    [`${argument("--list=x")}0000`, "takes no value"],
    [argument("x").repeat(65), "too many options"],
  ])("of %j is refused", async (bytes, why) => {
    const { answer } = await serve(bytes);
    expect(answer).toContain("NACK ");
    expect(answer).toContain(why);
  });

  it("that is too long is refused", async () => {
    const { answer } = await serve(argument("x".repeat(1000)).repeat(20), { requestBytesMax: 10_000 });
    expect(answer).toContain("requestBytesMax");
  });

  it("whose archive reaches a limit ends on band 3", async () => {
    const { answer, failure } = await serve(`${argument("main")}0000`, { archiveEntriesMax: 2 });
    expect(answer).toMatch(/\x03fatal: the trees on one path have more entries.*\n$/);
    expect(failure).toMatchObject({ code: "base/limit-exceeded" });
  });

  it.each(["tar", "tgz", "zip"])("whose %s breaks off says so, and holds nothing", async (format) => {
    const request = `${argument(`--format=${format}`)}${argument("main")}0000`;
    const { answer, failure } = await serve(request, { archiveSizeBytesMax: 3 });
    expect(answer).toMatch(/\x03fatal: the archive has more than 3 bytes.*\n$/);
    expect(failure).toMatchObject({ code: "base/limit-exceeded" });
  });

  it("takes no file that is larger than an object may be", async () => {
    writeFileSync(join(path, "large"), "x".repeat(1000));
    await git.run("add", "large");
    const tree = await git.run("write-tree");
    await git.run("rm", "-q", "--cached", "large");
    await git.run("update-ref", "refs/tags/large", await git.run("commit-tree", "-m", "large", tree));
    const request = `${argument("large")}0000`;
    const whole = await serve(request, { objectSizeBytesMax: 1000 });
    expect(whole).toMatchObject({ answer: expect.stringContaining("x".repeat(512)), failure: undefined });
    const { answer, failure } = await serve(request, { objectSizeBytesMax: 999 });
    expect(answer).toMatch(/\x03fatal: the file 'large' has more than 999 bytes.*objectSizeBytesMax/);
    expect(failure).toMatchObject({ code: "base/limit-exceeded" });
  });

  it("is given up when the client leaves", async () => {
    const left = AbortSignal.abort();
    await expect(serve(`${argument("main")}0000`, {}, left)).rejects.toMatchObject({ code: "base/aborted" });
  });
});
