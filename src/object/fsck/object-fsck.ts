/**
 * Checks single objects as `git fsck` does. Pure: what one object says about another (that a `.gitmodules` is a blob,
 * what is in it) is collected in `FsckState` and asked when the other is there.
 * Specification: fsck-msgids.
 */
import type { ObjectFormat } from "../object-format.js";
import type { ObjectId, ObjectType } from "../object-id.js";
import { checkCommit } from "./commit-fsck.js";
import {
  type FsckFinding,
  type FsckMessageId,
  type FsckPolicy,
  type Report,
  severityOf,
} from "./fsck-message.js";
import { checkGitmodules } from "./gitmodules.js";
import { checkTag } from "./tag-fsck.js";
import { checkTree, type NamedBlobs } from "./tree-fsck.js";

const ATTRIBUTES_BYTES_MAX = 100 * 1024 * 1024;
const ATTRIBUTES_LINE_BYTES_MAX = 2048;
/** Git's is 512 MiB (core.bigFileThreshold): too long to look through while others wait. */
const GITMODULES_BYTES_MAX = 10 * 1024 * 1024;
/** Of one object; a `.gitmodules` may have any number of bad lines. The first error is kept in any case. */
const FINDINGS_MAX = 1000;

/** Blobs that trees name in a way that makes their content matter. */
export type FsckState = NamedBlobs;

export function createFsckState(): FsckState {
  return { gitmodules: new Set(), gitattributes: new Set() };
}

export interface CheckObject {
  readonly type: ObjectType;
  readonly oid: ObjectId;
  readonly data: Buffer;
  readonly objectFormat: ObjectFormat;
  readonly policy: FsckPolicy;
  readonly state: FsckState;
}

/**
 * What is wrong with it; empty when nothing is. Of an object on the skip list nothing is reported, but blobs that a
 * tree on it names are noted.
 */
export function checkObject(check: CheckObject): readonly FsckFinding[] {
  const { policy, data, objectFormat, state } = check;
  const findings: FsckFinding[] = [];
  const report = reporter(check, findings);
  switch (check.type) {
    case "commit":
      checkCommit(data, objectFormat, report);
      break;
    case "tree":
      checkTree({ data, objectFormat, strict: policy.strict, state }, report);
      break;
    case "tag":
      checkTag(data, objectFormat, report);
      break;
    case "blob":
      checkBlob(check, report);
      break;
  }
  return findings;
}

/**
 * What is wrong with the object that a tree names `.gitmodules` or `.gitattributes`, before its content is looked at.
 * @param type undefined: there is no such object
 */
export function checkNamedBlob(
  check: Omit<CheckObject, "data" | "objectFormat" | "type">,
  type: ObjectType | undefined,
): readonly FsckFinding[] {
  const findings: FsckFinding[] = [];
  if (type === "blob") return findings;
  const report = reporter(check, findings);
  const { oid, state } = check;
  for (const [kind, oids] of Object.entries(state) as [keyof FsckState, ReadonlySet<ObjectId>][]) {
    if (!oids.has(oid)) continue;
    if (type === undefined) report(`${kind}Missing`, `unable to read .${kind} blob`);
    else report(`${kind}Blob`, `non-blob found at .${kind}`);
  }
  return findings;
}

function reporter(
  { oid, policy }: { readonly oid: ObjectId; readonly policy: FsckPolicy },
  findings: FsckFinding[],
): Report {
  const skipped = policy.skipList.has(oid);
  let failed = false;
  return (id: FsckMessageId, text: string): boolean => {
    const severity = skipped ? "ignore" : severityOf(id, policy);
    if (severity === "ignore") return false;
    const isError = severity === "error";
    if (findings.length < FINDINGS_MAX || (isError && !failed))
      findings.push({ id, severity, message: `${oid}: ${id}: ${text}` });
    if (isError) failed = true;
    return isError;
  };
}

function checkBlob({ oid, data, state }: CheckObject, report: Report): void {
  if (state.gitmodules.has(oid)) {
    if (data.length > GITMODULES_BYTES_MAX) {
      report("gitmodulesLarge", ".gitmodules too large to parse");
      return;
    }
    checkGitmodules(data.toString("latin1"), report);
  }
  if (state.gitattributes.has(oid)) {
    if (data.length > ATTRIBUTES_BYTES_MAX) report("gitattributesLarge", ".gitattributes too large to parse");
    else if (hasLongLine(data)) {
      report("gitattributesLineLength", ".gitattributes has too long lines to parse");
    }
  }
}

/** A NUL ends the text for git. */
function hasLongLine(data: Buffer): boolean {
  let length = 0;
  for (const byte of data) {
    if (byte === 0) return false;
    length = byte === 0x0a ? 0 : length + 1;
    if (length >= ATTRIBUTES_LINE_BYTES_MAX) return true;
  }
  return false;
}
