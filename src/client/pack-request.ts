/** What is asked of another server's upload-pack, and what of it that server can do. */
import { GitwharfError } from "../base/errors.js";
import { isObjectId, type ObjectId } from "../object/object-id.js";
import { createFetchRequest, type FetchRequest } from "../protocol/wire/fetch-request.js";
import { quoteLine } from "../protocol/wire/request-line.js";
import type { HaveSource } from "./have-source.js";

/** A shallow history: any of them, except `depth` with the others. */
export interface ShallowWish {
  /** Commits to a line, counted from the wants. */
  readonly depth?: number | undefined;
  /** Only commits from then on; seconds since 1970. */
  readonly since?: number | undefined;
  /** Nothing that these refs of the server reach. */
  readonly not?: readonly string[] | undefined;
}

export interface PackRequest extends ShallowWish {
  /** At least one; each once. */
  readonly wants: readonly ObjectId[];
  /** undefined: nothing is here. */
  readonly haves?: HaveSource | undefined;
  /** Commits whose parents are not here. */
  readonly clientShallow?: Iterable<ObjectId> | undefined;
  /** As git's `--filter`: `blob:none`, `tree:0` … */
  readonly filter?: string | undefined;
  /** Annotated tags of what comes. @default false */
  readonly includeTag?: boolean | undefined;
  /**
   * Deltas may stand on what is here. @default true where there are haves and no filter: who has left something out may lack
   * what the server takes to be here
   */
  readonly thinPack?: boolean | undefined;
}

/** Which of the wishes that not every server knows it can be asked for. */
export interface ServerFeatures {
  readonly shallow: boolean;
  readonly since: boolean;
  readonly not: boolean;
  readonly filter: boolean;
}

/** git http-backend takes 10 MiB. */
const WANTS_MAX = 200_000;

/** @throws protocol/unsupported: the server does not offer it; base/limit-exceeded, protocol/bad-request */
export function fetchRequestOf(request: PackRequest, features: ServerFeatures, shown: string): FetchRequest {
  const { wants, haves, clientShallow = [], depth, since, not = [], filter } = request;
  const fetch = createFetchRequest();
  if (wants.length > WANTS_MAX)
    throw new GitwharfError(
      "base/limit-exceeded",
      `${wants.length} objects are wanted of ${shown} at once: ${WANTS_MAX} can be asked for`,
    );
  if (depth !== undefined && (since !== undefined || not.length > 0))
    throw new GitwharfError("protocol/bad-request", "depth cannot be wished for with since or not");
  const wish = (isWished: boolean, isOffered: boolean, what: string): void => {
    if (isWished && !isOffered)
      throw new GitwharfError("protocol/unsupported", `${shown} does not offer ${what}`);
  };
  for (const oid of clientShallow) fetch.clientShallow.add(oid);
  wish(depth !== undefined || fetch.clientShallow.size > 0, features.shallow, "shallow histories");
  wish(since !== undefined, features.since, "histories from a time on (deepen-since)");
  wish(not.length > 0, features.not, "histories without what a ref reaches (deepen-not)");
  wish(filter !== undefined, features.filter, "filters (uploadpack.allowFilter is off there)");
  for (const oid of wants) {
    if (!isObjectId(oid, "sha1") && !isObjectId(oid, "sha256"))
      throw new GitwharfError("protocol/bad-request", `'${quoteLine(oid)}' is no object id`);
    fetch.wants.add(oid);
  }
  for (const name of not) fetch.not.add(oneLine(name));
  if (depth !== undefined) fetch.depth = wholeNumber(depth, 1);
  if (since !== undefined) fetch.since = wholeNumber(since, 0);
  if (filter !== undefined) fetch.filterSpec = oneLine(filter);
  fetch.thinPack = haves !== undefined && (request.thinPack ?? filter === undefined);
  fetch.ofsDelta = true;
  fetch.includeTag = request.includeTag ?? false;
  return fetch;
}

/** @throws protocol/bad-request */
export function oneLine(text: string): string {
  if (!/[\0-\x1f\x7f]/.test(text) && text.length <= 16_384) return text;
  throw new GitwharfError("protocol/bad-request", "a wish has a line break in it, or is too long");
}

function wholeNumber(value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new GitwharfError("protocol/bad-request", `${value} is no whole number from ${least} up`);
}
