/**
 * upload-pack: answers a fetch. One entry for all versions and transports; what goes wrong after the first byte is
 * told to the client in the protocol's own way. Specification: gitprotocol-pack, gitprotocol-v2.
 */
import { describeForPeer, isForTransport, type ServiceOutcome, type ServiceStreams } from "../service.js";
import { encodePktLine, PktLineReader } from "../wire/pkt-line.js";
import { createGatheringSink } from "./gathering-sink.js";
import { PackPhaseFailure } from "./pack-phase-failure.js";
import type { UploadPackContext } from "./upload-pack-context.js";
import { serveUploadPackV0 } from "./upload-pack-v0.js";
import { serveUploadPackV2 } from "./upload-pack-v2.js";

/**
 * The advertisement has been sent already (by the transport in stateless RPC, else by the caller).
 * @throws base/aborted when the client has left: nothing can be told any more; server/busy before anything was written,
 *   for the transport to answer
 */
export async function serveUploadPack(
  context: UploadPackContext,
  streams: ServiceStreams,
): Promise<ServiceOutcome> {
  const reader = new PktLineReader(streams.input, {
    totalBytesMax: context.limits.requestBytesMax,
    limitName: "requestBytesMax",
    budget: context.requestBytes,
  });
  const output = createGatheringSink(streams.output);
  const { statelessRpc } = streams;
  try {
    if (context.version === 2) await serveUploadPackV2({ context, reader, output }, { statelessRpc });
    else await serveUploadPackV0({ context, reader, output, statelessRpc });
    await output.flush();
    return {};
  } catch (error) {
    if (context.signal.aborted || (!output.begun && isForTransport(error, streams))) throw error;
    // Band 3 has carried the message of a failure in the pack phase.
    if (!(error instanceof PackPhaseFailure))
      await output.write(encodePktLine(`ERR ${describeForPeer(error, context.activity)}`));
    await output.flush();
    return { failure: error instanceof PackPhaseFailure ? error.cause : error };
  } finally {
    await reader.close();
  }
}
