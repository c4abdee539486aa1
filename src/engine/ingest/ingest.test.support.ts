/**
 * For the tests of ingest and connectivity: real repositories and packs made by git, packs made by hand, and one way
 * to take them in.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteSource } from "../../base/byte-streams.js";
import { DEFAULT_LIMITS } from "../../base/limits.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { hashObject, type ObjectId, type ObjectType } from "../../object/object-id.js";
import { formatDeltaEntry, formatEntry, formatPackHeader } from "../../pack/pack-writer.js";
import type { Quarantine } from "../../storage/contracts/quarantine.js";
import type { Repository } from "../../storage/contracts/repository.js";
import { ingestPack, type IngestRequest, type IngestResult } from "./ingest-pack.js";

const ENVIRONMENT: NodeJS.ProcessEnv = {
  PATH: process.env["PATH"],
  HOME: "/nonexistent",
  LANG: "C",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_AUTHOR_NAME: "Ada",
  GIT_AUTHOR_EMAIL: "ada@example.org",
  GIT_COMMITTER_NAME: "Ada",
  GIT_COMMITTER_EMAIL: "ada@example.org",
  GIT_AUTHOR_DATE: "1700000000 +0100",
  GIT_COMMITTER_DATE: "1700000000 +0100",
};

interface GitRun {
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

function tryGit(cwd: string, args: readonly string[], input?: string | Buffer): GitRun {
  const { status, stdout, stderr } = spawnSync("git", args, {
    cwd,
    env: ENVIRONMENT,
    input,
    maxBuffer: 1 << 30,
  });
  return { status, stdout, stderr: stderr.toString() };
}

export function git(cwd: string, args: readonly string[], input?: string | Buffer): Buffer {
  const run = tryGit(cwd, args, input);
  if (run.status !== 0) throw new Error(`git ${args.join(" ")}: ${run.stderr}`);
  return run.stdout;
}

export function gitText(cwd: string, args: readonly string[], input?: string | Buffer): string {
  return git(cwd, args, input).toString().trim();
}

export function makeDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "gitwharf-ingest-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** The same numbers in every run. */
export function createRandom(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A bare repository with a history of `commits` on main: many small changes in files and directories, some merges, a tag. */
export function createHistory(path: string, objectFormat: ObjectFormat, commits: number): void {
  git(tmpdir(), ["init", "-q", "--bare", `--object-format=${objectFormat}`, "-b", "main", path]);
  git(path, ["fast-import", "--quiet", "--date-format=raw"], historyStream(commits));
  git(path, ["-c", "repack.writeBitmaps=false", "repack", "-adq", "--depth=20"]);
}

function historyStream(commits: number): string {
  const random = createRandom(commits);
  const lines: string[] = [];
  const files = new Map<string, string[]>();
  const data = (text: string): string => `data ${Buffer.byteLength(text)}\n${text}`;
  for (let c = 1; c <= commits; c++) {
    const side = c % 7 === 3 && c > 4;
    lines.push(`commit refs/heads/${side ? "side" : "main"}`, `mark :${c}`);
    lines.push(
      `author Ada <ada@example.org> ${1700000000 + c} +0100`,
      `committer Ada <ada@example.org> ${1700000000 + c} +0100`,
    );
    lines.push(data(`change ${c}\n`));
    if (c > 1) lines.push(`from :${side ? c - 2 : c % 7 === 4 && c > 5 ? c - 2 : c - 1}`);
    if (c % 7 === 5 && c > 6) lines.push(`merge :${c - 2}`);
    for (let f = 0; f < 3; f++) {
      const name =
        random(5) === 0 || files.size < 4
          ? `dir${random(6)}/sub${random(3)}/file${random(40)}.txt`
          : [...files.keys()][random(files.size)];
      if (name === undefined) continue;
      const content =
        files.get(name) ?? Array.from({ length: 60 }, (_, i) => `${name} line ${i} ${random(1e9)}`);
      content[random(content.length)] = `changed in ${c}: ${random(1e9)}`;
      files.set(name, content);
      lines.push(`M 100644 inline ${name}`, data(`${content.join("\n")}\n`));
    }
  }
  lines.push(
    "tag v1",
    `from :${commits}`,
    "tagger Ada <ada@example.org> 1700000000 +0100",
    data("version 1\n"),
    "",
  );
  return lines.join("\n");
}

/** Content of objects by id. */
export function readObjects(
  path: string,
  oids: readonly ObjectId[],
): { readonly type: string; readonly data: Buffer }[] {
  const out = git(path, ["cat-file", "--batch"], `${oids.join("\n")}\n`);
  const objects: { type: string; data: Buffer }[] = [];
  for (let at = 0; at < out.length; ) {
    const end = out.indexOf(0x0a, at);
    const [, type = "", size = ""] = out.toString("latin1", at, end).split(" ");
    objects.push({ type, data: out.subarray(end + 1, end + 1 + Number(size)) });
    at = end + 2 + Number(size);
  }
  return objects;
}

/** `git pack-objects --stdout` of revisions (`main`, `^old` …). */
export function packRevisions(
  path: string,
  revisions: readonly string[],
  ...options: readonly string[]
): Buffer {
  return git(path, ["pack-objects", "-q", "--revs", "--stdout", ...options], `${revisions.join("\n")}\n`);
}

export type HandMadeEntry =
  | { readonly type: ObjectType; readonly data: Buffer | string }
  | { readonly base: number | ObjectId; readonly delta: Buffer }
  | { readonly raw: Buffer };

/** A pack made by hand: whole objects, deltas (base by number of an earlier entry, or by id), or bytes as they are. */
export function makePack(
  objectFormat: ObjectFormat,
  entries: readonly HandMadeEntry[],
  options: { readonly count?: number; readonly head?: Buffer; readonly refDeltas?: boolean } = {},
): Buffer {
  const parts: Buffer[] = [options.head ?? formatPackHeader(options.count ?? entries.length)];
  const offsets: number[] = [];
  let at = 12;
  for (const entry of entries) {
    const bytes = entryBytes(entry, at, offsets);
    offsets.push(at);
    parts.push(bytes);
    at += bytes.length;
  }
  return seal(objectFormat, Buffer.concat(parts));
}

function entryBytes(entry: HandMadeEntry, at: number, offsets: readonly number[]): Buffer {
  if ("raw" in entry) return entry.raw;
  if ("type" in entry) return formatEntry(entry.type, Buffer.from(entry.data));
  const base = typeof entry.base === "number" ? at - (offsets[entry.base] ?? at) : entry.base;
  return formatDeltaEntry(base, entry.delta);
}

/** With the right trailer behind it. */
export function seal(objectFormat: ObjectFormat, body: Buffer): Buffer {
  return Buffer.concat([body, createHash(objectFormat).update(body).digest()]);
}

/** A delta by hand: `[offset, size]` copies, text inserts. */
export function makeDelta(baseSize: number, parts: readonly (readonly [number, number] | string)[]): Buffer {
  const body: number[] = [];
  let size = 0;
  for (const part of parts) {
    if (typeof part === "string") {
      body.push(part.length, ...Buffer.from(part, "latin1"));
      size += part.length;
    } else {
      const [offset, length] = part;
      body.push(0x80 | 0x0f | 0x70);
      for (let i = 0; i < 4; i++) body.push((offset >>> (8 * i)) & 255);
      for (let i = 0; i < 3; i++) body.push((length >>> (8 * i)) & 255);
      size += length;
    }
  }
  return Buffer.from([...varint(baseSize), ...varint(size), ...body]);
}

export function varint(value: number): number[] {
  const out: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...out, rest];
    out.push((rest % 128) | 0x80);
  }
}

export function blobId(objectFormat: ObjectFormat, data: Buffer | string): ObjectId {
  return hashObject(objectFormat, "blob", Buffer.from(data));
}

/** In pieces of these sizes, over and over. */
export async function* inPieces(
  bytes: Buffer,
  sizes: readonly number[] = [65_536],
): AsyncGenerator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length] ?? 1);
    yield await Promise.resolve(Uint8Array.from(bytes.subarray(at, at + size)));
    at += size;
  }
}

export interface Taken {
  readonly result: IngestResult;
  readonly quarantine: Quarantine;
}

/** Takes a pack in and publishes it, unless told not to; always gives everything back. */
export async function takeIn(
  repository: Repository,
  bytes: Buffer | ByteSource,
  options: Partial<IngestRequest> & {
    readonly sizes?: readonly number[];
    readonly then?: (taken: Taken) => Promise<void>;
  } = {},
): Promise<IngestResult> {
  const { sizes, then, ...request } = options;
  const snapshot = await repository.snapshot();
  const quarantine = await repository.openQuarantine();
  try {
    const result = await ingestPack({
      quarantine,
      objects: snapshot.objects,
      source: Buffer.isBuffer(bytes) ? inPieces(bytes, sizes) : bytes,
      objectFormat: repository.objectFormat,
      limits: DEFAULT_LIMITS,
      collisionDetection: true,
      maxInputSizeBytes: Number.POSITIVE_INFINITY,
      ...request,
    });
    if (then === undefined) await quarantine.publish();
    else await then({ result, quarantine });
    return result;
  } finally {
    snapshot.release();
    await quarantine.discard();
  }
}

/**
 * What git makes of a pack: index and reverse index. It must be right by `--strict`.
 * @param repository which has what the objects refer to; nothing: the pack is complete
 */
export function indexWithGit(
  objectFormat: ObjectFormat,
  pack: Buffer,
  repository?: string,
): { readonly index: Buffer; readonly reverseIndex: Buffer | undefined } {
  const { path, remove } = makeDirectory();
  try {
    const file = join(path, "x.pack");
    writeFileSync(file, pack);
    const format = repository === undefined ? [`--object-format=${objectFormat}`] : [];
    git(repository ?? path, ["index-pack", ...format, "--strict", "--rev-index", file]);
    const names = readdirSync(path);
    return {
      index: readFileSync(join(path, "x.idx")),
      reverseIndex: names.includes("x.rev") ? readFileSync(join(path, "x.rev")) : undefined,
    };
  } finally {
    remove();
  }
}
