/** What an archive is made of. Names are bytes, held one a character (latin1): not every name is UTF-8. */
import type { ObjectId } from "../../object/object-id.js";

export type ArchiveEntryKind = "directory" | "submodule" | "file" | "executable" | "symlink";

export interface ArchiveEntry {
  readonly kind: ArchiveEntryKind;
  /** With the prefix; of directories and submodules with a slash at the end. */
  readonly path: string;
  readonly oid: ObjectId;
  /** Empty for directories and submodules. Borrowed: nobody changes it. */
  readonly data: Buffer;
  /** What the attribute `diff` says; undefined: the content does. */
  readonly isText: boolean | undefined;
}

/** What an archive says about where it comes from. */
export interface ArchiveOrigin {
  /** undefined: it is not of a commit. */
  readonly commit: ObjectId | undefined;
  /** Seconds since 1970, of every entry. */
  readonly modifiedSeconds: number;
}
