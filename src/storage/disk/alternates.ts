/**
 * `objects/info/alternates`: other `objects` directories that this one borrows from.
 * Specification: gitrepository-layout.
 *
 *     LINE                MEANING
 *     # …                 comment
 *     "…"                 a path with backslash escapes, as git quotes C strings
 *     /absolute/path      an objects directory
 *     relative/path       relative to the objects directory that the file belongs to
 *
 * Not supported: `objects/info/http-alternates` (only dumb clients read it); it is ignored.
 */
import { resolve } from "node:path";

const ESCAPES: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  '"': '"',
};

/** @param objectsDirectory absolute path of the directory that the file belongs to */
export function parseAlternates(text: string, objectsDirectory: string): string[] {
  const paths: string[] = [];
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const path = line.startsWith('"') ? unquote(line) : line;
    if (path !== undefined && path !== "" && !path.includes("\0"))
      paths.push(resolve(objectsDirectory, path));
  }
  return paths;
}

/** undefined when the quotes are not well formed: git then takes no path from the line either. */
function unquote(line: string): string | undefined {
  const match = /^"((?:[^"\\]|\\[abfnrtv\\"]|\\[0-3][0-7]{2})*)"$/.exec(line);
  return match?.[1]?.replace(/\\([0-3][0-7]{2}|.)/g, (_, escape: string) =>
    escape.length === 3 ? String.fromCharCode(Number.parseInt(escape, 8)) : (ESCAPES[escape] ?? escape),
  );
}
