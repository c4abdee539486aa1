/**
 * Writes into the bucket what changed in rows, so that they can be made again: a witness for each repository that has changed, of all its
 * changes together. It may end anywhere; the next pass goes on, whichever server makes it.
 *
 *     listed as changed ──► upload begun ──► object written ──► listed as witness, upload ended
 */
import { randomUUID } from "node:crypto";
import { isGitwharfError, throwIfAborted } from "../../../base/errors.js";
import type { Bucket } from "../bucket/bucket.js";
import type { GenerationRecord, MetadataStore } from "../metadata/metadata-store.js";
import type { UnwitnessedRepository, WitnessRecord } from "../metadata/witness-store.js";
import { patientReader } from "../patient-reader.js";
import type { NodeId } from "../tree/node.js";
import { takeBackUpload } from "../upload-packs.js";
import { newNodes } from "./new-nodes.js";
import { formatWitness, newWitnessKey, type WitnessPart } from "./witness-format.js";

export interface WriteWitnessesOptions {
  readonly bucket: Bucket;
  readonly metadata: MetadataStore;
  readonly signal?: AbortSignal | undefined;
  /** After that many the next pass goes on. @default 10,000 */
  readonly repositoriesMax?: number;
}

export interface WitnessReport {
  readonly witnessesWritten: number;
  readonly bytesWritten: number;
  readonly failures: readonly { readonly what: string; readonly error: unknown }[];
}

const REPOSITORIES_MAX = 10_000;
const ROWS_AT_ONCE = 100;
const WRITES_AT_ONCE = 4;
const GENERATIONS_AT_ONCE = 500;
/** One object with all that is kept is read sooner than many with what was new. */
const PARTS_MAX = 64;
/** What parts may have together, beside what the whole one before them has. */
const PARTS_BYTES_MIN = 256 * 1024;
/** Larger ones are sent while they are made. */
const ONE_PUT_BYTES_MAX = 4 * 1024 * 1024;
const FAILURES_IN_A_ROW_MAX = 5;

/** @throws base/aborted, storage/io when the database cannot be asked what has changed */
export async function writeWitnesses(options: WriteWitnessesOptions): Promise<WitnessReport> {
  const { metadata, signal, repositoriesMax = REPOSITORIES_MAX } = options;
  const owner = randomUUID();
  const failures: { what: string; error: unknown }[] = [];
  let [witnessesWritten, bytesWritten, failuresInARow] = [0, 0, 0];
  const writeOne = async (repository: UnwitnessedRepository): Promise<void> => {
    if (failuresInARow >= FAILURES_IN_A_ROW_MAX) return;
    throwIfAborted(signal);
    try {
      const sizeBytes = await writeWitness({ ...options, owner }, repository);
      failuresInARow = 0;
      if (sizeBytes === undefined) return;
      witnessesWritten++;
      bytesWritten += sizeBytes;
    } catch (error) {
      throwIfAborted(signal);
      if (await hasMovedOn(metadata, repository)) return;
      // What is damaged in some repositories, and stays so, is not to keep all others from being witnessed.
      if (!isGitwharfError(error, "storage/corrupt")) failuresInARow++;
      const { name, formerName, id } = repository.record;
      failures.push({ what: `writing a witness of the repository ${name ?? formerName ?? id}`, error });
    }
  };
  let after: string | undefined;
  for (let left = repositoriesMax; left > 0; ) {
    const limit = Math.min(left, ROWS_AT_ONCE);
    const page = await metadata.listUnwitnessed({ ...(after === undefined ? {} : { after }), limit });
    let next = 0;
    const work = async (): Promise<void> => {
      for (let one = page[next++]; one !== undefined; one = page[next++]) await writeOne(one);
    };
    const ended = await Promise.allSettled(Array.from({ length: WRITES_AT_ONCE }, work));
    for (const outcome of ended) if (outcome.status === "rejected") throw outcome.reason;
    left -= page.length;
    after = page.at(-1)?.record.id;
    if (page.length < limit || failuresInARow >= FAILURES_IN_A_ROW_MAX) break;
  }
  return { witnessesWritten, bytesWritten, failures };
}

/** It has gone meanwhile, or was told of by another server. */
async function hasMovedOn(
  metadata: MetadataStore,
  { record, number }: UnwitnessedRepository,
): Promise<boolean> {
  try {
    if ((await metadata.get(record.id)) === undefined) return true;
    const [newest] = await metadata.listWitnesses(record.id, { limit: 1 });
    return (newest?.number ?? -1) >= number;
  } catch {
    return false;
  }
}

/** @returns its size; undefined: the repository has gone, or others were quicker */
async function writeWitness(
  { bucket, metadata, signal, owner }: WriteWitnessesOptions & { readonly owner: string },
  { record, number, needsWhole }: UnwitnessedRepository,
): Promise<number | undefined> {
  const oldest = await metadata.oldestGeneration(record.id);
  if (oldest === undefined) return undefined;
  const base = needsWhole ? undefined : await baseOf(metadata, record.id, oldest);
  const isWhole = base === undefined;
  const key = newWitnessKey({ repositoryId: record.id, number, isWhole });
  const { networkId, id: repositoryId, generation } = record;
  const uploadId = await metadata.beginUpload({ repositoryId, networkId, keys: [key], owner });
  try {
    const parts = partsOf(metadata, { record, number, oldest, base, signal });
    const sizeBytes = await send(bucket, key, formatWitness(parts), signal);
    const witness = { key, number, generation, isWhole, sizeBytes };
    if (await metadata.addWitness({ ...witness, repositoryId, uploadId, buildsOn: base?.number }))
      return sizeBytes;
    await takeBackUpload({ bucket, metadata }, uploadId);
    return undefined;
  } catch (error) {
    // It may be listed, or come to be written yet: the row says so, and the janitor looks once more.
    const keys = await metadata.takeUpload(uploadId).catch(() => undefined);
    if (keys !== undefined) await bucket.delete(keys).catch(() => undefined);
    // What it goes on from was forgotten meanwhile, with its nodes: the next pass looks anew.
    const left = await metadata.oldestGeneration(repositoryId).catch(() => oldest);
    if (left === undefined || left.generation > oldest.generation) return undefined;
    throw error;
  }
}

/** What a part goes on from. @returns undefined: the next one is to be whole */
async function baseOf(
  metadata: MetadataStore,
  repositoryId: string,
  oldest: GenerationRecord,
): Promise<(WitnessRecord & { readonly root: NodeId }) | undefined> {
  const witnesses = await metadata.listWitnesses(repositoryId, { limit: PARTS_MAX });
  const [newest] = witnesses;
  const at = witnesses.findIndex(({ isWhole }) => isWhole);
  const whole = witnesses[at];
  if (newest === undefined || whole === undefined || newest.generation < oldest.generation) return undefined;
  const partsBytes = witnesses.slice(0, at).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  if (partsBytes > Math.max(PARTS_BYTES_MIN, 2 * whole.sizeBytes)) return undefined;
  const told = await metadata.getGeneration(repositoryId, newest.generation);
  return told === undefined ? undefined : { ...newest, root: told.root };
}

async function* partsOf(
  metadata: MetadataStore,
  told: Pick<UnwitnessedRepository, "record" | "number"> & {
    readonly oldest: GenerationRecord;
    readonly base: (WitnessRecord & { readonly root: NodeId }) | undefined;
    readonly signal: AbortSignal | undefined;
  },
): AsyncGenerator<WitnessPart> {
  const { record, number, oldest, base, signal } = told;
  yield {
    type: "repository",
    header: {
      repository: record,
      number,
      previous: base?.key,
      timeMs: await metadata.now(),
      oldestGeneration: oldest.generation,
    },
  };
  const nodes = patientReader(metadata, record.networkId);
  const written = new Set<NodeId>();
  let before = base?.root;
  let first = base === undefined ? oldest.generation : base.generation + 1;
  while (first <= record.generation) {
    const behind = Math.min(record.generation + 1, first + GENERATIONS_AT_ONCE);
    const page = await metadata.listGenerations(record.id, { before: behind, limit: behind - first });
    // The oldest first.
    for (const { repositoryId: _id, ...generation } of page.toReversed()) {
      throwIfAborted(signal);
      yield { type: "generation", generation };
      for await (const { id, bytes } of newNodes(nodes, before, generation.root)) {
        if (written.has(id)) continue;
        written.add(id);
        yield { type: "node", bytes };
      }
      before = generation.root;
    }
    first = behind;
  }
}

/** In one request where it is small. @returns how many bytes */
async function send(
  bucket: Bucket,
  key: string,
  pieces: AsyncIterable<Buffer>,
  signal: AbortSignal | undefined,
): Promise<number> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let sentBytes = 0;
  let upload: Awaited<ReturnType<Bucket["createUpload"]>> | undefined;
  try {
    for await (const piece of pieces) {
      held.push(piece);
      heldBytes += piece.length;
      if (heldBytes <= ONE_PUT_BYTES_MAX) continue;
      upload ??= await bucket.createUpload(key, { signal });
      await upload.append(Buffer.concat(held));
      sentBytes += heldBytes;
      [held, heldBytes] = [[], 0];
    }
    if (upload === undefined) await bucket.put(key, held, { signal });
    else {
      if (heldBytes > 0) await upload.append(Buffer.concat(held));
      await upload.finish();
    }
  } catch (error) {
    await upload?.abort();
    throw error;
  }
  return sentBytes + heldBytes;
}
