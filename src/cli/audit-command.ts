/** `gitwharf audit verify [FILE…]`: is the audit log whole and as it was written? Exits with 1 when it is not. */
import { resolve } from "node:path";
import { Command } from "commander";
import { isHash } from "../access/audit/audit-line.js";
import { type AuditFinding, type AuditSummary, verifyAudit } from "../access/audit/verify-audit.js";
import { GitwharfError } from "../base/errors.js";
import { type AuditFlags, auditLogOf, withAuditOption } from "./audited-change.js";

interface VerifyFlags extends AuditFlags {
  readonly head?: string;
  readonly after?: string;
  readonly json?: boolean;
}

const FINDINGS_MAX = 100;

export function auditCommand(): Command {
  const command = new Command("audit").description(
    "The audit log: a chain of lines, each naming the one before.",
  );
  command.addCommand(
    withAuditOption(new Command("verify"))
      .description(
        "Check every line. Exits with 1 when lines were changed, removed, inserted, moved or torn.",
      )
      .argument("[files...]", "rotated files in order, the oldest first  [default: --audit-log]")
      .option("-d, --directory <directory>", "where the repositories are", "./repositories")
      .option("--head <hash>", "a head that was printed before: it must still be in the log")
      .option("--after <hash>", "the head of the file before the first one, when that is not given")
      .option("--json", "print JSON, one finding a line, the summary last")
      .action(verify),
  );
  return command;
}

async function verify(given: readonly string[], flags: VerifyFlags): Promise<void> {
  const { head, after, json = false } = flags;
  for (const [option, value] of Object.entries({ head, after }))
    if (value !== undefined && !isHash(value)) throw wrong(`--${option} is a SHA-256: 64 hexadecimal digits`);
  const files = given.length > 0 ? given.map((file) => resolve(file)) : await defaultFile(flags);
  let shown = 0;
  const onFinding = (finding: AuditFinding): void => {
    if (json) process.stdout.write(`${JSON.stringify(finding)}\n`);
    else if (++shown <= FINDINGS_MAX) process.stdout.write(`${textOf(finding)}\n`);
  };
  let summary: AuditSummary;
  try {
    summary = await verifyAudit(files, { onFinding, head, after });
  } catch (cause) {
    throw wrong(
      `the audit log cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      cause,
    );
  }
  if (!json && shown > FINDINGS_MAX) process.stdout.write(`… and ${shown - FINDINGS_MAX} more\n`);
  process.stdout.write(`${json ? JSON.stringify(summary) : summaryText(summary)}\n`);
  if (summary.errors > 0) process.exitCode = 1;
}

async function defaultFile(flags: VerifyFlags): Promise<readonly string[]> {
  const file = await auditLogOf(flags);
  if (file === undefined)
    throw wrong("name the files of the audit log: no server has written its place into the directory");
  return [file];
}

function textOf({ file, line, message, isError }: AuditFinding): string {
  return `${file}:${line}: ${isError ? "error" : "note"}: ${message}`;
}

function summaryText({ lines, first, last, head, errors }: AuditSummary): string {
  const what = errors === 0 ? "ok" : `${errors} ${errors === 1 ? "error" : "errors"}`;
  const range = first === undefined ? "" : `, sequence ${first} to ${last}`;
  return `${what}: ${lines} lines${range}, head ${head}`;
}

function wrong(message: string, cause?: unknown): GitwharfError {
  return new GitwharfError("server/bad-configuration", message, { cause });
}
