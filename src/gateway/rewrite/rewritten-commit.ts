/**
 * A commit as the gateway writes it: nothing in it but tree, parents, one identity, one moment in UTC and the message in
 * UTF-8. Specification: git-commit-tree.
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Person } from "./commit-parts.js";

export interface NewCommit {
  readonly tree: ObjectId;
  readonly parents: readonly ObjectId[];
  /** Author and committer. */
  readonly identity: Person;
  /** Since 1970. */
  readonly seconds: number;
  readonly message: string;
}

export function writeCommit({ tree, parents, identity, seconds, message }: NewCommit): Buffer {
  const who = `${identity.name} <${identity.email}> ${seconds} +0000`;
  const lines = [
    `tree ${tree}`,
    ...parents.map((parent) => `parent ${parent}`),
    `author ${who}`,
    `committer ${who}`,
    "",
    // No git reads past a NUL.
    message.replaceAll("\0", ""),
  ];
  return Buffer.from(lines.join("\n"), "utf8");
}

/**
 * What git would take off a name's ends is refused, so that the identity is what is written here.
 * @throws server/bad-configuration
 */
export function checkIdentity(identity: Person): Person {
  const isGood = (text: string): boolean =>
    text !== "" &&
    text === text.trim() &&
    text.length <= 200 &&
    !/[<>\p{Cc}\p{Cs}]/u.test(text) &&
    !/^[.,:;"\\']|[.,:;"\\']$/.test(text);
  if (isGood(identity.name) && isGood(identity.email) && !/\s/.test(identity.email)) return identity;
  throw new GitwharfError(
    "server/bad-configuration",
    `the gateway cannot write commits as '${identity.name}' with the address '${identity.email}'`,
  );
}
