/** What errors of the file system mean to a repository. */
import { GitwharfError } from "../../base/errors.js";

/** The file, or a directory on the way to it, does not exist. */
export function isAbsent(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

/** Following all links: there is nothing, or the links lead in a circle. */
export function leadsNowhere(error: unknown): boolean {
  return isAbsent(error) || errorCode(error) === "ELOOP";
}

export function errorCode(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}

/** @param doing "reading", "writing" … */
export function ioError(doing: string, path: string, cause: unknown): GitwharfError {
  if (cause instanceof GitwharfError) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new GitwharfError("storage/io", `${doing} ${path} failed: ${why}`, { cause });
}
