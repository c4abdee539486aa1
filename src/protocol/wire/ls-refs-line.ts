/**
 * One ref in the answer to `ls-refs`. Specification: gitprotocol-v2 "ls-refs".
 *
 *     <oid> SP <name> [SP symref-target:<name>] [SP peeled:<oid>] LF      or, for a branch without commits,
 *     unborn SP <name> [SP symref-target:<name>] LF
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { isObjectId, type ObjectId } from "../../object/object-id.js";
import { quoteLine } from "./request-line.js";

export interface LsRefsLine {
  readonly name: string;
  /** undefined: unborn. */
  readonly oid: ObjectId | undefined;
  readonly symrefTarget?: string | undefined;
  readonly peeled?: ObjectId | undefined;
}

/** With LF, without the length in front. */
export function formatLsRefsLine(ref: LsRefsLine): string {
  const symref = ref.symrefTarget === undefined ? "" : ` symref-target:${ref.symrefTarget}`;
  const peeled = ref.peeled === undefined ? "" : ` peeled:${ref.peeled}`;
  return `${ref.oid ?? "unborn"} ${ref.name}${symref}${peeled}\n`;
}

/** Attributes that are not known are passed over. @throws protocol/bad-request */
export function parseLsRefsLine(line: string, format: ObjectFormat): LsRefsLine {
  const [id = "", name = "", ...attributes] = line.split(" ");
  if (name === "" || (id !== "unborn" && !isObjectId(id, format))) {
    throw new GitwharfError("protocol/bad-request", `'${quoteLine(line)}' is no line of ls-refs`);
  }
  let symrefTarget: string | undefined;
  let peeled: ObjectId | undefined;
  for (const attribute of attributes) {
    if (attribute.startsWith("symref-target:")) symrefTarget = attribute.slice("symref-target:".length);
    else if (attribute.startsWith("peeled:")) peeled = attribute.slice("peeled:".length);
  }
  return { name, oid: id === "unborn" ? undefined : id, symrefTarget, peeled };
}
