/** The bucket behind an object store, to look into it and to damage it. */
import type { ObjectStorageOptions } from "../../src/server/object-storage.js";
import type { Bucket } from "../../src/storage/object-store/bucket/bucket.js";

export async function withBucket<Result>(
  { bucket }: ObjectStorageOptions,
  use: (bucket: Bucket) => Promise<Result>,
): Promise<Result> {
  const { openDirectoryBucket } = await import("../../src/storage/object-store/bucket/directory-bucket.js");
  const { openS3Bucket } = await import("../../src/storage/object-store/bucket/s3-bucket.js");
  const opened =
    "directory" in bucket
      ? await openDirectoryBucket({ directory: bucket.directory, sync: false })
      : await openS3Bucket(bucket);
  try {
    return await use(opened);
  } finally {
    await opened.close();
  }
}
