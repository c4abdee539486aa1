/**
 * Caching headers of git-http-backend: answers that change are never cached, objects for ever.
 */
import type { HttpResponse } from "./request-body.js";

export function setNoCache(response: HttpResponse): void {
  response.setHeader("Expires", "Fri, 01 Jan 1980 00:00:00 GMT");
  response.setHeader("Pragma", "no-cache");
  response.setHeader("Cache-Control", "no-cache, max-age=0, must-revalidate");
}

export function setCacheForever(response: HttpResponse): void {
  const yearSeconds = 31_536_000;
  response.setHeader("Date", new Date().toUTCString());
  response.setHeader("Expires", new Date(Date.now() + yearSeconds * 1000).toUTCString());
  response.setHeader("Cache-Control", `public, max-age=${yearSeconds}`);
}
