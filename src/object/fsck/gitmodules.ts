/**
 * What may stand in `.gitmodules`: names that cannot leave `.git/modules`, URLs and paths that no program could take
 * for an option, no command to run. Specification: gitmodules; CVE-2018-11235, CVE-2018-17456, CVE-2020-5260.
 */
import type { FsckMessageId } from "./fsck-message.js";
import { readConfigEntries } from "./gitmodules-syntax.js";
import { isSafeSubmoduleUrl } from "./submodule-url.js";

/** @param bytes as a byte string (latin1) */
export function checkGitmodules(bytes: string, report: (id: FsckMessageId, text: string) => void): void {
  const whole = readConfigEntries(bytes, (entry) => {
    // A NUL ends a text for git.
    const match = /^submodule\.([^]*)\.([^.]*)$/.exec(untilNul(entry.name));
    if (match === null) return;
    const [, name = "", key = ""] = match;
    if (name === "" || /(?:^|[/\\])\.\.(?:[/\\]|$)/.test(name))
      report("gitmodulesName", `disallowed submodule name: ${readable(name)}`);
    if (entry.value === undefined) return;
    const value = untilNul(entry.value);
    if (key === "url" && !isSafeSubmoduleUrl(value))
      report("gitmodulesUrl", `disallowed submodule url: ${readable(value)}`);
    if (key === "path" && value.startsWith("-"))
      report("gitmodulesPath", `disallowed submodule path: ${readable(value)}`);
    if (key === "update" && value.startsWith("!"))
      report("gitmodulesUpdate", `disallowed submodule update setting: ${readable(value)}`);
  });
  if (!whole) report("gitmodulesParse", "could not parse gitmodules blob");
}

function untilNul(text: string): string {
  const nul = text.indexOf("\0");
  return nul < 0 ? text : text.slice(0, nul);
}

/** On one line of a terminal. */
function readable(bytes: string): string {
  return Buffer.from(bytes, "latin1")
    .toString("utf8")
    .replaceAll(/\p{Cc}/gu, "?");
}
