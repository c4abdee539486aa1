/**
 * Names that a file system could take for `.git`, `.gitmodules` and the like: case folding, NTFS short names and
 * streams, code points that HFS+ ignores. Specification: git's CVE-2014-9390 and CVE-2019-1352 and their fixes.
 */
const HFS_IGNORED = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g;

function folded(name: string): string {
  return name.replace(HFS_IGNORED, "").toLowerCase();
}

/** NTFS drops trailing dots and spaces, and a colon begins a stream. */
function ntfsStem(name: string): string {
  return (name.split(":", 1)[0] ?? "").replace(/[. ]+$/, "").toLowerCase();
}

export function isDotGit(name: string): boolean {
  if (folded(name) === ".git") return true;
  return name.split("\\").some((part) => {
    const stem = ntfsStem(part);
    return stem === ".git" || stem === "git~1";
  });
}

/** @param shortStem the first six letters NTFS makes a short name of, and its hashed form */
function isDotFile(name: string, full: string, shortStem: string, hashed: string): boolean {
  if (folded(name) === full) return true;
  const stem = ntfsStem(name);
  if (stem === full) return true;
  return (
    new RegExp(`^${shortStem}~[1-4]$`).test(stem) ||
    (stem.length === 8 &&
      new RegExp(`^${hashed.slice(0, 2)}[0-9a-f]{0,4}~[0-9]+$`).test(stem) &&
      stem.startsWith(hashed.slice(0, 4)))
  );
}

export function isDotGitmodules(name: string): boolean {
  return isDotFile(name, ".gitmodules", "gitmod", "gi7eba");
}

export function isDotGitattributes(name: string): boolean {
  return isDotFile(name, ".gitattributes", "gitatt", "gi7d29");
}

export function isDotGitignore(name: string): boolean {
  return isDotFile(name, ".gitignore", "gitign", "gi250a");
}

export function isDotMailmap(name: string): boolean {
  return isDotFile(name, ".mailmap", "mailma", "maba30");
}
