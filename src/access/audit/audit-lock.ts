/**
 * One writer at a time, among all processes of a machine: a lock of the operating system that ends with the process that
 * holds it, however it ends. Node has none of its own; SQLite, which is there for users and keys, has. Its file holds
 * nothing.
 */
import { createRequire } from "node:module";
import { setTimeout } from "node:timers/promises";
import { GitwharfError } from "../../base/errors.js";
import { makePrivateFile } from "../../base/private-file.js";

export interface AuditLock {
  /** @throws access/audit-failed when others hold it all the time */
  hold<T>(work: () => Promise<T>): Promise<T>;
  close(): void;
}

interface Connection {
  exec(sql: string): unknown;
  close(): void;
}

const DEFAULT_WAIT_MS = 10_000;

export function createAuditLock(path: string, waitMs: number = DEFAULT_WAIT_MS): AuditLock {
  let connection: Connection | undefined;
  const forget = (): void => {
    const old = connection;
    connection = undefined;
    old?.close();
  };
  /** @returns false when somebody else holds it */
  const take = (): boolean => {
    try {
      connection ??= connect(path);
      connection.exec("begin immediate");
      return true;
    } catch (error) {
      // One that met another's lock is not used again: its statement may be unfinished.
      forget();
      if (error instanceof Error && "code" in error && String(error.code).startsWith("SQLITE_BUSY"))
        return false;
      throw error;
    }
  };
  return {
    async hold(work) {
      const until = performance.now() + waitMs;
      while (!take()) {
        if (performance.now() > until) {
          throw new GitwharfError(
            "access/audit-failed",
            `another process has held ${path} for ${waitMs / 1000} seconds`,
          );
        }
        // At random, so that those who wait do not come back together.
        await setTimeout(1 + Math.random() * 10);
      }
      try {
        return await work();
      } finally {
        try {
          connection?.exec("commit");
        } catch {
          forget();
        }
      }
    },
    close: forget,
  };
}

function connect(path: string): Connection {
  makePrivateFile(path);
  const Libsql = createRequire(import.meta.url)("libsql") as new (path: string) => Connection;
  const connection = new Libsql(path);
  // Waiting would stop the whole process.
  connection.exec("pragma busy_timeout = 0");
  return connection;
}
