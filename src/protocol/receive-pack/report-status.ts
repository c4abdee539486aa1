/**
 * What became of each command. Specification: gitprotocol-pack "Report Status".
 *
 *     unpack ok | unpack <why>
 *     ok <ref> | ng <ref> <why>
 *     option refname|old-oid|new-oid|forced-update …       report-status-v2, behind an `ok`
 */
import { WorkBudget } from "../../engine/fetch/work-budget.js";
import type { ProcReceiveResult, PushCommand, PushOutcome } from "../../engine/push.js";
import { encodePktLine, FLUSH, PKT_LINE_BYTES_MAX } from "../wire/pkt-line.js";
import { sanitizeText } from "../wire/sanitize.js";

export interface CommandResult extends PushOutcome {
  readonly command: PushCommand;
  /** undefined: it succeeded. */
  refusal: string | undefined;
  /** It was to delete a ref that is not there. */
  changedNothing?: boolean;
  /** What proc-receive made of it; several results may answer one command. */
  substitutes: readonly ProcReceiveResult[];
  /** Its command names a symbolic ref; this is the result of the ref that moves for both. */
  follows?: CommandResult;
}

/** With pauses: of many refs the report is long. @param unpackFailure undefined: the pack (if there was one) was taken */
export async function formatReport(
  results: readonly CommandResult[],
  unpackFailure: string | undefined,
  version: 1 | 2,
): Promise<Buffer> {
  const budget = new WorkBudget();
  const lines = [line(`unpack ${unpackFailure ?? "ok"}`)];
  for (const { command, refusal, substitutes } of results) {
    if (budget.spend(1)) await budget.pause();
    if (refusal !== undefined) {
      lines.push(line(`ng ${command.name} ${refusal}`));
      continue;
    }
    if (version === 1 || substitutes.length === 0) {
      lines.push(line(`ok ${command.name}`));
      continue;
    }
    for (const result of substitutes) {
      lines.push(line(`ok ${command.name}`));
      if (result.refName !== undefined) lines.push(line(`option refname ${result.refName}`));
      if (result.oldOid !== undefined) lines.push(line(`option old-oid ${result.oldOid}`));
      if (result.newOid !== undefined) lines.push(line(`option new-oid ${result.newOid}`));
      if (result.forcedUpdate === true) lines.push(line("option forced-update"));
    }
  }
  lines.push(FLUSH);
  return Buffer.concat(lines);
}

/** One line: reasons come from hooks and from other people's code. */
function line(text: string): Buffer {
  const clean = Buffer.from(sanitizeText(text.replaceAll(/\s*[\r\n]+\s*/g, " ")).trimEnd());
  return encodePktLine(Buffer.concat([clean.subarray(0, PKT_LINE_BYTES_MAX - 5), Buffer.from("\n")]));
}
