/**
 * `export-subst`: `$Format:…$` in a file, with the placeholders of git-log about the commit that is archived. A format
 * with a placeholder that is not known here (colours, padding, trailers, describe, mailmap) stays as it is.
 * Specification: gitattributes, "export-subst"; git-log, "PRETTY FORMATS". Bytes one a character (latin1).
 */
import type { ObjectId } from "../../object/object-id.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { abbreviate } from "./abbreviate.js";
import { formatDate } from "./format-date.js";

export interface FormatSubstitution {
  /** The same bytes when nothing is to be put in. */
  apply(content: Buffer): Promise<Buffer>;
}

export interface SubstitutionSource {
  readonly objects: ObjectReader;
  readonly commit: ObjectId;
  /** Names of refs at the commit as git-log writes them, `HEAD -> main` first; latin1. Asked only when it is wanted. */
  readonly decorations: () => Promise<readonly string[]>;
}

/** Files with more formats, longer ones, and those that would grow by more stay as they are. */
const FORMATS_MAX = 1000;
const CONTENT_BYTES_MAX = 64 * 1024 * 1024;
const GROWTH_BYTES_MAX = 1024 * 1024;

export function createFormatSubstitution(source: SubstitutionSource): FormatSubstitution {
  const { objects, commit } = source;
  let parsed: Promise<ParsedCommit | undefined> | undefined;
  const known = new Map<string, Promise<string | undefined>>();
  const valueOf = (placeholder: string): Promise<string | undefined> => {
    let value = known.get(placeholder);
    if (value === undefined) {
      parsed ??= readCommit(objects, commit);
      value = parsed.then((fields) =>
        fields === undefined ? undefined : expand(placeholder, fields, source),
      );
      known.set(placeholder, value);
    }
    return value;
  };
  return {
    async apply(content) {
      if (content.length > CONTENT_BYTES_MAX || !content.includes("$Format:")) return content;
      const pieces = content.toString("latin1").split(/(\$Format:[^$]*\$)/, 2 * FORMATS_MAX);
      if (pieces.length === 2 * FORMATS_MAX) return content;
      let growth = 0;
      for (const [i, piece] of pieces.entries()) {
        if (i % 2 === 0) continue;
        const made = (await format(piece.slice("$Format:".length, -1), valueOf)) ?? piece;
        if ((growth += made.length) > GROWTH_BYTES_MAX) return content;
        pieces[i] = made;
      }
      return Buffer.from(pieces.join(""), "latin1");
    },
  };
}

/** undefined: it holds a placeholder that is not known. */
async function format(
  text: string,
  valueOf: (placeholder: string) => Promise<string | undefined>,
): Promise<string | undefined> {
  let out = "";
  for (const piece of text.split(/(%(?:[ac][a-zA-Z]|x[0-9a-fA-F]{2}|[^]))/)) {
    if (!piece.startsWith("%")) out += piece;
    else {
      const value = await valueOf(piece.slice(1));
      if (value === undefined) return undefined;
      out += value;
    }
    if (out.length > GROWTH_BYTES_MAX) return undefined;
  }
  return out;
}

interface Person {
  readonly name: string;
  readonly email: string;
  readonly seconds: number;
  readonly zone: string;
}

interface ParsedCommit {
  readonly tree: ObjectId;
  readonly parents: readonly ObjectId[];
  readonly author: Person;
  readonly committer: Person;
  readonly message: string;
}

/** undefined: it is in another encoding, or has no people that could be read. */
async function readCommit(objects: ObjectReader, oid: ObjectId): Promise<ParsedCommit | undefined> {
  const text = (await objects.read(oid))?.data.toString("latin1") ?? "";
  const end = text.indexOf("\n\n");
  const head = `${end < 0 ? text : text.slice(0, end)}\n`;
  if (/^encoding (?!utf-?8$)/im.test(head)) return undefined;
  const tree = /^tree ([0-9a-f]+)\n/.exec(head)?.[1];
  const author = personOf(head, "author");
  const committer = personOf(head, "committer");
  if (tree === undefined || author === undefined || committer === undefined) return undefined;
  const parents = [...head.matchAll(/^parent ([0-9a-f]+)$/gm)].map((match) => match[1] ?? "");
  return { tree, parents, author, committer, message: end < 0 ? "" : text.slice(end + 2) };
}

function personOf(head: string, role: "author" | "committer"): Person | undefined {
  const match = new RegExp(`^${role} ([^<\\n]*?) ?<([^>\\n]*)> ([0-9]{1,12}) ([-+][0-9]{4})$`, "m").exec(
    head,
  );
  if (match === null) return undefined;
  const [, name = "", email = "", seconds = "0", zone = "+0000"] = match;
  return { name, email, seconds: Number(seconds), zone };
}

async function expand(
  placeholder: string,
  fields: ParsedCommit,
  { objects, commit, decorations }: SubstitutionSource,
): Promise<string | undefined> {
  const { tree, parents, message } = fields;
  const who = placeholder[0] === "a" ? fields.author : fields.committer;
  if (/^[ac]./.test(placeholder)) return ofPerson(placeholder.slice(1), who);
  if (placeholder.startsWith("x") && placeholder.length === 3)
    return String.fromCharCode(Number.parseInt(placeholder.slice(1), 16));
  const short = async (oids: readonly ObjectId[]): Promise<string> => {
    const shortened: string[] = [];
    for (const oid of oids) shortened.push(await abbreviate(objects, oid));
    return shortened.join(" ");
  };
  switch (placeholder) {
    case "H":
      return commit;
    case "h":
      return short([commit]);
    case "T":
      return tree;
    case "t":
      return short([tree]);
    case "P":
      return parents.join(" ");
    case "p":
      return short(parents);
    case "d": {
      const names = await decorations();
      return names.length === 0 ? "" : ` (${names.join(", ")})`;
    }
    case "D":
      return (await decorations()).join(", ");
    case "s":
      return subjectOf(message);
    case "B":
      return message;
    case "n":
      return "\n";
    case "%":
      return "%";
    default:
      return undefined;
  }
}

function ofPerson(what: string, { name, email, seconds, zone }: Person): string | undefined {
  switch (what) {
    case "n":
      return name;
    case "e":
      return email;
    case "l":
      return email.replace(/@.*$/, "");
    case "t":
      return String(seconds);
    default:
      return formatDate(what, seconds, zone);
  }
}

/** The first paragraph in one line. */
function subjectOf(message: string): string {
  const [paragraph = ""] = message.replace(/^(?:[ \t]*\n)+/, "").split(/\n[ \t]*(?:\n|$)/, 1);
  return paragraph
    .split("\n")
    .map((line) => line.trimEnd())
    .join(" ");
}
