/**
 * Haves and ACKs of versions 0 and 1: without multi_ack, with it, and with multi_ack_detailed (and no-done).
 * Specification: gitprotocol-pack "Packfile Negotiation".
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { WorkBudget } from "../../engine/fetch/work-budget.js";
import { createNegotiation, type Negotiation } from "../../engine/negotiation.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { type Acknowledgment, formatAcknowledgment } from "../wire/acknowledgment.js";
import type { Capabilities } from "../wire/capabilities.js";
import type { FetchRequest } from "../wire/fetch-request.js";
import { encodePktLine, packetText } from "../wire/pkt-line.js";
import { checkCount, objectIdInLine, quoteLine } from "../wire/request-line.js";
import { shownHaves } from "./shown-haves.js";
import { misplaced, nextPacket, type V0Conversation } from "./v0-conversation.js";
import type { VisibleRefs } from "./visible-refs.js";

export interface Negotiated {
  /** What both sides have. */
  readonly commons: readonly ObjectId[];
}

export interface NegotiationAbout {
  readonly snapshot: Snapshot;
  readonly refs: VisibleRefs;
  readonly request: FetchRequest;
  readonly capabilities: Capabilities;
}

/** One run of haves: up to a flush or `done`. */
interface Round {
  readonly haves: readonly ObjectId[];
  readonly end: "flush" | "done" | "eof";
}

/** @returns undefined when no pack follows: stateless RPC goes on in another request */
export async function negotiateV0(
  conversation: V0Conversation,
  about: NegotiationAbout,
): Promise<Negotiated | undefined> {
  const { context, output, statelessRpc } = conversation;
  const { request, capabilities } = about;
  const detailed = capabilities.has("multi_ack_detailed");
  const multi = detailed || capabilities.has("multi_ack");
  const noDone = capabilities.has("no-done");
  const negotiation = createNegotiation({
    snapshot: about.snapshot,
    wants: [...request.wants],
    clientShallow: [...request.clientShallow],
    signal: context.signal,
  });
  const say = (acknowledgment: Acknowledgment) =>
    output.write(encodePktLine(formatAcknowledgment(acknowledgment)));
  const budget = new WorkBudget({ signal: context.signal });
  let lastCommon = "";
  let sentReady = false;
  let total = 0;
  for (;;) {
    const round = await readRound(conversation, total);
    total += round.haves.length;
    const shown = await shownHaves({ context, ...about }, round.haves);
    let gotCommon = false;
    let gotOther = false;
    for (const oid of round.haves) {
      if (budget.spend(1)) await budget.pause();
      const before = negotiation.commons.length;
      if ((shown === undefined || shown.has(oid)) && (await isCommon(negotiation, oid))) {
        gotCommon = true;
        lastCommon = oid;
        if (detailed) await say({ kind: "ack", oid, status: "common" });
        else if (multi) await say({ kind: "ack", oid, status: "continue" });
        else if (before === 0) await say({ kind: "ack", oid });
        continue;
      }
      gotOther = true;
      if (!multi || !(await negotiation.isReady())) continue;
      if (detailed) sentReady = true;
      await say({ kind: "ack", oid, status: detailed ? "ready" : "continue" });
    }
    const { commons } = negotiation;
    if (round.end === "done") {
      if (commons.length === 0) await say({ kind: "nak" });
      else if (multi) await say({ kind: "ack", oid: lastCommon });
      return { commons };
    }
    if (round.end === "eof") {
      // After the wants alone that is how a client of stateless RPC fetches the shallow lines.
      if (statelessRpc && total === 0) return undefined;
      throw new GitwharfError("base/truncated", "the request ends in the middle of the negotiation");
    }
    if (detailed && gotCommon && !gotOther && (await negotiation.isReady())) {
      sentReady = true;
      await say({ kind: "ack", oid: lastCommon, status: "ready" });
    }
    if (commons.length === 0 || multi) await say({ kind: "nak" });
    if (noDone && sentReady) {
      await say({ kind: "ack", oid: lastCommon });
      return { commons };
    }
    if (statelessRpc) return undefined;
  }
}

async function isCommon(negotiation: Negotiation, oid: ObjectId): Promise<boolean> {
  const added = negotiation.addHave(oid);
  return isPromise(added) ? await added : added;
}

async function readRound(conversation: V0Conversation, before: number): Promise<Round> {
  const { limits, repository } = conversation.context;
  const haves: ObjectId[] = [];
  for (;;) {
    const packet = await nextPacket(conversation);
    if (packet.kind === "flush" || packet.kind === "eof") return { haves, end: packet.kind };
    if (packet.kind !== "data") throw misplaced(packet.kind);
    const line = packetText(packet.payload);
    if (line === "done") return { haves, end: "done" };
    if (!line.startsWith("have ")) {
      throw new GitwharfError(
        "protocol/bad-request",
        `git upload-pack: expected SHA1 list, got '${quoteLine(line)}'`,
      );
    }
    haves.push(objectIdInLine(line, 5, repository.objectFormat));
    checkCount(before + haves.length, limits.havesMax, { limit: "havesMax", what: "haves" });
  }
}
