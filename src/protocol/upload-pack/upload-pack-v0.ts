/**
 * upload-pack in versions 0 and 1: wants, haves with their ACKs, pack. Specification: gitprotocol-pack.
 *
 *     wants ──flush──► [shallow lines] ──► haves ⇄ ACKs ──done (or no-done)──► pack
 *
 * In stateless RPC each round is a request of its own, which repeats the wants and all that is common so far.
 */
import { inStep } from "../../base/activity.js";
import { GitwharfError } from "../../base/errors.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { checkFetchRequest } from "../wire/fetch-request.js";
import { encodePktLine, FLUSH, packetText } from "../wire/pkt-line.js";
import { formatShallowLine } from "../wire/shallow-line.js";
import { createSideBandWriter, SIDE_BAND_64K_BYTES_MAX, SIDE_BAND_BYTES_MAX } from "../wire/side-band.js";
import { createUploadRequest, takeUploadRequestLine, type UploadRequest } from "../wire/upload-request.js";
import { allowedFilter } from "./allowed-filter.js";
import { checkWants } from "./check-wants.js";
import { negotiateV0 } from "./negotiate-v0.js";
import { resolveShallow } from "./resolve-shallow.js";
import { sendPack } from "./send-pack.js";
import { takeSnapshot } from "./upload-pack-context.js";
import { misplaced, nextPacket, type V0Conversation } from "./v0-conversation.js";
import { visibleRefs } from "./visible-refs.js";

export async function serveUploadPackV0(conversation: V0Conversation): Promise<void> {
  const request = await readUploadRequest(conversation);
  if (request === undefined) return;
  const snapshot = await takeSnapshot(conversation.context);
  try {
    await answer(conversation, snapshot, request);
  } finally {
    snapshot.release();
  }
}

/** undefined: the client wanted nothing. */
async function readUploadRequest(conversation: V0Conversation): Promise<UploadRequest | undefined> {
  const { context } = conversation;
  const request = createUploadRequest();
  const lineContext = { objectFormat: context.repository.objectFormat, limits: context.limits };
  const { wants } = request.fetch;
  for (;;) {
    const packet = await nextPacket(conversation);
    if (packet.kind === "data") takeUploadRequestLine(request, packetText(packet.payload), lineContext);
    else if (packet.kind === "flush") break;
    else if (packet.kind !== "eof") throw misplaced(packet.kind);
    else if (wants.size === 0) return undefined;
    else throw new GitwharfError("base/truncated", "the request ends before its wants do");
  }
  if (wants.size === 0) return undefined;
  checkFetchRequest(request.fetch);
  return request;
}

async function answer(
  conversation: V0Conversation,
  snapshot: Snapshot,
  { fetch, capabilities = new Map() }: UploadRequest,
): Promise<void> {
  const { context, output, statelessRpc } = conversation;
  const refs = visibleRefs(context, snapshot.refs);
  const filter = allowedFilter(context, fetch.filterSpec);
  await checkWants({ context, snapshot, refs, statelessRpc }, fetch.wants);
  await context.beforeUpload?.(fetch.wants);
  const boundary = await resolveShallow({ context, snapshot, refs, request: fetch });
  if (boundary !== undefined) {
    const lines = [
      ...boundary.shallow.map((oid) => encodePktLine(formatShallowLine({ kind: "shallow", oid }))),
      ...boundary.unshallow.map((oid) => encodePktLine(formatShallowLine({ kind: "unshallow", oid }))),
      FLUSH,
    ];
    // In one piece: there may be more of them than a call takes arguments.
    await output.write(Buffer.concat(lines));
  }
  const negotiated = await inStep(context.activity, "negotiate", () =>
    negotiateV0(conversation, { snapshot, refs, request: fetch, capabilities }),
  );
  if (negotiated === undefined) return;
  const { commons } = negotiated;
  const dataBytesMax = capabilities.has("side-band-64k")
    ? SIDE_BAND_64K_BYTES_MAX
    : capabilities.has("side-band")
      ? SIDE_BAND_BYTES_MAX
      : undefined;
  const bands = dataBytesMax === undefined ? undefined : createSideBandWriter(output, { dataBytesMax });
  await sendPack({ context, snapshot, refs, request: fetch, filter, commons, boundary, output, bands });
}
