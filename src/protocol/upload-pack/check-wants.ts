/**
 * May the caller have what it asks for? Tips of visible refs always; anything else by policy.
 *
 * Differs from git: in protocol v2, git gives out any object that exists. Here v2 gives out what is reachable from
 * refs the caller sees (partial clones need that much), and `allowAnySHA1InWant` opens the rest.
 */
import { GitwharfError } from "../../base/errors.js";
import { areReachable } from "../../engine/reachability.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import type { VisibleRefs } from "./visible-refs.js";
import type { UploadPackContext } from "./upload-pack-context.js";

/** @throws protocol/not-our-ref */
export async function checkWants(
  context: UploadPackContext,
  snapshot: Snapshot,
  refs: VisibleRefs,
  wants: ReadonlySet<ObjectId>,
): Promise<void> {
  const { uploadPack } = context.settings;
  const tips = refs.tips();
  let asked = [...wants].filter((oid) => !tips.has(oid));
  if (asked.length === 0) return;
  if (uploadPack.allowAnySha1InWant) {
    for (const oid of asked) if (!(await snapshot.objects.has(oid))) throw notOurRef(oid);
    return;
  }
  if (uploadPack.allowTipSha1InWant || uploadPack.allowReachableSha1InWant) {
    const hiddenTips = new Set(snapshot.refs.all.map((ref) => ref.oid));
    if (uploadPack.allowTipSha1InWant) asked = asked.filter((oid) => !hiddenTips.has(oid));
  }
  if (context.version === 2 || uploadPack.allowReachableSha1InWant) {
    asked = await areReachable(snapshot, asked, [...tips], context.signal);
  }
  const [first] = asked;
  if (first !== undefined) throw notOurRef(first);
}

function notOurRef(oid: ObjectId): GitwharfError {
  return new GitwharfError("protocol/not-our-ref", `upload-pack: not our ref ${oid}`);
}
