/**
 * Whether a submodule's URL is safe to hand to any git: no option, no line feed that a credential helper would take
 * for a new line, nothing that becomes another host once it is joined with the parent's URL.
 * Specification: git's CVE-2018-17456, CVE-2020-5260, CVE-2020-11008 and their fixes; RFC 3986.
 */
const RELATIVE = /^\.\.?[/\\]/;

export function isSafeSubmoduleUrl(url: string): boolean {
  if (url.startsWith("-")) return false;
  if (RELATIVE.test(url) || url.startsWith("git://")) {
    const { climbs, end } = leadingDots(url);
    const escapes = climbs && /[:/]/.test(url.charAt(end));
    return !escapes && !hasLineFeed(url);
  }
  const foreign = /^(?:https?|ftps?)::/.exec(url);
  if (foreign !== null) return isPlainUrl(url.slice(foreign[0].length));
  return !/^(?:https?|ftps?):\/\//.test(url) || isPlainUrl(url);
}

/** The "./" and "../" at the beginning: whether any of them climbs, and where they end. */
function leadingDots(url: string): { readonly climbs: boolean; readonly end: number } {
  let climbs = false;
  let end = 0;
  const step = /\.\.?[/\\]/y;
  for (let found = step.exec(url); found !== null; found = step.exec(url)) {
    if (found[0].length === 3) climbs = true;
    end = step.lastIndex;
  }
  return { climbs, end };
}

/** Escapes count behind the scheme only. */
function hasLineFeed(url: string): boolean {
  const colon = Math.max(url.indexOf(":"), 0);
  return url.includes("\n") || /%0a/i.test(url.slice(colon));
}

/**
 * A URL that git can normalize, without a line feed. Where git's versions differ, as the stricter one: 2.39 wants a
 * host, newer versions want every escape to be one and no path to climb out of the root.
 */
function isPlainUrl(url: string): boolean {
  const parts = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]*)([^?#]*)([^]*)$/.exec(url);
  if (parts === null) return false;
  const [, authority = "", path = "", rest = ""] = parts;
  const at = authority.indexOf("@");
  const user = authority.slice(0, Math.max(at, 0));
  if (!isValidHost(authority.slice(at + 1))) return false;
  if ([user, path, rest].some((part) => /%(?![0-9a-f]{2})|%0a|\n/i.test(part))) return false;
  return staysInside(path);
}

function isValidHost(text: string): boolean {
  const match = /^([A-Za-z0-9.\-_[\]:]*?)(?::([^:\]]*))?$/.exec(text);
  if (match === null) return false;
  const [, host = "", port = ""] = match;
  if (host === "") return false;
  if (port === "") return true;
  const digits = port.replace(/^0+/, "");
  if (digits === "" || !/^[0-9]{1,5}$/.test(digits)) return false;
  return Number(digits) <= 65535;
}

function staysInside(path: string): boolean {
  let depth = 0;
  for (const segment of path.slice(1).split("/")) {
    if (/^(?:\.|%2e)$/i.test(segment)) continue;
    depth += /^(?:\.|%2e){2}$/i.test(segment) ? -1 : 1;
    if (depth < 0) return false;
  }
  return true;
}
