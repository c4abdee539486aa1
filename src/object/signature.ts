/**
 * The identity lines of commits and tags: `Name <email> seconds zone`.
 * Specification: gitformat of commits ("Commit" in git-fast-import is the same form).
 */
export interface Signature {
  readonly name: string;
  readonly email: string;
  /** Seconds since 1970, UTC; NaN when the line has none that can be read. */
  readonly timeSeconds: number;
  /** `+0100` */
  readonly zone: string;
}

/** Lenient: history holds lines of every form, and reading must not fail on them. */
export function parseSignature(line: string): Signature {
  const close = line.lastIndexOf(">");
  const open = line.lastIndexOf("<", close);
  const date = /^ *(-?[0-9]{1,16}) ([+-][0-9]{1,6})/.exec(line.slice(close + 1));
  return {
    name: open < 0 ? line.trim() : line.slice(0, open).trim(),
    email: open < 0 ? "" : line.slice(open + 1, close),
    timeSeconds: date?.[1] === undefined ? Number.NaN : Number(date[1]),
    zone: date?.[2] ?? "+0000",
  };
}

export function formatSignature(signature: Signature): string {
  return `${signature.name} <${signature.email}> ${signature.timeSeconds} ${signature.zone}`;
}
