/**
 * What a fetch asks for, the same for all versions, and the parsing of its lines.
 * Specification: gitprotocol-pack "upload-request", gitprotocol-v2 "fetch".
 */
import { GitwharfError } from "../../base/errors.js";
import type { Limits } from "../../base/limits.js";
import { type ObjectFilter, filterName, type FilterName, parseFilter } from "../../engine/filter.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { isObjectId, type ObjectId } from "../../object/object-id.js";
import type { RepositorySettings } from "../../storage/contracts/repository-settings.js";

/** Filled line by line. */
export interface FetchRequest {
  readonly wants: Set<ObjectId>;
  readonly wantRefs: string[];
  readonly haves: ObjectId[];
  readonly clientShallow: ObjectId[];
  depth: number | undefined;
  since: number | undefined;
  /** Ref names of `deepen-not`. */
  readonly not: string[];
  relative: boolean;
  filter: ObjectFilter | undefined;
  done: boolean;
  waitForDone: boolean;
  thinPack: boolean;
  ofsDelta: boolean;
  includeTag: boolean;
  noProgress: boolean;
  sidebandAll: boolean;
}

export function createFetchRequest(): FetchRequest {
  return {
    wants: new Set(),
    wantRefs: [],
    haves: [],
    clientShallow: [],
    depth: undefined,
    since: undefined,
    not: [],
    relative: false,
    filter: undefined,
    done: false,
    waitForDone: false,
    thinPack: false,
    ofsDelta: false,
    includeTag: false,
    noProgress: false,
    sidebandAll: false,
  };
}

export interface FetchLineContext {
  readonly objectFormat: ObjectFormat;
  readonly limits: Limits;
  readonly settings: RepositorySettings;
}

/**
 * The lines that v0, v1 and v2 share: want, have, shallow, deepen…, filter.
 * @returns false when the line is none of these
 * @throws protocol/bad-request, base/limit-exceeded, protocol/unsupported for a filter that is not allowed
 */
export function takeSharedLine(request: FetchRequest, line: string, context: FetchLineContext): boolean {
  const space = line.indexOf(" ");
  const key = space < 0 ? line : line.slice(0, space);
  const value = space < 0 ? "" : line.slice(space + 1);
  const { limits, objectFormat } = context;
  switch (key) {
    case "want":
      request.wants.add(oidIn(line, value, objectFormat));
      bound(request.wants.size, limits.wantsMax, "wantsMax", "wants");
      return true;
    case "have":
      request.haves.push(oidIn(line, value, objectFormat));
      bound(request.haves.length, limits.havesMax, "havesMax", "haves");
      return true;
    case "shallow":
      request.clientShallow.push(oidIn(line, value, objectFormat));
      bound(request.clientShallow.length, limits.havesMax, "havesMax", "shallow lines");
      return true;
    case "deepen":
      request.depth = numberIn(line, value, 1);
      return true;
    case "deepen-since":
      request.since = numberIn(line, value, 0);
      return true;
    case "deepen-not":
      request.not.push(value);
      bound(request.not.length, limits.wantsMax, "wantsMax", "deepen-not lines");
      return true;
    case "filter":
      request.filter = allowedFilter(value, context);
      return true;
    default:
      return false;
  }
}

/** @throws protocol/bad-request when the parts contradict each other */
export function checkFetchRequest(request: FetchRequest): void {
  if (request.depth !== undefined && (request.since !== undefined || request.not.length > 0)) {
    throw new GitwharfError("protocol/bad-request", "deepen and deepen-since (or deepen-not) cannot be used together");
  }
}

function allowedFilter(spec: string, { settings, limits }: FetchLineContext): ObjectFilter {
  if (!settings.uploadPack.allowFilter) {
    throw new GitwharfError("protocol/unsupported", "filtering is switched off for this repository (uploadpack.allowFilter)");
  }
  const filter = parseFilter(spec, limits);
  const check = (one: ObjectFilter): void => {
    const name: FilterName = filterName(one);
    if (!(settings.uploadPackFilter.allowByName.get(name) ?? settings.uploadPackFilter.allow)) {
      throw new GitwharfError("protocol/unsupported", `filter '${name}' not supported`);
    }
    if ("depth" in one && typeof one.depth === "number" && one.depth > settings.uploadPackFilter.treeMaxDepth) {
      throw new GitwharfError(
        "protocol/unsupported",
        `tree filter allows max depth ${settings.uploadPackFilter.treeMaxDepth}, but got ${one.depth}`,
      );
    }
    if ("filters" in one) for (const part of one.filters as readonly ObjectFilter[]) check(part);
  };
  check(filter);
  return filter;
}

function oidIn(line: string, value: string, format: ObjectFormat): ObjectId {
  const oid = value.trim();
  if (isObjectId(oid, format)) return oid;
  throw new GitwharfError("protocol/bad-request", `'${shown(line)}' does not name a ${format} object`);
}

function numberIn(line: string, value: string, least: number): number {
  const number = Number(value);
  if (/^[0-9]{1,15}$/.test(value) && number >= least) return number;
  throw new GitwharfError("protocol/bad-request", `'${shown(line)}' needs a number from ${least} up`);
}

function bound(count: number, max: number, limit: keyof Limits, what: string): void {
  if (count > max) {
    throw new GitwharfError("base/limit-exceeded", `the request has more than ${max} ${what}, the server's limit (${limit})`);
  }
}

function shown(line: string): string {
  return JSON.stringify(line.slice(0, 120)).slice(1, -1);
}
