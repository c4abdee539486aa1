/**
 * Smart HTTP as a client speaks it: what a server has (`info/refs`), and requests to its services.
 * Specification: gitprotocol-http.
 *
 * - Redirects are followed as git does with `http.followRedirects=initial`: on the first request alone, and only to an
 *   address that ends in the same way; all that follows goes there. Never from https to http.
 * - Credentials go to the host that they were given for, and to no other; once it has redirected elsewhere, nowhere at all.
 * - Nothing is read from proxies of the environment, `.netrc` or git's configuration.
 */
import { Agent } from "node:http";
import { Agent as SecureAgent } from "node:https";
import { rootCertificates } from "node:tls";
import { promisify } from "node:util";
import { gzip as gzipWithCallback } from "node:zlib";
import { createAddressGuard, type IsCallable } from "../base/address-guard.js";
import { GitwharfError } from "../base/errors.js";
import { withinTime } from "../base/within-time.js";
import { sanitizeText } from "../protocol/wire/sanitize.js";
import { lookupFor, type ResolveHost } from "./callable-host.js";
import {
  type HttpAnswer,
  type HttpBody,
  type HttpExchange,
  type HttpTimes,
  openExchange,
} from "./http-exchange.js";
import { RemoteGitFailure } from "./remote-git-failure.js";
import { type BasicCredentials, parseRemoteUrl } from "./remote-url.js";

export type RemoteService = "git-upload-pack" | "git-receive-pack";

/** For HTTP's Basic or Bearer. */
export type RemoteCredentials = BasicCredentials | { readonly token: string };

export interface HttpTransportOptions {
  /** In place of those in the URL. */
  readonly credentials?: RemoteCredentials | undefined;
  /**
   * Of the server, when somebody who is not trusted has named it: besides the public internet's, which addresses may be called
   * (networks, `loopback`, `private`; an empty list: no others). @default all
   */
  readonly allowAddresses?: readonly string[] | undefined;
  /** Certificates of authorities in PEM, besides those that Node trusts already. */
  readonly ca?: string | readonly string[] | undefined;
  /** @default "gitwharf" */
  readonly agent?: string | undefined;
  /** From a host's name to a connection. @default 30,000 */
  readonly connectTimeoutMs?: number | undefined;
  /** In which nothing moves. @default 120,000 */
  readonly idleTimeoutMs?: number | undefined;
  /** Redirects of the first request. @default 5 */
  readonly redirectsMax?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** How names are looked up where `allowAddresses` is given. @default the system's way */
  readonly resolve?: ResolveHost | undefined;
}

export interface ServiceCall {
  readonly service: RemoteService;
  /** To ask for; what is answered in, the answer tells. */
  readonly protocol: 0 | 1 | 2;
  readonly answerBytesMax: number;
  /** Of this call, besides the transport's. */
  readonly signal?: AbortSignal | undefined;
}

export interface OpenPost {
  write(bytes: Uint8Array): Promise<void>;
  end(): void;
  /** @throws RemoteGitFailure, base/aborted */
  answer(): Promise<HttpBody>;
  cut(): void;
}

export interface HttpTransport {
  /** Where it was sent to last; without credentials. */
  readonly shown: string;
  /** `info/refs`. @throws RemoteGitFailure, client/not-callable, base/aborted */
  discover(call: ServiceCall): Promise<HttpBody>;
  /** A request that is whole. @throws as `discover` */
  post(call: ServiceCall, body: Buffer): Promise<HttpBody>;
  /** A request that is written while it is sent. @throws client/not-callable, RemoteGitFailure */
  openPost(call: ServiceCall): Promise<OpenPost>;
  /** Ends connections that are kept open. */
  close(): void;
}

const TIMES: HttpTimes = { connectTimeoutMs: 30_000, idleTimeoutMs: 120_000 };
const REDIRECTS_MAX = 5;
/** As git: what is smaller is not worth the work. */
const PACKED_FROM_BYTES = 1024;
/** Of an error's page. */
const SAID_BYTES_MAX = 1024;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const gzip = promisify(gzipWithCallback);

/** @throws server/bad-configuration: the URL, the addresses or the credentials are wrong */
export function createHttpTransport(text: string, options: HttpTransportOptions = {}): HttpTransport {
  const { base, credentials: own } = parseRemoteUrl(text);
  const isCallable =
    options.allowAddresses === undefined ? undefined : createAddressGuard(options.allowAddresses);
  const authorization = authorizationOf(options.credentials ?? own);
  return new Transport(base, { ...options, authorization, isCallable });
}

interface TransportOptions extends HttpTransportOptions {
  readonly authorization: string | undefined;
  readonly isCallable: IsCallable | undefined;
}

class Transport implements HttpTransport {
  readonly #options: TransportOptions;
  readonly #times: HttpTimes;
  readonly #plain: Agent;
  readonly #secure: SecureAgent;
  #base: string;
  /** undefined once it has led elsewhere. */
  #authorization: string | undefined;

  constructor(base: string, options: TransportOptions) {
    this.#base = base;
    this.#options = options;
    this.#authorization = options.authorization;
    this.#times = {
      connectTimeoutMs: options.connectTimeoutMs ?? TIMES.connectTimeoutMs,
      idleTimeoutMs: options.idleTimeoutMs ?? TIMES.idleTimeoutMs,
    };
    this.#plain = new Agent({ keepAlive: true });
    this.#secure = new SecureAgent({ keepAlive: true, ...trusting(options.ca) });
  }

  get shown(): string {
    return this.#base;
  }

  async discover(call: ServiceCall): Promise<HttpBody> {
    const { redirectsMax = REDIRECTS_MAX } = this.#options;
    const tail = `/info/refs?service=${call.service}`;
    for (let redirects = 0; ; redirects++) {
      const exchange = await this.#open(call, {
        method: "GET",
        url: new URL(this.#base + tail),
        headers: {},
      });
      exchange.end();
      const answer = await exchange.answer();
      if (!REDIRECTS.has(answer.status)) return this.#bodyOf(answer, call, "advertisement");
      answer.body.close();
      exchange.cut();
      if (redirects === redirectsMax)
        throw new RemoteGitFailure(`the other side redirects more than ${redirectsMax} times`);
      this.#follow(answer.headers.location, tail);
    }
  }

  /** Everything else goes there, too. */
  #follow(location: string | undefined, tail: string): void {
    const from = new URL(this.#base + tail);
    let to: URL;
    try {
      to = new URL(location ?? "", from);
    } catch {
      throw new RemoteGitFailure("the other side redirects to nowhere");
    }
    to.username = "";
    to.password = "";
    to.hash = "";
    if (location === undefined || (to.protocol !== "https:" && to.protocol !== "http:"))
      throw notCallable(this.#base, "redirects to what is neither https nor http");
    if (from.protocol === "https:" && to.protocol === "http:")
      throw notCallable(this.#base, `redirects to http (${shownOrigin(to)}), where anybody could listen`);
    // A page for people, where somebody would have to sign in; or a query that would swallow what is put behind it.
    if (!to.href.endsWith(tail) || to.href.slice(0, -tail.length).includes("?"))
      throw new RemoteGitFailure(
        `the other side redirects to ${shownOrigin(to)}${sanitizeText(to.pathname.slice(0, 200))}, which is no Git repository: look the address up there`,
      );
    if (to.origin !== from.origin) this.#authorization = undefined;
    this.#base = to.href.slice(0, -tail.length);
  }

  async post(call: ServiceCall, body: Buffer): Promise<HttpBody> {
    const isPacked = body.length > PACKED_FROM_BYTES;
    const bytes = isPacked ? await gzip(body) : body;
    const headers: Record<string, string> = { "Content-Length": String(bytes.length) };
    if (isPacked) headers["Content-Encoding"] = "gzip";
    for (let attempt = 0; ; attempt++) {
      const exchange = await this.#open(call, { method: "POST", url: this.#serviceUrl(call), headers });
      try {
        // Node keeps what is not sent yet; it is bounded by what we ask for.
        await exchange.write(bytes).catch(() => undefined);
        exchange.end();
        return await this.#bodyOf(await exchange.answer(), call, "result");
      } catch (error) {
        exchange.cut();
        // One request of a negotiation is like none: it may be sent again.
        if (!exchange.isStale || attempt > 0) throw error;
      }
    }
  }

  async openPost(call: ServiceCall): Promise<OpenPost> {
    // A connection of its own: what is written cannot be written again.
    const exchange = await this.#open(call, {
      method: "POST",
      url: this.#serviceUrl(call),
      headers: { "Transfer-Encoding": "chunked", Connection: "close" },
    });
    return {
      write: (bytes) => exchange.write(bytes),
      end: () => exchange.end(),
      answer: async () => this.#bodyOf(await exchange.answer(), call, "result"),
      cut: () => exchange.cut(),
    };
  }

  close(): void {
    this.#plain.destroy();
    this.#secure.destroy();
  }

  #serviceUrl({ service }: ServiceCall): URL {
    return new URL(`${this.#base}/${service}`);
  }

  async #open(
    { service, protocol, answerBytesMax, signal: own }: ServiceCall,
    about: {
      readonly method: "GET" | "POST";
      readonly url: URL;
      readonly headers: Readonly<Record<string, string>>;
    },
  ): Promise<HttpExchange> {
    const { isCallable, resolve, signal, agent = "gitwharf" } = this.#options;
    const { connectTimeoutMs } = this.#times;
    const { method, url } = about;
    const lookup = await withinTime(connectTimeoutMs, "looking up the other side's host", () =>
      lookupFor(url, isCallable, resolve),
    ).catch((error: unknown) => {
      if (error instanceof GitwharfError || error instanceof RemoteGitFailure) throw error;
      throw new RemoteGitFailure("the other side's host could not be looked up", {
        kind: "gone",
        cause: error,
      });
    });
    const headers: Record<string, string> = {
      "User-Agent": `git/${agent}`,
      "Accept-Encoding": "gzip",
      ...about.headers,
    };
    if (method === "GET") headers["Accept"] = "*/*";
    else {
      headers["Content-Type"] = `application/x-${service}-request`;
      headers["Accept"] = `application/x-${service}-result`;
    }
    if (method === "GET") headers["Pragma"] = "no-cache";
    if (protocol !== 0) headers["Git-Protocol"] = `version=${protocol}`;
    if (this.#authorization !== undefined) headers["Authorization"] = this.#authorization;
    return openExchange({
      url,
      method,
      headers,
      lookup,
      agent: url.protocol === "https:" ? this.#secure : this.#plain,
      answerBytesMax,
      signal: signal === undefined || own === undefined ? (own ?? signal) : AbortSignal.any([signal, own]),
      ...this.#times,
    });
  }

  async #bodyOf(
    answer: HttpAnswer,
    { service }: ServiceCall,
    kind: "advertisement" | "result",
  ): Promise<HttpBody> {
    const { status, headers, body } = answer;
    const type = (headers["content-type"] ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
    if (status === 200 && type === `application/x-${service}-${kind}`) return body;
    const said = type === "text/plain" && status !== 200 ? await saidIn(body) : "";
    body.close();
    throw failureOfStatus({
      status,
      said,
      retryAfter: headers["retry-after"],
      isSignedIn: this.#authorization !== undefined,
      hasLost: this.#options.authorization !== undefined && this.#authorization === undefined,
    });
  }
}

interface Refusal {
  readonly status: number;
  /** In its own words; may be empty. */
  readonly said: string;
  readonly retryAfter: string | undefined;
  readonly isSignedIn: boolean;
  /** There were credentials, but not for where it has led. */
  readonly hasLost: boolean;
}

function failureOfStatus({ status, said, retryAfter, isSignedIn, hasLost }: Refusal): RemoteGitFailure {
  const quoted = said === "" ? "" : `: ${said}`;
  if (status === 200)
    return new RemoteGitFailure(
      "the other side answers with something else than Git's smart HTTP: is it the address of a repository?",
    );
  if (status === 401) {
    const why = isSignedIn
      ? "does not take the credentials"
      : hasLost
        ? "asks for credentials, which are not sent where it has redirected to: name that address itself"
        : "asks for credentials";
    return new RemoteGitFailure(`the other side ${why}${quoted}`, { kind: "refused" });
  }
  if (status === 403)
    return new RemoteGitFailure(`the other side does not allow it${quoted}`, { kind: "refused" });
  if (status === 404 || status === 410)
    return new RemoteGitFailure(
      `the other side has no such repository${isSignedIn ? "" : ", or shows it to those only who sign in"}${quoted}`,
      { kind: "refused" },
    );
  if (status === 413)
    return new RemoteGitFailure(`the other side does not take as much${quoted}`, { kind: "refused" });
  if (status === 429 || status >= 500) {
    const seconds = /^[0-9]{1,9}$/.test(retryAfter ?? "")
      ? `, and says to come again in ${retryAfter} seconds`
      : "";
    return new RemoteGitFailure(`the other side cannot do it now (HTTP ${status})${seconds}${quoted}`, {
      kind: "gone",
    });
  }
  if (REDIRECTS.has(status))
    return new RemoteGitFailure(
      `the other side redirects (HTTP ${status}) in the middle of the conversation, where nothing is followed`,
    );
  return new RemoteGitFailure(`the other side answers with HTTP ${status}${quoted}`);
}

/** The beginning, on one line. */
async function saidIn(body: HttpBody): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes >= SAID_BYTES_MAX) break;
    }
  } catch {
    // The status says enough.
  }
  const text = Buffer.concat(chunks).toString("utf8", 0, SAID_BYTES_MAX);
  return sanitizeText(text).replaceAll(/\s+/g, " ").trim();
}

function authorizationOf(credentials: RemoteCredentials | undefined): string | undefined {
  if (credentials === undefined) return undefined;
  if ("token" in credentials) {
    if (!/^[\x21-\x7e]+$/.test(credentials.token))
      throw new GitwharfError("server/bad-configuration", "a token has characters that no header can hold");
    return `Bearer ${credentials.token}`;
  }
  const { username, password } = credentials;
  if (username.includes(":"))
    throw new GitwharfError("server/bad-configuration", "a user name for HTTP has a colon, which it cannot");
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

function trusting(ca: string | readonly string[] | undefined): { ca?: string[] } {
  if (ca === undefined) return {};
  return { ca: [...rootCertificates, ...(typeof ca === "string" ? [ca] : ca)] };
}

function notCallable(base: string, why: string): GitwharfError {
  return new GitwharfError("client/not-callable", `${base} ${why}`);
}

function shownOrigin({ origin }: URL): string {
  return origin.slice(0, 200);
}
