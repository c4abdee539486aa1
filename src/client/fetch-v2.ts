/**
 * Fetching in protocol v2: wants and haves until the server is ready, then what it sends.
 * Specification: gitprotocol-v2 "fetch".
 *
 *     acknowledgments LF  NAK LF | ACK <oid> LF …  [ready LF]  0000 | 0001      unless we were done
 *     shallow-info LF  shallow <oid> LF | unshallow <oid> LF …  0001
 *     packfile LF  <side-band> …  0000
 *
 * Not asked for, and so not understood: `wanted-refs`, `packfile-uris`, `sideband-all`.
 */
import { GitwharfError } from "../base/errors.js";
import type { ObjectId } from "../object/object-id.js";
import { parseAcknowledgment } from "../protocol/wire/acknowledgment.js";
import { formatFetchArguments } from "../protocol/wire/fetch-arguments.js";
import { type Packet, packetText, PktLineReader } from "../protocol/wire/pkt-line.js";
import { parseShallowLine } from "../protocol/wire/shallow-line.js";
import { type Discovery, readToEnd, throwIfError } from "./discovery.js";
import type { FetchContext } from "./fetch-pack.js";
import { type PackAnswer, packIn } from "./pack-answer.js";
import { fetchRequestOf, type PackRequest } from "./pack-request.js";
import { RemoteGitFailure, understood } from "./remote-git-failure.js";
import { formatCommand } from "./remote-refs.js";
import { ToldHaves } from "./told-haves.js";

/** @throws RemoteGitFailure, protocol/unsupported, base/limit-exceeded, base/aborted, object/corrupt, storage/io */
export async function fetchV2(
  context: FetchContext,
  discovery: Extract<Discovery, { readonly protocol: 2 }>,
  request: PackRequest,
): Promise<PackAnswer> {
  const { capabilities, objectFormat } = discovery;
  const { transport, agent } = context;
  const features = capabilities.get("fetch")?.split(" ");
  if (features === undefined) throw new RemoteGitFailure("the other side has nothing to be fetched (fetch)");
  const isShallow = features.includes("shallow");
  const fetch = fetchRequestOf(
    request,
    { shallow: isShallow, since: isShallow, not: isShallow, filter: features.includes("filter") },
    transport.shown,
  );
  const told = new ToldHaves(request.haves);
  for (;;) {
    fetch.haves.length = 0;
    for (const oid of await told.next()) fetch.haves.push(oid);
    fetch.done = told.isOver;
    const body = formatCommand("fetch", {
      capabilities,
      objectFormat,
      agent,
      lines: formatFetchArguments(fetch),
    });
    const answer = await transport.post(
      { service: "git-upload-pack", protocol: 2, answerBytesMax: Infinity },
      body,
    );
    const reader = new PktLineReader(answer, {
      totalBytesMax: context.answerBytesMax,
      limitName: "of an answer",
    });
    let isLeft = true;
    try {
      const sections = new Sections(reader, context);
      const found = await understood(() => sections.upToPack(fetch.done ? undefined : told));
      if (found === undefined) continue;
      isLeft = false;
      return {
        ...found,
        ...packIn(reader, {
          shown: transport.shown,
          hasSideBand: true,
          onRemoteText: context.onRemoteText,
        }),
        close: () => reader.close(),
      };
    } finally {
      if (isLeft) await reader.close();
    }
  }
}

type Boundary = Pick<PackAnswer, "shallow" | "unshallow">;

class Sections {
  readonly #reader: PktLineReader;
  readonly #context: FetchContext;

  constructor(reader: PktLineReader, context: FetchContext) {
    this.#reader = reader;
    this.#context = context;
  }

  /**
   * @param told undefined: there are no acknowledgments, for we were done
   * @returns undefined: it wants to hear more
   */
  async upToPack(told: ToldHaves | undefined): Promise<Boundary | undefined> {
    const shallow: ObjectId[] = [];
    const unshallow: ObjectId[] = [];
    if (told !== undefined) {
      await this.#expect("acknowledgments");
      if (!(await this.#acknowledgments(told))) {
        await readToEnd(this.#reader);
        return undefined;
      }
    }
    for (;;) {
      const name = await this.#name();
      if (name === "packfile") return { shallow, unshallow };
      if (name !== "shallow-info") throw unexpected();
      for (;;) {
        const packet = await this.#next();
        if (packet.kind === "delim") break;
        const { kind, oid } = parseShallowLine(textOf(packet), this.#context.objectFormat);
        (kind === "shallow" ? shallow : unshallow).push(oid);
      }
    }
  }

  /** @returns whether a pack follows */
  async #acknowledgments(told: ToldHaves): Promise<boolean> {
    let isReady = false;
    for (;;) {
      const packet = await this.#next();
      if (packet.kind === "data") {
        const line = parseAcknowledgment(packetText(packet.payload), this.#context.objectFormat);
        if (line.kind === "ack") told.acknowledge(line.oid);
        else if (line.kind === "ready") isReady = true;
        continue;
      }
      // Ready means that the rest comes at once, and nothing else does.
      if (packet.kind === "delim" ? !isReady : packet.kind !== "flush" || isReady) throw unexpected();
      return isReady;
    }
  }

  async #expect(name: string): Promise<void> {
    if ((await this.#name()) !== name) throw unexpected();
  }

  async #name(): Promise<string> {
    return textOf(await this.#next());
  }

  async #next(): Promise<Packet> {
    const packet = await this.#reader.next();
    if (packet.kind === "eof")
      throw new RemoteGitFailure("the other side broke off before it had sent anything", { kind: "gone" });
    if (packet.kind === "data") throwIfError(packet.payload);
    return packet;
  }
}

function textOf(packet: Packet): string {
  if (packet.kind !== "data") throw unexpected();
  return packetText(packet.payload);
}

function unexpected(): GitwharfError {
  return new GitwharfError("protocol/bad-request", "an answer to fetch has other sections than it should");
}
