/** What commands change is written into the audit log: by whom on this machine, and whether it was done. */
import { userInfo } from "node:os";
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import type { AuditEntry } from "../access/audit/audit-entry.js";
import { createAuditFile } from "../access/audit/audit-file.js";
import { findAuditPlace } from "../access/audit/audit-place.js";
import type { AuditWriter } from "../access/audit/audit-writer.js";
import { fail } from "./failure.js";

export interface AuditFlags {
  readonly directory: string;
  readonly auditLog?: string;
}

export function withAuditOption(command: Command): Command {
  return command.addOption(
    new Option(
      "--audit-log <file>",
      "where the change is written down  [default: the log that a server has named in the directory]",
    ).env("GITWHARF_AUDIT_LOG"),
  );
}

/** undefined: there is no audit log. */
export async function auditLogOf({ auditLog, directory }: AuditFlags): Promise<string | undefined> {
  return auditLog === undefined ? findAuditPlace(directory) : resolve(auditLog);
}

export interface Change<Result> {
  readonly entry: Pick<AuditEntry, "event" | "repository" | "details">;
  /** To be done although it cannot be written down. */
  readonly urgent?: boolean;
  readonly make: () => Promise<Result>;
  /** undefined: it was done. */
  readonly refusalOf?: (result: Result) => string | undefined;
}

/** @throws access/audit-failed before anything is changed, unless it is urgent; what the change throws */
export async function auditedChange<Result>(flags: AuditFlags, change: Change<Result>): Promise<Result> {
  const path = await auditLogOf(flags);
  if (path === undefined) return change.make();
  const writer = createAuditFile({ path, durability: "sync" });
  try {
    if (change.urgent !== true) await writer.ready();
    let result: Result;
    try {
      result = await change.make();
    } catch (error) {
      const reason = error instanceof Error ? error.message : "it failed";
      await write(writer, { ...change.entry, outcome: "failed", reason });
      throw error;
    }
    const reason = change.refusalOf?.(result);
    await write(writer, { ...change.entry, outcome: reason === undefined ? "ok" : "refused", reason });
    return result;
  } finally {
    await writer.close();
  }
}

async function write(writer: AuditWriter, entry: AuditEntry): Promise<void> {
  try {
    await writer.append([{ ...operatingSystemUser(), transport: "cli", ...entry }], { durable: true });
  } catch (error) {
    fail(
      `${error instanceof Error ? error.message : String(error)}. What this command has done stands, unrecorded`,
    );
  }
}

/** Who started this process. */
export function operatingSystemUser(): {
  readonly user: string;
  readonly method: string;
  readonly credentialId: string;
  readonly address: string | undefined;
} {
  const uid = process.getuid?.();
  return {
    user: process.env["SUDO_USER"] ?? nameOf(uid),
    method: process.env["SUDO_USER"] === undefined ? "os" : "sudo",
    credentialId: `uid:${uid ?? "?"}`,
    address: process.env["SSH_CLIENT"]?.split(" ")[0],
  };
}

/** Not every number has a name. */
function nameOf(uid: number | undefined): string {
  try {
    return userInfo().username;
  } catch {
    return `uid:${uid ?? "?"}`;
  }
}
