/** An upload that takes long is said to be alive, so that no janitor takes it for one that was broken off. */
import type { MetadataStore } from "./metadata/metadata-store.js";

const EVERY_MS = 5 * 60 * 1000;

/** @returns to be called when it is over, whichever way */
export function keepUploads(
  metadata: Pick<MetadataStore, "touchUpload">,
  ids: readonly string[],
): () => void {
  const timer = setInterval(() => {
    // Whether it was taken after all is seen by its commit.
    for (const id of ids) metadata.touchUpload(id).catch(() => undefined);
  }, EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}
