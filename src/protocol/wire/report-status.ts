/**
 * What became of each command of a push, as its sender reads it. Specification: gitprotocol-pack "Report Status".
 *
 *     unpack ok | unpack <why>
 *     ok <ref> | ng <ref> <why>
 *     option …                     report-status-v2, behind an `ok`: passed over
 */
import { GitwharfError } from "../../base/errors.js";
import { quoteLine } from "./request-line.js";

export interface ReportStatus {
  /** Why the pack was not taken; undefined: it was. */
  readonly unpackFailure: string | undefined;
  /** By name: why a ref did not move; undefined: it did. */
  readonly refs: ReadonlyMap<string, string | undefined>;
}

/** @param lines without their newlines @throws protocol/bad-request */
export function parseReportStatus(lines: readonly string[]): ReportStatus {
  const [first = "", ...rest] = lines;
  const unpack = /^unpack (.+)$/.exec(first)?.[1];
  if (unpack === undefined) throw wrong(first);
  const refs = new Map<string, string | undefined>();
  for (const line of rest) {
    if (line.startsWith("option ")) continue;
    const [, ok, ng, why] = /^(?:ok (\S+)|ng (\S+) (.*))$/.exec(line) ?? [];
    if (ok !== undefined) refs.set(ok, undefined);
    else if (ng !== undefined) refs.set(ng, why || "no reason was given");
    else throw wrong(line);
  }
  return { unpackFailure: unpack === "ok" ? undefined : unpack, refs };
}

function wrong(line: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", `'${quoteLine(line)}' is no line of a report`);
}
