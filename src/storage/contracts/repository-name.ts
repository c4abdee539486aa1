/**
 * Public repository names: parsed, never joined into a path as they came.
 */
import { GitwharfError } from "../../base/errors.js";

const SEGMENT = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?$/;
/** Names that some file system treats as devices. */
const DEVICE = /^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?$/i;

/**
 * `group/app` or `group/app.git` → `group/app`. One to eight segments of ASCII letters, digits, `_`, `-` and `.`,
 * each at most 100 characters, beginning with a letter, digit or `_`, never ending in `.`, `.git` or `.lock`.
 * @throws storage/bad-name
 */
export function parseRepositoryName(text: string): string {
  const name = text.endsWith(".git") ? text.slice(0, -4) : text;
  const segments = name.split("/");
  if (segments.length > 8) throw badName(text, "it has more than eight segments");
  for (const segment of segments) {
    if (!SEGMENT.test(segment)) {
      throw badName(
        text,
        "a segment is letters, digits, '_', '-' and '.', and starts with a letter, digit or '_'",
      );
    }
    if (/\.(git|lock)$/i.test(segment)) throw badName(text, "a segment may not end in '.git' or '.lock'");
    if (DEVICE.test(segment)) throw badName(text, `'${segment}' is the name of a device`);
  }
  return name;
}

function badName(text: string, why: string): GitwharfError {
  const shown = JSON.stringify(text.slice(0, 120)).slice(1, -1);
  return new GitwharfError("storage/bad-name", `'${shown}' cannot be a repository name: ${why}`);
}
