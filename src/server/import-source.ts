/** Where a repository is imported from: its refs, and a pack of all that they lead to. */
import type { ByteSource } from "../base/byte-streams.js";
import type { GitwharfError } from "../base/errors.js";
import type { Limits } from "../base/limits.js";
import type { ObjectFormat } from "../object/object-format.js";
import type { ObjectId } from "../object/object-id.js";
import type { Ref } from "../storage/contracts/ref-store.js";

export interface ImportSource {
  readonly objectFormat: ObjectFormat;
  /** `main`; undefined: HEAD names no branch. */
  readonly defaultBranch: string | undefined;
  readonly refs: readonly Ref[];
  readonly omitted: readonly string[];
  /** All that refs lead to; undefined: there are none. */
  readonly pack: (() => Promise<ImportedPack>) | undefined;
  readonly limits: Limits;
  /** For reflogs: no secret. */
  readonly label: string;
  /** What was wrong with what came, as it is told. */
  readonly failureOf?: (error: unknown) => unknown;
  /** What to throw when an object has not come. @default object/corrupt */
  readonly missing?: (oid: ObjectId) => GitwharfError;
  /** In place of the caller's, which it goes on to. */
  readonly onProgress?: (text: string) => void;
  close(): Promise<void>;
}

export interface ImportedPack {
  readonly bytes: ByteSource;
  /** Commits whose parents do not come; there may be others among them, which do not come either. */
  readonly shallow: Iterable<ObjectId>;
  /** Once the pack is whole: what is said behind it. */
  readonly end?: () => Promise<void>;
}

export const BRANCHES = "refs/heads/";
export const DETACHED = "HEAD, which names no branch: it is main here";

/** For those that say where HEAD leads, and not which branch it names. */
export function branchAt(head: ObjectId | undefined, refs: readonly Ref[]): string | undefined {
  const branches = refs.filter(
    ({ name, oid }) => name.startsWith(BRANCHES) && (head === undefined || oid === head),
  );
  const names = branches.map(({ name }) => name.slice(BRANCHES.length));
  return ["main", "master"].find((name) => names.includes(name)) ?? names[0];
}
