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
/** A commit may be as large as an object may be; a message longer than this is cut. */
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
/** Later ones no `Date` holds. */
const SECONDS_MAX = 8_640_000_000_000;

export function parseCommitText(data: Buffer): CommitText {
  const end = data.indexOf("\n\n");
  const headers = data.subarray(0, Math.min(end < 0 ? data.length : end, HEADERS_BYTES_MAX));
  const decode = decoderOf(headerOf(headers, "encoding")?.toString("latin1"));
  const person = (name: string): CommitPerson => personOf(decode(headerOf(headers, name) ?? NOTHING));
  return {
    author: person("author"),
    committer: person("committer"),
    message: end < 0 ? "" : decode(data.subarray(end + 2, end + 2 + MESSAGE_BYTES_MAX)),
  };
}

/** The first paragraph on one line. Line by line: patterns for this take as long as the square of what a stranger writes. */
export function subjectOf(message: string): string {
  const lines: string[] = [];
  for (let at = 0; at < message.length; ) {
    const end = message.indexOf("\n", at);
    const line = message.slice(at, end < 0 ? message.length : end).trim();
    if (line !== "") lines.push(line);
    else if (lines.length > 0) break;
    at = end < 0 ? message.length : end + 1;
  }
  return lines.join(" ");
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
    seconds: Math.abs(seconds) <= SECONDS_MAX ? seconds : 0,
  };
}
