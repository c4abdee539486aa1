/**
 * Git over HTTP as one Node request listener: smart services, dumb reading, errors with statuses.
 * Specification: gitprotocol-http; statuses are those of git-http-backend.
 */
import { context, propagation } from "@opentelemetry/api";
import type { AuthenticationAttempt } from "../../access/authenticator.js";
import { isLoopbackHostHeader } from "../../access/open-access.js";
import { parseAuthorizationHeader } from "../../access/credentials.js";
import type { ServiceLabel } from "../../base/activity.js";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { linkSignals } from "../../base/linked-signal.js";
import type { Identity } from "../../engine/push.js";
import { formatControlText } from "./plain-text.js";
import { serveFile, serveInfoRefsFile } from "./dumb.js";
import { parseRequestTarget, type RequestTarget } from "./request-target.js";
import { awaitingContinue, type HttpRequest, type HttpResponse } from "./request-body.js";
import { clientCertificateOf } from "./client-certificate.js";
import { serveDiscovery, serveService } from "./smart.js";
import { describeFailure, isForOperators } from "../describe-failure.js";
import { peerAddressOf } from "../proxied-connections.js";
import { beginRequest, type ObservedRequest } from "../observed-request.js";
import { requestIdOf } from "../request-id.js";
import { shownTarget } from "../request-line.js";
import type { ServiceHost } from "../service-host.js";
import type { ServiceCaller } from "../service-call.js";

export interface HttpHandlerOptions {
  readonly host: ServiceHost;
  /** Stripped from the path; a path outside of it is answered 404. `""` or `/git`. @default "" */
  readonly prefix?: string;
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

export type HttpHandler = (request: HttpRequest, response: HttpResponse) => void;

/** The listener never throws and never rejects: every failure becomes an answer and a line in the log. */
export function createHttpHandler(options: HttpHandlerOptions): HttpHandler {
  return (request, response) => {
    void answer(options, request, response);
  };
}

async function answer(
  options: HttpHandlerOptions,
  request: HttpRequest,
  response: HttpResponse,
): Promise<void> {
  const { host } = options;
  const peerAddress = peerAddressOf(request.socket);
  const address = host.clientAddressOf(peerAddress, headerValues(request, "x-forwarded-for"));
  const isTrusted = host.isTrustedProxy(peerAddress);
  const { begun, requestId } = beginHttpRequest(host, request, { address, isTrusted });
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
    const url = belowPrefix(request.url ?? "", options.prefix ?? "") ?? "";
    const target = parseRequestTarget(url, (text) => host.parseName(text, "http"));
    if (target === undefined)
      throw new GitwharfError("storage/not-found", "there is nothing at this address", {
        details: { isNoAddress: true },
      });
    if (!allowMethod(target, request, response)) {
      activity.failed(new GitwharfError("protocol/bad-request", "another method is expected here"));
      return;
    }
    // Also of whom nobody lets in.
    activity.note({ service: serviceOf(target), repository: target.repository });
    const identity = await identify(host, request, { address, peerAddress });
    const { user, method, credentialId } = identity;
    if (user !== undefined) activity.note({ user, method, credentialId });
    await host.rates.admitIdentity(identity);
    release = host.rates.holdConnection(identity);
    const caller: ServiceCaller = { identity, address, transport: "http", activity };
    const exchange: HttpExchange = { host, request, response, caller, signal, sessionId: requestId };
    await route(exchange, target);
    // A push that was refused may still be on its way.
    drainForAWhile(request);
  } catch (error) {
    activity.failed(error);
    fail(host, { request, response, requestId }, error);
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

function serviceOf(target: RequestTarget): ServiceLabel {
  if (target.kind === "file") return "files";
  const service = target.kind === "service" ? target.service : (target.service ?? "files");
  const suffix = target.kind === "service" ? "" : "-refs";
  switch (service) {
    case "git-upload-pack":
      return `upload-pack${suffix}`;
    case "git-receive-pack":
      return `receive-pack${suffix}`;
    case "files":
      return "files";
    default:
      return "other";
  }
}

async function route(exchange: HttpExchange, target: RequestTarget): Promise<void> {
  switch (target.kind) {
    case "service":
      return serveService(exchange, target.repository, target.service);
    case "file":
      return serveFile(exchange, target.repository, target.path);
    case "info-refs":
      if (target.service === undefined) return serveInfoRefsFile(exchange, target.repository);
      return serveDiscovery(exchange, target.repository, target.service);
  }
}

function allowMethod(target: RequestTarget, request: HttpRequest, response: HttpResponse): boolean {
  const allowed = target.kind === "service" ? ["POST"] : ["GET", "HEAD"];
  if (allowed.includes(request.method ?? "")) return true;
  response.setHeader("Allow", allowed.join(", "));
  sendText(request, response, 405, `this address answers ${allowed.join(" and ")} only`);
  return false;
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

function fail(
  host: ServiceHost,
  {
    request,
    response,
    requestId,
  }: { readonly request: HttpRequest; readonly response: HttpResponse; readonly requestId: string },
  error: unknown,
): void {
  const told = host.answers?.describe(error, { transport: "http" });
  const { status, text } = told ?? describeFailure(error, requestId);
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
  sendText(request, response, status, text);
}

function retryAfter(error: unknown): string {
  const seconds = isGitwharfError(error) ? error.details["retryAfterSeconds"] : undefined;
  return String(typeof seconds === "number" ? seconds : 5);
}

/** A short answer in plain text: git prints it to the person as `remote: …`. */
function sendText(request: HttpRequest, response: HttpResponse, status: number, text: string): void {
  if (response.destroyed) return;
  const body = Buffer.from(`${formatControlText(text)}\n`);
  response.statusCode = status;
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  response.setHeader("Content-Length", body.length);
  response.setHeader("Cache-Control", "no-store");
  response.setHeader("X-Content-Type-Options", "nosniff");
  if (awaitingContinue.has(request)) response.setHeader("Connection", "close");
  if (request.method === "HEAD") response.end();
  else response.end(body);
  drainForAWhile(request);
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

function belowPrefix(url: string, prefix: string): string | undefined {
  if (prefix === "" || prefix === "/") return url;
  const clean = prefix.endsWith("/") ? prefix.slice(0, -1) : prefix;
  return url.startsWith(`${clean}/`) ? url.slice(clean.length) : undefined;
}
