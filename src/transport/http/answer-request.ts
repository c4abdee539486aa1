/**
 * One request over HTTP from its head to its end, whatever it is about: named, counted and logged, taken only from addresses
 * and callers that may ask, and every failure made an answer. What stands at an address, and how refusals are worded, is the
 * site's to say.
 */
import { parseAuthorizationHeader } from "../../access/credentials.js";
import type { AuthenticationAttempt } from "../../access/authenticator.js";
import { isLoopbackHostHeader } from "../../access/open-access.js";
import type { ServiceLabel } from "../../base/activity.js";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { linkSignals } from "../../base/linked-signal.js";
import { context, propagation } from "../../base/opentelemetry.js";
import type { Identity } from "../../engine/push.js";
import { awaitingContinue, type HttpRequest, type HttpResponse } from "./request-body.js";
import { clientCertificateOf } from "./client-certificate.js";
import { describeFailure, isForOperators } from "../describe-failure.js";
import { peerAddressOf } from "../proxied-connections.js";
import { beginRequest, type ObservedRequest } from "../observed-request.js";
import { requestIdOf } from "../request-id.js";
import { shownTarget } from "../request-line.js";
import type { ServiceHost } from "../service-host.js";
import type { ServiceCaller } from "../service-call.js";

export interface HttpSite {
  /** Where callers come from is not written down: neither in the log, nor in the audit log, nor in traces. @default false */
  readonly keepsNoAddress?: boolean;
  /** What stands at this address, as far as the request's head tells. @throws what the caller is told */
  find(request: HttpRequest): HttpResource;
  word(refusal: HttpRefusal): WordedRefusal;
}

export interface HttpResource {
  /** Others are refused. */
  readonly methods: readonly string[];
  readonly service: ServiceLabel;
  /** Checked name without `.git`. */
  readonly repository?: string;
  /** Nobody is asked who they are. @default false */
  readonly isForAnyone?: boolean;
  serve(exchange: HttpExchange): Promise<void>;
}

export interface HttpRefusal {
  readonly status: number;
  /** What the person may be told. */
  readonly text: string;
  readonly error: unknown;
}

export interface WordedRefusal {
  /** In place of the refusal's. */
  readonly status?: number;
  readonly contentType: string;
  readonly body: string;
}

/** One request at work. */
export interface HttpExchange {
  readonly host: ServiceHost;
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly caller: ServiceCaller;
  /** Fires when the client leaves or the server gives up. */
  readonly signal: AbortSignal;
  readonly sessionId: string;
}

/** How long a body that nobody wants any more is read. */
const DRAIN_MS = 30_000;

/** Never rejects. */
export async function answerRequest(
  { host, site }: { readonly host: ServiceHost; readonly site: HttpSite },
  request: HttpRequest,
  response: HttpResponse,
): Promise<void> {
  const peerAddress = peerAddressOf(request.socket);
  const address = host.clientAddressOf(peerAddress, headerValues(request, "x-forwarded-for"));
  const isTrusted = host.isTrustedProxy(peerAddress);
  const { begun, requestId } = beginHttpRequest(host, request, {
    address: site.keepsNoAddress === true ? undefined : address,
    isTrusted,
  });
  const { activity } = begun;
  response.setHeader("X-Request-Id", requestId);
  const left = new AbortController();
  const onClose = (): void => {
    if (!response.writableEnded) left.abort(new GitwharfError("base/aborted", "the client has gone"));
  };
  response.once("close", onClose);
  // A socket that breaks is told by `close`; without a listener the error would end the process.
  request.on("error", () => undefined);
  response.on("error", () => undefined);
  const { signal, release: unlink } = linkSignals(left.signal, host.closing);
  let release = (): void => undefined;
  try {
    if (!isLoopbackHostHeader(hostOf(request)) && (await host.isOpen())) {
      throw new GitwharfError(
        "access/denied",
        "this server is open to its own machine only: call it by localhost or 127.0.0.1, or configure authentication",
      );
    }
    await host.rates.admitAddress(address);
    const resource = site.find(request);
    const { methods, service, repository } = resource;
    if (!methods.includes(request.method ?? "")) {
      response.setHeader("Allow", methods.join(", "));
      throw new GitwharfError("protocol/bad-request", `this address answers ${spoken(methods)} only`, {
        details: { httpStatus: 405 },
      });
    }
    // Also of whom nobody lets in.
    activity.note({ service, ...(repository === undefined ? {} : { repository }) });
    const identity =
      resource.isForAnyone === true
        ? { user: undefined }
        : await identify(host, request, { address, peerAddress });
    const { user, method, credentialId } = identity;
    if (user !== undefined) activity.note({ user, method, credentialId });
    await host.rates.admitIdentity(identity);
    release = host.rates.holdConnection(identity);
    const caller: ServiceCaller = { identity, address, transport: "http", activity };
    const exchange: HttpExchange = { host, request, response, caller, signal, sessionId: requestId };
    await resource.serve(exchange);
    // A push that was refused may still be on its way.
    drainForAWhile(request);
  } catch (error) {
    activity.failed(error);
    fail({ host, site, request, response, requestId }, error);
  } finally {
    release();
    unlink();
    const { statusCode } = response;
    begun.end(`${request.method} ${shownTarget(request.url)} ${statusCode}`, {
      "http.response.status_code": statusCode,
    });
  }
}

function beginHttpRequest(
  host: ServiceHost,
  request: HttpRequest,
  { address, isTrusted }: { readonly address: string | undefined; readonly isTrusted: boolean },
): { readonly begun: ObservedRequest; readonly requestId: string } {
  const requestId = requestIdOf(headerValues(request, "X-Request-Id"), isTrusted);
  const begun = beginRequest(host, {
    requestId,
    transport: "http",
    address,
    attributes: {
      "http.request.method": request.method ?? "",
      "url.path": shownTarget(request.url),
      "network.protocol.name": "http",
      "network.protocol.version": request.httpVersion,
    },
    // A trace that strangers begin is theirs.
    ...(isTrusted ? { parent: propagation.extract(context.active(), request.headers) } : {}),
  });
  return { begun, requestId };
}

async function identify(
  host: ServiceHost,
  request: HttpRequest,
  { address, peerAddress }: Pick<AuthenticationAttempt, "address" | "peerAddress">,
): Promise<Identity> {
  return host.identify({
    credentials: parseAuthorizationHeader(request.headers.authorization),
    address,
    peerAddress,
    transport: "http",
    headerValues: (name) => headerValues(request, name),
    clientCertificate: clientCertificateOf(request),
  });
}

/** One by one: `request.headers` would join what came twice. */
function headerValues({ rawHeaders }: HttpRequest, name: string): readonly string[] {
  const wanted = name.toLowerCase();
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === wanted);
}

interface Failing {
  readonly host: ServiceHost;
  readonly site: HttpSite;
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly requestId: string;
}

function fail({ host, site, request, response, requestId }: Failing, error: unknown): void {
  const { status, text } = describeRefusal(host, error, requestId);
  if (isForOperators(error, status)) {
    host.log({
      level: "error",
      message: `${request.method} ${shownTarget(request.url)} failed`,
      error,
      fields: { requestId },
    });
  }
  if (response.headersSent) {
    // The body has begun: what can still be said is that it is not whole.
    response.destroy();
    return;
  }
  if (status === 401) {
    const realm = host.answers?.realm ?? "gitwharf";
    response.setHeader("WWW-Authenticate", `Basic realm="${realm}", charset="UTF-8"`);
  }
  if (status === 503 || status === 429) response.setHeader("Retry-After", retryAfter(error));
  sendRefusal(request, response, { status, ...site.word({ status, text, error }) });
}

function retryAfter(error: unknown): string {
  const seconds = isGitwharfError(error) ? error.details["retryAfterSeconds"] : undefined;
  return String(typeof seconds === "number" ? seconds : 5);
}

/** A status of its own has what is about HTTP alone, and other servers' words are not for that. */
function describeRefusal(
  { answers }: ServiceHost,
  error: unknown,
  requestId: string,
): { readonly status: number; readonly text: string } {
  const own = isGitwharfError(error) ? error.details["httpStatus"] : undefined;
  if (typeof own === "number") return { ...describeFailure(error, requestId), status: own };
  return answers?.describe(error, { transport: "http" }) ?? describeFailure(error, requestId);
}

function sendRefusal(
  request: HttpRequest,
  response: HttpResponse,
  { status, contentType, body: text }: WordedRefusal & { readonly status: number },
): void {
  if (response.destroyed) return;
  const body = Buffer.from(text);
  response.statusCode = status;
  response.setHeader("Content-Type", contentType);
  response.setHeader("Content-Length", body.length);
  response.setHeader("Cache-Control", "no-store");
  response.setHeader("X-Content-Type-Options", "nosniff");
  if (awaitingContinue.has(request)) response.setHeader("Connection", "close");
  if (request.method === "HEAD") response.end();
  else response.end(body);
  drainForAWhile(request);
}

/** `GET and HEAD`; `GET, PUT and DELETE` */
function spoken(methods: readonly string[]): string {
  const [last = "", ...others] = methods.toReversed();
  return others.length === 0 ? last : `${others.toReversed().join(", ")} and ${last}`;
}

/**
 * Closing a connection on which bytes still arrive resets it, and the client would lose the answer: what is left
 * of the body is read and dropped, but not for long.
 */
function drainForAWhile(request: HttpRequest): void {
  if (request.complete) {
    // All of it has arrived, but as long as it is not read nothing behind it is.
    request.resume();
    return;
  }
  const timer = setTimeout(() => request.destroy(), DRAIN_MS);
  timer.unref();
  request.once("close", () => clearTimeout(timer));
  request.once("end", () => clearTimeout(timer));
  request.resume();
}

function hostOf(request: HttpRequest): string | undefined {
  const authority = request.headers[":authority"];
  return request.headers.host ?? (typeof authority === "string" ? authority : undefined);
}
