/**
 * The end of the checks on receipt: blobs that some tree of the pack names `.gitmodules` or `.gitattributes`. They are
 * looked at when the pack is whole, because a tree may come before or after them.
 */
import { GitwharfError } from "../../base/errors.js";
import type { FsckPolicy } from "../../object/fsck/fsck-message.js";
import { checkObject } from "../../object/fsck/object-fsck.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { Quarantine } from "../../storage/contracts/quarantine.js";
import type { LinkList } from "./object-examiner.js";

/**
 * @param objects the quarantine's: the new objects and the repository's
 * @returns warnings, those of single objects included
 * @throws object/malformed
 */
async function checkSpecialBlobs(objects: ObjectReader, lists: readonly LinkList[], policy: FsckPolicy): Promise<readonly string[]> {
  const notes = lists.map((list) => list.fsck).filter((note) => note !== undefined);
  const state = {
    gitmodules: new Set(notes.flatMap((note) => note.gitmodules)),
    gitattributes: new Set(notes.flatMap((note) => note.gitattributes)),
  };
  const warnings = notes.flatMap((note) => note.warnings);
  for (const oid of new Set([...state.gitmodules, ...state.gitattributes])) {
    const object = await objects.read(oid);
    // An absent one is the connectivity check's to find.
    if (object === undefined) continue;
    if (object.type !== "blob") {
      throw new GitwharfError("object/malformed", `object ${oid}: gitmodulesBlob: non-blob found at .gitmodules or .gitattributes`);
    }
    const { objectFormat } = objects;
    for (const finding of checkObject({ type: "blob", oid, data: object.data, objectFormat, policy, state })) {
      if (finding.severity === "error") throw new GitwharfError("object/malformed", `object ${finding.message}`);
      warnings.push(finding.message);
    }
  }
  return warnings;
}

/** Nothing when the request asks for no checks. @throws object/malformed */
export async function checkFsckNotes(
  lists: readonly LinkList[],
  request: { readonly quarantine: Quarantine; readonly fsck?: FsckPolicy | undefined },
): Promise<readonly string[]> {
  return request.fsck === undefined ? [] : checkSpecialBlobs(request.quarantine.objects, lists, request.fsck);
}
