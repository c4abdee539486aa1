/** The arguments of the v2 command `ls-refs`. Specification: gitprotocol-v2 "ls-refs". */
import { unexpectedLine } from "./request-line.js";

/** Filled line by line. */
export interface LsRefsArguments {
  peel: boolean;
  symrefs: boolean;
  unborn: boolean;
  /** Only refs that begin with one of these; none: all refs. */
  readonly prefixes: string[];
  /** There were too many prefixes to look at. */
  tooMany: boolean;
}

/** Git's own bound: from here on prefixes are ignored, all refs are sent, and the client picks. */
export const REF_PREFIXES_MAX = 65_536;

export function createLsRefsArguments(): LsRefsArguments {
  return { peel: false, symrefs: false, unborn: false, prefixes: [], tooMany: false };
}

/** @throws protocol/bad-request for an argument that does not exist */
export function takeLsRefsArgument(request: LsRefsArguments, line: string): void {
  if (line === "peel") request.peel = true;
  else if (line === "symrefs") request.symrefs = true;
  else if (line === "unborn") request.unborn = true;
  else if (line.startsWith("ref-prefix ")) {
    if (request.tooMany) return;
    if (request.prefixes.push(line.slice("ref-prefix ".length)) < REF_PREFIXES_MAX) return;
    request.prefixes.length = 0;
    request.tooMany = true;
  } else throw unexpectedLine(line);
}

export function formatLsRefsArguments(request: LsRefsArguments): string[] {
  return [
    ...(request.peel ? ["peel"] : []),
    ...(request.symrefs ? ["symrefs"] : []),
    ...(request.unborn ? ["unborn"] : []),
    ...request.prefixes.map((prefix) => `ref-prefix ${prefix}`),
  ];
}
