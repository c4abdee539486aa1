/** What the rows of an object store say of its bucket, held against what is in the bucket. */
import type { Bucket } from "../../src/storage/object-store/bucket/bucket.js";
import type { MetadataStore } from "../../src/storage/object-store/metadata/metadata-store.js";

export interface KeyCheck {
  /** In the bucket, and listed by no row: nobody would ever remove them. */
  readonly unlisted: readonly string[];
  /** Of packs and witnesses, and not in the bucket: what was acknowledged is lost. */
  readonly missing: readonly string[];
  /** In the bucket, and of open uploads alone: nobody has begun to remove them. */
  readonly uncommitted: readonly string[];
}

const ROWS_MAX = 10_000;

export async function checkKeys(bucket: Bucket, metadata: MetadataStore): Promise<KeyCheck> {
  const inBucket = new Set<string>();
  for await (const { key } of bucket.list("")) inBucket.add(key);
  const ofPacks = new Set<string>();
  for (const network of await metadata.listNetworks({ limit: ROWS_MAX }))
    for (const { key, sideKey } of await metadata.listPacks(network, { limit: ROWS_MAX })) {
      ofPacks.add(key);
      if (sideKey !== undefined) ofPacks.add(sideKey);
    }
  const ofWitnesses = [...inBucket].some((key) => key.startsWith("r/")) ? await listWitnesses(metadata) : [];
  const uploads = await listUploads(metadata);
  const ofUploads = new Set(uploads.flatMap(({ keys }) => keys));
  const ofOpen = new Set(uploads.filter(({ state }) => state === "open").flatMap(({ keys }) => keys));
  const listed = new Set([...ofPacks, ...ofWitnesses]);
  const others = [...inBucket].filter((key) => !listed.has(key));
  return {
    unlisted: others.filter((key) => !ofUploads.has(key)),
    uncommitted: others.filter((key) => ofOpen.has(key)),
    missing: [...listed].filter((key) => !inBucket.has(key)),
  };
}

async function listWitnesses(metadata: MetadataStore): Promise<readonly string[]> {
  const hidden = { state: "deleted", beforeMs: Number.MAX_SAFE_INTEGER } as const;
  const repositories = [
    ...(await metadata.list({ limit: ROWS_MAX })),
    ...(await metadata.listHidden({ ...hidden, limit: ROWS_MAX })),
  ];
  const all = repositories.map(({ id }) => metadata.listWitnesses(id, { limit: ROWS_MAX }));
  return (await Promise.all(all)).flat().map(({ key }) => key);
}

/** As a janitor does it who has waited long enough: what nobody will commit goes. */
export async function clearUploads(bucket: Bucket, metadata: MetadataStore): Promise<void> {
  for (const { id } of await listUploads(metadata)) {
    await bucket.delete((await metadata.takeUpload(id)) ?? []);
    await metadata.endUpload(id);
  }
}

function listUploads(metadata: MetadataStore): ReturnType<MetadataStore["listUploads"]> {
  return metadata.listUploads({ olderThanMs: -60_000, limit: ROWS_MAX });
}
