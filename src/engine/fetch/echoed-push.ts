/**
 * The answer to a fetch that asks for exactly what recorded pushes brought: their own entries, as they lie in their packs.
 * Nothing is walked and no object is read; what was shown when the pushes were checked decides
 * (`pack/recorded-push.ts`), together with these conditions:
 *
 * - what is wanted is had already, or was sent by one of the chosen pushes; each of the others' grounds, too. So nothing
 *   that the wants lead to is missing at the other side;
 * - every root of a chosen push is wanted, or is a ground of another one (and so led to by it). So nothing is sent that
 *   the wants do not lead to;
 * - nothing that the other side has named was sent by any of them, and nothing by two.
 *
 * Where one of these does not hold, the fetch is planned as any other.
 */
import { hashBytes } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import { formatPackHeader, PACK_HEADER_BYTES } from "../../pack/pack-writer.js";
import type { RecordedPush } from "../../pack/recorded-push.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { type PlanData, SegmentBuilder } from "./plan-data.js";
import type { PlanRequest } from "./plan-request.js";
import { recordedPushOf } from "./push-records.js";

interface Echo {
  readonly pack: Pack;
  readonly push: RecordedPush;
}

/** Pushes that are answered with together. */
const PUSHES_MAX = 16;
/** Ids of a request that are looked up in each. */
const NAMED_MAX = 5000;
/** Ids that are looked up in the packs of several pushes. */
const LOOKED_UP_MAX = 20_000;

/** @param repositoryId where what is not kept with the packs is remembered under. @returns undefined: plan it */
export function planEcho(
  objects: ObjectReader,
  request: PlanRequest,
  repositoryId?: string,
): PlanData | undefined {
  const { wants, haves, tags } = request;
  // Of a clone more is to be kept than its pack: what the next one is grown from.
  if (haves.length === 0 || wants.length + haves.length + tags.length > NAMED_MAX) return undefined;
  if (!request.ofsDelta || request.filter !== undefined || request.cutAt.length > 0) return undefined;
  const chosen = choosePushes(objects, request, repositoryId);
  if (chosen === undefined || chosen.length === 0 || !isAllWanted(chosen, request)) return undefined;
  if (hasSome(chosen, request.haves) || bringsTags(chosen, request) || overlap(chosen)) return undefined;
  return layOut(chosen, request);
}

/** Those that bring all that is wanted to one who has `request.haves`. */
function choosePushes(
  objects: ObjectReader,
  { wants, haves }: PlanRequest,
  repositoryId: string | undefined,
): readonly Echo[] | undefined {
  const byRoot = new Map<ObjectId, Echo>();
  for (const pack of objects.packs) {
    const push = recordedPushOf(repositoryId, pack);
    if (push === undefined) continue;
    const echo: Echo = { pack, push };
    for (const root of push.roots) if (!byRoot.has(root)) byRoot.set(root, echo);
  }
  if (byRoot.size === 0) return undefined;
  const had = new Set(haves);
  const chosen = new Set<Echo>();
  const take = (oid: ObjectId): void => {
    const echo = had.has(oid) ? undefined : byRoot.get(oid);
    if (echo !== undefined && chosen.size <= PUSHES_MAX) chosen.add(echo);
  };
  for (const want of wants) take(want);
  // Those that are added meanwhile are gone through as well.
  for (const { push } of chosen) for (const ground of push.grounds) take(ground);
  const echoes = [...chosen];
  if (echoes.length > PUSHES_MAX) return undefined;
  const isThere = (oid: ObjectId): boolean => had.has(oid) || isSent(echoes, oid);
  const isAllThere = wants.every(isThere) && echoes.every(({ push }) => push.grounds.every(isThere));
  return isAllThere ? echoes : undefined;
}

function isAllWanted(chosen: readonly Echo[], { wants }: PlanRequest): boolean {
  const wanted = new Set(wants);
  for (const { push } of chosen) for (const ground of push.grounds) wanted.add(ground);
  return chosen.every(({ push }) => push.roots.every((root) => wanted.has(root)));
}

function isSent(chosen: readonly Echo[], oid: ObjectId): boolean {
  return chosen.some(({ pack, push }) => {
    const position = pack.index.find(oid);
    return position >= 0 && pack.index.offsetAt(position) < push.sentEnd;
  });
}

function hasSome(chosen: readonly Echo[], haves: readonly ObjectId[]): boolean {
  return haves.some((oid) => isSent(chosen, oid));
}

/** A tag that was not pushed along, and has to go along: `include-tag`. */
function bringsTags(chosen: readonly Echo[], { tags }: PlanRequest): boolean {
  return tags.some(({ oid, peeled }) => isSent(chosen, peeled) && !isSent(chosen, oid));
}

/** Whether an object was sent by two of them: a pack has each once. True also when there are too many to look. */
function overlap(chosen: readonly Echo[]): boolean {
  if (chosen.length === 1) return false;
  const looked = chosen.reduce((sum, { pack }) => sum + pack.index.objectCount, 0) * (chosen.length - 1);
  if (looked > LOOKED_UP_MAX) return true;
  return chosen.some(({ pack: { index }, push }, i) => {
    const others = chosen.slice(i + 1);
    for (let position = 0; others.length > 0 && position < index.objectCount; position++)
      if (index.offsetAt(position) < push.sentEnd && isSent(others, index.oidAt(position))) return true;
    return false;
  });
}

function layOut(chosen: readonly Echo[], { thinPack }: PlanRequest): PlanData | undefined {
  const [{ pack }] = chosen as [Echo];
  const isWhole = chosen.every(({ pack: { index }, push }) => push.sentCount === index.objectCount);
  // What completes them may stand in two of them, or in one and be a base of another.
  if (!thinPack && !isWhole && chosen.length > 1) return undefined;
  const sum = (count: (push: RecordedPush) => number): number =>
    chosen.reduce((total, { push }) => total + count(push), 0);
  const segments = new SegmentBuilder();
  const trailerBytes = hashBytes(pack.objectFormat);
  const isVerbatim = chosen.length === 1 && (isWhole || !thinPack);
  const objectCount = isVerbatim ? pack.objectCount : sum((push) => push.sentCount);
  if (isVerbatim) segments.copy(0, 0, pack.bytes.sizeBytes - trailerBytes);
  else {
    segments.literal(formatPackHeader(objectCount));
    // Pushed first, sent first.
    chosen.toReversed().forEach(({ push }, i) => {
      segments.copy(chosen.length - 1 - i, PACK_HEADER_BYTES, push.sentEnd);
    });
  }
  const deltaCount = sum((push) => push.sentDeltas);
  return {
    objectFormat: pack.objectFormat,
    objectCount,
    deltaCount,
    reusedCount: objectCount,
    reusedDeltaCount: deltaCount,
    sizeBytes: segments.position + trailerBytes,
    packKeys: chosen.map((echo) => echo.pack.key),
    wholePacks: [],
    ...segments.finish(),
    deferred: [],
    trailer: isVerbatim ? pack.index.packTrailer : undefined,
  };
}
