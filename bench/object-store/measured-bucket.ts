/** A bucket that is opened from what can be sent to another process, and counts what is asked of it. */
import {
  type CountedBucket,
  createCountedBucket,
} from "../../src/storage/object-store/bucket/counted-bucket.js";
import { openDirectoryBucket } from "../../src/storage/object-store/bucket/directory-bucket.js";
import { openS3Bucket, type S3BucketOptions } from "../../src/storage/object-store/bucket/s3-bucket.js";
import type { BucketFigures } from "./figures.js";

export type BucketPlace =
  | { readonly directory: string }
  | { readonly s3: Omit<S3BucketOptions, "onRequest"> };

export interface MeasuredBucket {
  /** Its reader closes it. */
  readonly bucket: CountedBucket;
  begin(): void;
  /** Since `begin`. */
  figures(): BucketFigures;
}

export async function openMeasuredBucket(place: BucketPlace): Promise<MeasuredBucket> {
  let requests = 0;
  const onRequest = (): void => void requests++;
  const bucket = createCountedBucket(
    "directory" in place ? await openDirectoryBucket(place) : await openS3Bucket({ ...place.s3, onRequest }),
  );
  return {
    bucket,
    begin() {
      requests = 0;
      bucket.reset();
    },
    figures() {
      const counts = bucket.counts();
      const all = Object.values(counts);
      return {
        requests: "directory" in place ? all.reduce((sum, { calls }) => sum + calls, 0) : requests,
        lists: counts.list.calls,
        readBytes: all.reduce((sum, { bytesRead }) => sum + bytesRead, 0),
        writtenBytes: all.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0),
      };
    },
  };
}

/** Of all objects that are in it. */
export async function bytesIn(place: BucketPlace): Promise<number> {
  const { bucket } = await openMeasuredBucket(place);
  try {
    let sum = 0;
    for await (const { sizeBytes } of bucket.list("")) sum += sizeBytes;
    return sum;
  } finally {
    await bucket.close();
  }
}
