/**
 * From the name that a person uses to the repository that is served, when an application says which. What it answers is
 * parsed like any name, a path is confined to roots, and an error or nonsense opens nothing.
 */
import { realpath } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { GitwharfError } from "../base/errors.js";
import type { MaybePromise } from "../base/maybe-promise.js";
import { withinTime } from "../base/within-time.js";
import type { Operation } from "../engine/authorization.js";
import type { Identity } from "../engine/identity.js";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";

/** Who asks for a name, and what for. */
export interface ResolveRequest {
  readonly identity: Identity;
  readonly operation: Operation;
  readonly address: string | undefined;
  readonly transport: "http" | "ssh" | "git";
}

/** What a name stands for, and what else is known of it. */
export interface ResolvedRepository {
  /** The repository's name in the store. */
  readonly repository: string;
  /** For `authorize`, policies and handlers of pushes, which find it in `facts`. */
  readonly facts?: Readonly<Record<string, string>>;
}

/** @returns the repository's name in the store; undefined: there is none of that name for this caller */
export type ResolveRepository = (
  name: string,
  request: ResolveRequest,
) => MaybePromise<string | ResolvedRepository | undefined>;

/** @throws access/unavailable when the application fails; what it throws on purpose (`access/…`) */
export function createRepositoryResolver(
  resolve: ResolveRepository,
  onFailure: (error: unknown) => void,
  timeoutMs = Infinity,
): (name: string, request: ResolveRequest) => Promise<ResolvedRepository | undefined> {
  return async (name, request) => {
    try {
      const found: unknown = await withinTime(timeoutMs, "the resolver", () => resolve(name, request));
      if (found === undefined) return undefined;
      if (typeof found === "string") return { repository: parseRepositoryName(found) };
      const { repository, facts } = (found ?? {}) as Partial<ResolvedRepository>;
      if (typeof repository !== "string")
        throw new TypeError("the resolver answered neither a name nor undefined");
      return { repository: parseRepositoryName(repository), ...(facts === undefined ? {} : { facts }) };
    } catch (error) {
      if (error instanceof GitwharfError && error.code.startsWith("access/")) throw error;
      onFailure(error);
      throw new GitwharfError(
        "access/unavailable",
        "the server cannot tell which repository this is at the moment; try again later",
      );
    }
  };
}

/**
 * @param path absolute, in the directory of repositories and in one of the roots
 * @returns the repository's name
 * @throws storage/bad-name when it is elsewhere, or no repository can have that name
 */
export async function nameOfPath(
  path: string,
  within: { readonly directory: string; readonly roots: readonly string[] },
): Promise<string> {
  const refuse = (why: string): GitwharfError =>
    new GitwharfError("storage/bad-name", `'${path.slice(0, 200)}' is no path of a repository: ${why}`);
  if (!isAbsolute(path)) throw refuse("it is not absolute");
  const segments = path.split("/").slice(1);
  if (segments.at(-1) === "") segments.pop();
  if (segments.some((each) => each === "" || each === "." || each === ".." || each.includes("\0")))
    throw refuse("it has an empty segment, '.', '..' or a NUL");
  const plain = `/${segments.join("/")}`;
  const roots = await Promise.all(within.roots.map(spellings));
  if (!roots.flat().some((root) => plain.startsWith(`${root}/`)))
    throw refuse("it lies in none of the roots");
  const directory = (await spellings(within.directory)).find((each) => plain.startsWith(`${each}/`));
  if (directory === undefined) throw refuse("it does not lie in the directory of repositories");
  return parseRepositoryName(plain.slice(directory.length + 1));
}

/** As it was configured, and where it is when that is a link. */
async function spellings(directory: string): Promise<readonly string[]> {
  const plain = directory.replace(/\/+$/, "");
  return [plain, await realpath(plain).catch(() => plain)];
}
