/** Repositories to measure on: a generated history, refs in numbers, and packs to push. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export function git(directory: string, ...args: readonly string[]): string {
  return execFileSync("git", ["-C", directory, ...args], { encoding: "utf8", maxBuffer: 1 << 30 }).trim();
}

/** A bare repository of `commits` commits over about `commits / 4` files; the same bytes every time. */
export function makeGeneratedRepository(path: string, commits: number): void {
  if (existsSync(path)) return;
  mkdirSync(path, { recursive: true });
  execFileSync("git", ["init", "-q", "--bare", "-b", "main", path]);
  const files = Math.max(20, Math.floor(commits / 4));
  let seed = 42;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * below);
  };
  const contents = new Map<number, string[]>();
  const out: string[] = [];
  for (let i = 0; i < commits; i++) {
    const message = `Commit number ${i}\n`;
    out.push(
      `commit refs/heads/main\ncommitter A <a@example.org> ${1_500_000_000 + i * 600} +0000\ndata ${message.length}\n${message}`,
    );
    for (let k = 0; k < 3; k++) {
      const file = random(files);
      const lines =
        contents.get(file) ??
        Array.from({ length: 20 + random(200) }, () => `line ${random(1e9)} of ${file}`);
      lines[random(lines.length)] = `changed in ${i} to ${random(1e9)}`;
      contents.set(file, lines);
      const text = `${lines.join("\n")}\n`;
      out.push(
        `M 100644 inline dir${file % 37}/sub${file % 11}/file${file}.txt\ndata ${text.length}\n${text}`,
      );
    }
    out.push("\n");
  }
  const done = spawnSync("git", ["-C", path, "fast-import", "--quiet"], {
    input: out.join(""),
    maxBuffer: 1 << 30,
  });
  if (done.status !== 0) throw new Error(`fast-import failed: ${done.stderr.toString()}`);
  git(path, "-c", "repack.writeBitmaps=true", "repack", "-adq");
}

/** Makes `count` branches that point at recent commits, packed. */
export function addRefs(path: string, count: number): void {
  const commits = git(path, "rev-list", "--max-count=500", "HEAD").split("\n");
  const lines = Array.from(
    { length: count },
    (_, i) => `create refs/heads/topic/${i % 97}/branch-${i} ${commits[i % commits.length]}`,
  );
  const done = spawnSync("git", ["-C", path, "update-ref", "--stdin"], { input: `${lines.join("\n")}\n` });
  if (done.status !== 0) throw new Error(`update-ref failed: ${done.stderr.toString()}`);
  git(path, "pack-refs", "--all");
}

/** `copy` shares the packs of `path` (hard links): git and gitwharf never change a pack in place. */
export function copyRepository(path: string, copy: string): void {
  execFileSync("cp", ["-al", path, copy]);
}

/** The thin pack that a push of `to` over `from` carries (`from` undefined: everything). */
export function makePack(
  path: string,
  to: string,
  from: string | undefined,
  settings: readonly string[] = [],
): Buffer {
  const input = `${to}\n${from === undefined ? "" : `^${from}\n`}`;
  const done = spawnSync(
    "git",
    ["-C", path, ...settings, "pack-objects", "--revs", "--stdout", "--thin", "--delta-base-offset", "-q"],
    {
      input,
      maxBuffer: 2 ** 31 - 1,
    },
  );
  if (done.status !== 0) throw new Error(`pack-objects failed: ${done.stderr.toString()}`);
  return done.stdout;
}

/** A repository whose `main` stands `behind` commits before the end of `path`, with nothing newer in it. */
export function makeBehind(path: string, target: string, behind: number): void {
  if (existsSync(target)) return;
  execFileSync("git", ["init", "-q", "--bare", "-b", "main", target]);
  if (behind !== Number.POSITIVE_INFINITY) {
    git(
      target,
      "fetch",
      "-q",
      "--no-tags",
      path,
      `${git(path, "rev-parse", `HEAD~${behind}`)}:refs/heads/main`,
    );
    git(target, "repack", "-adq");
  }
  // What gc would leave: without it the first push to a copy pays for nothing that the other does not.
  writeFileSync(join(target, "description"), "bench\n");
}

/** Bytes of all packs of a bare repository. */
export function packBytes(path: string): number {
  const packs = join(path, "objects/pack");
  return readdirSync(packs)
    .filter((name) => name.endsWith(".pack"))
    .reduce((sum, name) => sum + statSync(join(packs, name)).size, 0);
}
