/** What the lines of requests share: ids and numbers in them, limits on how many there are, and how they are quoted. */
import { GitwharfError } from "../../base/errors.js";
import type { Limits } from "../../base/limits.js";
import { hexLength, type ObjectFormat } from "../../object/object-format.js";
import { isObjectId, type ObjectId } from "../../object/object-id.js";

/** What the parsing of a line depends on besides the line. */
export interface RequestLineContext {
  readonly objectFormat: ObjectFormat;
  readonly limits: Pick<Limits, "wantsMax" | "havesMax">;
}

/** The id that a line holds from `start` to its end. @throws protocol/bad-request */
export function objectIdInLine(line: string, start: number, format: ObjectFormat): ObjectId {
  const oid = line.slice(start);
  if (isObjectId(oid, format)) return oid;
  throw new GitwharfError(
    "protocol/bad-request",
    `'${quoteLine(line)}' should end in a ${format} object id of ${hexLength(format)} hexadecimal digits`,
  );
}

/** The decimal number that a line holds from `start` to its end. @throws protocol/bad-request */
export function numberInLine(line: string, start: number, least: number): number {
  const text = line.slice(start);
  const number = Number(text);
  if (/^[0-9]{1,15}$/.test(text) && number >= least) return number;
  throw new GitwharfError(
    "protocol/bad-request",
    `'${quoteLine(line)}' should end in a number from ${least} up`,
  );
}

/** @throws base/limit-exceeded when the count is one past the limit */
export function checkCount(
  count: number,
  max: number,
  about: { readonly limit: keyof Limits; readonly what: string },
): void {
  if (count <= max) return;
  throw new GitwharfError(
    "base/limit-exceeded",
    `the request has more than ${max} ${about.what}, the server's limit (${about.limit})`,
  );
}

/** @throws protocol/bad-request always */
export function unexpectedLine(line: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", `unexpected line: '${quoteLine(line)}'`);
}

/** A line of a peer inside a message: its beginning, control characters escaped. */
export function quoteLine(line: string): string {
  return JSON.stringify(line.slice(0, 120)).slice(1, -1);
}
