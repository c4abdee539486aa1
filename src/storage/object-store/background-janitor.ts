/**
 * Every server has a janitor; a lease sees to it that one of them makes a pass, and that none follows at once. It goes on where
 * the last one ended, whoever made that.
 */
import { GitwharfError } from "../../base/errors.js";
import type { Bucket } from "./bucket/bucket.js";
import { type RunningWork, startBackgroundWork } from "./background-work.js";
import { type JanitorLimits, type JanitorReport, runJanitor } from "./janitor.js";
import type { MetadataStore } from "./metadata/metadata-store.js";

export interface BackgroundJanitorOptions extends JanitorLimits {
  /** About so often one of all servers makes a pass. @default 10 minutes */
  readonly everyMs?: number;
  readonly onPass?: (report: JanitorReport) => void;
  /** A pass that could not be made, or a part of one (`what`): the next tries again. */
  readonly onFailure?: (what: string, error: unknown) => void;
}

const EVERY_MS = 10 * 60 * 1000;
const LEASE_NAME = "janitor";
/** A server that is killed in a pass holds the others up for so long. */
const LEASE_MS = 5 * 60 * 1000;

/** @throws server/bad-configuration */
export function checkJanitorOptions(options: BackgroundJanitorOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (typeof value === "function" || (typeof value === "number" && value >= 0)) continue;
    throw new GitwharfError("server/bad-configuration", `janitor.${name} is a number of at least 0`);
  }
}

export function startJanitor(
  stores: { readonly bucket: Bucket; readonly metadata: MetadataStore; readonly owner: string },
  options: BackgroundJanitorOptions = {},
): RunningWork {
  const { bucket, metadata, owner } = stores;
  const { everyMs = EVERY_MS, onPass, onFailure, ...limits } = options;
  return startBackgroundWork(metadata, {
    name: LEASE_NAME,
    owner,
    everyMs,
    leaseMs: LEASE_MS,
    async work(note, signal) {
      const from = note === "" ? {} : { from: note };
      const report = await runJanitor({ bucket, metadata, ...limits, ...from, signal });
      for (const { what, error } of report.failures) onFailure?.(what, error);
      onPass?.(report);
      return report.next ?? "";
    },
    onFailure: (error) => onFailure?.("a pass of the janitor", error),
  });
}
