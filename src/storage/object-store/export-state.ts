/**
 * One root as a bare repository of plain files, which any git reads: packs and indexes as they lie in the bucket, refs packed.
 * Bytes that are not what the root says end it. It is built beside its place and renamed into it: there whole or not at all.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, type FileHandle, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { GitwharfError, throwIfAborted } from "../../base/errors.js";
import { syncDirectory } from "../disk/descriptor.js";
import { errorCode, ioError, isAbsent } from "../disk/file-errors.js";
import { changePackedRefs, NO_PACKED_REFS } from "../disk/refs/packed-refs.js";
import { writeRepositoryLayout } from "../disk/repository-layout.js";
import type { RefValue } from "../refs/ref-state.js";
import type { Bucket } from "./bucket/bucket.js";
import type { RepositoryState } from "./repository-state.js";
import { SplicedPack } from "./spliced-pack.js";
import type { OpenLeaf } from "./stored-pack.js";
import { packObjectBytes, type PackPartName, sideObjectBytes } from "./tree/pack-leaves.js";

export interface ExportOptions {
  readonly signal?: AbortSignal | undefined;
  /** After each pack. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface ExportSummary {
  /** Of what was written. */
  readonly root: string;
  readonly refs: number;
  readonly packs: number;
  readonly packBytes: number;
}

/** As git makes packs: nobody changes them. */
const PACK_MODE = 0o444;
/** What git knows as a file beside the pack. */
const ENDINGS: Partial<Record<PackPartName, string>> = { index: ".idx", "reverse-index": ".rev" };

/**
 * @param directory is made; an empty one is taken
 * @throws storage/exists, storage/corrupt, storage/not-found, storage/io, base/aborted
 */
export async function exportState(
  state: RepositoryState,
  bucket: Bucket,
  directory: string,
  options: ExportOptions = {},
): Promise<ExportSummary> {
  const path = resolve(directory);
  await mustBeFree(path);
  const parent = dirname(path);
  const hidden = join(parent, `.${basename(path)}.incomplete-${randomUUID()}`);
  try {
    await mkdir(parent, { recursive: true });
    await mkdir(hidden);
    await writeRepositoryLayout(hidden, {
      objectFormat: state.root.objectFormat,
      refFormat: "files",
      defaultBranch: "main",
      sync: true,
    });
    await writeRefs(state, hidden);
    const packs = packsOf(state);
    let done = 0;
    for (const leaf of packs) {
      await writePack(leaf, bucket, `${hidden}/objects/pack/pack-${leaf.trailer}`, options.signal);
      options.onProgress?.(++done, packs.length);
    }
    for (const made of [`${hidden}/objects/pack`, hidden]) await syncDirectory(made);
    await rename(hidden, path);
    await syncDirectory(parent);
    return {
      root: state.rootId,
      refs: state.snapshot.all.length,
      packs: packs.length,
      packBytes: packs.reduce((sum, { packBytes }) => sum + packBytes, 0),
    };
  } catch (cause) {
    await rm(hidden, { recursive: true, force: true }).catch(() => undefined);
    if (cause instanceof GitwharfError) throw cause;
    if (["ENOTEMPTY", "EEXIST", "ENOTDIR"].includes(errorCode(cause) ?? "")) throw exists(path);
    throw ioError("exporting to", path, cause);
  }
}

/** A look beforehand saves the work; the renaming decides. */
async function mustBeFree(path: string): Promise<void> {
  try {
    if ((await readdir(path)).length === 0) return;
  } catch (cause) {
    if (isAbsent(cause)) return;
    if (errorCode(cause) !== "ENOTDIR") throw ioError("reading", path, cause);
  }
  throw exists(path);
}

function exists(path: string): GitwharfError {
  return new GitwharfError("storage/exists", `${path} exists already: export to a new directory`);
}

/** The same pack may have come twice. */
function packsOf({ packs }: RepositoryState): readonly OpenLeaf[] {
  return [...new Map(packs.map((leaf) => [leaf.trailer, leaf])).values()];
}

async function writeRefs({ refs, shallow }: RepositoryState, directory: string): Promise<void> {
  const packed = changePackedRefs(
    NO_PACKED_REFS,
    new Map(
      refs.direct.map(({ name, oid, peeled, peelKnown }) => [
        name,
        {
          oid,
          peelKnown: peelKnown === true || peeled !== undefined,
          ...(peeled === undefined ? {} : { peeled }),
        },
      ]),
    ),
  );
  await writeSynced(`${directory}/HEAD`, formatRef(refs.head));
  if (refs.direct.length > 0) await writeSynced(`${directory}/packed-refs`, packed.bytes);
  for (const [name, target] of refs.symbolic) {
    await mkdir(dirname(`${directory}/${name}`), { recursive: true });
    await writeSynced(`${directory}/${name}`, formatRef({ kind: "symbolic", target }));
  }
  if (shallow.size > 0)
    await writeSynced(
      `${directory}/shallow`,
      [...shallow]
        .toSorted()
        .map((oid) => `${oid}\n`)
        .join(""),
    );
}

function formatRef(value: RefValue): string {
  if (value.kind === "broken") throw new GitwharfError("storage/corrupt", "HEAD of the repository is broken");
  return value.kind === "symbolic" ? `ref: ${value.target}\n` : `${value.ref.oid}\n`;
}

async function writeSynced(path: string, bytes: string | Uint8Array): Promise<void> {
  await writeFile(path, bytes, { flush: true });
}

interface Section {
  readonly start: number;
  readonly end: number;
  readonly path: string;
}

async function writePack(
  leaf: OpenLeaf,
  bucket: Bucket,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { key, sha256, packBytes, ownBytes, sideKey, sideSha256 = "" } = leaf;
  const parts = leaf.parts.flatMap(({ name, offset, sizeBytes }): Section[] => {
    const ending = ENDINGS[name];
    return ending === undefined ? [] : [{ start: offset, end: offset + sizeBytes, path: path + ending }];
  });
  // What is not in one piece is put together by itself.
  const pack = ownBytes === undefined ? [{ start: 0, end: packBytes, path: `${path}.pack` }] : [];
  if (ownBytes !== undefined) await writeSpliced(leaf, bucket, `${path}.pack`, signal);
  const copy = { bucket, signal };
  const sizeBytes = packObjectBytes(leaf);
  if (sideKey === undefined) {
    await copyObject({ ...copy, key, sha256, sizeBytes, sections: [...pack, ...parts] });
    return;
  }
  await copyObject({ ...copy, key, sha256, sizeBytes, sections: pack });
  const sideBytes = sideObjectBytes(leaf) ?? 0;
  await copyObject({ ...copy, key: sideKey, sha256: sideSha256, sizeBytes: sideBytes, sections: parts });
}

/** A pack of which some bytes are chunks. Its own trailer says whether all are right. */
async function writeSpliced(
  { key, packBytes, ownBytes = packBytes, trailer, splices }: OpenLeaf,
  bucket: Bucket,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const source = new SplicedPack({ bucket, key, ownBytes, packBytes, splices: (await splices?.()) ?? [] });
  const hash = createHash(trailer.length === 40 ? "sha1" : "sha256");
  const end = packBytes - trailer.length / 2;
  const file = await open(path, "wx", PACK_MODE);
  let at = 0;
  try {
    for await (const bytes of source.stream(key, undefined, { signal })) {
      throwIfAborted(signal);
      hash.update(bytes.subarray(0, Math.max(end - at, 0)));
      await writeAll(file, bytes);
      at += bytes.length;
    }
    if (hash.digest("hex") !== trailer) throw notAsSaid(key, bucket);
    await file.sync();
  } finally {
    await file.close();
  }
}

interface CopiedObject {
  readonly bucket: Bucket;
  readonly key: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  /** In the order of their bytes; what lies between them is left out. */
  readonly sections: readonly Section[];
  readonly signal: AbortSignal | undefined;
}

async function copyObject(object: CopiedObject): Promise<void> {
  const { bucket, key, sha256, sizeBytes, sections, signal } = object;
  const files: FileHandle[] = [];
  const hash = createHash("sha256");
  let at = 0;
  try {
    for (const { path } of sections) files.push(await open(path, "wx", PACK_MODE));
    for await (const bytes of bucket.stream(key, undefined, { signal })) {
      throwIfAborted(signal);
      hash.update(bytes);
      for (const [i, { start, end }] of sections.entries()) {
        const piece = bytes.subarray(Math.max(start - at, 0), Math.max(end - at, 0));
        if (piece.length > 0) await writeAll(files[i] as FileHandle, piece);
      }
      at += bytes.length;
    }
    if (at !== sizeBytes || hash.digest("hex") !== sha256) throw notAsSaid(key, bucket);
    for (const file of files) await file.sync();
  } finally {
    for (const file of files) await file.close();
  }
}

function notAsSaid(key: string, bucket: Bucket): GitwharfError {
  return new GitwharfError(
    "storage/corrupt",
    `${key} in ${bucket.name} is not what the repository's root says: gitwharf verify tells more`,
  );
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
}
