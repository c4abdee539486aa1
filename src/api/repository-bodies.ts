/** What bodies say about repositories, every member looked at: what is not understood is refused, not passed over. */
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import type { ObjectFormat } from "../object/object-format.js";
import { checkRefName } from "../object/ref-name.js";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";
import type { CreateRepositoryOptions } from "../storage/contracts/repository.js";

type Body = Readonly<Record<string, unknown>>;

export interface NewRepositoryBody {
  /** Checked, without `.git`. */
  readonly name: string;
  /** What it says about it. */
  readonly creation: CreateRepositoryOptions;
}

/** @throws protocol/bad-request, storage/bad-name */
export function readNewRepository(body: Body): NewRepositoryBody {
  refuseOthers(body, ["name", "objectFormat", "defaultBranch"]);
  const { objectFormat, defaultBranch } = body;
  if (objectFormat !== undefined && !isObjectFormat(objectFormat))
    throw bad(`objectFormat is "sha1" or "sha256"`);
  if (defaultBranch !== undefined && !isBranch(defaultBranch))
    throw bad("defaultBranch is the name of a branch, without refs/heads/");
  return {
    name: nameIn(body),
    creation: {
      ...(objectFormat === undefined ? {} : { objectFormat }),
      ...(defaultBranch === undefined ? {} : { defaultBranch }),
    },
  };
}

/** @returns the name, checked @throws protocol/bad-request, storage/bad-name */
export function readChangedRepository(body: Body): string {
  refuseOthers(body, ["name"]);
  return nameIn(body);
}

function nameIn({ name }: Body): string {
  if (typeof name !== "string") throw bad("name is a text, and must be there");
  try {
    return parseRepositoryName(name);
  } catch (error) {
    if (!isGitwharfError(error, "storage/bad-name")) throw error;
    throw new GitwharfError("storage/bad-name", error.message, { details: { isInBody: true } });
  }
}

function refuseOthers(body: Body, known: readonly string[]): void {
  const odd = Object.keys(body).find((key) => !known.includes(key));
  if (odd === undefined) return;
  const shown = JSON.stringify(odd.slice(0, 60)).slice(1, -1);
  throw bad(`'${shown}' is not known here; known are ${known.join(", ")}`);
}

function isObjectFormat(value: unknown): value is ObjectFormat {
  return value === "sha1" || value === "sha256";
}

function isBranch(value: unknown): value is string {
  return (
    typeof value === "string" && value.length <= 250 && checkRefName(`refs/heads/${value}`) === undefined
  );
}

function bad(message: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", message);
}
