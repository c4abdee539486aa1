/**
 * What a commit says to people: who, when and why. Specification: git-commit-tree, i18n.commitEncoding.
 *
 *     author NAME <EMAIL> SECONDS ZONE LF, committer …, [encoding LABEL LF], further headers, LF, message
 *
 * Nothing here throws: what cannot be read is empty, and the date is 1970.
 */
export interface CommitText {
  readonly author: CommitPerson;
  readonly committer: CommitPerson;
  readonly message: string;
}

export interface CommitPerson {
  readonly name: string;
  readonly email: string;
  /** Seconds since 1970. */
  readonly seconds: number;
}

/** Headers of an honest commit are short, its signatures included. */
const HEADERS_BYTES_MAX = 1024 * 1024;

export function parseCommitText(data: Buffer): CommitText {
  const end = data.indexOf("\n\n");
  const headers = data.subarray(0, Math.min(end < 0 ? data.length : end, HEADERS_BYTES_MAX));
  const decode = decoderOf(headerOf(headers, "encoding")?.toString("latin1"));
  const person = (name: string): CommitPerson => personOf(decode(headerOf(headers, name) ?? NOTHING));
  return {
    author: person("author"),
    committer: person("committer"),
    message: end < 0 ? "" : decode(data.subarray(end + 2)),
  };
}

/** The first paragraph on one line. */
export function subjectOf(message: string): string {
  const text = message.replace(/^(?:[ \t]*\n)+/, "");
  const end = text.search(/\n[ \t]*(?:\n|$)/);
  return (end < 0 ? text : text.slice(0, end)).trim().replaceAll(/[ \t]*\n[ \t]*/g, " ");
}

const NOTHING = Buffer.alloc(0);

function headerOf(headers: Buffer, name: string): Buffer | undefined {
  const at = headers.indexOf(`\n${name} `);
  if (at < 0) return undefined;
  const start = at + name.length + 2;
  const end = headers.indexOf(0x0a, start);
  return headers.subarray(start, end < 0 ? headers.length : end);
}

function decoderOf(encoding: string | undefined): (bytes: Buffer) => string {
  try {
    const decoder = new TextDecoder(encoding ?? "utf-8");
    return (bytes) => decoder.decode(bytes);
  } catch {
    return (bytes) => bytes.toString("utf8");
  }
}

function personOf(line: string): CommitPerson {
  const open = line.indexOf("<");
  const close = line.lastIndexOf(">");
  if (open < 0 || close < open) return { name: line.trim(), email: "", seconds: 0 };
  const seconds = Number.parseInt(line.slice(close + 1), 10);
  return {
    name: line.slice(0, open).trim(),
    email: line.slice(open + 1, close).trim(),
    seconds: Number.isSafeInteger(seconds) ? seconds : 0,
  };
}
