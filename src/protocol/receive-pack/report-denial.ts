/**
 * A push whose commands are not allowed, answered so that the pusher reads why: git shows nothing of an HTTP status that
 * comes in answer to a pack, and everything of a report. What is still on its way is read and dropped first, as far as a
 * pack may be large. Only over HTTP, where the end of the pack is the end of the body.
 */
import { isGitwharfError } from "../../base/errors.js";
import type { ServiceOutcome, ServiceStreams } from "../service.js";
import type { PktLineReader } from "../wire/pkt-line.js";
import { createSideBandWriter, SIDE_BAND_64K_BYTES_MAX } from "../wire/side-band.js";
import type { PushRequest } from "./push-request.js";
import type { ReceivePackContext } from "./receive-pack-context.js";
import { formatReport } from "./report-status.js";

/** @returns undefined when the commands are allowed. @throws what cannot be told in a report */
export async function reportDenial(
  context: ReceivePackContext,
  streams: ServiceStreams,
  reader: PktLineReader,
  request: PushRequest,
): Promise<ServiceOutcome | undefined> {
  try {
    await context.authorize(request.commands);
    return undefined;
  } catch (error) {
    const refused = request.commands.map((command) => ({
      command,
      refusal: error instanceof Error ? error.message : "not allowed",
      substitutes: [],
    }));
    await context.recorder?.end(refused, error);
    const { capabilities } = request;
    const version = capabilities.has("report-status-v2")
      ? 2
      : capabilities.has("report-status")
        ? 1
        : undefined;
    const isTold = streams.statelessRpc && version !== undefined && isGitwharfError(error, "access/denied");
    if (!isTold) throw error;
    let bytes = 0;
    for await (const chunk of reader.rest()) {
      bytes += chunk.length;
      if (bytes > context.limits.packSizeBytesMax) throw error;
    }
    const report = formatReport(refused, undefined, version);
    if (!capabilities.has("side-band-64k")) await streams.output.write(report);
    else {
      const bands = createSideBandWriter(streams.output, { dataBytesMax: SIDE_BAND_64K_BYTES_MAX });
      await bands.data(report);
      await bands.flush();
    }
    return { failure: error };
  }
}
