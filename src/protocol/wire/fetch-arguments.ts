/** The arguments of the v2 command `fetch`, one a line. Specification: gitprotocol-v2 "fetch". */
import { createFetchRequest, type FetchRequest, formatSharedLines, takeSharedLine } from "./fetch-request.js";
import { checkCount, type RequestLineContext, unexpectedLine } from "./request-line.js";

export interface FetchArgumentContext extends RequestLineContext {
  /** What was advertised: an argument that needs more is an unexpected line. */
  readonly features: {
    readonly filter: boolean;
    readonly refInWant: boolean;
    readonly sidebandAll: boolean;
    readonly packfileUris: boolean;
  };
}

const FLAGS = {
  done: "done",
  "wait-for-done": "waitForDone",
  "thin-pack": "thinPack",
  "ofs-delta": "ofsDelta",
  "include-tag": "includeTag",
  "no-progress": "noProgress",
  "deepen-relative": "relative",
  "sideband-all": "sidebandAll",
} as const satisfies Record<string, keyof FetchRequest>;

const flags: ReadonlyMap<string, (typeof FLAGS)[keyof typeof FLAGS]> = new Map(Object.entries(FLAGS));

/** @throws protocol/bad-request, base/limit-exceeded */
export function takeFetchArgument(request: FetchRequest, line: string, context: FetchArgumentContext): void {
  const { features, limits } = context;
  const flag = flags.get(line);
  if (flag !== undefined && (flag !== "sidebandAll" || features.sidebandAll)) {
    request[flag] = true;
    return;
  }
  if (features.refInWant && line.startsWith("want-ref ")) {
    const name = line.slice("want-ref ".length);
    if (request.wantRefs.has(name)) throw unexpectedLine(line);
    request.wantRefs.add(name);
    checkCount(request.wantRefs.size, limits.wantsMax, { limit: "wantsMax", what: "want-refs" });
    return;
  }
  if (features.packfileUris && line.startsWith("packfile-uris ")) {
    for (const protocol of line.slice("packfile-uris ".length).split(","))
      if (protocol === "https" || protocol === "http") request.uriProtocols.add(protocol);
    return;
  }
  if (line.startsWith("filter ") && !features.filter) throw unexpectedLine(line);
  if (!takeSharedLine(request, line, context)) throw unexpectedLine(line);
}

export function parseFetchArguments(lines: readonly string[], context: FetchArgumentContext): FetchRequest {
  const request = createFetchRequest();
  for (const line of lines) takeFetchArgument(request, line, context);
  return request;
}

export function formatFetchArguments(request: FetchRequest): string[] {
  const lines: string[] = [];
  for (const [text, flag] of flags) if (flag !== "done" && request[flag]) lines.push(text);
  for (const name of request.wantRefs) lines.push(`want-ref ${name}`);
  if (request.uriProtocols.size > 0) lines.push(`packfile-uris ${[...request.uriProtocols].join(",")}`);
  lines.push(...formatSharedLines(request));
  for (const oid of request.haves) lines.push(`have ${oid}`);
  if (request.done) lines.push("done");
  return lines;
}
