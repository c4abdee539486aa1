/**
 * The first message of a client in v0 and v1, up to its flush: wants with the capabilities behind the first one,
 * shallow lines, deepen lines, filter. Specification: gitprotocol-pack "Packfile Negotiation".
 *
 *     want <oid> SP <capabilities> LF   want <oid> LF …   shallow <oid> LF …   deepen <n> LF   filter <spec> LF
 */
import { GitwharfError } from "../../base/errors.js";
import { type Capabilities, formatCapabilities, parseCapabilities } from "./capabilities.js";
import { createFetchRequest, type FetchRequest, formatSharedLines, takeSharedLine } from "./fetch-request.js";
import { quoteLine, type RequestLineContext } from "./request-line.js";

/** Filled line by line. */
export interface UploadRequest {
  readonly fetch: FetchRequest;
  /** undefined until the first want. */
  capabilities: Capabilities | undefined;
}

export function createUploadRequest(): UploadRequest {
  return { fetch: createFetchRequest(), capabilities: undefined };
}

/** @throws protocol/bad-request, protocol/unsupported (object format), base/limit-exceeded */
export function takeUploadRequestLine(
  request: UploadRequest,
  line: string,
  context: RequestLineContext,
): void {
  let rest = line;
  if (line.startsWith("want ")) {
    // Ids of the wrong format are refused by the capability that names it, which stands behind the first of them.
    const behind = line.indexOf(" ", 5);
    if (behind > 0) rest = line.slice(0, behind);
    if (request.capabilities === undefined) {
      request.capabilities = parseCapabilities(behind > 0 ? line.slice(behind + 1) : "");
      applyCapabilities(request, context);
    }
  }
  if (rest.startsWith("filter ") && request.capabilities?.has("filter") !== true) {
    throw new GitwharfError("protocol/bad-request", "git upload-pack: filtering capability not negotiated");
  }
  if (rest.startsWith("have ") || !takeSharedLine(request.fetch, rest, context)) {
    throw new GitwharfError(
      "protocol/bad-request",
      `git upload-pack: protocol error, expected to get object ID, not '${quoteLine(line)}'`,
    );
  }
}

function applyCapabilities(request: UploadRequest, context: RequestLineContext): void {
  const capabilities = request.capabilities as Capabilities;
  // In v0, git clients name no format, sha256 or not: they have taken it from the advertisement.
  const format = capabilities.get("object-format") ?? context.objectFormat;
  if (format !== context.objectFormat) {
    throw new GitwharfError(
      "protocol/unsupported",
      `mismatched object format: server ${context.objectFormat}; client ${quoteLine(format.slice(0, 20))}`,
    );
  }
  const { fetch } = request;
  fetch.thinPack = capabilities.has("thin-pack");
  fetch.ofsDelta = capabilities.has("ofs-delta");
  fetch.includeTag = capabilities.has("include-tag");
  fetch.noProgress = capabilities.has("no-progress");
  fetch.relative = capabilities.has("deepen-relative");
}

/** The lines, without LF and without the flush. Haves follow in messages of their own. */
export function formatUploadRequest(request: UploadRequest): string[] {
  const [first, ...rest] = formatSharedLines(request.fetch);
  if (first === undefined) return [];
  const capabilities = formatCapabilities(request.capabilities ?? new Map());
  return [capabilities === "" ? first : `${first} ${capabilities}`, ...rest];
}
