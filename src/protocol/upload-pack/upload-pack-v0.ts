/**
 * upload-pack in versions 0 and 1: wants, haves with their ACKs, pack. Specification: gitprotocol-pack.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { createNegotiation } from "../../engine/negotiation.js";
import type { ObjectId } from "../../object/object-id.js";
import { isObjectId } from "../../object/object-id.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { type Capabilities, parseCapabilities } from "../wire/capabilities.js";
import { encodePktLine, FLUSH, packetText, type PktLineReader } from "../wire/pkt-line.js";
import { describeForPeer, type ServiceStreams } from "../service.js";
import { createSideBandWriter, serializeSideBand, SIDE_BAND_64K_BYTES_MAX, SIDE_BAND_BYTES_MAX } from "../wire/side-band.js";
import { checkWants } from "./check-wants.js";
import { checkFetchRequest, createFetchRequest, type FetchRequest, takeSharedLine } from "./fetch-request.js";
import { resolveShallow } from "./resolve-shallow.js";
import { sendPack } from "./send-pack.js";
import { PackPhaseFailure } from "./pack-phase-failure.js";
import type { UploadPackContext } from "./upload-pack-context.js";
import { visibleRefs } from "./visible-refs.js";

export async function serveUploadPackV0(context: UploadPackContext, reader: PktLineReader, streams: ServiceStreams): Promise<void> {
  const read = await readUploadRequest(context, reader);
  if (read === undefined) return;
  const { request, capabilities } = read;
  const snapshot = await context.repository.snapshot();
  try {
    const refs = visibleRefs(snapshot, context.settings.uploadPack.hideRefs);
    await checkWants(context, snapshot, refs, request.wants);
    const deepens = request.depth !== undefined || request.since !== undefined || request.not.length > 0;
    const boundary = await resolveShallow(context, snapshot, refs, request);
    if (deepens && boundary !== undefined) {
      const lines = [
        ...boundary.shallow.map((oid) => encodePktLine(`shallow ${oid}`)),
        ...boundary.unshallow.map((oid) => encodePktLine(`unshallow ${oid}`)),
      ];
      await streams.output.write(...lines, FLUSH);
    }
    const commons = await negotiate(context, reader, streams, { request, capabilities, snapshot });
    if (commons === undefined) return;
    await answer(context, streams, { request, capabilities, snapshot, commons, boundary: deepens ? boundary : undefined });
  } finally {
    snapshot.release();
  }
}

/** undefined: the client wanted nothing. */
async function readUploadRequest(
  context: UploadPackContext,
  reader: PktLineReader,
): Promise<{ readonly request: FetchRequest; readonly capabilities: Capabilities } | undefined> {
  const request = createFetchRequest();
  let capabilities: Capabilities | undefined;
  const lines = { objectFormat: context.repository.objectFormat, limits: context.limits, settings: context.settings };
  for (;;) {
    const packet = await reader.next();
    if (packet.kind === "eof") {
      if (request.wants.size === 0) return undefined;
      throw new GitwharfError("base/truncated", "the request ends before its wants do");
    }
    if (packet.kind === "flush") break;
    if (packet.kind !== "data") throw new GitwharfError("protocol/bad-request", "a delimiter has no place in a v0 request");
    let line = packetText(packet.payload);
    if (capabilities === undefined && line.startsWith("want ")) {
      const end = line.indexOf(" ", 5);
      capabilities = parseCapabilities(end < 0 ? "" : line.slice(end + 1));
      if (end >= 0) line = line.slice(0, end);
      request.thinPack = capabilities.has("thin-pack");
      request.ofsDelta = capabilities.has("ofs-delta");
      request.includeTag = capabilities.has("include-tag");
      request.noProgress = capabilities.has("no-progress");
      request.relative = capabilities.has("deepen-relative");
      const format = capabilities.get("object-format") ?? "sha1";
      if (format !== context.repository.objectFormat) {
        throw new GitwharfError("protocol/unsupported", `this repository's object format is ${context.repository.objectFormat}, not '${format.slice(0, 20)}'`);
      }
    }
    if (line.startsWith("have ") || !takeSharedLine(request, line, lines)) {
      throw new GitwharfError("protocol/bad-request", `git upload-pack: protocol error, expected to get object ID, not '${line.slice(0, 100)}'`);
    }
  }
  if (request.wants.size === 0) return undefined;
  checkFetchRequest(request);
  return { request, capabilities: capabilities ?? new Map() };
}

interface Negotiating {
  readonly request: FetchRequest;
  readonly capabilities: Capabilities;
  readonly snapshot: Snapshot;
}

/** @returns what both sides have; undefined when this request ends without a pack (stateless RPC goes on in the next) */
async function negotiate(
  context: UploadPackContext,
  reader: PktLineReader,
  streams: ServiceStreams,
  about: Negotiating,
): Promise<readonly ObjectId[] | undefined> {
  const { request, capabilities, snapshot } = about;
  const { output } = streams;
  const detailed = capabilities.has("multi_ack_detailed");
  const multi = detailed || capabilities.has("multi_ack");
  const noDone = detailed && capabilities.has("no-done");
  const negotiation = createNegotiation({
    snapshot,
    wants: [...request.wants],
    clientShallow: request.clientShallow,
    signal: context.signal,
  });
  const say = (line: string) => output.write(encodePktLine(line));
  let last = "";
  let haves = 0;
  let gotCommon = false;
  let gotOther = false;
  let sentReady = false;
  for (;;) {
    const packet = await reader.next();
    if (packet.kind === "eof") {
      if (streams.statelessRpc) return undefined;
      throw new GitwharfError("base/truncated", "the client left in the middle of the negotiation");
    }
    if (packet.kind === "flush") {
      if (detailed && gotCommon && !gotOther && (await negotiation.isReady())) {
        sentReady = true;
        await say(`ACK ${last} ready\n`);
      }
      if (negotiation.commons.length === 0 || multi) await say("NAK\n");
      if (noDone && sentReady) {
        await say(`ACK ${last}\n`);
        return negotiation.commons;
      }
      if (streams.statelessRpc) return undefined;
      gotCommon = false;
      gotOther = false;
      continue;
    }
    const line = packet.kind === "data" ? packetText(packet.payload) : "";
    if (line === "done") {
      if (negotiation.commons.length === 0) await say("NAK\n");
      else if (multi) await say(`ACK ${last}\n`);
      return negotiation.commons;
    }
    const oid = line.slice(5).trim();
    if (!line.startsWith("have ") || !isObjectId(oid, context.repository.objectFormat)) {
      throw new GitwharfError("protocol/bad-request", `git upload-pack: expected SHA1 list, got '${line.slice(0, 100)}'`);
    }
    if (++haves > context.limits.havesMax) {
      throw new GitwharfError("base/limit-exceeded", `the request has more than ${context.limits.havesMax} haves, the server's limit (havesMax)`);
    }
    const before = negotiation.commons.length;
    const added = negotiation.addHave(oid);
    if (isPromise(added) ? await added : added) {
      gotCommon = true;
      last = oid;
      if (detailed) await say(`ACK ${oid} common\n`);
      else if (multi) await say(`ACK ${oid} continue\n`);
      else if (before === 0) await say(`ACK ${oid}\n`);
    } else {
      gotOther = true;
      if (multi && (await negotiation.isReady())) {
        if (detailed) sentReady = true;
        await say(`ACK ${oid} ${detailed ? "ready" : "continue"}\n`);
      }
    }
  }
}

async function answer(
  context: UploadPackContext,
  streams: ServiceStreams,
  about: Negotiating & Pick<Parameters<typeof sendPack>[0], "commons" | "boundary">,
): Promise<void> {
  const { capabilities } = about;
  const wide = capabilities.has("side-band-64k");
  if (!wide && !capabilities.has("side-band")) {
    await sendPack({ context, ...about, output: { sink: streams.output } });
    return;
  }
  const dataBytesMax = wide ? SIDE_BAND_64K_BYTES_MAX : SIDE_BAND_BYTES_MAX;
  const bands = serializeSideBand(createSideBandWriter(streams.output, { dataBytesMax }));
  try {
    await sendPack({ context, ...about, output: { bands } });
    await bands.flush();
  } catch (error) {
    if (context.signal.aborted) throw error;
    await bands.fatal(`${describeForPeer(error)}\n`);
    throw new PackPhaseFailure(error);
  }
}
