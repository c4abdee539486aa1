/** Which host and which path a request asks for. Specification: RFC 9112, 3.2 (an absolute target outdoes `Host`). */
import type { AppRequest } from "./exchange.js";

const ABSOLUTE = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#]*)(.*)$/i;

export function hostOf(request: AppRequest): string {
  const absolute = ABSOLUTE.exec(request.url ?? "")?.[1];
  if (absolute !== undefined) return absolute;
  const authority = request.headers[":authority"];
  return request.headers.host ?? (typeof authority === "string" ? authority : "");
}

/** `GET http://host/path` is for proxies of another kind. */
export function pathOf({ url = "/" }: AppRequest): string {
  if (url.startsWith("/") || url === "*") return url;
  const path = ABSOLUTE.exec(url)?.[2] ?? "";
  return path.startsWith("/") ? path : `/${path}`;
}
