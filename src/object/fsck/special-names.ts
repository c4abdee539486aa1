/**
 * Names that a file system could take for `.git`, `.gitmodules` and the like: case folding, NTFS short names and
 * streams, code points that HFS+ ignores. Names are byte strings (latin1): bytes that are no UTF-8 count too.
 * Specification: git's CVE-2014-9390 and CVE-2019-1352 and their fixes.
 */

/** A whole character other than a slash, as UTF-8. Bytes that are none end a name, as in git. */
const CHARACTER = new RegExp(
  "[\\x01-\\x2e\\x30-\\x7f]|[\\xc2-\\xdf][\\x80-\\xbf]|\\xe0[\\xa0-\\xbf][\\x80-\\xbf]" +
    "|[\\xe1-\\xec\\xee][\\x80-\\xbf]{2}|\\xed[\\x80-\\x9f][\\x80-\\xbf]|\\xef(?!\\xbf[\\xbe\\xbf])[\\x80-\\xbf]{2}" +
    "|\\xf0[\\x90-\\xbf][\\x80-\\xbf]{2}|[\\xf1-\\xf3][\\x80-\\xbf]{3}|\\xf4[\\x80-\\x8f][\\x80-\\xbf]{2}",
  "y",
);
/** A code point that HFS+ ignores, as UTF-8. */
const IGNORED = /\xe2\x80[\x8c-\x8f\xaa-\xae]|\xe2\x81[\xaa-\xaf]|\xef\xbb\xbf/y;

function skipIgnored(name: string, from: number): number {
  let at = from;
  for (; ; at += 3) {
    IGNORED.lastIndex = at;
    if (!IGNORED.test(name)) return at;
  }
}

/** Step by step: a regular expression of them all would need stack for a name of millions of ignored code points. */
function isHfsName(name: string, wanted: string): boolean {
  let at = 0;
  for (const letter of wanted) {
    at = skipIgnored(name, at);
    if (name[at]?.toLowerCase() !== letter) return false;
    at++;
  }
  CHARACTER.lastIndex = skipIgnored(name, at);
  return !CHARACTER.test(name);
}

/** NTFS drops trailing dots and spaces, and a colon begins a stream. */
const NTFS_END = "[. ]*(?:$|:)";

/** @param hashed the six characters of the short name that NTFS makes when the simple ones are taken */
function ntfsPattern(name: string, hashed: string): RegExp {
  const short = `${name.slice(0, 6)}~[1-4]`;
  const fallback: string[] = [];
  for (let kept = 0; kept <= 6; kept++) fallback.push(`${hashed.slice(0, kept)}~[1-9][0-9]{${6 - kept}}`);
  return new RegExp(`^(?:\\.${name}|${short}|${fallback.join("|")})${NTFS_END}`, "i");
}

const NTFS_GIT = /^(?:\.git|git~1)[. ]*(?:$|[/\\:])/i;

export function isDotGit(name: string): boolean {
  return isHfsName(name, ".git") || partsBehindBackslashes(name, (part) => NTFS_GIT.test(part));
}

const NTFS_GITMODULES = ntfsPattern("gitmodules", "gi7eba");

export function isDotGitmodules(name: string): boolean {
  return isHfsName(name, ".gitmodules") || partsBehindBackslashes(name, (part) => NTFS_GITMODULES.test(part));
}

function dotFile(name: string, hashed: string): (candidate: string) => boolean {
  const ntfs = ntfsPattern(name, hashed);
  return (candidate) => isHfsName(candidate, `.${name}`) || ntfs.test(candidate);
}

export const isDotGitattributes = dotFile("gitattributes", "gi7d29");
export const isDotGitignore = dotFile("gitignore", "gi250a");
export const isDotMailmap = dotFile("mailmap", "maba30");

/** Whether it holds for the name, or for what stands behind one of its backslashes. */
function partsBehindBackslashes(name: string, holds: (part: string) => boolean): boolean {
  if (holds(name)) return true;
  for (let at = name.indexOf("\\"); at >= 0; at = name.indexOf("\\", at + 1)) {
    // No pattern looks at more than some characters, and trailing dots and spaces: those end at the next backslash.
    const end = name.indexOf("\\", at + 1);
    if (holds(end < 0 ? name.slice(at + 1) : name.slice(at + 1, end + 1))) return true;
  }
  return false;
}
