/** A client of version 0 or 1 on the other end, and what both of its phases need. */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import type { Packet, PktLineReader } from "../wire/pkt-line.js";
import type { GatheringSink } from "./gathering-sink.js";
import type { UploadPackContext } from "./upload-pack-context.js";

export interface V0Conversation {
  readonly context: UploadPackContext;
  readonly reader: PktLineReader;
  readonly output: GatheringSink;
  /** Each round of the negotiation is a request of its own. */
  readonly statelessRpc: boolean;
}

/** The next packet. What was said is out before the client is waited for. */
export async function nextPacket({ reader, output }: V0Conversation): Promise<Packet> {
  const next = reader.next();
  if (!isPromise(next)) return next;
  const [packet] = await Promise.all([next, output.flush()]);
  return packet;
}

export function misplaced(kind: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", `a ${kind} packet has no place in a request of version 0`);
}
