/** Entity tags, and requests that depend on them. Specification: RFC 9110, sections 8.8.3 and 13. */
import { createHash } from "node:crypto";
import { GitwharfError } from "../base/errors.js";
import type { HttpRequest } from "../transport/http/request-body.js";

/** @param identity what tells two that look the same apart */
export function entityTagOf(value: unknown, identity: string): string {
  const hash = createHash("sha256").update(JSON.stringify([identity, value]));
  return `"${hash.digest("base64url").slice(0, 27)}"`;
}

/** Has the caller this one already? */
export function isKnown({ headers }: HttpRequest, tag: string): boolean {
  const wanted = headers["if-none-match"];
  return (
    wanted !== undefined && tagsIn(wanted).some((each) => each === "*" || each.replace(/^W\//, "") === tag)
  );
}

export function isConditional({ headers }: HttpRequest): boolean {
  return headers["if-match"] !== undefined;
}

/** @throws protocol/precondition-failed */
export function requireMatch({ headers }: HttpRequest, tag: string): void {
  const wanted = headers["if-match"];
  if (wanted === undefined || tagsIn(wanted).some((each) => each === "*" || each === tag)) return;
  throw new GitwharfError(
    "protocol/precondition-failed",
    "this is not as it was (If-Match): read it again, and decide anew",
  );
}

/** Ours have no comma in them. */
function tagsIn(header: string): readonly string[] {
  return header
    .slice(0, 4096)
    .split(",")
    .map((each) => each.trim());
}
