/** Every server writes witnesses in the background; one at a time does. */
import { GitwharfError } from "../../../base/errors.js";
import { type RunningWork, startBackgroundWork } from "../background-work.js";
import type { Bucket } from "../bucket/bucket.js";
import type { MetadataStore } from "../metadata/metadata-store.js";
import { type WitnessReport, writeWitnesses } from "./write-witnesses.js";

export interface BackgroundWitnessesOptions {
  /** About so often what has changed is written: what a lost database costs. @default 30 seconds */
  readonly everyMs?: number;
  readonly onPass?: (report: WitnessReport) => void;
  /** The next pass tries again. */
  readonly onFailure?: (what: string, error: unknown) => void;
}

const EVERY_MS = 30_000;
const LEASE_NAME = "witnesses";
const LEASE_MS = 60_000;

/** @throws server/bad-configuration */
export function checkWitnessOptions({ everyMs = EVERY_MS }: BackgroundWitnessesOptions): void {
  if (!(everyMs >= 0))
    throw new GitwharfError("server/bad-configuration", "witnesses.everyMs is a number of at least 0");
}

export function startWitnesses(
  stores: { readonly bucket: Bucket; readonly metadata: MetadataStore; readonly owner: string },
  options: BackgroundWitnessesOptions = {},
): RunningWork {
  const { bucket, metadata, owner } = stores;
  const { everyMs = EVERY_MS, onPass, onFailure } = options;
  return startBackgroundWork(metadata, {
    name: LEASE_NAME,
    owner,
    everyMs,
    leaseMs: LEASE_MS,
    async work(_note, signal) {
      const report = await writeWitnesses({ bucket, metadata, signal });
      for (const { what, error } of report.failures) onFailure?.(what, error);
      onPass?.(report);
      return "";
    },
    onFailure: (error) => onFailure?.("a pass that writes witnesses", error),
  });
}
