/**
 * For tests: histories of every shape, made with `git fast-import` from a seed, and what git says of them.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";

export interface TestDirectory {
  readonly path: string;
  git(args: readonly string[], input?: string | Buffer): string;
  remove(): void;
}

const ENVIRONMENT = {
  ...process.env,
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_AUTHOR_NAME: "A",
  GIT_AUTHOR_EMAIL: "a@example.org",
  GIT_COMMITTER_NAME: "C",
  GIT_COMMITTER_EMAIL: "c@example.org",
};

export function createTestRepository(objectFormat: ObjectFormat = "sha1"): TestDirectory {
  const path = mkdtempSync(join(tmpdir(), "gitwharf-fetch-"));
  const git = (args: readonly string[], input?: string | Buffer): string =>
    execFileSync("git", ["--git-dir", path, ...args], {
      env: ENVIRONMENT,
      maxBuffer: 1 << 28,
      stdio: ["pipe", "pipe", "pipe"],
      ...(input === undefined ? {} : { input }),
    }).toString("latin1");
  execFileSync("git", ["init", "-q", "--bare", `--object-format=${objectFormat}`, path], {
    env: ENVIRONMENT,
  });
  appendFileSync(join(path, "config"), "[uploadpack]\n\tallowAnySHA1InWant = true\n\tallowFilter = true\n");
  return { path, git, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Numbers in [0, below), the same for the same seed. */
export function createRandom(seed: number): (below: number) => number {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

export interface HistoryOptions {
  readonly seed: number;
  readonly commits: number;
  /** Commit dates run backwards now and then. */
  readonly wrongClocks?: boolean;
  readonly gitlinks?: boolean;
}

/**
 * Branches, merges, octopus merges, criss-cross, several roots, renames, reverts, removals, copies, modes, links,
 * tags of commits, of tags, of blobs and trees. Refs: `refs/heads/b<seed>-<n>`, `refs/tags/…`.
 */
export function importHistory(repository: TestDirectory, options: HistoryOptions): readonly ObjectId[] {
  const random = createRandom(options.seed);
  const lines: string[] = [];
  const text = (n: number): string =>
    `${Array.from({ length: 3 + random(40) }, (_, i) => `line ${(n * 31 + i * i) % 997} ${i}`).join("\n")}\n`;
  const directories = ["", "a/", "a/b/", "a/b/c/", "d/", "d/e/", "f/"];
  const anyPath = (): string => `${directories[random(directories.length)] ?? ""}file${random(6)}`;
  const data = (content: string): void => {
    lines.push(`data ${Buffer.byteLength(content)}`, content);
  };
  const tips: number[] = [];
  let date = 1_500_000_000;
  const format = repository.git(["rev-parse", "--show-object-format"]).trim();
  const gitlink = (n: number): string => n.toString(16).padStart(format === "sha1" ? 40 : 64, "5");
  for (let n = 1; n <= options.commits; n++) {
    const isRoot = n === 1 || random(25) === 0;
    date += options.wrongClocks === true && random(5) === 0 ? -random(50_000) : random(2000);
    // Every commit is on a branch of its own: `from` and `merge` name marks.
    lines.push(
      `commit refs/heads/b${options.seed}-${n}`,
      `mark :${n}`,
      `committer C <c@example.org> ${date} +0000`,
    );
    data(`commit ${n}\n`);
    if (!isRoot) {
      const near = (): number => Math.max(1, n - 1 - random(random(3) === 0 ? n : 5));
      const parents = new Set([near()]);
      if (random(3) === 0) parents.add(near());
      if (random(12) === 0) for (let i = 0; i < 3; i++) parents.add(near());
      for (const [i, parent] of [...parents].entries())
        lines.push(`${i === 0 ? "from" : "merge"} :${parent}`);
    }
    for (let edit = random(4); edit >= 0; edit--) {
      const kind = random(14);
      const path = anyPath();
      if (kind < 7) {
        lines.push(`M ${random(8) === 0 ? "100755" : "100644"} inline ${path}`);
        // Few distinct contents: reverts and equal blobs at several paths happen.
        data(text(random(3) === 0 ? random(20) : n * 7 + edit));
      } else if (kind === 7) {
        lines.push(`M 120000 inline ${path}`);
        data(`target${random(5)}`);
      } else if (kind === 8 && options.gitlinks !== false)
        lines.push(`M 160000 ${gitlink(random(9))} d/sub${random(3)}`);
      else if (kind === 9) lines.push(`D ${path}`);
      else if (kind === 10)
        lines.push(`D ${directories[1 + random(directories.length - 1)]?.slice(0, -1) ?? "a"}`);
      else {
        lines.push(`M 100644 inline ${path}.big`);
        data(text(n).repeat(8));
      }
    }
    tips.push(n);
  }
  lines.push("done", "");
  repository.git(["fast-import", "--quiet", "--done", "--force"], lines.join("\n"));
  const commits = repository
    .git(["for-each-ref", "--format=%(objectname)", "refs/heads/"])
    .trim()
    .split("\n");
  const order = new Map(commits.map((oid) => [oid, oid]));
  const byNumber = tips
    .map((n) => repository.git(["rev-parse", `refs/heads/b${options.seed}-${n}`]).trim())
    .filter((oid) => order.has(oid));
  for (let i = 0; i < 4; i++) {
    const oid = byNumber[random(byNumber.length)] as string;
    repository.git(["tag", "-f", "-m", `tag ${i}`, `t${i}`, oid]);
    repository.git(["tag", "-f", "-m", `tag of tag ${i}`, `tt${i}`, `t${i}`]);
    repository.git(["tag", "-f", `light${i}`, oid]);
  }
  repository.git(["tag", "-f", "-m", "tree", "tree", `${byNumber.at(-1)}^{tree}`]);
  return byNumber;
}

/** `git rev-list --objects`: without paths. */
export function revList(repository: TestDirectory, args: readonly string[]): Set<ObjectId> {
  const out = repository.git(["rev-list", "--objects", ...args]);
  return new Set(
    out
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.replace(/^[-~]/, "").split(" ")[0] as string),
  );
}
