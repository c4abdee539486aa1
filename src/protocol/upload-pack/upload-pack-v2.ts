/**
 * upload-pack in version 2: commands, one after the other. Specification: gitprotocol-v2.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { createNegotiation } from "../../engine/negotiation.js";
import { isObjectId, type ObjectId } from "../../object/object-id.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { DELIM, encodePktLine, FLUSH, packetText, type PktLineReader } from "../wire/pkt-line.js";
import { describeForPeer, type ServiceStreams } from "../service.js";
import { createSideBandWriter, serializeSideBand, SIDE_BAND_64K_BYTES_MAX } from "../wire/side-band.js";
import { checkWants } from "./check-wants.js";
import { checkFetchRequest, createFetchRequest, type FetchRequest, takeSharedLine } from "./fetch-request.js";
import { parseLsRefs, renderLsRefs } from "./ls-refs.js";
import { resolveShallow } from "./resolve-shallow.js";
import { sendPack } from "./send-pack.js";
import { PackPhaseFailure } from "./pack-phase-failure.js";
import type { UploadPackContext } from "./upload-pack-context.js";
import { visibleRefs, type VisibleRefs } from "./visible-refs.js";

interface CommandRequest {
  readonly command: string;
  readonly lines: readonly string[];
}

export async function serveUploadPackV2(context: UploadPackContext, reader: PktLineReader, streams: ServiceStreams): Promise<void> {
  for (;;) {
    const request = await readCommand(context, reader);
    if (request === undefined) return;
    await runCommand(context, request, streams);
    if (streams.statelessRpc) return;
  }
}

async function runCommand(context: UploadPackContext, request: CommandRequest, streams: ServiceStreams): Promise<void> {
  const { settings } = context;
  const snapshot = await context.repository.snapshot();
  try {
    switch (request.command) {
      case "ls-refs":
        await streams.output.write(await renderLsRefs(context, snapshot, parseLsRefs(request.lines, context)));
        return;
      case "fetch":
        await fetch(context, snapshot, request.lines, streams);
        return;
      case "object-info":
        if (settings.transfer.advertiseObjectInfo) return await objectInfo(context, snapshot, request.lines, streams);
        break;
      case "bundle-uri":
        if (settings.uploadPack.advertiseBundleUris) return await bundleUri(context, streams);
        break;
      default:
    }
    throw new GitwharfError("protocol/bad-request", `invalid command '${request.command.slice(0, 60)}'`);
  } finally {
    snapshot.release();
  }
}

/** undefined when the client is done. */
async function readCommand(context: UploadPackContext, reader: PktLineReader): Promise<CommandRequest | undefined> {
  let command: string | undefined;
  const lines: string[] = [];
  let inArguments = false;
  for (let first = true; ; first = false) {
    const packet = await reader.next();
    if (packet.kind === "eof") {
      if (first) return undefined;
      throw new GitwharfError("base/truncated", "the request ends before its flush");
    }
    if (packet.kind === "flush") {
      if (first) return undefined;
      if (command === undefined) throw new GitwharfError("protocol/bad-request", "no command requested");
      return { command, lines };
    }
    if (packet.kind === "delim") {
      if (inArguments) throw new GitwharfError("protocol/bad-request", "a request has one delimiter at most");
      inArguments = true;
      continue;
    }
    if (packet.kind === "response-end") throw new GitwharfError("protocol/bad-request", "unexpected response end packet");
    const line = packetText(packet.payload);
    if (inArguments) lines.push(line);
    else if (line.startsWith("command=")) {
      if (command !== undefined) throw new GitwharfError("protocol/bad-request", "more than one command requested");
      command = line.slice("command=".length);
    } else checkCapability(context, line);
  }
}

function checkCapability(context: UploadPackContext, line: string): void {
  // eslint-disable-next-line no-control-regex -- control characters are exactly what is refused
  if (/[\0-\x1f\x7f]/.test(line)) throw new GitwharfError("protocol/bad-request", "a capability contains control characters");
  const [name = "", value = ""] = line.split("=", 2);
  if (name === "object-format" && value !== context.repository.objectFormat) {
    throw new GitwharfError(
      "protocol/unsupported",
      `mismatched object format: server ${context.repository.objectFormat}; client ${value.slice(0, 20)}`,
    );
  }
  if (!["agent", "object-format", "server-option", "session-id"].includes(name)) {
    throw new GitwharfError("protocol/bad-request", `unknown capability '${line.slice(0, 100)}'`);
  }
}

function parseFetch(context: UploadPackContext, lines: readonly string[]): FetchRequest {
  const request = createFetchRequest();
  const lineContext = { objectFormat: context.repository.objectFormat, limits: context.limits, settings: context.settings };
  for (const line of lines) {
    switch (line) {
      case "done":
        request.done = true;
        break;
      case "wait-for-done":
        request.waitForDone = true;
        break;
      case "thin-pack":
        request.thinPack = true;
        break;
      case "ofs-delta":
        request.ofsDelta = true;
        break;
      case "include-tag":
        request.includeTag = true;
        break;
      case "no-progress":
        request.noProgress = true;
        break;
      case "deepen-relative":
        request.relative = true;
        break;
      case "sideband-all":
        request.sidebandAll = true;
        break;
      default:
        if (line.startsWith("want-ref ") && context.settings.uploadPack.allowRefInWant) {
          request.wantRefs.push(line.slice("want-ref ".length));
          if (request.wantRefs.length > context.limits.wantsMax) {
            throw new GitwharfError("base/limit-exceeded", `the request has more than ${context.limits.wantsMax} want-refs, the server's limit (wantsMax)`);
          }
        } else if (!takeSharedLine(request, line, lineContext)) {
          throw new GitwharfError("protocol/bad-request", `unexpected line: '${line.slice(0, 100)}'`);
        }
    }
  }
  checkFetchRequest(request);
  return request;
}

async function fetch(
  context: UploadPackContext,
  snapshot: Snapshot,
  lines: readonly string[],
  streams: ServiceStreams,
): Promise<void> {
  const request = parseFetch(context, lines);
  const refs = visibleRefs(snapshot, context.settings.uploadPack.hideRefs);
  const wantedRefs = resolveWantRefs(refs, request);
  if (request.wants.size === 0 && !request.waitForDone) return;
  await checkWants(context, snapshot, refs, request.wants);
  const frame = (text: string): Buffer => encodePktLine(request.sidebandAll ? `\x01${text}` : text);
  const head: Buffer[] = [];
  const negotiation = createNegotiation({
    snapshot,
    wants: [...request.wants],
    clientShallow: request.clientShallow,
    signal: context.signal,
  });
  for (const oid of request.haves) {
    const added = negotiation.addHave(oid);
    if (isPromise(added)) await added;
  }
  if (request.haves.length > 0 && !request.done) {
    head.push(frame("acknowledgments\n"));
    if (negotiation.commons.length === 0) head.push(frame("NAK\n"));
    for (const oid of negotiation.commons) head.push(frame(`ACK ${oid}\n`));
    if (request.waitForDone || !(await negotiation.isReady())) {
      await streams.output.write(...head, FLUSH);
      return;
    }
    head.push(frame("ready\n"), DELIM);
  }
  const boundary = await resolveShallow(context, snapshot, refs, request);
  if (boundary !== undefined || request.clientShallow.length > 0) {
    head.push(frame("shallow-info\n"));
    for (const oid of boundary?.shallow ?? []) head.push(frame(`shallow ${oid}`));
    for (const oid of boundary?.unshallow ?? []) head.push(frame(`unshallow ${oid}`));
    head.push(DELIM);
  }
  if (wantedRefs.length > 0) {
    head.push(frame("wanted-refs\n"));
    for (const { name, oid } of wantedRefs) head.push(frame(`${oid} ${name}\n`));
    head.push(DELIM);
  }
  head.push(frame("packfile\n"));
  await streams.output.write(...head);
  const bands = serializeSideBand(createSideBandWriter(streams.output, { dataBytesMax: SIDE_BAND_64K_BYTES_MAX }));
  try {
    await sendPack({ context, snapshot, request, commons: negotiation.commons, boundary, output: { bands } });
    await bands.flush();
  } catch (error) {
    if (context.signal.aborted) throw error;
    await bands.fatal(`${describeForPeer(error)}\n`);
    throw new PackPhaseFailure(error);
  }
}

/** Adds what the named refs lead to to the wants. @throws protocol/not-our-ref for a name that is not there or hidden */
function resolveWantRefs(refs: VisibleRefs, request: FetchRequest): readonly { readonly name: string; readonly oid: ObjectId }[] {
  const wanted = request.wantRefs.map((name) => {
    const oid = name === "HEAD" ? refs.head.oid : refs.get(name)?.oid;
    if (oid === undefined) throw new GitwharfError("protocol/not-our-ref", `unknown ref ${name.slice(0, 200)}`);
    return { name, oid };
  });
  for (const { oid } of wanted) request.wants.add(oid);
  return wanted;
}

/** `object-info`: sizes without contents, for objects the caller could fetch. */
async function objectInfo(
  context: UploadPackContext,
  snapshot: Snapshot,
  lines: readonly string[],
  streams: ServiceStreams,
): Promise<void> {
  let size = false;
  const oids: ObjectId[] = [];
  for (const line of lines) {
    const oid = line.startsWith("oid ") ? line.slice(4) : "";
    if (line === "size") size = true;
    else if (isObjectId(oid, context.repository.objectFormat)) oids.push(oid);
    else throw new GitwharfError("protocol/bad-request", `object-info: unexpected line: '${line.slice(0, 100)}'`);
  }
  if (oids.length > context.limits.wantsMax) {
    throw new GitwharfError("base/limit-exceeded", `the request names more than ${context.limits.wantsMax} objects, the server's limit (wantsMax)`);
  }
  const refs = visibleRefs(snapshot, context.settings.uploadPack.hideRefs);
  await checkWants(context, snapshot, refs, new Set(oids));
  const out: Buffer[] = size ? [encodePktLine("size")] : [];
  for (const oid of size ? oids : []) {
    const header = await snapshot.objects.readHeader(oid);
    if (header === undefined) throw new GitwharfError("protocol/not-our-ref", `object ${oid} does not exist`);
    out.push(encodePktLine(`${oid} ${header.sizeBytes}`));
  }
  await streams.output.write(...out, FLUSH);
}

/** `bundle-uri`: the `bundle.*` configuration, as it stands. Specification: gitprotocol-v2 "bundle-uri". */
async function bundleUri(context: UploadPackContext, streams: ServiceStreams): Promise<void> {
  const { version, mode, heuristic, entries } = context.settings.bundle;
  const pairs: [string, string | undefined][] = [
    ["bundle.version", version],
    ["bundle.mode", mode],
    ["bundle.heuristic", heuristic],
    ...entries.map(({ id, key, value }): [string, string] => [`bundle.${id}.${key}`, value]),
  ];
  const lines = pairs.filter(([, value]) => value !== undefined).map(([key, value]) => encodePktLine(`${key}=${value}`));
  await streams.output.write(...lines, FLUSH);
}
