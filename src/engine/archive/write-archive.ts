/** An archive as a stream of bytes: tar, tar.gz or zip. Specification: git-archive. */
import type { ArchiveEntry, ArchiveOrigin } from "./archive-entry.js";
import { writeGzip } from "./gzip.js";
import { writeTar } from "./tar.js";
import { type ArchiveWalk, walkArchive } from "./walk-archive.js";
import { writeZip } from "./zip.js";

export type ArchiveFormat = "tar" | "tgz" | "tar.gz" | "zip";

/** In the order in which git lists them. */
export const ARCHIVE_FORMATS: readonly ArchiveFormat[] = ["tar", "tgz", "tar.gz", "zip"];

export interface ArchiveRequest extends ArchiveWalk {
  readonly format: ArchiveFormat;
  readonly origin: ArchiveOrigin;
  /** zlib's, 0 to 9; of tar.gz and zip. @default 6 */
  readonly level?: number | undefined;
  readonly onEntry?: ((entry: ArchiveEntry) => void) | undefined;
}

/**
 * Nothing is read before it is asked for; ending the loop early releases everything.
 * @throws as `walkArchive`
 */
export function writeArchive(request: ArchiveRequest): AsyncGenerator<Uint8Array, void, void> {
  const { format, origin, level = 6, signal, onEntry } = request;
  const walked = walkArchive(request);
  const entries = onEntry === undefined ? walked : watched(walked, onEntry);
  switch (format) {
    case "tar":
      return writeTar(entries, origin);
    case "tgz":
    case "tar.gz":
      return writeGzip(writeTar(entries, origin), { level, signal });
    case "zip":
      return writeZip(entries, origin, { level });
  }
}

async function* watched(
  entries: AsyncIterable<ArchiveEntry>,
  onEntry: (entry: ArchiveEntry) => void,
): AsyncGenerator<ArchiveEntry, void, void> {
  for await (const entry of entries) {
    onEntry(entry);
    yield entry;
  }
}
