/**
 * The boundary of a shallow history, as a server tells it. Specification: gitprotocol-pack "shallow-update",
 * gitprotocol-v2 "shallow-info".
 *
 *     shallow SP <oid>      from here on the client has no parents
 *     unshallow SP <oid>    the client's boundary ends here: the parents come with the pack
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import { objectIdInLine, quoteLine } from "./request-line.js";

export interface ShallowLine {
  readonly kind: "shallow" | "unshallow";
  readonly oid: ObjectId;
}

/** Without LF, as git sends it. */
export function formatShallowLine(line: ShallowLine): string {
  return `${line.kind} ${line.oid}`;
}

/** @throws protocol/bad-request */
export function parseShallowLine(text: string, format: ObjectFormat): ShallowLine {
  for (const kind of ["shallow", "unshallow"] as const) {
    if (text.startsWith(`${kind} `)) return { kind, oid: objectIdInLine(text, kind.length + 1, format) };
  }
  throw new GitwharfError("protocol/bad-request", `'${quoteLine(text)}' is neither shallow nor unshallow`);
}
