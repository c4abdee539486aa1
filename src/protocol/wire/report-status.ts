/**
 * What became of each command of a push, as its sender reads it. Specification: gitprotocol-pack "Report Status".
 *
 *     unpack ok | unpack <why>
 *     ok <ref> | ng <ref> <why>
 *     option refname|old-oid|new-oid|forced-update …       report-status-v2, behind an `ok`: what was done in its place
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectId } from "../../object/object-id.js";
import { quoteLine } from "./request-line.js";

export interface ReportStatus {
  /** Why the pack was not taken; undefined: it was. */
  readonly unpackFailure: string | undefined;
  /** By name: why a ref did not move; undefined: it did. */
  readonly refs: ReadonlyMap<string, string | undefined>;
  /** By name: what the server's hooks have made of the command; several may answer one. Absent where nothing was told. */
  readonly substitutes?: ReadonlyMap<string, readonly ReportedSubstitute[]>;
}

/** What is absent is as it was asked for. */
export interface ReportedSubstitute {
  readonly refName?: string;
  readonly oldOid?: ObjectId;
  readonly newOid?: ObjectId;
  readonly forcedUpdate?: true;
}

/** @param lines without their newlines @throws protocol/bad-request */
export function parseReportStatus(lines: readonly string[]): ReportStatus {
  const [first = "", ...rest] = lines;
  const unpack = /^unpack (.+)$/.exec(first)?.[1];
  if (unpack === undefined) throw wrong(first);
  const refs = new Map<string, string | undefined>();
  const substitutes = new Map<string, Writable[]>();
  /** What the options that follow are about. */
  let about: { readonly name: string; substitute: Writable | undefined } | undefined;
  for (const line of rest) {
    if (line.startsWith("option ")) {
      if (about === undefined) continue;
      if (about.substitute === undefined) {
        about.substitute = {};
        const others = substitutes.get(about.name);
        if (others === undefined) substitutes.set(about.name, [about.substitute]);
        else others.push(about.substitute);
      }
      takeOption(about.substitute, line);
      continue;
    }
    const [, ok, ng, why] = /^(?:ok (\S+)|ng (\S+) (.*))$/.exec(line) ?? [];
    about = ok === undefined ? undefined : { name: ok, substitute: undefined };
    if (ok !== undefined) refs.set(ok, undefined);
    else if (ng !== undefined) refs.set(ng, why || "no reason was given");
    else throw wrong(line);
  }
  const unpackFailure = unpack === "ok" ? undefined : unpack;
  return substitutes.size === 0 ? { unpackFailure, refs } : { unpackFailure, refs, substitutes };
}

type Writable = { -readonly [Key in keyof ReportedSubstitute]: ReportedSubstitute[Key] };

/** Options that are not known are passed over. */
function takeOption(substitute: Writable, line: string): void {
  const [, name, value = ""] = /^option (\S+)(?: (.*))?$/.exec(line) ?? [];
  if (name === "refname") substitute.refName = value;
  else if (name === "old-oid") substitute.oldOid = value;
  else if (name === "new-oid") substitute.newOid = value;
  else if (name === "forced-update") substitute.forcedUpdate = true;
}

function wrong(line: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", `'${quoteLine(line)}' is no line of a report`);
}
