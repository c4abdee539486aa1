/**
 * Checks `NAME <EMAIL> SECONDS ZONE`, the value of author, committer and tagger lines, as git's newer versions do.
 * (Git 2.39 skips blanks before the date with `strtoumax`, which also takes a sign.)
 */
import type { Report } from "./fsck-message.js";

const LINE = "invalid author/committer line";
const DATE_LIMIT = 2n ** 63n;

/** @returns whether it reported an error */
export function checkIdentity(line: string, report: Report): boolean {
  if (line.startsWith("<")) return report("missingNameBeforeEmail", `${LINE} - missing space before email`);
  const open = line.search(/[<>]/);
  if (open < 0) return report("missingEmail", `${LINE} - missing email`);
  if (line[open] === ">") return report("badName", `${LINE} - bad name`);
  if (line[open - 1] !== " ")
    return report("missingSpaceBeforeEmail", `${LINE} - missing space before email`);
  const inside = line.slice(open + 1).search(/[<>]/);
  const close = open + 1 + inside;
  if (inside < 0 || line[close] === "<") return report("badEmail", `${LINE} - bad email`);
  if (line[close + 1] !== " ") return report("missingSpaceBeforeDate", `${LINE} - missing space before date`);
  return checkDate(line.slice(close + 2).replace(/^[ \t]*/, ""), report);
}

function checkDate(text: string, report: Report): boolean {
  const digits = /^[0-9]*/.exec(text)?.[0] ?? "";
  if (digits === "") return report("badDate", `${LINE} - bad date`);
  if (text.startsWith("0") && text[1] !== " ") return report("zeroPaddedDate", `${LINE} - zero-padded date`);
  // 2^63 has 19 digits; a peer decides how many come.
  if (digits.length > 19 || BigInt(digits) >= DATE_LIMIT)
    return report("badDateOverflow", `${LINE} - date causes integer overflow`);
  if (text[digits.length] !== " ") return report("badDate", `${LINE} - bad date`);
  if (!/^[+-][0-9]{4}$/.test(text.slice(digits.length + 1)))
    return report("badTimezone", `${LINE} - bad time zone`);
  return false;
}
