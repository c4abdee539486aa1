/** The refs of one repository in files, as its transactions see them. */
import type { MaybePromise } from "../../../base/maybe-promise.js";
import type { ObjectFormat } from "../../../object/object-format.js";
import type { ObjectId } from "../../../object/object-id.js";
import type { RepositorySettings } from "../../contracts/repository-settings.js";
import { type RefState, type RefValue, resolveRef } from "../../refs/ref-state.js";
import { readLooseRef } from "./loose-ref.js";
import type { LooseRefs } from "./loose-refs.js";
import { packedRef } from "./packed-refs.js";
import type { PackedRefsFile } from "./packed-refs-file.js";
import { pathOfRef, type RefPaths } from "./ref-paths.js";

export interface FilesRefs {
  readonly paths: RefPaths;
  readonly objectFormat: ObjectFormat;
  /** Wait for the disk. */
  readonly sync: boolean;
  readonly refLockTimeoutMs: number;
  readonly packedRefsTimeoutMs: number;
  readonly peel: ((oid: ObjectId) => MaybePromise<ObjectId | undefined>) | undefined;
  /** As of the last `look`. */
  readonly loose: LooseRefs;
  readonly packed: PackedRefsFile;
  /** Looks at all refs again; at these directories whatever their stamps say. */
  look(again?: ReadonlySet<string>): Promise<RefState>;
}

export type FilesSettings = Pick<RepositorySettings["core"], "logAllRefUpdates" | "sharedRepository">;

/** What the file of a ref says now. */
export function readLooseNow(refs: FilesRefs, name: string): RefValue | undefined {
  const value = readLooseRef(pathOfRef(refs.paths, name), name, refs.objectFormat);
  return value === "directory" ? undefined : value;
}

export function packedValue(refs: FilesRefs, name: string): RefValue | undefined {
  const ref = packedRef(refs.packed.current, name);
  return ref === undefined ? undefined : { kind: "direct", ref };
}

/** Where a value leads now, symbolic refs followed. */
export function followNow(refs: FilesRefs, value: RefValue | undefined): ObjectId | undefined {
  if (value?.kind === "direct") return value.ref.oid;
  if (value?.kind !== "symbolic") return undefined;
  const end = resolveRef(value.target, (name) => readLooseNow(refs, name) ?? packedValue(refs, name)).value;
  return end?.kind === "direct" ? end.ref.oid : undefined;
}
