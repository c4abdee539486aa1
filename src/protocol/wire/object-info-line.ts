/**
 * The v2 command `object-info`: its arguments, and a line of its answer. Specification: gitprotocol-v2 "object-info".
 *
 *     size   oid <oid> …                 request
 *     size   <oid> SP <bytes> …          answer; `<oid> SP` for an object that the server does not have
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { isObjectId, type ObjectId } from "../../object/object-id.js";
import { checkCount, objectIdInLine, quoteLine, type RequestLineContext } from "./request-line.js";

/** Filled line by line. */
export interface ObjectInfoArguments {
  size: boolean;
  readonly oids: ObjectId[];
}

export function createObjectInfoArguments(): ObjectInfoArguments {
  return { size: false, oids: [] };
}

/** @throws protocol/bad-request, base/limit-exceeded */
export function takeObjectInfoArgument(
  request: ObjectInfoArguments,
  line: string,
  context: RequestLineContext,
): void {
  if (line === "size") request.size = true;
  else if (line.startsWith("oid ")) {
    request.oids.push(objectIdInLine(line, 4, context.objectFormat));
    checkCount(request.oids.length, context.limits.wantsMax, { limit: "wantsMax", what: "object ids" });
  } else
    throw new GitwharfError("protocol/bad-request", `object-info: unexpected line: '${quoteLine(line)}'`);
}

export function formatObjectInfoArguments(request: ObjectInfoArguments): string[] {
  return [...(request.size ? ["size"] : []), ...request.oids.map((oid) => `oid ${oid}`)];
}

/** @param sizeBytes undefined: the server does not have it (or does not show it) */
export function formatObjectInfoLine(oid: ObjectId, sizeBytes: number | undefined): string {
  return `${oid} ${sizeBytes ?? ""}`;
}

/** @throws protocol/bad-request */
export function parseObjectInfoLine(
  line: string,
  format: ObjectFormat,
): { readonly oid: ObjectId; readonly sizeBytes: number | undefined } {
  const [oid = "", size = "", ...rest] = line.split(" ");
  if (!isObjectId(oid, format) || !/^[0-9]{0,15}$/.test(size) || rest.length > 0) {
    throw new GitwharfError("protocol/bad-request", `'${quoteLine(line)}' is no line of object-info`);
  }
  return { oid, sizeBytes: size === "" ? undefined : Number(size) };
}
