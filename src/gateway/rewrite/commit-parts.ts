/**
 * What is kept of a pushed commit (tree, parents, message), and who is named in what is not. Specification: git-commit-tree,
 * i18n.commitEncoding.
 *
 *     tree <id> LF, parent <id> LF …, author <identity> LF, committer <identity> LF, [encoding LABEL LF], further headers
 *     (gpgsig, mergetag, …; their further lines begin with a space), LF, message
 */
import { TextDecoder } from "node:util";
import { GitwharfError } from "../../base/errors.js";
import { parseCommitLinks } from "../../object/commit.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { isObjectId, type ObjectId } from "../../object/object-id.js";

export interface Person {
  readonly name: string;
  readonly email: string;
}

export interface CommitParts {
  readonly tree: ObjectId;
  readonly parents: readonly ObjectId[];
  /** Author, committer, and the taggers of tags that a merge has carried along. */
  readonly people: readonly Person[];
  /** As text, whatever its encoding was. */
  readonly message: string;
}

/** @throws object/malformed */
export function readCommitParts(data: Buffer, format: ObjectFormat): CommitParts {
  const { tree, parents } = parseCommitLinks(data, format);
  if (![tree, ...parents].every((oid) => isObjectId(oid, format)))
    throw new GitwharfError(
      "object/malformed",
      "a commit is malformed: its tree or a parent is no object id",
    );
  const end = data.indexOf("\n\n");
  // One byte a character.
  const head = data.toString("latin1", 0, end < 0 ? data.length : end + 1);
  const decode = decoderOf(/^encoding (.*)$/m.exec(head)?.[1]);
  return {
    tree,
    parents,
    people: [...head.matchAll(/^ ?(?:author|committer|tagger) (.*)$/gm)].flatMap(([, line = ""]) => {
      const bytes = Buffer.from(line, "latin1");
      // A message in one encoding below a name in another is what git makes of a wrong setting.
      return [...new Set([decode(bytes), bytes.toString("utf8")])].map(personOf);
    }),
    message: end < 0 ? "" : decode(data.subarray(end + 2)),
  };
}

/** As git reads it: who says nothing writes UTF-8, and what is none was meant for Latin-1. */
function decoderOf(encoding: string | undefined): (bytes: Buffer) => string {
  const decoders = [encoding, "utf-8"].flatMap((label) => decodersFor(label));
  return (bytes) => {
    for (const decoder of decoders) {
      try {
        return decoder.decode(bytes);
      } catch {
        // The next one.
      }
    }
    return bytes.toString("latin1");
  };
}

function decodersFor(label: string | undefined): readonly TextDecoder[] {
  try {
    return label === undefined ? [] : [new TextDecoder(label.trim(), { fatal: true })];
  } catch {
    return [];
  }
}

function personOf(line: string): Person {
  const open = line.indexOf("<");
  const close = line.indexOf(">", open);
  if (open < 0) return { name: line.trim(), email: "" };
  return {
    name: line.slice(0, open).trim(),
    email: line.slice(open + 1, close < 0 ? line.length : close).trim(),
  };
}
