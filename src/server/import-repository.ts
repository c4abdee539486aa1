/**
 * Taking a whole repository in: from one on disk, a bundle or another server, as if everything had been pushed at once. Every
 * object is hashed, all that refs lead to has to be there, and the repository stands in its place whole or not at all.
 */
import { stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { GitwharfError } from "../base/errors.js";
import { DEFAULT_LIMITS, type Limits, NO_PACK_LIMITS } from "../base/limits.js";
import { isUrl } from "../client/remote-url.js";
import { checkConnectivity } from "../engine/connectivity.js";
import { type IngestResult, ingestPack } from "../engine/ingest/ingest-pack.js";
import { planPack } from "../engine/pack-plan.js";
import { streamPack } from "../engine/pack-stream.js";
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import type { Quarantine } from "../storage/contracts/quarantine.js";
import type { RefUpdate } from "../storage/contracts/ref-store.js";
import type { Repository, RepositoryStore } from "../storage/contracts/repository.js";
import { openDiskRepositoryAt } from "../storage/disk/disk-repository-store.js";
import { openBundle } from "./bundle-file.js";
import type { UrlImportOptions } from "./import-from-url.js";
import { branchAt, BRANCHES, DETACHED, type ImportedPack, type ImportSource } from "./import-source.js";

export interface ImportOptions extends UrlImportOptions {
  readonly signal?: AbortSignal | undefined;
  /** Texts for a terminal, as git has them; lines that are overwritten end in CR. */
  readonly onProgress?: ((text: string) => void) | undefined;
  /** SHA-1 with collision detection for every object. @default true */
  readonly collisionDetection?: boolean | undefined;
}

export interface ImportSummary {
  readonly repository: string;
  readonly refs: number;
  readonly objects: number;
  /** What could not be taken over: broken refs, a detached HEAD. */
  readonly omitted: readonly string[];
}

/** What an operator has on disk is taken as it is. */
const LIMITS: Limits = { ...NO_PACK_LIMITS, deltaDepthMax: DEFAULT_LIMITS.deltaDepthMax };

/**
 * @param from a directory with a repository (bare or not), a bundle, or a URL (https or http)
 * @throws storage/exists, storage/not-found, storage/bad-name, storage/bad-ref, protocol/bad-request, protocol/unsupported,
 *   pack/…, object/…, client/…, storage/io, base/aborted, base/limit-exceeded, server/bad-configuration
 */
export async function importRepository(
  store: RepositoryStore,
  from: string,
  name: string,
  options: ImportOptions = {},
): Promise<ImportSummary> {
  const source = await openSource(from, options);
  try {
    const { objectFormat, defaultBranch = "main", refs, omitted } = source;
    const prepared = await store.prepare(name, { objectFormat, defaultBranch });
    try {
      const ingest = await takeIn(prepared.repository, source, options);
      await prepared.place();
      const { name: repository } = prepared.repository;
      return { repository, refs: refs.length, objects: ingest?.objectCount ?? 0, omitted };
    } finally {
      await prepared.discard();
    }
  } finally {
    await source.close();
  }
}

async function takeIn(
  repository: Repository,
  source: ImportSource,
  options: ImportOptions,
): Promise<IngestResult | undefined> {
  const { pack } = source;
  if (pack === undefined) return undefined;
  const quarantine = await repository.openQuarantine();
  try {
    const came = await pack();
    const ingest = await ingestAll(repository, { ...source, ...came, quarantine }, options).catch(
      (error: unknown) => {
        throw source.failureOf?.(error) ?? error;
      },
    );
    await quarantine.publish();
    await makeRefs(repository, source, options.signal);
    return ingest;
  } finally {
    await quarantine.discard();
  }
}

async function ingestAll(
  repository: Repository,
  source: ImportSource & ImportedPack & { readonly quarantine: Quarantine },
  { signal, onProgress, collisionDetection = true }: ImportOptions,
): Promise<IngestResult> {
  const { quarantine, bytes, refs, objectFormat, limits } = source;
  const snapshot = await repository.snapshot();
  try {
    const ingest = await ingestPack({
      quarantine,
      objects: snapshot.objects,
      source: bytes,
      objectFormat,
      limits,
      collisionDetection,
      maxInputSizeBytes: Infinity,
      signal,
      onProgress: source.onProgress ?? onProgress,
    });
    await source.end?.();
    const shallow = await present(quarantine.objects, source.shallow);
    quarantine.addShallow([...shallow]);
    const answer = await checkConnectivity({
      objects: quarantine.objects,
      ingest,
      tips: [...new Set(refs.map(({ oid }) => oid))],
      snapshot,
      isVisible: () => true,
      shallow: snapshot.shallow,
      newShallow: shallow,
      signal,
    });
    if (!answer.ok) {
      const { oid } = answer.missing;
      throw (
        source.missing?.(oid) ??
        new GitwharfError("object/corrupt", `object ${oid} is missing from what is imported`)
      );
    }
    return ingest;
  } finally {
    snapshot.release();
  }
}

async function present(objects: ObjectReader, oids: Iterable<ObjectId>): Promise<ReadonlySet<ObjectId>> {
  const found = new Set<ObjectId>();
  for (const oid of oids) if (await objects.has(oid)) found.add(oid);
  return found;
}

async function makeRefs(
  repository: Repository,
  { refs, label }: ImportSource,
  signal: AbortSignal | undefined,
): Promise<void> {
  const updates = refs.map(
    ({ name, oid, symbolicTarget }): RefUpdate => ({
      name,
      oldOid: null,
      newOid: oid,
      ...(symbolicTarget === undefined ? {} : { symbolicTarget }),
      reflogMessage: "import",
    }),
  );
  const results = await repository.refs.transact({
    updates,
    atomic: true,
    committer: {
      name: "import",
      email: label,
      timeSeconds: Math.floor(Date.now() / 1000),
    },
    ...(signal === undefined ? {} : { signal }),
  });
  const refused = results.find((result) => !result.ok && result.code !== "aborted");
  const failed = refused ?? results.find(({ ok }) => !ok);
  if (failed !== undefined && !failed.ok)
    throw new GitwharfError("storage/bad-ref", `the ref ${failed.name} cannot be imported: ${failed.reason}`);
}

async function openSource(from: string, options: ImportOptions): Promise<ImportSource> {
  if (isUrl(from)) {
    const { openUrlSource } = await import("./import-from-url.js");
    return openUrlSource(from, options);
  }
  let isFile: boolean;
  try {
    isFile = (await stat(from)).isFile();
  } catch (cause) {
    throw new GitwharfError("storage/not-found", `there is neither a repository nor a bundle at ${from}`, {
      cause,
    });
  }
  return isFile ? openBundleSource(from) : openDiskSource(from, options);
}

async function openDiskSource(path: string, { signal, onProgress }: ImportOptions): Promise<ImportSource> {
  const repository = await openDiskRepositoryAt(path);
  try {
    const snapshot = await repository.snapshot();
    const { refs, head, shallow } = snapshot;
    const tips = [...new Set(refs.all.map(({ oid }) => oid))];
    const isBranch = head.symbolicTarget?.startsWith(BRANCHES) === true;
    return {
      objectFormat: repository.objectFormat,
      defaultBranch: isBranch ? head.symbolicTarget?.slice(BRANCHES.length) : undefined,
      refs: refs.all,
      omitted: [...refs.broken, ...(isBranch ? [] : [DETACHED])],
      pack:
        tips.length === 0
          ? undefined
          : async () => ({
              bytes: streamPack(
                await planPack({ snapshot, wants: tips, haves: [], ofsDelta: true, signal, onProgress }),
                { signal },
              ),
              shallow,
            }),
      limits: LIMITS,
      label: basename(resolve(path)),
      async close() {
        snapshot.release();
        await repository.close();
      },
    };
  } catch (error) {
    await repository.close();
    throw error;
  }
}

async function openBundleSource(path: string): Promise<ImportSource> {
  const bundle = await openBundle(path);
  const { objectFormat, refs, prerequisites, filter, pack } = bundle;
  try {
    if (prerequisites.length > 0)
      throw new GitwharfError(
        "protocol/unsupported",
        `the bundle ${path} builds on ${prerequisites.length} commits that it does not hold: make one of everything, with \`git bundle create FILE --all\``,
      );
    if (filter !== undefined)
      throw new GitwharfError("protocol/unsupported", `the bundle ${path} leaves objects out (${filter})`);
    const head = refs.find(({ name }) => name === "HEAD")?.oid;
    const kept = refs.filter(({ name }) => name.startsWith("refs/"));
    const defaultBranch = branchAt(head, kept);
    const others = refs.filter(({ name }) => !name.startsWith("refs/") && name !== "HEAD");
    return {
      objectFormat,
      defaultBranch,
      refs: [...new Map(kept.map((ref) => [ref.name, ref])).values()],
      omitted: [
        ...others.map(({ name }) => name),
        ...(head !== undefined && defaultBranch === undefined ? [DETACHED] : []),
      ],
      pack: kept.length === 0 ? undefined : async () => ({ bytes: pack, shallow: [] }),
      limits: LIMITS,
      label: basename(resolve(path)),
      close: bundle.close,
    };
  } catch (error) {
    await bundle.close();
    throw error;
  }
}
