/**
 * What a fetch asks for, in all versions: the value, and the lines that v0, v1 and v2 share.
 * Specification: gitprotocol-pack "upload-request", gitprotocol-v2 "fetch".
 *
 *     want <oid>   have <oid>   shallow <oid>   deepen <n>   deepen-since <seconds>   deepen-not <ref>   filter <spec>
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectId } from "../../object/object-id.js";
import { checkCount, numberInLine, objectIdInLine, type RequestLineContext } from "./request-line.js";

/** Filled line by line. */
export interface FetchRequest {
  readonly wants: Set<ObjectId>;
  /** v2: refs to be resolved by the server. */
  readonly wantRefs: Set<string>;
  readonly haves: ObjectId[];
  /** What the client has as shallow. */
  readonly clientShallow: Set<ObjectId>;
  depth: number | undefined;
  /** Seconds since 1970. */
  since: number | undefined;
  /** Names as a person types them. */
  readonly not: Set<string>;
  relative: boolean;
  /** As written: parsed where it is decided whether it is allowed. */
  filterSpec: string | undefined;
  done: boolean;
  waitForDone: boolean;
  thinPack: boolean;
  ofsDelta: boolean;
  includeTag: boolean;
  noProgress: boolean;
  sidebandAll: boolean;
  /** v2: by which of these the client gets packs from elsewhere. */
  readonly uriProtocols: Set<string>;
}

export function createFetchRequest(): FetchRequest {
  return {
    wants: new Set(),
    wantRefs: new Set(),
    haves: [],
    clientShallow: new Set(),
    depth: undefined,
    since: undefined,
    not: new Set(),
    relative: false,
    filterSpec: undefined,
    done: false,
    waitForDone: false,
    thinPack: false,
    ofsDelta: false,
    includeTag: false,
    noProgress: false,
    sidebandAll: false,
    uriProtocols: new Set(),
  };
}

/** True when the client asks for another boundary than the one it has. */
export function deepens(request: FetchRequest): boolean {
  return request.depth !== undefined || request.since !== undefined || request.not.size > 0;
}

/**
 * One of the shared lines.
 * @returns false when it is none of them
 * @throws protocol/bad-request, base/limit-exceeded
 */
export function takeSharedLine(request: FetchRequest, line: string, context: RequestLineContext): boolean {
  const { limits, objectFormat } = context;
  if (line.startsWith("have ")) {
    request.haves.push(objectIdInLine(line, 5, objectFormat));
    checkCount(request.haves.length, limits.havesMax, { limit: "havesMax", what: "haves" });
  } else if (line.startsWith("want ")) {
    request.wants.add(objectIdInLine(line, 5, objectFormat));
    checkCount(request.wants.size, limits.wantsMax, { limit: "wantsMax", what: "wants" });
  } else if (line.startsWith("shallow ")) {
    request.clientShallow.add(objectIdInLine(line, 8, objectFormat));
    checkCount(request.clientShallow.size, limits.havesMax, { limit: "havesMax", what: "shallow lines" });
  } else if (line.startsWith("deepen ")) request.depth = numberInLine(line, 7, 1);
  else if (line.startsWith("deepen-since ")) request.since = numberInLine(line, 13, 0);
  else if (line.startsWith("deepen-not ")) {
    request.not.add(line.slice(11));
    checkCount(request.not.size, limits.wantsMax, { limit: "wantsMax", what: "deepen-not lines" });
  } else if (line.startsWith("filter ")) {
    if (request.filterSpec !== undefined) {
      throw new GitwharfError("protocol/bad-request", "multiple filter-specs cannot be combined");
    }
    request.filterSpec = line.slice(7);
  } else return false;
  return true;
}

/** The shared lines of a request, in the order in which git sends them, without `have`. */
export function formatSharedLines(request: FetchRequest): string[] {
  const lines = [...request.wants].map((oid) => `want ${oid}`);
  for (const oid of request.clientShallow) lines.push(`shallow ${oid}`);
  if (request.depth !== undefined) lines.push(`deepen ${request.depth}`);
  if (request.since !== undefined) lines.push(`deepen-since ${request.since}`);
  for (const name of request.not) lines.push(`deepen-not ${name}`);
  if (request.filterSpec !== undefined) lines.push(`filter ${request.filterSpec}`);
  return lines;
}

/** @throws protocol/bad-request when the parts contradict each other */
export function checkFetchRequest(request: FetchRequest): void {
  if (request.depth !== undefined && (request.since !== undefined || request.not.size > 0)) {
    throw new GitwharfError(
      "protocol/bad-request",
      "deepen and deepen-since (or deepen-not) cannot be used together",
    );
  }
}
