/** Options of the commands that serve one repository over standard input and output. */
import { Option } from "commander";

export function auditLogOption(): Option {
  return new Option("--audit-log <file>", "append who did what to this audit log  [default: none]").env(
    "GITWHARF_AUDIT_LOG",
  );
}

export function panicFileOption(): Option {
  return new Option(
    "--panic-file <file>",
    "refuse what this file of `gitwharf panic` refuses  [default: none]",
  );
}
