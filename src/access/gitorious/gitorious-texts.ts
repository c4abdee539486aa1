/**
 * The words in which Gitorious answers people, and the statuses that go with them: existing clients and habits know
 * them. Specification: docs/gitorious.md.
 */
import { isGitwharfError } from "../../base/errors.js";

export const INVALID_USER = "Invalid username or password";
export const ANONYMOUS_PUSH = "Anonymous pushing not allowed";
export const ACCESS_DENIED = "Access denied";
export const INVALID_PATH = "Invalid repository path";
export const INVALID_COMMAND = "Invalid command";
export const FAILED = "An error occurred, please contact support";

/** undefined: it is told as always. */
export function describeAsGitorious(
  error: unknown,
  { transport }: { readonly transport: "http" | "ssh" },
): { readonly status: number; readonly text: string } | undefined {
  if (!isGitwharfError(error)) return undefined;
  switch (error.code) {
    case "access/unauthenticated":
      return {
        status: 401,
        text: [ANONYMOUS_PUSH, ACCESS_DENIED].includes(error.message) ? error.message : INVALID_USER,
      };
    case "storage/not-found":
      return error.details["isNoAddress"] === true
        ? { status: 400, text: INVALID_COMMAND }
        : { status: 404, text: INVALID_PATH };
    case "storage/bad-name":
      return { status: 400, text: INVALID_COMMAND };
    case "protocol/bad-request":
      // Over HTTP the command is the address; what is wrong in a body is told in our own words.
      return transport === "ssh" ? { status: 400, text: INVALID_COMMAND } : undefined;
    case "access/unavailable":
    case "server/bad-configuration":
      return { status: 500, text: FAILED };
    default:
      return undefined;
  }
}

export function greetAsGitorious(user: string | undefined): string {
  return `Hello ${user ?? "stranger"}! There is no shell access here, only Git.`;
}
