/**
 * Annotated tags. Specification: git-mktag.
 *
 *     object <id> LF, type <type> LF, tag <name> LF, tagger <identity> LF, LF, message
 */
import { GitwharfError } from "../base/errors.js";
import { hexLength, type ObjectFormat } from "./object-format.js";
import { isObjectId, type ObjectId, type ObjectType } from "./object-id.js";

export interface TagLinks {
  readonly target: ObjectId;
  readonly targetType: ObjectType;
}

const TYPES: ReadonlySet<string> = new Set(["commit", "tree", "blob", "tag"]);

function isObjectType(text: string): text is ObjectType {
  return TYPES.has(text);
}

/** @throws object/malformed */
export function parseTagLinks(data: Buffer, format: ObjectFormat): TagLinks {
  const hex = hexLength(format);
  const target = data.toString("latin1", 7, 7 + hex);
  const typeAt = 8 + hex;
  const typeEnd = data.indexOf(0x0a, typeAt);
  if (
    data.toString("latin1", 0, 7) !== "object " ||
    !isObjectId(target, format) ||
    data[typeAt - 1] !== 0x0a
  ) {
    throw malformed("it does not begin with its object");
  }
  if (data.toString("latin1", typeAt, typeAt + 5) !== "type " || typeEnd < 0 || typeEnd > typeAt + 16) {
    throw malformed("it does not tell its object's type");
  }
  const targetType = data.toString("latin1", typeAt + 5, typeEnd);
  if (!isObjectType(targetType)) throw malformed("its object's type does not exist");
  return { target, targetType };
}

function malformed(why: string): GitwharfError {
  return new GitwharfError("object/malformed", `a tag is malformed: ${why}`);
}
