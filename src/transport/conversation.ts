/**
 * A service as a conversation on one connection, as over SSH and git://: the advertisement, then what follows it, with
 * state between the messages. HTTP has its own way, request by request.
 */
import type { ServiceOutcome, ServiceStreams } from "../protocol/service.js";
import { advertiseReceivePack } from "../protocol/receive-pack/advertise-receive-pack.js";
import type { ReceivePackContext } from "../protocol/receive-pack/receive-pack-context.js";
import { serveReceivePack } from "../protocol/receive-pack/serve-receive-pack.js";
import { serveUploadArchive } from "../protocol/upload-archive/serve-upload-archive.js";
import { advertiseUploadPack } from "../protocol/upload-pack/advertise-upload-pack.js";
import { serveUploadPack } from "../protocol/upload-pack/serve-upload-pack.js";
import type { UploadPackContext } from "../protocol/upload-pack/upload-pack-context.js";
import { beginServiceCall, type ServiceCall } from "./service-call.js";
import {
  logFailure,
  protocolVersion,
  receivePackContext,
  type ServiceExchange,
  uploadArchiveContext,
  uploadPackContext,
} from "./service-contexts.js";

export interface Conversation {
  readonly service: "git-upload-pack" | "git-receive-pack" | "git-upload-archive";
  /** Checked name without `.git`. */
  readonly name: string;
  /** GIT_PROTOCOL, as the client sent it. */
  readonly gitProtocol: string | undefined;
  /** Counted by the transport (`count-bytes.ts`). */
  readonly streams: Pick<ServiceStreams, "input" | "output">;
  /** Is the repository that the name stands for served here at all? @throws what its callers are told */
  readonly requireServed?: (name: string) => Promise<void>;
}

/**
 * From the authorization to the last byte. What goes wrong after the first byte is told in the protocol.
 * @throws as `beginServiceCall`: nothing has been written then
 */
export async function converse(
  exchange: ServiceExchange,
  conversation: Conversation,
): Promise<ServiceOutcome> {
  const { host, caller, signal } = exchange;
  const { service, name, requireServed } = conversation;
  const operation = OPERATIONS[service];
  const call = await beginServiceCall({
    host,
    caller,
    name,
    operation,
    discovery: false,
    signal,
    requireServed,
  });
  try {
    const outcome = await converseWith(exchange, conversation, call);
    logFailure(exchange, `${service} ${name}`, outcome.failure);
    return outcome;
  } finally {
    await call.release();
    await host.rates.countBytes(caller, caller.activity.bytes);
  }
}

const OPERATIONS = {
  "git-upload-pack": "fetch",
  "git-receive-pack": "push",
  "git-upload-archive": "archive",
} as const;

function converseWith(
  exchange: ServiceExchange,
  { service, name, gitProtocol, streams }: Conversation,
  call: ServiceCall,
): Promise<ServiceOutcome> {
  const version = protocolVersion(gitProtocol);
  switch (service) {
    case "git-upload-pack":
      return converseUploadPack(uploadPackContext(exchange, call, version), streams);
    case "git-receive-pack":
      return converseReceivePack(receivePackContext(exchange, name, call, version), streams);
    case "git-upload-archive":
      return serveUploadArchive(uploadArchiveContext(exchange, call), streams);
  }
}

export async function converseUploadPack(
  context: UploadPackContext,
  streams: Conversation["streams"],
): Promise<ServiceOutcome> {
  // In v0 and v1 the wants are of the refs that were advertised, whatever has become of them since.
  const snapshot = context.version === 2 ? undefined : await context.repository.snapshot();
  try {
    const shown = { ...context, snapshot };
    await streams.output.write(...(await advertiseUploadPack(shown)));
    return await serveUploadPack(shown, { ...streams, statelessRpc: false });
  } finally {
    snapshot?.release();
  }
}

export async function converseReceivePack(
  context: ReceivePackContext,
  streams: Conversation["streams"],
): Promise<ServiceOutcome> {
  await streams.output.write(...(await advertiseReceivePack(context)));
  return serveReceivePack(context, { ...streams, statelessRpc: false });
}
