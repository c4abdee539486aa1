/**
 * What an address means where the API is served.
 *
 *     /health, /openapi.json     themselves
 *     /repositories              all of them
 *     /repositories/{id}         one; slashes of its name as they are, or as %2F
 *     /repositories/{id}.git/…   Git, as /{id}.git/… is: whatever Git would understand is Git's
 *
 * So a repository called `repositories` is at `/repositories.git`, one called `repositories/app` at
 * `/repositories/repositories/app.git`, and `a/HEAD`, whose plain address is that of a file of `a`, at
 * `/repositories/a%2FHEAD`.
 */
import { parseRequestTarget } from "../transport/http/request-target.js";

export type ApiAddress =
  | { readonly kind: "health" | "openapi" | "repositories"; readonly query: URLSearchParams }
  /** undefined: it cannot be read. */
  | { readonly kind: "repository"; readonly id: string | undefined; readonly query: URLSearchParams }
  /** Of the repository that stands behind `/repositories`. */
  | { readonly kind: "git" };

const COLLECTION = "/repositories";
const LENGTH_MAX = 4096;

/**
 * @param url path and query as in a request line, below the path of the API
 * @returns undefined when it is none of the API's
 */
export function parseApiAddress(url: string): ApiAddress | undefined {
  const question = url.indexOf("?");
  const path = question < 0 ? url : url.slice(0, question);
  const query = new URLSearchParams(question < 0 ? "" : url.slice(question + 1));
  if (path === "/health") return { kind: "health", query };
  if (path === "/openapi.json") return { kind: "openapi", query };
  if (path === COLLECTION) return { kind: "repositories", query };
  if (!path.startsWith(`${COLLECTION}/`)) return undefined;
  if (isGit(path)) return isGit(path.slice(COLLECTION.length)) ? { kind: "git" } : undefined;
  return { kind: "repository", id: decoded(path.slice(COLLECTION.length + 1)), query };
}

function isGit(path: string): boolean {
  try {
    // Names are looked at by those who serve it.
    const target = parseRequestTarget(path, (name) => name);
    return target !== undefined && target.repository !== "";
  } catch {
    return false;
  }
}

function decoded(text: string): string | undefined {
  try {
    return text === "" || text.length > LENGTH_MAX ? undefined : decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
