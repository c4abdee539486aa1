/**
 * What a server says to haves. Specification: gitprotocol-pack "Packfile Negotiation", gitprotocol-v2
 * "acknowledgments".
 *
 *     NAK LF   ACK <oid> LF   ACK <oid> continue LF (multi_ack)   ACK <oid> common|ready LF (multi_ack_detailed)
 *     ready LF (v2)
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { isObjectId, type ObjectId } from "../../object/object-id.js";
import { quoteLine } from "./request-line.js";

export type Acknowledgment =
  | { readonly kind: "nak" }
  | { readonly kind: "ack"; readonly oid: ObjectId; readonly status?: "continue" | "common" | "ready" }
  /** v2: a pack follows. */
  | { readonly kind: "ready" };

/** With LF. */
export function formatAcknowledgment(acknowledgment: Acknowledgment): string {
  switch (acknowledgment.kind) {
    case "nak":
      return "NAK\n";
    case "ready":
      return "ready\n";
    case "ack": {
      const { oid, status } = acknowledgment;
      return status === undefined ? `ACK ${oid}\n` : `ACK ${oid} ${status}\n`;
    }
  }
}

/** @throws protocol/bad-request */
export function parseAcknowledgment(line: string, format: ObjectFormat): Acknowledgment {
  if (line === "NAK") return { kind: "nak" };
  if (line === "ready") return { kind: "ready" };
  const [ack, oid = "", status, ...rest] = line.split(" ");
  const known = status === undefined || status === "continue" || status === "common" || status === "ready";
  if (ack !== "ACK" || !isObjectId(oid, format) || !known || rest.length > 0) {
    throw new GitwharfError("protocol/bad-request", `'${quoteLine(line)}' is no acknowledgment`);
  }
  return status === undefined ? { kind: "ack", oid } : { kind: "ack", oid, status };
}
