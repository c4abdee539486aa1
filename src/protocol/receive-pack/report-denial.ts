/**
 * A push whose commands are not allowed, answered so that the pusher reads why: git shows nothing of an HTTP status that
 * comes in answer to a pack, little of a connection that ends, and everything of a report. What is still on its way is read
 * and dropped, as far as a pack may be large.
 */
import { type GitwharfError, isGitwharfError } from "../../base/errors.js";
import { describeForPeer, type ServiceOutcome, type ServiceStreams } from "../service.js";
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
    const refusal = describeForPeer(error, context.activity);
    const refused = request.commands.map((command) => ({ command, refusal, substitutes: [] }));
    await context.recorder?.end(refused, error);
    const { capabilities } = request;
    const version = capabilities.has("report-status-v2")
      ? 2
      : capabilities.has("report-status")
        ? 1
        : undefined;
    if (version === undefined || !isGitwharfError(error) || context.signal.aborted) throw error;
    // Over HTTP a status tells whom to ask for credentials, and when to come again.
    if (streams.statelessRpc && error.code !== "access/denied") throw error;
    const report = await formatReport(refused, undefined, version);
    const inBands = capabilities.has("side-band-64k");
    if (streams.statelessRpc) {
      // An HTTP client reads the answer when its request is out.
      await drop(reader, context, error);
      await write(streams, report, inBands);
    } else {
      // Nothing tells where the pack ends but the client, who leaves when it has sent it and read the report.
      await Promise.all([write(streams, report, inBands), drop(reader, context, error).catch(unlessGone)]);
    }
    return { failure: error, isReported: true };
  }
}

/** Reads what is still on its way, as far as a pack may be large. */
async function drop(
  reader: PktLineReader,
  { limits }: Pick<ReceivePackContext, "limits">,
  refusal: GitwharfError,
): Promise<void> {
  let bytes = 0;
  for await (const chunk of reader.rest()) {
    bytes += chunk.length;
    if (bytes > limits.packSizeBytesMax) throw refusal;
  }
}

async function write(streams: ServiceStreams, report: Buffer, inBands: boolean): Promise<void> {
  if (!inBands) {
    await streams.output.write(report);
    return;
  }
  const bands = createSideBandWriter(streams.output, { dataBytesMax: SIDE_BAND_64K_BYTES_MAX });
  await bands.data(report);
  await bands.flush();
}

function unlessGone(error: unknown): void {
  if (!isGitwharfError(error, "base/aborted")) throw error;
}
