/** Where entries go: a file, or a function of the application's. */
import { GitwharfError } from "../../base/errors.js";
import type { AuditEntry, AuditSink } from "./audit-entry.js";

export interface AuditWriter {
  /**
   * In order. Resolves when they are written; with `durable`, when they survive a power cut as far as was asked for.
   * @throws access/audit-failed
   */
  append(entries: readonly AuditEntry[], options?: { readonly durable?: boolean }): Promise<void>;
  /** Resolves when the log can be written, as far as can be told without writing. @throws access/audit-failed */
  ready(): Promise<void>;
  /** Did the last attempt fail? */
  isFailing(): boolean;
  /** Writes what still waits, as far as that is possible. */
  close(): Promise<void>;
}

/** Appends that wait for a sink. */
const WAITING_MAX = 10_000;

/** What a sink of the application's throws becomes access/audit-failed. */
export function createSinkWriter(sink: AuditSink): AuditWriter {
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  let isFailing = false;
  return {
    append(entries) {
      if (waiting >= WAITING_MAX)
        return Promise.reject(auditFailed("the audit log is too slow", `${waiting} entries wait for it`));
      waiting++;
      const time = Date.now();
      const done = last.then(async () => {
        for (const entry of entries) await sink({ time, ...entry });
      });
      last = done.then(
        () => (isFailing = false),
        () => (isFailing = true),
      );
      void last.then(() => waiting--);
      return done.catch((cause: unknown) => {
        throw auditFailed("the audit log takes no entry", cause);
      });
    },
    ready: async () => undefined,
    isFailing: () => isFailing,
    async close() {
      await last;
    },
  };
}

export function auditFailed(what: string, cause: unknown): GitwharfError {
  if (cause instanceof GitwharfError && cause.code === "access/audit-failed") return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new GitwharfError("access/audit-failed", `${what}: ${why}`, { cause });
}
