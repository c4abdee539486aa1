/**
 * `.slugignore`: what is not taken into the slug. Lines as in .gitignore, without `!`.
 * Specification: Heroku, "Slug Compiler"; gitignore.
 */
import { compileWildmatch } from "../../engine/fetch/wildmatch.js";

/** @param path from the root of the build, latin1 */
export type IsIgnored = (path: string, isDirectory: boolean) => boolean;

/** The time for one path goes with the length of the rules and its own. */
export const SLUG_IGNORE_BYTES_MAX = 64 * 1024;
const RULES_MAX = 1000;

export function parseSlugIgnore(text: string): IsIgnored {
  const rules = text
    .split(/\r?\n/)
    .map((line) => line.trimEnd())
    .filter((line) => line !== "" && !line.startsWith("#") && !line.startsWith("!"))
    .slice(0, RULES_MAX)
    .map((line) => {
      const pattern = Buffer.from(line.slice(0, endBeforeSlashes(line))).toString("latin1");
      const { matches } = compileWildmatch(pattern.replace(/^\/+/, ""), { path: true });
      // Without a slash it is for names, wherever they stand.
      return { matches, ofPaths: pattern.includes("/"), directoriesOnly: line.endsWith("/") };
    });
  return (path, isDirectory) => {
    const name = path.slice(path.lastIndexOf("/") + 1);
    return rules.some(
      ({ matches, ofPaths, directoriesOnly }) =>
        (isDirectory || !directoriesOnly) && matches(ofPaths ? path : name),
    );
  };
}

/** No regular expression: one would look at each of many slashes for all that follow. */
function endBeforeSlashes(line: string): number {
  let end = line.length;
  while (line[end - 1] === "/") end--;
  return end;
}
