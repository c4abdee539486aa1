/**
 * What may stand in `.gitmodules`: names that cannot leave `.git/modules`, URLs and paths that no program could take
 * for an option, no command to run. Specification: gitmodules; CVE-2018-11235, CVE-2018-17456, CVE-2020-5260.
 */
import type { FsckMessageId } from "./fsck-message.js";

export function checkGitmodules(text: string, report: (id: FsckMessageId, text: string) => void): void {
  const entries = parse(text);
  if (entries === undefined) return report("gitmodulesParse", "could not parse gitmodules blob");
  for (const { name, key, value } of entries) {
    if (name === "" || /(^|[/\\])\.\.([/\\]|$)/.test(name))
      report("gitmodulesName", `disallowed submodule name: ${name}`);
    if (key === "url" && !isSafeUrl(value)) report("gitmodulesUrl", `disallowed submodule url: ${value}`);
    if (key === "path" && value.startsWith("-"))
      report("gitmodulesPath", `disallowed submodule path: ${value}`);
    if (key === "update" && value.startsWith("!"))
      report("gitmodulesUpdate", `disallowed submodule update setting: ${value}`);
  }
}

function isSafeUrl(url: string): boolean {
  if (url.startsWith("-")) return false;
  let decoded = url;
  try {
    decoded = decodeURIComponent(url);
  } catch {
    // Not percent-encoded: what it says is what it means.
  }
  if (/[\r\n]/.test(decoded)) return false;
  // "../../:x" and "./::x" become another protocol when they are joined with the parent's URL.
  if (/^\.\.?\//.test(url)) return !/^(\.\.?\/+)+:/.test(url);
  return !/^https?::|^https?:\/\/(?:\/|$)|^https?:[^/]/.test(url);
}

interface Entry {
  readonly name: string;
  readonly key: string;
  readonly value: string;
}

/** Git's configuration syntax, as far as `.gitmodules` needs it; undefined when it is malformed. */
function parse(text: string): readonly Entry[] | undefined {
  const entries: Entry[] = [];
  let name: string | undefined;
  const lines = text
    .replace(/^\ufeff/, "")
    .replaceAll("\\\n", "")
    .split("\n");
  for (const raw of lines) {
    let line = raw.trim();
    const section = /^\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]/.exec(line);
    if (section !== null) {
      const isSubmodule = section[1]?.toLowerCase() === "submodule";
      name = isSubmodule && section[2] !== undefined ? section[2].replaceAll(/\\(.)/g, "$1") : undefined;
      line = line.slice(section[0].length).trim();
    }
    if (line === "" || line.startsWith("#") || line.startsWith(";")) continue;
    const pair = /^([A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(.*))?$/.exec(line);
    if (pair?.[1] === undefined) return undefined;
    const value = unquote(pair[2] ?? "");
    if (value === undefined) return undefined;
    if (name !== undefined) entries.push({ name, key: pair[1].toLowerCase(), value });
  }
  return entries;
}

function unquote(text: string): string | undefined {
  let out = "";
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] ?? "";
    if (c === "\\") {
      const next = text[++i];
      const escape = { n: "\n", t: "\t", b: "\b", '"': '"', "\\": "\\" }[next ?? ""];
      if (escape === undefined) return undefined;
      out += escape;
    } else if (c === '"') quoted = !quoted;
    else if (!quoted && (c === "#" || c === ";")) break;
    else out += c;
  }
  return quoted ? undefined : out.trimEnd();
}
