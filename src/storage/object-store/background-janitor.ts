/**
 * Every server has a janitor; a lease sees to it that one of them makes a pass, and that none follows at once. It goes on where
 * the last one ended, whoever made that.
 */
import { GitwharfError } from "../../base/errors.js";
import type { Bucket } from "./bucket/bucket.js";
import { type JanitorLimits, type JanitorReport, runJanitor } from "./janitor.js";
import { keepLease } from "./keep-lease.js";
import type { MetadataStore } from "./metadata/metadata-store.js";

export interface BackgroundJanitorOptions extends JanitorLimits {
  /** About so often one of all servers makes a pass. @default 10 minutes */
  readonly everyMs?: number;
  readonly onPass?: (report: JanitorReport) => void;
  /** A pass that could not be made, or a part of one (`what`): the next tries again. */
  readonly onFailure?: (what: string, error: unknown) => void;
}

export interface BackgroundJanitor {
  /** Ends the pass that is being made. */
  close(): Promise<void>;
}

const EVERY_MS = 10 * 60 * 1000;
const LEASE_NAME = "janitor";
/** A server that is killed in a pass holds the others up for so long. */
const LEASE_MS = 5 * 60 * 1000;
const TIMER_MS_MAX = 2 ** 31 - 1;

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
): BackgroundJanitor {
  const { bucket, metadata, owner } = stores;
  const { everyMs = EVERY_MS, onPass, onFailure, ...limits } = options;
  const closing = new AbortController();
  let running: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  const pass = async (): Promise<void> => {
    const lease = await keepLease(metadata, { name: LEASE_NAME, owner }, LEASE_MS);
    if (lease === undefined) return;
    let note = lease.note;
    try {
      const from = note === "" ? {} : { from: note };
      const report = await runJanitor({ bucket, metadata, ...limits, ...from, signal: closing.signal });
      note = report.next ?? "";
      for (const { what, error } of report.failures) onFailure?.(what, error);
      onPass?.(report);
    } finally {
      // Shorter than the shortest wait, so that this server itself is not held up.
      await lease.release({ restMs: closing.signal.aborted ? 0 : everyMs * 0.7, note });
    }
  };

  const wait = (): void => {
    if (closing.signal.aborted) return;
    // At random, so that servers which were started together do not ask together.
    const waitMs = Math.min(TIMER_MS_MAX, everyMs * (0.8 + Math.random() * 0.4));
    timer = setTimeout(() => {
      running = pass()
        .catch((error: unknown) => {
          if (!closing.signal.aborted) onFailure?.("a pass of the janitor", error);
        })
        .finally(() => {
          running = undefined;
          wait();
        })
        // Whoever is told of a failure may fail, too.
        .catch(() => undefined);
    }, waitMs);
    timer.unref();
  };
  wait();

  return {
    async close() {
      closing.abort();
      clearTimeout(timer);
      await running;
    },
  };
}
