/**
 * Bundles in the bucket. One is an upload that nothing ever commits (`MetadataStore.keepBundle`): it stays as long as it is
 * offered, since that touches it, and goes as an abandoned upload does, by the janitor; with its repository, too. A newer
 * one takes its place, while those who were given its address may still read it.
 *
 *     lease ──► intent ──► written to the bucket ──► kept as a bundle ──► lease given up
 *                                              └───► given up: taken back
 */
import { randomUUID } from "node:crypto";
import { GitwharfError, throwIfAborted } from "../../base/errors.js";
import { isObjectId } from "../../object/object-id.js";
import type {
  BundleRef,
  NewBundle,
  RepositoryBundles,
  StoredBundle,
} from "../contracts/repository-bundles.js";
import type { BundleRecord } from "./metadata/metadata-store.js";
import { keepLease } from "./keep-lease.js";
import { takeBackUpload, type UploadPlace } from "./upload-packs.js";

const LEASE_MS = 5 * 60 * 1000;
/** One that was touched longer ago is touched when it is held: the janitor takes what nobody touched for a day. */
const UNTOUCHED_MS_MAX = 60 * 60 * 1000;

/** As it is kept: JSON. */
interface Note {
  readonly sizeBytes: number;
  readonly packsBytes: number;
  /** `<id> SP <name>` */
  readonly refs: readonly string[];
}

export function createStoredBundles(place: UploadPlace): RepositoryBundles {
  const { core, metadata, bucket, owner } = place;
  const presign = bucket.presign?.bind(bucket);
  return {
    async find() {
      // The newest: no other is ever touched once that one is there.
      const [record] = await metadata.listBundles(core.id);
      if (record === undefined) return undefined;
      const note = noteOf(record);
      const bundle: StoredBundle = {
        id: record.id,
        sizeBytes: note.sizeBytes,
        packsBytes: note.packsBytes,
        refs: note.refs.map(refOf),
        hold: async () => record.untouchedMs <= UNTOUCHED_MS_MAX || metadata.touchUpload(record.id),
        read: (range) => bucket.stream(record.key, range),
      };
      return presign === undefined
        ? bundle
        : { ...bundle, presign: (expiresSeconds) => presign(record.key, { expiresSeconds }) };
    },
    async make(write, signal) {
      const lease = await keepLease(
        metadata,
        { name: `bundle/${core.id}`, owner: `${owner}/${randomUUID()}` },
        LEASE_MS,
      );
      if (lease === undefined) return false;
      try {
        const bundle = await write();
        if (bundle === undefined) return false;
        await put(place, bundle, signal);
        return true;
      } finally {
        // One that cannot be given up runs out.
        await lease.release().catch(() => undefined);
      }
    },
  };
}

async function put(place: UploadPlace, bundle: NewBundle, signal: AbortSignal | undefined): Promise<void> {
  const { core, metadata, bucket, owner } = place;
  const { record } = await core.current();
  const random = randomUUID();
  const key = `b/${random.slice(0, 2)}/${random}.bundle`;
  const id = await metadata.beginUpload({
    repositoryId: record.id,
    networkId: record.networkId,
    keys: [key],
    owner,
  });
  try {
    const upload = await bucket.createUpload(key, { signal });
    let sizeBytes = 0;
    try {
      for await (const bytes of bundle.bytes) {
        throwIfAborted(signal);
        sizeBytes += bytes.length;
        await upload.append(bytes);
      }
      await upload.finish();
    } catch (error) {
      await upload.abort();
      throw error;
    }
    const note: Note = {
      sizeBytes,
      packsBytes: bundle.packsBytes,
      refs: bundle.refs.map(({ oid, name }) => `${oid} ${name}`),
    };
    if (!(await metadata.keepBundle(id, JSON.stringify(note))))
      throw new GitwharfError("storage/io", "the making of a bundle took so long that it was cleared away");
  } catch (error) {
    await takeBackUpload(place, id).catch(() => undefined);
    throw error;
  }
}

function noteOf({ note }: BundleRecord): Note {
  return JSON.parse(note) as Note;
}

function refOf(line: string): BundleRef {
  const space = line.indexOf(" ");
  const [oid, name] = [line.slice(0, space), line.slice(space + 1)];
  if (!isObjectId(oid, oid.length === 40 ? "sha1" : "sha256"))
    throw new GitwharfError("storage/corrupt", "what is written down of a bundle is corrupt");
  return { name, oid };
}
