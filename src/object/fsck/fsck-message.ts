/**
 * The messages of object checks: git's ids and default severities. Specification: fsck-msgids, git-config `fsck.*`.
 */
export type FsckSeverity = "error" | "warn" | "ignore";

/** "fatal" cannot be lowered; "info" is shown as a warning. */
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
  gitmodulesBlob: "error",
  gitmodulesLarge: "error",
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
