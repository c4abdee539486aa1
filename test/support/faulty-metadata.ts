/**
 * The metadata of an object store, failing where a test wants it to: as `faulty-bucket.ts` does it for the bucket. One call
 * of the store is one point; what becomes of a connection in the middle of one is tested with a real database.
 */
import { setTimeout as delay } from "node:timers/promises";
import { GitwharfError } from "../../src/base/errors.js";
import type { MetadataStore } from "../../src/storage/object-store/metadata/metadata-store.js";
import { type Fault, NEVER } from "./faulty-bucket.js";

export type MetadataOperation = keyof MetadataStore;

export interface FaultyMetadata extends MetadataStore {
  /** All that were made, those that failed too. */
  readonly calls: readonly MetadataOperation[];
}

/** @param decide "truncated" is as "lost" */
export function createFaultyMetadata(
  metadata: MetadataStore,
  decide: (operation: MetadataOperation) => Fault | undefined = () => undefined,
): FaultyMetadata {
  const calls: MetadataOperation[] = [];

  const failing = async (operation: MetadataOperation, body: () => Promise<unknown>): Promise<unknown> => {
    calls.push(operation);
    const fault = decide(operation);
    if (fault === "before") throw failure(operation, "none");
    if (typeof fault === "object" && "slow" in fault)
      await (typeof fault.slow === "number" ? delay(fault.slow) : fault.slow);
    const answer = await body();
    if (typeof fault === "object" && "unanswered" in fault) {
      fault.unanswered();
      return NEVER;
    }
    if (typeof fault === "string") throw failure(operation, "unknown");
    return answer;
  };

  const methods = Object.entries(metadata) as [
    MetadataOperation,
    (...args: readonly unknown[]) => Promise<unknown>,
  ][];
  const wrapped = methods.map(([operation, method]) => [
    operation,
    (...args: readonly unknown[]) => failing(operation, () => method(...args)),
  ]);
  return { ...(Object.fromEntries(wrapped) as MetadataStore), calls };
}

function failure(operation: string, outcome: "none" | "unknown"): GitwharfError {
  return new GitwharfError("storage/io", `${operation}: the metadata fail, as the test wants it to`, {
    details: { outcome },
  });
}
