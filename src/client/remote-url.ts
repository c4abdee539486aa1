/**
 * Where another Git server is, as a person writes it: `https://[user[:password]@]host[:port]/path`. Credentials are taken
 * out at once, so that what is shown, logged and thrown has none.
 */
import { GitwharfError } from "../base/errors.js";

export interface BasicCredentials {
  readonly username: string;
  readonly password: string;
}

export interface RemoteUrl {
  /** Without credentials, query, fragment and a slash at its end. */
  readonly base: string;
  readonly credentials: BasicCredentials | undefined;
}

const URL_CHARACTERS_MAX = 4096;

/** Has it a scheme? `C:\x` and `host:path` have none. */
export function isUrl(text: string): boolean {
  return /^[a-z][a-z0-9+.-]+:\/\//i.test(text);
}

/** @throws server/bad-configuration, without what may be a password in it */
export function parseRemoteUrl(text: string): RemoteUrl {
  if (text.length > URL_CHARACTERS_MAX)
    throw wrong("the URL", `has more than ${URL_CHARACTERS_MAX} characters`);
  const shown = withoutCredentials(text);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw wrong(shown, "is no URL");
  }
  if (url.protocol !== "https:" && url.protocol !== "http:")
    throw wrong(shown, "has another scheme than https and http, which are all that the client speaks");
  if (url.search !== "" || url.hash !== "") throw wrong(shown, "has a query or a fragment: leave it out");
  const { username, password } = url;
  url.username = "";
  url.password = "";
  const base = url.href.replace(/\/+$/, "");
  if (username === "" && password === "") return { base, credentials: undefined };
  return { base, credentials: { username: decoded(username, base), password: decoded(password, base) } };
}

/** Of anything that may be a URL; what it cannot tell from credentials goes, too. */
export function withoutCredentials(text: string): string {
  const [scheme = "", rest] = text.split(/(?<=^[a-z][a-z0-9+.-]*:\/\/)/i);
  if (rest === undefined) return text.slice(0, URL_CHARACTERS_MAX);
  // A password that is not escaped as it should be may hold anything.
  const [place = ""] = rest.slice(rest.lastIndexOf("@") + 1).split(/[?#]/, 1);
  return (scheme + place).slice(0, URL_CHARACTERS_MAX);
}

function decoded(text: string, shown: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong(shown, "has credentials in which a % stands for nothing");
  }
}

function wrong(shown: string, why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", `${shown} ${why}`);
}
