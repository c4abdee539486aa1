/**
 * The messages of object checks: git's ids and default severities. Specification: fsck-msgids, git-config `fsck.*`.
 * A push is judged as git judges it with `receive.fsckObjects`: what is a warning by default is an error then, what is
 * for information is a warning. A severity that is configured counts as it stands.
 */
export type FsckSeverity = "error" | "warn" | "ignore";

/**
 * "fatal" cannot be lowered; "info" is shown as a warning. Ids that only checks of refs use are not among them:
 * see `OF_REFS`.
 */
const DEFAULTS = {
  nulInHeader: "fatal",
  unterminatedHeader: "fatal",
  badDate: "error",
  badDateOverflow: "error",
  badEmail: "error",
  badGpgsig: "error",
  badHeaderContinuation: "error",
  badName: "error",
  badObjectSha1: "error",
  badParentSha1: "error",
  badTimezone: "error",
  badTree: "error",
  badTreeSha1: "error",
  badType: "error",
  duplicateEntries: "error",
  gitattributesBlob: "error",
  gitattributesLarge: "error",
  gitattributesLineLength: "error",
  gitattributesMissing: "error",
  gitmodulesBlob: "error",
  gitmodulesLarge: "error",
  gitmodulesMissing: "error",
  gitmodulesName: "error",
  gitmodulesPath: "error",
  gitmodulesSymlink: "error",
  gitmodulesUpdate: "error",
  gitmodulesUrl: "error",
  missingAuthor: "error",
  missingCommitter: "error",
  missingEmail: "error",
  missingNameBeforeEmail: "error",
  missingObject: "error",
  missingSpaceBeforeDate: "error",
  missingSpaceBeforeEmail: "error",
  missingTag: "error",
  missingTagEntry: "error",
  missingTree: "error",
  missingType: "error",
  missingTypeEntry: "error",
  multipleAuthors: "error",
  treeNotSorted: "error",
  unknownType: "error",
  zeroPaddedDate: "error",
  emptyName: "warn",
  fullPathname: "warn",
  hasDot: "warn",
  hasDotdot: "warn",
  hasDotgit: "warn",
  largePathname: "warn",
  nullSha1: "warn",
  nulInCommit: "warn",
  zeroPaddedFilemode: "warn",
  badFilemode: "info",
  badTagName: "info",
  gitattributesSymlink: "info",
  gitignoreSymlink: "info",
  gitmodulesParse: "info",
  mailmapSymlink: "info",
  missingTaggerEntry: "info",
  extraHeaderEntry: "ignore",
} as const satisfies Record<string, FsckSeverity | "fatal" | "info">;

export type FsckMessageId = keyof typeof DEFAULTS;

/** Git's ids that say something of refs: they may be configured, and no object check uses them. */
const OF_REFS = [
  "badHeadTarget",
  "badPackedRefEntry",
  "badPackedRefHeader",
  "badRefContent",
  "badRefFiletype",
  "badRefName",
  "badRefOid",
  "badReferentName",
  "badReftableTableName",
  "emptyPackedRefsFile",
  "packedRefEntryNotTerminated",
  "packedRefUnsorted",
  "refMissingNewline",
  "symlinkRef",
  "symrefTargetIsNotARef",
  "trailingRefContent",
];

const FATAL: ReadonlySet<string> = new Set(
  Object.entries(DEFAULTS).flatMap(([id, severity]) => (severity === "fatal" ? [id.toLowerCase()] : [])),
);
const KNOWN: ReadonlySet<string> = new Set(
  [...Object.keys(DEFAULTS), ...OF_REFS].map((id) => id.toLowerCase()),
);

/** All that object checks can report. */
export const FSCK_MESSAGE_IDS: readonly string[] = Object.keys(DEFAULTS);

/** @param id in lower case */
export function isFsckMessageId(id: string): boolean {
  return KNOWN.has(id);
}

/** What is configured and has no effect, for a person to read: one line for each. */
export function describeOddSeverities(severities: FsckPolicy["severities"]): readonly string[] {
  const lines: string[] = [];
  for (const [id, severity] of severities) {
    if (!KNOWN.has(id)) lines.push(`skipping unknown msg id '${id}'`);
    else if (FATAL.has(id) && severity !== "error") lines.push(`cannot demote ${id} to ${severity}`);
  }
  return lines;
}

/** @returns whether it counts as an error, which ends the check of a commit or a tag */
export type Report = (id: FsckMessageId, text: string) => boolean;

export interface FsckFinding {
  readonly id: FsckMessageId;
  readonly severity: "error" | "warn";
  /** `<oid>: <id>: <text>` */
  readonly message: string;
}

export interface FsckPolicy {
  /** By message id in lower case, as configuration has it. */
  readonly severities: ReadonlyMap<string, FsckSeverity>;
  /** Objects that are not checked. */
  readonly skipList: ReadonlySet<string>;
  /** Warnings are errors: what git does when it receives. */
  readonly strict: boolean;
}

export function severityOf(id: FsckMessageId, policy: FsckPolicy): FsckSeverity {
  const base = DEFAULTS[id];
  if (base === "fatal") return "error";
  const configured = policy.severities.get(id.toLowerCase());
  if (configured !== undefined) return configured;
  if (base === "info") return "warn";
  return base === "warn" && policy.strict ? "error" : base;
}
