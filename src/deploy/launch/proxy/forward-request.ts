/**
 * One request to a process of an app, and its answer back, as they come: nothing is kept, a slow side slows the other, and
 * whoever leaves ends both. Every request has a connection of its own to the process: on this machine that costs next to
 * nothing, and none can be closed by the app at the moment it is used again.
 */
import {
  request as requestApp,
  type ClientRequest,
  type IncomingMessage,
  type RequestOptions,
  type ServerResponse,
} from "node:http";
import type { TLSSocket } from "node:tls";
import { pipeline } from "node:stream";
import { GitwharfError, isGitwharfError } from "../../../base/errors.js";
import type { SupervisedProcess } from "../supervised-process.js";
import { connectProcess, type ProcessConnection } from "./connect-process.js";
import type { AppRequest, AppResponse, ProxyTimes, RequestOrigin } from "./exchange.js";
import { headersForApp, headersForClient } from "./forwarded-headers.js";
import { answerInPlainText, drainForAWhile } from "./plain-answer.js";
import { hostOf, pathOf } from "./request-target.js";

export interface Forwarding {
  readonly processes: () => readonly SupervisedProcess[];
  readonly times: ProxyTimes;
  readonly origin: RequestOrigin;
  /** Told of what the app did wrong. */
  readonly complain: (text: string) => void;
}

/** Settles when both sides are through with it. Never rejects. */
export async function forwardRequest(
  request: AppRequest,
  response: AppResponse,
  forwarding: Forwarding,
): Promise<void> {
  const left = new AbortController();
  const onClose = (): void => left.abort();
  response.once("close", onClose);
  request.on("error", () => undefined);
  response.on("error", () => undefined);
  let connection: ProcessConnection | undefined;
  try {
    connection = await connectProcess(forwarding.processes, {
      timeoutMs: forwarding.times.connectMs,
      signal: left.signal,
    });
    await exchange(request, response, connection, forwarding);
  } catch (error) {
    answerFailure(request, response, error, forwarding.complain);
  } finally {
    response.off("close", onClose);
    connection?.socket.destroy();
    connection?.release();
  }
}

/** What a client reads when an app does not answer as it should; the rest is in the app's log. */
export function answerFailure(
  request: AppRequest,
  response: AppResponse,
  error: unknown,
  complain: (text: string) => void,
): void {
  if (isGitwharfError(error, "base/aborted")) {
    response.destroy();
    return;
  }
  if (isGitwharfError(error, "protocol/bad-request")) {
    answerInPlainText(request, response, 400, error.message);
    return;
  }
  complain(error instanceof Error ? error.message : String(error));
  if (response.headersSent) {
    // The answer has begun: what can still be said is that it is not whole.
    response.destroy();
    return;
  }
  const { status, text } = failureOf(error);
  for (const name of response.getHeaderNames())
    if (name.toLowerCase() !== "x-request-id") response.removeHeader(name);
  // The app may have said another one already.
  if (isHttp1(response)) response.statusMessage = "";
  answerInPlainText(request, response, status, text);
}

function failureOf(error: unknown): { readonly status: number; readonly text: string } {
  if (isGitwharfError(error, "server/busy"))
    return { status: 503, text: "the app is not up; try again in a moment" };
  if (isGitwharfError(error, "deploy/no-answer") && error.details["isLate"] === true)
    return { status: 504, text: "the app did not answer in time" };
  return { status: 502, text: "the app did not answer as it should" };
}

function exchange(
  request: AppRequest,
  response: AppResponse,
  { socket }: ProcessConnection,
  { times, origin }: Forwarding,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const method = request.method ?? "GET";
    const path = pathOf(request);
    const asked = beginRequest({
      createConnection: () => socket,
      method,
      path,
      headers: headersForApp({
        rawHeaders: rawHeadersOf(request),
        method,
        host: hostOf(request),
        origin,
        isEncrypted: isEncrypted(request),
        hasUnknownLength: hasUnknownLength(request),
      }),
    });
    let answered = false;
    let isOver = false;
    const settle = (end: () => void): void => {
      if (isOver) return;
      isOver = true;
      request.unpipe(asked);
      // What the app did not want to read.
      if (!response.destroyed) drainForAWhile(request);
      asked.destroy();
      end();
    };
    // Any byte in either direction begins it anew.
    socket.setTimeout(times.answerMs, () => {
      const message = answered ? "nothing more of its answer" : "no answer";
      settle(() => reject(late(`${method} ${path}: ${message} in time`)));
    });
    response.once("close", () => {
      if (!response.writableFinished)
        settle(() => reject(new GitwharfError("base/aborted", "the client has gone")));
    });
    asked.on("error", (cause) => {
      // After an early answer the app may close while the rest of the request is on its way.
      const message = `the app broke off: ${cause.message}`;
      if (!answered) settle(() => reject(new GitwharfError("deploy/no-answer", message, { cause })));
    });
    // Without an error: a protocol that nobody asked for.
    asked.once("close", () => {
      if (!answered) settle(() => reject(new GitwharfError("deploy/no-answer", "the app gave no answer")));
    });
    asked.once("response", (answer) => {
      answered = true;
      socket.setTimeout(times.idleMs);
      try {
        beginAnswer(answer, response);
      } catch (cause) {
        const message = "the app's answer has headers that cannot be handed on";
        settle(() => reject(new GitwharfError("deploy/no-answer", message, { cause })));
        return;
      }
      pipeline(answer, response, (error) => {
        if (error === undefined || error === null) settle(resolve);
        else settle(() => reject(brokenOff(error)));
      });
    });
    sendBody(request, response, asked);
  });
}

function brokenOff(cause: Error): GitwharfError {
  return new GitwharfError("deploy/no-answer", `the answer was not whole: ${cause.message}`, { cause });
}

function late(message: string): GitwharfError {
  return new GitwharfError("deploy/no-answer", message, { details: { isLate: true } });
}

/** @throws protocol/bad-request what one parser lets through and the other does not: a control character, say */
export function beginRequest(options: RequestOptions): ClientRequest {
  try {
    return requestApp(options);
  } catch (cause) {
    const message = "the request's address or a header has a character that cannot be handed on";
    throw new GitwharfError("protocol/bad-request", message, { cause });
  }
}

function sendBody(request: AppRequest, response: AppResponse, asked: ClientRequest): void {
  if (/100-continue/i.test(request.headers.expect ?? "")) response.writeContinue();
  request.pipe(asked);
}

/** @throws what a header cannot be */
export function beginAnswer(answer: IncomingMessage, response: AppResponse): void {
  response.statusCode = answer.statusCode ?? 502;
  for (const [name, values] of headersForClient(answer.rawHeaders)) {
    const [first = ""] = values;
    response.setHeader(name, values.length === 1 ? first : [...values]);
  }
  // At once: events that trickle must not wait for more.
  if (isHttp1(response)) {
    response.statusMessage = answer.statusMessage ?? "";
    response.flushHeaders();
  } else response.writeHead(response.statusCode);
}

function isHttp1(response: AppResponse): response is ServerResponse {
  return !("stream" in response);
}

export function isEncrypted({ socket }: AppRequest): boolean {
  return (socket as Partial<TLSSocket> | null)?.encrypted === true;
}

/** HTTP/2 may send cookies one by one; HTTP/1.1 has them in one header. */
function rawHeadersOf(request: AppRequest): readonly string[] {
  if (request.httpVersionMajor < 2) return request.rawHeaders;
  const { cookie } = request.headers;
  if (cookie === undefined) return request.rawHeaders;
  const others: string[] = [];
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const [name = "", value = ""] = request.rawHeaders.slice(i, i + 2);
    if (name.toLowerCase() !== "cookie") others.push(name, value);
  }
  return [...others, "cookie", cookie];
}

function hasUnknownLength(request: AppRequest): boolean {
  if ("stream" in request)
    return request.headers["content-length"] === undefined && !request.stream.endAfterHeaders;
  return request.headers["transfer-encoding"] !== undefined;
}
