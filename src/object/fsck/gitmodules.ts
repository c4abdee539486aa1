/**
 * What may stand in `.gitmodules`: names that cannot leave `.git/modules`, URLs and paths that no program could take
 * for an option, no command to run. Specification: gitmodules; CVE-2018-11235, CVE-2018-17456, CVE-2020-5260.
 */
import type { FsckMessageId } from "./fsck-message.js";
import { readConfigEntries } from "./gitmodules-syntax.js";
import { readable } from "./readable-text.js";
import { isSafeSubmoduleUrl } from "./submodule-url.js";

const SECTION = "submodule.";

interface Submodule {
  /** undefined: the name is allowed. */
  readonly badName: string | undefined;
  /** What stands for the key, when a NUL in the name cut it off. */
  readonly key: string | undefined;
}

/** @param bytes as a byte string (latin1) */
export function checkGitmodules(bytes: string, report: (id: FsckMessageId, text: string) => void): void {
  let submodule: Submodule | undefined;
  const whole = readConfigEntries(bytes, {
    section: (name) => {
      submodule = submoduleOf(name);
    },
    entry: (entryKey, entryValue) => {
      if (submodule === undefined) return;
      if (submodule.badName !== undefined)
        report("gitmodulesName", `disallowed submodule name: ${submodule.badName}`);
      if (entryValue === undefined) return;
      const key = submodule.key ?? entryKey;
      const value = untilNul(entryValue);
      if (key === "url" && !isSafeSubmoduleUrl(value))
        report("gitmodulesUrl", `disallowed submodule url: ${readable(value)}`);
      if (key === "path" && value.startsWith("-"))
        report("gitmodulesPath", `disallowed submodule path: ${readable(value)}`);
      if (key === "update" && value.startsWith("!"))
        report("gitmodulesUpdate", `disallowed submodule update setting: ${readable(value)}`);
    },
  });
  if (!whole) report("gitmodulesParse", "could not parse gitmodules blob");
}

/** undefined: the section is of something else. */
function submoduleOf(section: string): Submodule | undefined {
  // A NUL ends a text for git, and the key is what stands behind the last dot then.
  const text = untilNul(section);
  const end = text.lastIndexOf(".");
  if (!text.startsWith(SECTION) || end < SECTION.length) return undefined;
  const name = text.slice(SECTION.length, end);
  const isBad = name === "" || /(?:^|[/\\])\.\.(?:[/\\]|$)/.test(name);
  return {
    badName: isBad ? readable(name) : undefined,
    key: text.length < section.length ? text.slice(end + 1) : undefined,
  };
}

function untilNul(text: string): string {
  const nul = text.indexOf("\0");
  return nul < 0 ? text : text.slice(0, nul);
}
