/**
 * Smart HTTP: the discovery request and the two services. The protocol itself is in `protocol/`; here are content
 * types, the `Git-Protocol` header and the body's way in and out.
 * Specification: gitprotocol-http.
 */
import { GitwharfError } from "../../base/errors.js";
import { advertiseReceivePack } from "../../protocol/receive-pack/advertise-receive-pack.js";
import { serveReceivePack } from "../../protocol/receive-pack/serve-receive-pack.js";
import { advertiseUploadPack } from "../../protocol/upload-pack/advertise-upload-pack.js";
import { serveUploadPack } from "../../protocol/upload-pack/serve-upload-pack.js";
import { encodePktLine, FLUSH } from "../../protocol/wire/pkt-line.js";
import { countInput, countOutput } from "../count-bytes.js";
import { beginServiceCall } from "../service-call.js";
import { logFailure, protocolVersion, receivePackContext, uploadPackContext } from "../service-contexts.js";
import type { HttpExchange } from "./answer-request.js";
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
    if (request.method !== "HEAD") await countOutput(sink, exchange.caller.activity).write(...chunks);
    await sink.end();
  } finally {
    await call.release();
    await host.rates.countBytes(exchange.caller, exchange.caller.activity.bytes);
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
    const input = readRequestBody(request, response, {
      idleTimeoutMs,
      signal,
    });
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
    const { activity } = exchange.caller;
    const streams = {
      input: countInput(input, activity),
      output: countOutput(output, activity),
      statelessRpc: true,
    };
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
    await host.rates.countBytes(exchange.caller, exchange.caller.activity.bytes);
  }
}
