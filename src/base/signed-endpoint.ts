/**
 * An address that is told or asked of things by signed POSTs of JSON (webhooks, HTTP hooks): what a configuration says of it,
 * and one call.
 */
import { createAddressGuard } from "./address-guard.js";
import { GitwharfError } from "./errors.js";
import { type GuardedAnswer, postGuarded } from "./guarded-request.js";
import { checkSecret, SECRETS_MAX, signMessage } from "./message-signature.js";

export interface EndpointOptions {
  /** `https:`; `http:` to this machine, or with `insecure`. */
  readonly url: string;
  /**
   * Shared with the receiver, which checks signatures with it: `whsec_` and base64, or any text of at least 16 bytes. Several
   * while they are changed.
   */
  readonly secret: string | readonly string[];
  /** Of one attempt, to the last byte of the answer. @default 10,000 */
  readonly timeoutMs?: number;
  /** Sent along: `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * What may be called besides the public internet: addresses, networks (`10.1.0.0/16`), `loopback`, `private`.
   * @default nothing
   */
  readonly allowAddresses?: readonly string[];
  /** Take `http:` to another machine: what is sent then travels in the clear. @default false */
  readonly insecure?: boolean;
}

export const ENDPOINT_KEYS: readonly (keyof EndpointOptions)[] = [
  "url",
  "secret",
  "timeoutMs",
  "headers",
  "allowAddresses",
  "insecure",
];

export interface SignedEndpoint {
  /** Without what may be secret in it. */
  readonly shownUrl: string;
  readonly timeoutMs: number;
  /** @param id of what is told: the same in every attempt. @throws RequestFailed */
  post(message: {
    readonly id: string;
    readonly body: string;
    readonly signal?: AbortSignal;
  }): Promise<GuardedAnswer>;
}

const TIMEOUT_MS = 10_000;
const TIMEOUT_MS_MAX = 600_000;
const HEADERS_MAX = 20;
const HEADER = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/;
const HEADER_VALUE = /^[\t\x20-\x7e]{0,4096}$/;
/** They are ours, or say how the message is framed. */
const OUR_HEADERS =
  /^(?:webhook-.*|content-(?:type|length)|host|connection|transfer-encoding|accept|user-agent)$/i;

/**
 * @param option for messages: `webhooks.deploy`
 * @param about.answerBytesMax of an answer; what is longer is cut
 * @throws server/bad-configuration
 */
export function createSignedEndpoint(
  option: string,
  given: Readonly<Record<string, unknown>>,
  about: { readonly answerBytesMax: number; readonly agent: string },
): SignedEndpoint {
  const bad = (why: string): GitwharfError =>
    new GitwharfError("server/bad-configuration", `${option} is wrong: ${why}`);
  const { insecure = false, timeoutMs = TIMEOUT_MS, allowAddresses = [] } = given;
  if (typeof insecure !== "boolean") throw bad("insecure is true or false");
  if (
    typeof timeoutMs !== "number" ||
    !Number.isInteger(timeoutMs) ||
    timeoutMs < 1 ||
    timeoutMs > TIMEOUT_MS_MAX
  )
    throw bad(`timeoutMs is a whole number from 1 to ${TIMEOUT_MS_MAX}`);
  if (!Array.isArray(allowAddresses) || !allowAddresses.every((each) => typeof each === "string"))
    throw bad("allowAddresses is a list of texts");
  const url = urlOf(given["url"], insecure, bad);
  const secrets = secretsOf(given["secret"], bad);
  const headers = headersOf(given["headers"], bad);
  const isCallable = createAddressGuard(allowAddresses);
  return {
    // A path may be all that a receiver knows its callers by.
    shownUrl: `${url.origin}${url.pathname === "/" && url.search === "" ? "/" : "/…"}`,
    timeoutMs,
    post: ({ id, body, signal }) =>
      postGuarded({
        url: url.href,
        headers: {
          Accept: "application/json",
          "Content-Type": "application/json",
          "User-Agent": about.agent,
          ...headers,
          ...signMessage(secrets, { id, body }),
        },
        body,
        isCallable,
        timeoutMs,
        answerBytesMax: about.answerBytesMax,
        ...(signal === undefined ? {} : { signal }),
      }),
  };
}

type Bad = (why: string) => GitwharfError;

function urlOf(text: unknown, insecure: boolean, bad: Bad): URL {
  if (typeof text !== "string" || !URL.canParse(text)) throw bad("the url cannot be read");
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") throw bad("the url begins with https: or http:");
  if (url.username !== "" || url.password !== "")
    throw bad("the url has no user and no password; headers may hold credentials");
  const isHere = /^(?:localhost|127(?:\.[0-9]+){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol === "http:" && !insecure && !isHere)
    throw bad(`http: to ${url.hostname} would send it in the clear; use https:, or set insecure: true`);
  url.hash = "";
  return url;
}

function secretsOf(value: unknown, bad: Bad): readonly string[] {
  const secrets: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (secrets.length === 0 || secrets.length > SECRETS_MAX)
    throw bad(`the secret is a text, or a list of up to ${SECRETS_MAX}`);
  return secrets.map((secret) => {
    const why = checkSecret(secret);
    if (why !== undefined) throw bad(why);
    return String(secret);
  });
}

function headersOf(value: unknown, bad: Bad): Readonly<Record<string, string>> {
  if (value === undefined) return {};
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw bad("headers is an object of texts");
  const entries = Object.entries(value as Record<string, unknown>);
  if (entries.length > HEADERS_MAX) throw bad(`headers has at most ${HEADERS_MAX}`);
  for (const [name, text] of entries) {
    if (!HEADER.test(name) || OUR_HEADERS.test(name)) throw bad(`headers cannot set '${name}'`);
    if (typeof text !== "string" || !HEADER_VALUE.test(text))
      throw bad(`the header ${name} is a text of printable characters`);
  }
  return Object.fromEntries(entries.map(([name, text]) => [name, String(text)]));
}
