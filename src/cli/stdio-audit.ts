/** The audit log of one repository over standard input and output, where it is named. Who started the process is who calls. */
import { resolve } from "node:path";
import type { AuditEvent } from "../access/audit/audit-entry.js";
import { createAuditFile } from "../access/audit/audit-file.js";
import { createAuditTrail } from "../access/audit/audit-trail.js";
import type { PushRecorder } from "../engine/push.js";
import { operatingSystemUser } from "./audited-change.js";

export interface StdioAudit {
  /** @throws access/audit-failed */
  admitPush(): Promise<void>;
  readonly recorder: PushRecorder;
  /** A fetch or an archive that is over. */
  ended(event: Extract<AuditEvent, "fetch" | "archive">, failure: unknown): Promise<void>;
  close(): Promise<void>;
}

export function createStdioAudit(file: string, repositoryPath: string): StdioAudit {
  const writer = createAuditFile({ path: resolve(file), durability: "sync" });
  const onLost = (error: unknown): void =>
    void process.stderr.write(`gitwharf: ${error instanceof Error ? error.message : String(error)}\n`);
  const trail = createAuditTrail({ writer, onFailure: "refuse", reads: true, onLost });
  const { address, ...identity } = operatingSystemUser();
  const repository = resolve(repositoryPath);
  return {
    admitPush: () => trail.admit("push"),
    recorder: trail.recorderOf({ identity, address, transport: "stdio" }, repository),
    async ended(event, failure) {
      const outcome = failure === undefined ? "ok" : "failed";
      await writer
        .append([{ event, ...identity, address, transport: "stdio", repository, outcome }])
        .catch(onLost);
    },
    close: () => trail.close(),
  };
}
