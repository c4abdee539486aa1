/**
 * Smart HTTP: the discovery request and the two services. The protocol itself is in `protocol/`; here are content
 * types, the `Git-Protocol` header and the body's way in and out.
 * Specification: gitprotocol-http.
 */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { advertiseReceivePack } from "../../protocol/receive-pack/advertise-receive-pack.js";
import { serveReceivePack } from "../../protocol/receive-pack/serve-receive-pack.js";
import type { ReceivePackContext } from "../../protocol/receive-pack/receive-pack-context.js";
import { advertiseUploadPack } from "../../protocol/upload-pack/advertise-upload-pack.js";
import { serveUploadPack } from "../../protocol/upload-pack/serve-upload-pack.js";
import type { UploadPackContext } from "../../protocol/upload-pack/upload-pack-context.js";
import { encodePktLine, FLUSH } from "../../protocol/wire/pkt-line.js";
import { beginServiceCall, requireAuthorization, type ServiceCall } from "../service-call.js";
import type { HttpExchange } from "./handler.js";
import { setNoCache } from "./no-cache.js";
import { readRequestBody } from "./request-body.js";
import type { ServiceName } from "./request-target.js";
import { createResponseSink } from "./response-sink.js";

/** `GET /NAME/info/refs?service=…` */
export async function serveDiscovery(exchange: HttpExchange, name: string, service: string): Promise<void> {
  if (service !== "git-upload-pack" && service !== "git-receive-pack") {
    throw new GitwharfError("protocol/service-disabled", `unsupported service: '${service.slice(0, 60)}'`);
  }
  const { host, request, response, signal } = exchange;
  const operation = service === "git-upload-pack" ? "fetch" : "push";
  const call = await beginServiceCall({
    host,
    caller: exchange.caller,
    name,
    operation,
    discovery: true,
    signal,
  });
  try {
    const version = protocolVersion(request.headers["git-protocol"]);
    const lines =
      operation === "fetch"
        ? await advertiseUploadPack(uploadPackContext(exchange, call, version))
        : await advertiseReceivePack(receivePackContext(exchange, name, call, version));
    // Protocol v2 has no service line (git-http-backend leaves it out as well).
    const announced =
      operation === "fetch" && version === 2 ? [] : [encodePktLine(`# service=${service}\n`), FLUSH];
    const chunks = [...announced, ...lines];
    response.statusCode = 200;
    setNoCache(response);
    response.setHeader("Content-Type", `application/x-${service}-advertisement`);
    response.setHeader(
      "Content-Length",
      chunks.reduce((sum, chunk) => sum + chunk.length, 0),
    );
    const sink = createResponseSink(response, {
      idleTimeoutMs: host.limits.idleTimeoutMs,
      signal,
      onFirstWrite: () => undefined,
    });
    if (request.method !== "HEAD") await sink.write(...chunks);
    await sink.end();
  } finally {
    await call.release();
  }
}

/** `POST /NAME/git-upload-pack` and `POST /NAME/git-receive-pack` */
export async function serveService(
  exchange: HttpExchange,
  name: string,
  service: ServiceName,
): Promise<void> {
  const { host, request, response, signal } = exchange;
  const expected = `application/x-${service}-request`;
  const given = (request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase();
  if (given !== expected) {
    throw new GitwharfError("protocol/unsupported-media-type", `the body must be of type ${expected}`);
  }
  const operation = service === "git-upload-pack" ? "fetch" : "push";
  const call = await beginServiceCall({
    host,
    caller: exchange.caller,
    name,
    operation,
    discovery: false,
    signal,
  });
  try {
    const idleTimeoutMs = host.limits.idleTimeoutMs;
    const input = readRequestBody(request, response, { idleTimeoutMs, signal });
    const output = createResponseSink(response, {
      idleTimeoutMs,
      signal,
      onFirstWrite: () => {
        response.statusCode = 200;
        setNoCache(response);
        response.setHeader("Content-Type", `application/x-${service}-result`);
      },
    });
    const version = protocolVersion(request.headers["git-protocol"]);
    const streams = { input, output, statelessRpc: true };
    const outcome =
      operation === "fetch"
        ? await serveUploadPack(uploadPackContext(exchange, call, version), streams)
        : await serveReceivePack(receivePackContext(exchange, name, call, version), streams);
    // A refused first push has left nothing by the time that its client has read the answer.
    if (operation === "push") await call.release();
    await output.end();
    logFailure(exchange, `${service} ${name}`, outcome.failure);
  } finally {
    await call.release();
  }
}

/** The highest version that a `Git-Protocol` header (or GIT_PROTOCOL) asks for and that is known. */
export function protocolVersion(header: string | readonly string[] | undefined): 0 | 1 | 2 {
  let version: 0 | 1 | 2 = 0;
  for (const item of (typeof header === "string" ? header : (header?.join(":") ?? "")).split(":")) {
    if (item === "version=2") version = 2;
    else if (item === "version=1" && version < 1) version = 1;
  }
  return version;
}

function uploadPackContext(exchange: HttpExchange, call: ServiceCall, version: 0 | 1 | 2): UploadPackContext {
  const { host, caller, signal, sessionId } = exchange;
  return {
    repository: call.repository,
    settings: call.settings,
    limits: host.limits,
    requestBytes: host.requestBytes,
    identity: caller.identity,
    agent: host.agent,
    version,
    signal,
    sessionId,
  };
}

function receivePackContext(
  exchange: HttpExchange,
  name: string,
  call: ServiceCall,
  version: 0 | 1 | 2,
): ReceivePackContext {
  const { host, caller, signal, sessionId } = exchange;
  return {
    repository: call.repository,
    settings: call.settings,
    place: call.place,
    limits: host.limits,
    requestBytes: host.requestBytes,
    packObjects: host.packObjects,
    identity: caller.identity,
    transport: "http",
    address: caller.address,
    agent: host.agent,
    // Pushing has no version 2: such a client is answered in version 0.
    version: version === 1 ? 1 : 0,
    authorize: (commands) => requireAuthorization({ host, caller, name, operation: "push", commands }),
    handlers: host.handlersOf(call.repository),
    verifyPushCertificate: host.verifyPushCertificate,
    collisionDetection: host.collisionDetection,
    onHandlerError: (handler, error) =>
      host.log({ level: "error", message: `the ${handler} handler failed in a push to ${name}`, error }),
    signal,
    closing: host.closing,
    sessionId,
  };
}

/** A peer's mistake is the peer's business; what failed on this side is the operator's. */
function logFailure(exchange: HttpExchange, what: string, failure: unknown): void {
  if (failure === undefined) return;
  const isTheirs = isGitwharfError(failure) && (failure.kind === "peer" || failure.code === "server/busy");
  const level = isTheirs ? "info" : "error";
  const message = failure instanceof Error ? failure.message : "it failed";
  exchange.host.log({
    level,
    message: `${what}: ${message}`,
    ...(level === "error" ? { error: failure } : {}),
  });
}
