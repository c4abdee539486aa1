/**
 * A push whose commands are not allowed, answered so that the pusher reads why: git shows nothing of an HTTP status that
 * comes in answer to a pack, nor of a line in the middle of git://, and everything of a report. What is still on its way
 * is read and dropped, as far as a pack may be large: over HTTP first, where the end of the pack is that of the body; over
 * git:// after the report, upon which the client leaves. Over SSH there is standard error.
 */
import { isGitwharfError } from "../../base/errors.js";
import type { ServiceOutcome, ServiceStreams } from "../service.js";
import type { PktLineReader } from "../wire/pkt-line.js";
import { createSideBandWriter, SIDE_BAND_64K_BYTES_MAX } from "../wire/side-band.js";
import type { PushRequest } from "./push-request.js";
import type { ReceivePackContext } from "./receive-pack-context.js";
import { formatReport } from "./report-status.js";

/** Nobody can sign in there. */
const TOLD_OVER_GIT: ReadonlySet<string> = new Set([
  "access/denied",
  "access/unauthenticated",
  "storage/not-found",
]);

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
    const isGit = context.transport === "git";
    if (version === undefined || !isGitwharfError(error)) throw error;
    const isTold = streams.statelessRpc
      ? error.code === "access/denied"
      : isGit && TOLD_OVER_GIT.has(error.code);
    if (!isTold) throw error;
    const limitBytes = context.limits.packSizeBytesMax;
    if (!isGit && !(await drain(reader, limitBytes))) throw error;
    const report = await formatReport(refused, undefined, version);
    if (!capabilities.has("side-band-64k")) await streams.output.write(report);
    else {
      const bands = createSideBandWriter(streams.output, { dataBytesMax: SIDE_BAND_64K_BYTES_MAX });
      await bands.data(report);
      await bands.flush();
    }
    // Who has gone, or says nothing more, has his answer.
    if (isGit) await drain(reader, limitBytes).catch(() => undefined);
    return { failure: error };
  }
}

/** @returns false when there is more than that */
async function drain(reader: PktLineReader, bytesMax: number): Promise<boolean> {
  let bytes = 0;
  for await (const chunk of reader.rest()) {
    bytes += chunk.length;
    if (bytes > bytesMax) return false;
  }
  return true;
}
