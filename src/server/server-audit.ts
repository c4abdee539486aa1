/** The server's audit log, as its options ask for it. */
import { resolve } from "node:path";
import { createAuditFile } from "../access/audit/audit-file.js";
import { auditOptionsOf } from "../access/audit/audit-options.js";
import { rememberAuditPlace } from "../access/audit/audit-place.js";
import { type AuditTrail, createAuditTrail } from "../access/audit/audit-trail.js";
import { type AuditWriter, createSinkWriter } from "../access/audit/audit-writer.js";
import type { ServiceLogEntry } from "../transport/service-host.js";
import type { GitServerOptions } from "./git-server-options.js";

/** A log that cannot be written fails every request: once in a while is enough to tell. */
const TOLD_EVERY_MS = 10_000;

/** @throws server/bad-configuration */
export function createServerAudit(
  { audit, repositories, durability: serverDurability = "sync" }: GitServerOptions,
  log: (entry: ServiceLogEntry) => void,
): AuditTrail | undefined {
  if (audit === undefined) return undefined;
  const {
    file,
    sink,
    durability = serverDurability,
    onFailure = "refuse",
    reads = true,
  } = auditOptionsOf(audit);
  const path = file === undefined ? undefined : resolve(file);
  const writer: AuditWriter =
    path === undefined ? createSinkWriter(sink ?? (() => undefined)) : createAuditFile({ path, durability });
  let toldAt = Number.NEGATIVE_INFINITY;
  const trail = createAuditTrail({
    writer,
    onFailure,
    reads,
    onLost(error) {
      const now = performance.now();
      if (now - toldAt < TOLD_EVERY_MS) return;
      toldAt = now;
      const message = error instanceof Error ? error.message : "the audit log cannot be written";
      log({ level: "error", message, error });
    },
  });
  return {
    ...trail,
    async started(details) {
      await trail.started(details);
      if (path !== undefined && typeof repositories === "string")
        await rememberAuditPlace(repositories, path);
    },
  };
}
