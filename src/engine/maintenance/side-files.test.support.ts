/** Bare repositories with histories of many shapes, made by git, and their packs opened by us. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemoryRange } from "../../base/byte-range.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { Pack } from "../../pack/pack.js";
import { PackIndex } from "../../pack/pack-index.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { createObjectDatabase } from "../../storage/object-database.js";

export interface MadeRepository {
  readonly directory: string;
  git(input: string, ...args: readonly string[]): string;
  /** The one pack's file with an ending. */
  file(ending: string): Buffer;
  pathOf(ending: string): string;
  openPack(): { readonly pack: Pack; readonly objects: ObjectReader };
}

export function sharedBytes(bytes: Uint8Array): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

/** Remove its directory. */
export function makeRepository(format: ObjectFormat): MadeRepository {
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-side-files-"));
  execFileSync("git", ["init", "-q", "--bare", `--object-format=${format}`, directory]);
  const packs = join(directory, "objects/pack");
  const git: MadeRepository["git"] = (input, ...args) =>
    execFileSync("git", ["-C", directory, ...args], {
      input,
      maxBuffer: 1 << 28,
      stdio: ["pipe", "pipe", "pipe"],
      env: { PATH: process.env["PATH"], HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1", LANG: "C" },
    })
      .toString()
      .trim();
  const pathOf = (ending: string): string =>
    join(packs, readdirSync(packs).find((name) => name.endsWith(ending)) ?? `no${ending}`);
  const file = (ending: string): Buffer => readFileSync(pathOf(ending));
  return {
    directory,
    git,
    pathOf,
    file,
    openPack() {
      const index = PackIndex.parse(sharedBytes(file(".idx")), format);
      const pack = new Pack({
        key: `${directory} ${index.packTrailer}`,
        index,
        bytes: new MemoryRange(sharedBytes(file(".pack"))),
      });
      return { pack, objects: createObjectDatabase({ objectFormat: format, packs: [pack] }) };
    },
  };
}

/**
 * Branches that fork and merge, an octopus, directories within directories, files that move between them, equal files under
 * many names, a submodule, and tags of tags, of trees and of blobs. Dates go back now and then.
 */
export function importHistory({ git }: MadeRepository, format: ObjectFormat, commitCount: number): void {
  const hex = format === "sha1" ? 40 : 64;
  let state = 4711;
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const lines: string[] = [];
  for (let mark = 1; mark <= commitCount; mark++) {
    const branch = mark < 20 ? 0 : random(6);
    const date = 1_600_000_000 + mark * 60 - random(10) * random(2000);
    lines.push(`commit refs/heads/b${branch}\nmark :${mark}\ncommitter A <a@b> ${date} +0000\ndata 1\nm`);
    if (mark === 1) lines.push("deleteall");
    else lines.push(`from :${Math.max(1, mark - 1 - (mark < 20 ? 0 : random(12)))}`);
    if (mark > 40 && random(4) === 0) lines.push(`merge :${mark - 14 - random(20)}`);
    if (mark > 60 && mark % 97 === 0) for (let i = 30; i < 36; i++) lines.push(`merge :${mark - i}`);
    const files = mark === 1 ? 300 : 1 + random(4);
    for (let i = 0; i < files; i++) {
      const n = mark === 1 ? i : random(400);
      const content = `${random(3) === 0 ? "same" : `${mark} ${n} ${random(1000)}`}\n`;
      lines.push(`M 100644 inline ${pathOf(n)}\ndata ${content.length}\n${content}`);
    }
    if (mark % 31 === 0)
      lines.push(`R ${pathOf(1)} moved/${mark}/again`, `M 100644 inline ${pathOf(1)}\ndata 1\nx`);
    if (mark % 50 === 7) lines.push(`M 160000 ${String(mark).padStart(hex, "0")} sub module`);
    if (mark % 40 === 9) lines.push("D dir 1");
    if (mark % 60 === 11) lines.push("C dir2 copied");
  }
  git(`${lines.join("\n")}\n`, "fast-import", "--quiet", "--force", "--date-format=raw-permissive");
  const head = git("", "rev-parse", "b0");
  const tag = (name: string, object: string, type: string): void => {
    const text = `object ${object}\ntype ${type}\ntag ${name}\ntagger A <a@b> 1600000000 +0000\n\nm\n`;
    git("", "update-ref", `refs/tags/${name}`, git(text, "hash-object", "-t", "tag", "-w", "--stdin"));
  };
  tag("one", head, "commit");
  tag("two", git("", "rev-parse", "refs/tags/one"), "tag");
  tag("three", git("", "rev-parse", "refs/tags/two"), "tag");
  tag("tree", git("", "rev-parse", "b1^{tree}"), "tree");
  tag("blob", git("alone", "hash-object", "-w", "--stdin"), "blob");
  git("", "symbolic-ref", "HEAD", "refs/heads/b0");
}

function pathOf(n: number): string {
  if (n % 5 === 0) return `top-level-file-with-a-long-name-${n}`;
  return `dir${n % 3 === 0 ? " " : ""}${n % 3}/sub${n % 7}/${n % 2 === 0 ? "f" : "file-of-sub-directory-"}${n}`;
}

export function tipsOf({ git }: Pick<MadeRepository, "git">): string[] {
  return git("", "for-each-ref", "--format=%(objectname)")
    .split("\n")
    .filter((oid) => oid !== "");
}
