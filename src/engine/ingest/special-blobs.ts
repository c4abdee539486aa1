/**
 * The end of the checks on receipt: blobs that some tree of the pack names `.gitmodules` or `.gitattributes`. They are
 * looked at when the pack is whole, because a tree may come before or after them.
 */
import type { FsckPolicy } from "../../object/fsck/fsck-message.js";
import { checkNamedBlob, checkObject } from "../../object/fsck/object-fsck.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { type Examined, judgeFindings, WARNINGS_MAX } from "./object-examiner.js";

/**
 * @param objects the quarantine's: the new objects and the repository's
 * @returns warnings as `<oid>: <id>: <text>`, those of single objects included
 * @throws object/malformed
 */
export async function checkSpecialBlobs(
  objects: ObjectReader,
  examined: readonly Examined[],
  policy: FsckPolicy,
): Promise<readonly string[]> {
  const warnings = examined.flatMap((part) => part.warnings).slice(0, WARNINGS_MAX);
  const state = {
    gitmodules: new Set(examined.flatMap(({ namedBlobs }) => [...namedBlobs.gitmodules])),
    gitattributes: new Set(examined.flatMap(({ namedBlobs }) => [...namedBlobs.gitattributes])),
  };
  const { objectFormat } = objects;
  for (const oid of new Set([...state.gitmodules, ...state.gitattributes])) {
    const object = await objects.read(oid);
    judgeFindings(checkNamedBlob({ oid, policy, state }, object?.type), warnings);
    if (object?.type !== "blob") continue;
    judgeFindings(
      checkObject({ type: "blob", oid, data: object.data, objectFormat, policy, state }),
      warnings,
    );
  }
  return warnings;
}
