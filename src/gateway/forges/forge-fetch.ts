/**
 * The one way to a forge, which the SDKs take for `fetch`: to addresses that were looked at, bounded in bytes and time,
 * redirected within the forge alone. What the forge refuses is thrown as it was answered, so that no SDK makes an error of its
 * own of it, with headers and bodies inside.
 */
import { requestGuarded } from "../../base/guarded-request.js";
import { ForgeRefusal } from "./forge-refusal.js";
import type { ForgePlace } from "./forge-settings.js";

export type ForgeFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** A repository that was renamed is one away; more are a circle. */
const REDIRECTS_MAX = 3;

/** @param signal of whoever waits for the answer; an SDK's own is not needed beside it */
export function createForgeFetch(place: ForgePlace, signal: AbortSignal | undefined): ForgeFetch {
  return async (input, init = {}) => {
    if (typeof input !== "string" && !(input instanceof URL))
      throw new TypeError("the SDK asks in a form that is not taken");
    const { body } = init;
    if (body !== undefined && body !== null && typeof body !== "string")
      throw new TypeError("the SDK sends a body that is no text");
    const method = init.method ?? "GET";
    const headers = Object.fromEntries(new Headers(init.headers).entries());
    let url = new URL(input);
    const { origin } = new URL(place.apiUrl);
    for (let redirects = 0; ; redirects++) {
      if (url.origin !== origin) throw new ForgeRefusal(0, {}, "it is redirected to another place");
      const answer = await requestGuarded({
        url: url.href,
        method,
        headers,
        ...(typeof body === "string" ? { body } : {}),
        isCallable: place.isCallable,
        timeoutMs: place.requestTimeoutMs,
        answerBytesMax: place.answerBytesMax,
        ...(signal === undefined ? {} : { signal }),
      });
      const { status } = answer;
      const to = answer.headers.location;
      // 301 and 302 turn what is sent into a question; only 307 and 308 do not.
      const isRedirect = [307, 308].includes(status) || (method === "GET" && [301, 302].includes(status));
      if (isRedirect && to !== undefined && URL.canParse(to, url.href) && redirects < REDIRECTS_MAX) {
        url = new URL(to, url);
        continue;
      }
      if (status < 200 || status > 299) throw new ForgeRefusal(status, answer.headers, saidBy(answer.body));
      if (answer.isCut)
        throw new ForgeRefusal(0, {}, `its answer has more than ${place.answerBytesMax} bytes`);
      const response = new Response([204, 205].includes(status) ? null : answer.body, { status });
      for (const [name, value] of Object.entries(answer.headers))
        if (typeof value === "string" && isHeader(value)) response.headers.set(name, value);
      return response;
    }
  };
}

/** Node reads headers as Latin-1, `Response` takes no more than that. */
function isHeader(value: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(value);
}

/** The sentence in it: GitHub, Gitea `{"message"}`, GitLab `{"message"}` or `{"error"}`, of any shape. */
function saidBy(body: Buffer): string {
  try {
    const answer: unknown = JSON.parse(body.toString("utf8", 0, 64 * 1024));
    if (typeof answer !== "object" || answer === null) return "";
    const message: unknown = Reflect.get(answer, "message") ?? Reflect.get(answer, "error");
    return typeof message === "string" ? message : JSON.stringify(message ?? "");
  } catch {
    return "";
  }
}
