/**
 * May the caller have what it asks for? Tips of visible refs always. Beyond these:
 *
 * | | v0, v1 on a connection | v0, v1 over HTTP | v2 |
 * | --- | --- | --- | --- |
 * | reachable from visible refs | with `allowReachableSHA1InWant` | yes | yes |
 * | a tip of a hidden ref | with `allowTipSHA1InWant` or `allowReachableSHA1InWant` | the same | the same |
 * | reachable from hidden refs | with `allowReachableSHA1InWant` | the same | the same |
 * | any object | with `allowAnySHA1InWant` | the same | the same |
 *
 * Where policies hide refs from the caller, these are not opened by any of that: "any object" is then what the other refs
 * lead to.
 *
 * Over HTTP the refs may have moved since they were advertised: what they have left behind is still given out, as
 * git does. Differs from git: v2 there gives out any object that exists; over HTTP v0 checks commits alone; and over HTTP
 * `allowTipSHA1InWant` also opens what the hidden tips lead to.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { areReachable } from "../../engine/reachability.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import type { VisibleRefs } from "./visible-refs.js";
import type { UploadPackContext } from "./upload-pack-context.js";

export interface WantsRequest {
  readonly context: UploadPackContext;
  readonly snapshot: Snapshot;
  readonly refs: VisibleRefs;
  /** v0 and v1: the refs may have been advertised by an earlier request. */
  readonly statelessRpc: boolean;
}

/** @throws protocol/not-our-ref naming the first that the caller may not have */
export async function checkWants(request: WantsRequest, wants: Iterable<ObjectId>): Promise<void> {
  const refused = await refusedWants(request, wants);
  const [first] = refused;
  if (first !== undefined)
    throw new GitwharfError("protocol/not-our-ref", `upload-pack: not our ref ${first}`);
}

/** The ones that the caller may not have, in order. */
export async function refusedWants(
  request: WantsRequest,
  wants: Iterable<ObjectId>,
): Promise<readonly ObjectId[]> {
  const { context, snapshot, refs } = request;
  const { allowAnySha1InWant: any, allowTipSha1InWant, ...settings } = context.settings.uploadPack;
  const allowAnySha1InWant = any && context.isHiddenRef === undefined;
  const allowReachableSha1InWant = any || settings.allowReachableSha1InWant;
  const tips = refs.tips();
  let asked: ObjectId[] = [];
  for (const oid of wants) if (!tips.has(oid)) asked.push(oid);
  if (asked.length === 0) return asked;
  if (allowAnySha1InWant) return absent(snapshot, asked);
  if (allowTipSha1InWant || allowReachableSha1InWant) {
    const allTips = refs.allTips();
    asked = asked.filter((oid) => !allTips.has(oid));
  }
  if (asked.length === 0) return asked;
  if (!allowReachableSha1InWant && context.version !== 2 && !request.statelessRpc) return asked;
  const from = allowReachableSha1InWant ? refs.allTips() : tips;
  return areReachable(snapshot, asked, [...from], context.signal);
}

async function absent(snapshot: Snapshot, oids: readonly ObjectId[]): Promise<readonly ObjectId[]> {
  const missing: ObjectId[] = [];
  for (const oid of oids) {
    const has = snapshot.objects.has(oid);
    if (!(isPromise(has) ? await has : has)) missing.push(oid);
  }
  return missing;
}
