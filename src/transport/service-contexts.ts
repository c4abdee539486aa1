/** What the protocol is told about one call of a service: the same from every transport. */
import { isGitwharfError } from "../base/errors.js";
import type { Upload } from "../engine/push.js";
import { type BeforeUpload, createBeforeUpload } from "../protocol/before-upload.js";
import type { BundleOffer } from "../protocol/offered-bundle.js";
import type { ReceivePackContext } from "../protocol/receive-pack/receive-pack-context.js";
import type { UploadArchiveContext } from "../protocol/upload-archive/upload-archive-context.js";
import type { UploadPackContext } from "../protocol/upload-pack/upload-pack-context.js";
import { requireAuthorization, type ServiceCall, type ServiceCaller } from "./service-call.js";
import type { ServiceHost } from "./service-host.js";

/** One request at work, or one conversation. */
export interface ServiceExchange {
  readonly host: ServiceHost;
  readonly caller: ServiceCaller;
  /** Fires when the client leaves or the server gives up. */
  readonly signal: AbortSignal;
  readonly sessionId: string;
}

/** The highest version that GIT_PROTOCOL (or a `Git-Protocol` header) asks for and that is known. */
export function protocolVersion(asked: string | readonly string[] | undefined): 0 | 1 | 2 {
  let version: 0 | 1 | 2 = 0;
  for (const item of (typeof asked === "string" ? asked : (asked?.join(":") ?? "")).split(":")) {
    if (item === "version=2") version = 2;
    else if (item === "version=1" && version < 1) version = 1;
  }
  return version;
}

export function uploadPackContext(
  exchange: ServiceExchange,
  call: ServiceCall,
  version: 0 | 1 | 2,
): UploadPackContext {
  const { host, caller, signal, sessionId } = exchange;
  return {
    repository: call.repository,
    settings: call.settings,
    limits: host.limits,
    requestBytes: host.requestBytes,
    identity: caller.identity,
    isHiddenRef: call.isHiddenRef,
    agent: host.agent,
    version,
    signal,
    sessionId,
    activity: caller.activity,
    beforeUpload: beforeUpload(exchange, call, "fetch"),
    bundles: bundleOffer(exchange, call),
    packfileUris: host.packfileUris,
  };
}

function bundleOffer({ host, caller }: ServiceExchange, { name }: ServiceCall): BundleOffer | undefined {
  const { bundleUris } = host;
  return bundleUris === undefined
    ? undefined
    : {
        lifetimeSeconds: bundleUris.lifetimeSeconds,
        hasFiles: caller.transport === "http",
        wanted: () => host.afterPush(name),
      };
}

function beforeUpload(
  { host, caller, signal }: ServiceExchange,
  { repository, name }: ServiceCall,
  kind: Upload["kind"],
): BeforeUpload | undefined {
  const { identity, transport, address, activity } = caller;
  const requestId = activity?.requestId;
  return createBeforeUpload({
    handlers: host.handlersOf(repository),
    upload: { repository, identity, transport, address, requestId, kind, signal },
    timeoutMs: host.handlerTimeoutMs,
    onHandlerError: (handler, error) =>
      host.log({
        level: "error",
        message: `the ${handler} handler failed in a ${kind} from ${name}`,
        error,
        fields: { requestId },
      }),
  });
}

export function uploadArchiveContext(exchange: ServiceExchange, call: ServiceCall): UploadArchiveContext {
  const { host, signal, caller } = exchange;
  const { repository, settings, isHiddenRef } = call;
  const { limits, requestBytes } = host;
  const asked = beforeUpload(exchange, call, "archive");
  const { activity } = caller;
  return {
    repository,
    settings,
    isHiddenRef,
    limits,
    requestBytes,
    signal,
    activity,
    beforeUpload: asked,
  };
}

export function receivePackContext(
  exchange: ServiceExchange,
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
    isHiddenRef: call.isHiddenRef,
    facts: call.facts,
    transport: caller.transport,
    address: caller.address,
    agent: host.agent,
    // Pushing has no version 2: such a client is answered in version 0.
    version: version === 1 ? 1 : 0,
    authorize: (commands) =>
      requireAuthorization({
        host,
        caller,
        name: call.name,
        facts: call.facts,
        askedFor: name,
        operation: "push",
        commands,
      }),
    handlers: host.handlersOf(call.repository),
    handlerTimeoutMs: host.handlerTimeoutMs,
    verifyPushCertificate: host.verifyPushCertificate,
    collisionDetection: host.collisionDetection,
    recorder: host.audit?.recorderOf(caller, call.name),
    onHandlerError: (handler, error) =>
      host.log({
        level: "error",
        message: `the ${handler} handler failed in a push to ${name}`,
        error,
        fields: { requestId: caller.activity.requestId },
      }),
    signal,
    closing: host.closing,
    sessionId,
    activity: caller.activity,
  };
}

/** A peer's mistake is the peer's business; what failed on this side is the operator's. */
export function logFailure(exchange: ServiceExchange, what: string, failure: unknown): void {
  if (failure === undefined) return;
  const { activity } = exchange.caller;
  activity.failed(failure);
  const isTheirs = isGitwharfError(failure) && (failure.kind === "peer" || failure.code === "server/busy");
  const level = isTheirs ? "info" : "error";
  const message = failure instanceof Error ? failure.message : "it failed";
  exchange.host.log({
    level,
    message: `${what}: ${message}`,
    ...(level === "error" ? { error: failure } : {}),
    fields: { requestId: activity.requestId },
  });
}
