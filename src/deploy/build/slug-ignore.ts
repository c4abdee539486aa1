/**
 * `.slugignore`: what is not taken into the slug. Lines as in .gitignore, without `!`.
 * Specification: Heroku, "Slug Compiler"; gitignore.
 */
import { compileWildmatch } from "../../engine/fetch/wildmatch.js";

/** @param path from the root of the build, latin1 */
export type IsIgnored = (path: string, isDirectory: boolean) => boolean;

const RULES_MAX = 1000;

export function parseSlugIgnore(text: string): IsIgnored {
  const rules = text
    .split(/\r?\n/)
    .map((line) => line.trimEnd())
    .filter((line) => line !== "" && !line.startsWith("#") && !line.startsWith("!"))
    .slice(0, RULES_MAX)
    .map((line) => {
      const pattern = Buffer.from(line.replace(/\/+$/, "")).toString("latin1");
      const anchored = pattern.includes("/");
      const { matches } = compileWildmatch(anchored ? pattern.replace(/^\/+/, "") : `**/${pattern}`, {
        path: true,
      });
      return { matches, directoriesOnly: line.endsWith("/") };
    });
  return (path, isDirectory) =>
    rules.some(({ matches, directoriesOnly }) => (isDirectory || !directoriesOnly) && matches(path));
}
