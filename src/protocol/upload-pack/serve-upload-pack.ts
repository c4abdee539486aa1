/**
 * upload-pack: answers a fetch. One entry for all versions and transports; what goes wrong after the first byte is
 * told to the client in the protocol's own way. Specification: gitprotocol-pack, gitprotocol-v2.
 */
import type { ByteSink, ByteSource } from "../../base/byte-streams.js";
import { GitwharfError } from "../../base/errors.js";
import { encodePktLine, PktLineReader } from "../wire/pkt-line.js";
import { sanitizeText } from "../wire/sanitize.js";
import type { UploadPackContext } from "./upload-pack-context.js";
import { serveUploadPackV0 } from "./upload-pack-v0.js";
import { serveUploadPackV2 } from "./upload-pack-v2.js";

export interface ServiceStreams {
  readonly input: ByteSource;
  readonly output: ByteSink;
  /** One request and one answer (HTTP); false: a conversation on one connection. */
  readonly statelessRpc: boolean;
}

/** What went wrong and was told to the client; for the log. */
export interface ServiceOutcome {
  readonly failure?: unknown;
}

/** A failure in the pack phase: the client reads side-band and is told on band 3. */
export class PackPhaseFailure extends Error {
  constructor(cause: unknown) {
    super("sending the pack failed", { cause });
    this.name = "PackPhaseFailure";
  }
}

/**
 * The advertisement has been sent already (by the transport in stateless RPC, else by the caller).
 * @throws base/aborted when the client has left: nothing can be told any more
 */
export async function serveUploadPack(context: UploadPackContext, streams: ServiceStreams): Promise<ServiceOutcome> {
  const reader = new PktLineReader(streams.input, {
    totalBytesMax: context.limits.requestBytesMax,
    limitName: "requestBytesMax",
  });
  try {
    if (context.version === 2) await serveUploadPackV2(context, reader, streams);
    else await serveUploadPackV0(context, reader, streams);
    return {};
  } catch (error) {
    if (context.signal.aborted) throw error;
    // Band 3 has carried the message of a failure in the pack phase.
    if (error instanceof PackPhaseFailure) return { failure: error.cause };
    await streams.output.write(encodePktLine(`ERR ${describeForPeer(error)}`));
    return { failure: error };
  } finally {
    await reader.close();
  }
}

/** One line that a peer may read: its own mistakes word for word, ours by code only. */
export function describeForPeer(error: unknown): string {
  if (error instanceof GitwharfError && error.kind === "peer") return sanitizeText(error.message);
  if (error instanceof GitwharfError && error.kind === "operational") {
    return error.code === "base/shutting-down" ? error.message : `the server could not do this (${error.code}); ask its operator`;
  }
  return "internal error; the operator finds the details in the server's log";
}
