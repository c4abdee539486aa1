/**
 * Fetching in protocol v0 and v1 over HTTP, where the server remembers nothing: each request says everything again.
 * Specification: gitprotocol-pack "Packfile Negotiation", gitprotocol-http "Smart Service git-upload-pack".
 *
 *     want <oid> <capabilities> LF …  shallow <oid> LF …  deepen <n> LF  filter <spec> LF  0000    we
 *     have <oid> LF …  0000 | done LF
 *     shallow <oid> | unshallow <oid> …  0000                              they, where something about depth was said
 *     ACK <oid> common|ready LF …  NAK LF                                  they, to haves and a flush
 *     ACK <oid> LF | NAK LF  <pack>                                        they, to `done`; or, with `no-done`, once ready
 */
import type { ObjectFormat } from "../object/object-format.js";
import type { ObjectId } from "../object/object-id.js";
import { parseAcknowledgment } from "../protocol/wire/acknowledgment.js";
import type { Capabilities } from "../protocol/wire/capabilities.js";
import { deepens, type FetchRequest } from "../protocol/wire/fetch-request.js";
import { encodePktLine, FLUSH, packetText, PktLineReader } from "../protocol/wire/pkt-line.js";
import { parseShallowLine } from "../protocol/wire/shallow-line.js";
import { formatUploadRequest } from "../protocol/wire/upload-request.js";
import { type Discovery, readToEnd, throwIfError } from "./discovery.js";
import type { FetchContext } from "./fetch-pack.js";
import { type PackAnswer, packIn } from "./pack-answer.js";
import { fetchRequestOf, type PackRequest } from "./pack-request.js";
import { RemoteGitFailure, understood } from "./remote-git-failure.js";
import { ToldHaves } from "./told-haves.js";

/** @throws RemoteGitFailure, protocol/unsupported, base/limit-exceeded, base/aborted, object/corrupt, storage/io */
export async function fetchV0(
  context: FetchContext,
  discovery: Extract<Discovery, { readonly protocol: 0 }>,
  request: PackRequest,
): Promise<PackAnswer> {
  const { transport } = context;
  const { advertisement, objectFormat } = discovery;
  const theirs = advertisement.capabilities;
  const fetch = fetchRequestOf(
    request,
    {
      shallow: theirs.has("shallow"),
      since: theirs.has("deepen-since"),
      not: theirs.has("deepen-not"),
      filter: theirs.has("filter"),
    },
    transport.shown,
  );
  const ours = capabilitiesFor(theirs, context, fetch);
  const head = Buffer.concat([...linesOf(formatUploadRequest({ fetch, capabilities: ours })), FLUSH]);
  const told = new ToldHaves(request.haves);
  const isDetailed = ours.has("multi_ack_detailed");
  const exchange: Exchange = { told, objectFormat, hasBoundary: deepens(fetch), noDone: ours.has("no-done") };
  for (;;) {
    const haves = await told.next();
    // What is common is told by none but those servers.
    if (!isDetailed) told.end();
    const isDone = told.isOver;
    const tail = isDone ? encodePktLine("done\n") : FLUSH;
    const body = Buffer.concat([head, ...linesOf(haves.map((oid) => `have ${oid}`)), tail]);
    const answer = await transport.post(
      { service: "git-upload-pack", protocol: 0, answerBytesMax: Infinity },
      body,
    );
    const reader = new PktLineReader(answer, {
      totalBytesMax: context.answerBytesMax,
      limitName: "of an answer",
    });
    let isLeft = true;
    try {
      const found = await understood(() => readUpToPack(reader, exchange, isDone));
      if (found === undefined) continue;
      isLeft = false;
      return {
        shallow: [...new Set([...advertisement.shallow, ...found.shallow])],
        unshallow: found.unshallow,
        ...packIn(reader, {
          shown: transport.shown,
          hasSideBand: ours.has("side-band-64k") || ours.has("side-band"),
          onRemoteText: context.onRemoteText,
        }),
        close: () => reader.close(),
      };
    } finally {
      if (isLeft) await reader.close();
    }
  }
}

interface Exchange {
  readonly told: ToldHaves;
  readonly objectFormat: ObjectFormat;
  readonly hasBoundary: boolean;
  readonly noDone: boolean;
}

function capabilitiesFor(
  theirs: Capabilities,
  { agent }: FetchContext,
  { thinPack, includeTag, filterSpec }: FetchRequest,
): Capabilities {
  const ours = new Map<string, string>();
  const take = (name: string, value = ""): boolean => {
    if (!theirs.has(name)) return false;
    ours.set(name, value);
    return true;
  };
  if (take("multi_ack_detailed")) take("no-done");
  else take("multi_ack");
  if (!take("side-band-64k")) take("side-band");
  if (thinPack) take("thin-pack");
  if (includeTag) take("include-tag");
  take("ofs-delta");
  take("deepen-since");
  take("deepen-not");
  if (filterSpec !== undefined) take("filter");
  take("agent", agent);
  return ours;
}

function linesOf(lines: readonly string[]): readonly Buffer[] {
  return lines.map((line) => encodePktLine(`${line}\n`));
}

/** @returns undefined: it wants to hear more */
async function readUpToPack(
  reader: PktLineReader,
  { told, objectFormat, hasBoundary, noDone }: Exchange,
  isDone: boolean,
): Promise<{ readonly shallow: readonly ObjectId[]; readonly unshallow: readonly ObjectId[] } | undefined> {
  const shallow: ObjectId[] = [];
  const unshallow: ObjectId[] = [];
  if (hasBoundary)
    for (let text = await nextLine(reader); text !== undefined; text = await nextLine(reader)) {
      const { kind, oid } = parseShallowLine(text, objectFormat);
      (kind === "shallow" ? shallow : unshallow).push(oid);
    }
  let isReady = false;
  for (;;) {
    const text = await nextLine(reader);
    if (text === undefined) throw new RemoteGitFailure("the other side does not speak git's protocol");
    const line = parseAcknowledgment(text, objectFormat);
    if (line.kind === "nak") {
      if (isDone) return { shallow, unshallow };
      if (isReady && noDone) continue;
      if (isReady) told.end();
      await readToEnd(reader);
      return undefined;
    }
    if (line.kind === "ready") throw new RemoteGitFailure("the other side does not speak git's protocol");
    // Behind the last one the pack begins.
    if (line.status === undefined) {
      if (isDone || (isReady && noDone)) return { shallow, unshallow };
      throw new RemoteGitFailure("the other side does not speak git's protocol");
    }
    told.acknowledge(line.oid);
    if (line.status === "ready") isReady = true;
  }
}

/** undefined: a flush. */
async function nextLine(reader: PktLineReader): Promise<string | undefined> {
  const packet = await reader.next();
  if (packet.kind === "flush") return undefined;
  if (packet.kind === "eof")
    throw new RemoteGitFailure("the other side broke off before it had sent anything", { kind: "gone" });
  if (packet.kind !== "data") throw new RemoteGitFailure("the other side does not speak git's protocol");
  throwIfError(packet.payload);
  return packetText(packet.payload);
}
