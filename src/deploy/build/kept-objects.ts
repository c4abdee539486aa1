/**
 * The objects of a push, kept until its build is over: the packs of its quarantine, which is gone by the time a server that
 * was killed begins anew. Opened again they stand in a quarantine of the app's repository, or of one that nobody finds when
 * the push was to make it; nothing of that is ever published.
 *
 *     pack-N      a pack of the push, whole
 *     shallow     ids of commits that the push brings without their parents, one a line
 */
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { NO_PACK_LIMITS } from "../../base/limits.js";
import { isPromise } from "../../base/maybe-promise.js";
import { ingestPack } from "../../engine/ingest/ingest-pack.js";
import type { Push } from "../../engine/push.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { Pack } from "../../pack/pack.js";
import type { Quarantine } from "../../storage/contracts/quarantine.js";
import type { Repository, RepositoryStore, Snapshot } from "../../storage/contracts/repository.js";

export interface KeptObjects {
  readonly objectFormat: ObjectFormat;
  /** Of the repository, with the kept objects. */
  readonly snapshot: Snapshot;
  /** Idempotent. */
  close(): Promise<void>;
}

const CARRIED_AT_ONCE = 64 * 1024;

export async function keepObjects(push: Push, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  let number = 0;
  for (const pack of push.quarantine?.packs ?? []) await copyPack(pack, join(directory, `pack-${number++}`));
  if (push.newShallow.length > 0)
    await writeFile(join(directory, "shallow"), `${push.newShallow.join("\n")}\n`, { flush: true });
}

/** Durable: the row that says it is there comes after it. */
async function copyPack(pack: Pack, path: string): Promise<void> {
  const file = await open(path, "w", 0o600);
  try {
    for (let at = 0; at < pack.bytes.sizeBytes; at += CARRIED_AT_ONCE) {
      const bytes = pack.bytes.read(at, CARRIED_AT_ONCE);
      await file.writeFile(isPromise(bytes) ? await bytes : bytes);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** @param directory need not be there @param objectFormat where there is no repository so far */
export async function openKeptObjects(
  repositories: RepositoryStore,
  about: { readonly name: string; readonly directory: string; readonly objectFormat: ObjectFormat },
  signal: AbortSignal,
): Promise<KeptObjects> {
  const releases: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (const release of releases.splice(0).reverse()) await release();
  };
  try {
    const repository = await openOrPrepare(repositories, about, releases);
    const snapshot = await repository.snapshot();
    releases.push(() => snapshot.release());
    const { objectFormat } = repository;
    const names = (await readdir(about.directory).catch(() => [])).filter((name) => name.startsWith("pack-"));
    if (names.length === 0) return { objectFormat, snapshot, close };
    const quarantine = await repository.openQuarantine();
    releases.push(() => quarantine.discard());
    for (const name of names)
      await takeIn(join(about.directory, name), { quarantine, snapshot, objectFormat, signal });
    const listed = await readFile(join(about.directory, "shallow"), "utf8").catch(() => "");
    const shallow = new Set([...snapshot.shallow, ...listed.split("\n").filter((oid) => oid !== "")]);
    return { objectFormat, snapshot: { ...snapshot, objects: quarantine.objects, shallow }, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openOrPrepare(
  repositories: RepositoryStore,
  { name, objectFormat }: { readonly name: string; readonly objectFormat: ObjectFormat },
  releases: (() => Promise<void> | void)[],
): Promise<Repository> {
  const found = await repositories.open(name);
  if (found !== undefined) {
    releases.push(() => found.close());
    return found;
  }
  const prepared = await repositories.prepare(name, { objectFormat });
  releases.push(() => prepared.discard());
  return prepared.repository;
}

async function takeIn(
  path: string,
  about: {
    readonly quarantine: Quarantine;
    readonly snapshot: Snapshot;
    readonly objectFormat: ObjectFormat;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { quarantine, snapshot, objectFormat, signal } = about;
  await ingestPack({
    quarantine,
    objects: snapshot.objects,
    source: createReadStream(path) as AsyncIterable<Buffer>,
    objectFormat,
    limits: NO_PACK_LIMITS,
    // The push was looked at when it came.
    collisionDetection: false,
    maxInputSizeBytes: Number.POSITIVE_INFINITY,
    signal,
  });
}
