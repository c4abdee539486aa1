/**
 * Lines of a commit message that name people, or that lead to them: Signed-off-by and everything else that ends in `-by`, in
 * any spelling; Author, Committer, From, Cc; Change-Id, which Gerrit knows a person's change by; git-svn-id. A key counts
 * wherever in a message it begins a line, quoted or not.
 */

/** What is done by people, and said of them with a space in it, too. */
const DEEDS =
  "signed off|signedoff|co authored|coauthored|co developed|codeveloped|authored|committed|commited|acked|acknowledged|" +
  "reviewed|tested|reported|suggested|helped|requested|approved|sponsored|mentored|paired|pair programmed|proposed|found|" +
  "written|spotted|noticed|diagnosed|bisected|debugged|inspired|improved|translated|endorsed|verified|thanked|submitted|" +
  "pushed|picked|cherry picked|ported|backported|nacked|cc'd";

/** Of a line's beginning, with one kind of hyphen and of space: what stands before its colon. */
const KEY = /^[\s>*#|+-]{0,20}([\p{L}\p{N}][\p{L}\p{N}' _-]{0,60}?) ?[:=]/u;
const BY = new RegExp(`^(?:${DEEDS}) ?by$`, "u");
/** In the middle of a line only what cannot be anything else. */
const BY_INSIDE = new RegExp(
  "(?:^|[\\s,;.([])(?:signed[\\p{Pd} _]?off|co[\\p{Pd} _]?authored|co[\\p{Pd} _]?developed|acked|reviewed|tested|reported|" +
    "suggested|helped)[\\p{Pd} _]?by ?[:=].*$",
  "iu",
);

/** Never anything else. */
const ALWAYS = new Set([
  "change-id",
  "changeid",
  "gerrit-change-id",
  "git-svn-id",
  "commit-queue",
  "auto-submit",
  "on-behalf-of",
  "original-author",
  "co-author",
  "co-authors",
  "coauthor",
  "coauthors",
  "signed-off",
  "author-email",
  "author-name",
  "committer-email",
  "committer-name",
]);
/** In a subject they may be an area: `author: show the picture`. */
const BELOW_SUBJECT = new Set([
  "author",
  "authors",
  "committer",
  "from",
  "cc",
  "bcc",
  "reply-to",
  "reported",
  "reviewer",
  "reviewers",
  "tester",
  "contact",
  "maintainer",
]);
/** Where it has a time of day or a zone it is the person's clock. */
const DATES = new Set(["date", "authordate", "commitdate", "author-date", "commit-date"]);
const CLOCK = /\d{1,2}:\d{2}|[+-]\d{4}\b/;

export function namesPeople(line: string, { isSubject }: { readonly isSubject: boolean }): boolean {
  const start = plain(line.slice(0, 200));
  const key = KEY.exec(start)?.[1]?.toLowerCase();
  if (key === undefined) return false;
  const joined = key.replace(/[ _]/g, "-");
  if (/[_-]by$/.test(key) || BY.test(key.replace(/[_-]/g, " ")) || ALWAYS.has(joined)) return true;
  if (isSubject) return false;
  return BELOW_SUBJECT.has(joined) || (DATES.has(joined) && CLOCK.test(start));
}

/** The line up to where it begins to name somebody. */
export function withoutPeople(line: string): string {
  const found = BY_INSIDE.exec(line);
  return found === null ? line : line.slice(0, found.index).trimEnd();
}

/** One hyphen, one space, ordinary letters and colons. Its places are not those of the line. */
function plain(text: string): string {
  return text
    .normalize("NFKC")
    .replace(/[\p{Cf}\u200b-\u200d]/gu, "")
    .replace(/[\p{Pd}\u2212]/gu, "-")
    .replace(/[\p{Zs}\t]+/gu, " ");
}
