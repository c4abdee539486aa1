/**
 * Is everything there that the new tips lead to? Asked for all of them at once; only when the answer is no, for each,
 * so that every command gets its own result. Shallow pushes come in here: commits without parents are accepted when
 * the repository says so (`receive.shallowUpdate`).
 */
import { isGitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { checkConnectivity, type ConnectivityAnswer } from "../../engine/connectivity.js";
import { rememberPush } from "../../engine/fetch/push-records.js";
import { WorkBudget } from "../../engine/fetch/work-budget.js";
import type { IngestResult } from "../../engine/ingest/ingest-pack.js";
import { peelTag } from "../../engine/peel.js";
import { isNullObjectId, type ObjectId } from "../../object/object-id.js";

import { hiddenRefsOf } from "./receive-pack-context.js";
import { type PushState, standing } from "./push-state.js";

/** A chain of tags that nobody could fetch is not taken. */
export async function checkTagChains(state: PushState): Promise<void> {
  const objects = state.quarantine?.objects ?? state.snapshot.objects;
  const budget = new WorkBudget({ signal: state.context.signal });
  for (const result of standing(state)) {
    if (budget.spend(1)) await budget.pause();
    if (isNullObjectId(result.command.newOid)) continue;
    try {
      const peeled = peelTag(objects, result.command.newOid);
      if (isPromise(peeled)) await peeled;
    } catch (error) {
      if (!isGitwharfError(error, "object/corrupt")) throw error;
      result.refusal = "too many tags of tags";
    }
  }
}

export async function checkConnectivityOf(state: PushState, ingest: IngestResult | undefined): Promise<void> {
  const asked = standing(state).filter(({ command }) => !isNullObjectId(command.newOid));
  if (asked.length === 0) return;
  const tips = asked.map(({ command }) => command.newOid);
  const answer = await ask(state, ingest, tips, []);
  if (answer.ok) {
    record(state, ingest, answer.grounds);
    return;
  }
  const newShallow = await pushedShallow(state);
  const takesShallow = newShallow.length > 0 && state.context.settings.receive.shallowUpdate;
  if (takesShallow && (await missingFrom(state, ingest, tips, newShallow)) === undefined) {
    state.quarantine?.addShallow(newShallow);
    return;
  }
  for (const result of asked) {
    const tip = result.command.newOid;
    const missing = await missingFrom(state, ingest, [tip], []);
    if (missing === undefined) continue;
    const completeWithShallow =
      newShallow.length > 0 && (await missingFrom(state, ingest, [tip], newShallow)) === undefined;
    result.refusal = completeWithShallow
      ? "shallow update not allowed"
      : `missing necessary objects (${missing})`;
  }
}

/**
 * The commits of this push that it calls shallow. What the repository had before keeps its parents, whatever a pusher
 * says of it: a line for it would cut the history of everybody.
 */
async function pushedShallow({ request, snapshot, quarantine }: PushState): Promise<readonly ObjectId[]> {
  const pushed: ObjectId[] = [];
  for (const oid of new Set(request.shallow)) {
    if (snapshot.shallow.has(oid)) continue;
    const isPushed = quarantine?.packs.some(({ index }) => index.find(oid) >= 0) ?? false;
    if (isPushed && !(await snapshot.objects.has(oid))) pushed.push(oid);
  }
  return pushed;
}

/** Who asks for just what this push has brought is then given its pack as it is. */
function record(
  { context, quarantine }: PushState,
  ingest: IngestResult | undefined,
  grounds: readonly ObjectId[] | undefined,
): void {
  if (ingest?.pack === undefined || ingest.sent?.roots === undefined || grounds === undefined) return;
  const { count, deltaCount, endOffset, roots } = ingest.sent;
  const push = { roots, grounds, sentCount: count, sentDeltas: deltaCount, sentEnd: endOffset };
  quarantine?.recordPush?.(ingest.pack, push);
  rememberPush(context.repository.id, ingest.pack, push);
}

/** The first object that is missing; undefined when there is none. */
async function missingFrom(
  state: PushState,
  ingest: IngestResult | undefined,
  tips: readonly ObjectId[],
  newShallow: readonly ObjectId[],
): Promise<ObjectId | undefined> {
  const answer = await ask(state, ingest, tips, newShallow);
  return answer.ok ? undefined : answer.missing.oid;
}

function ask(
  state: PushState,
  ingest: IngestResult | undefined,
  tips: readonly ObjectId[],
  newShallow: readonly ObjectId[],
): Promise<ConnectivityAnswer> {
  const isHidden = hiddenRefsOf(state.context);
  return checkConnectivity({
    objects: state.quarantine?.objects ?? state.snapshot.objects,
    ingest,
    tips,
    snapshot: state.snapshot,
    isVisible: (name) => !isHidden(name),
    shallow: state.snapshot.shallow,
    newShallow,
    signal: state.context.signal,
  });
}
