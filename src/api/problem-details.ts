/** Refusals as problem details. Specification: RFC 9457; `code` is one of docs/errors.md. */
import { STATUS_CODES } from "node:http";
import { isGitwharfError } from "../base/errors.js";
import type { HttpRefusal, WordedRefusal } from "../transport/http/answer-request.js";

export function problemOf({ status: given, text, error }: HttpRefusal): WordedRefusal {
  // For Git a name that cannot be one's is that of nothing; in a body it is a mistake.
  const status =
    isGitwharfError(error, "storage/bad-name") && error.details["isInBody"] === true ? 400 : given;
  const code = isGitwharfError(error) ? error.code : "base/invariant";
  const problem = { type: "about:blank", title: STATUS_CODES[status] ?? "Error", status, detail: text, code };
  return { status, contentType: "application/problem+json", body: `${JSON.stringify(problem)}\n` };
}
