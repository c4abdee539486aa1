/** Where a page of a list ends, as a text that clients hand back and do not look into. It names nothing but what they were shown. */
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";

export interface PageRequest {
  /** The last name of the page before. */
  readonly after: string | undefined;
  readonly limit: number;
}

export const PAGE_MAX = 1000;
const PAGE_DEFAULT = 100;

export function cursorBehind(name: string): string {
  return Buffer.from(`1:${name}`).toString("base64url");
}

/** @throws protocol/bad-request */
export function readPageRequest(query: URLSearchParams): PageRequest {
  for (const key of query.keys()) {
    if (key !== "limit" && key !== "cursor")
      throw bad(`there is no parameter '${key.slice(0, 60)}' here; known are limit and cursor`);
    if (query.getAll(key).length > 1) throw bad(`the parameter '${key}' is there more than once`);
  }
  const cursor = query.get("cursor");
  const limit = query.get("limit") ?? String(PAGE_DEFAULT);
  if (!/^[0-9]{1,4}$/.test(limit) || Number(limit) < 1 || Number(limit) > PAGE_MAX)
    throw bad(`limit is a number from 1 to ${PAGE_MAX}`);
  return { after: cursor === null ? undefined : nameBehind(cursor), limit: Number(limit) };
}

function nameBehind(cursor: string): string {
  const text = Buffer.from(cursor.slice(0, 2000), "base64url").toString("latin1");
  try {
    if (text.startsWith("1:") && cursorBehind(text.slice(2)) === cursor)
      return parseRepositoryName(text.slice(2));
  } catch (error) {
    if (!isGitwharfError(error, "storage/bad-name")) throw error;
  }
  throw bad("this cursor is none of ours: hand back `next` of the page before, as it is");
}

function bad(message: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", message);
}
