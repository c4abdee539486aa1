/**
 * The first message of upload-pack: refs and capabilities in v0 and v1, capabilities alone in v2.
 * Specification: gitprotocol-pack "Reference Discovery", gitprotocol-v2 "Capability Advertisement".
 */
import { isPromise } from "../../base/maybe-promise.js";
import type { Ref } from "../../storage/contracts/ref-store.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { encodePktLine, formatPktText } from "../wire/pkt-line.js";
import { formatAdvertisedRef, formatFirstAdvertisedRef, formatPeeledRef } from "../wire/ref-advertisement.js";
import { formatShallowLine } from "../wire/shallow-line.js";
import { renderedReply } from "./rendered-replies.js";
import { takeSnapshot, type UploadPackContext } from "./upload-pack-context.js";
import { v0Capabilities, v2Capabilities } from "./upload-pack-capabilities.js";
import { headAsRef, peeledOf, visibleRefs, type VisibleRefs } from "./visible-refs.js";

/** The pkt-lines of the advertisement, to be written in order. Nobody changes them: they are shared. */
export async function advertiseUploadPack(context: UploadPackContext): Promise<readonly Buffer[]> {
  if (context.version === 2) {
    const lines = ["version 2", ...v2Capabilities(context)].map((line) => formatPktText(`${line}\n`) ?? "");
    return [Buffer.from(`${lines.join("")}0000`)];
  }
  const greeting = context.version === 1 ? [encodePktLine("version 1\n")] : [];
  const snapshot = await takeSnapshot(context, { onlyRefs: true });
  try {
    const refs = visibleRefs(context, snapshot.refs);
    const first = headAsRef(refs) ?? refs.all[0];
    const capabilities = v0Capabilities(context, refs.head);
    const { objectFormat } = context.repository;
    const shallow = snapshot.shallow.size === 0 ? "" : [...snapshot.shallow].join();
    const key = `advertisement\n${context.repository.id}\n${snapshot.refs.version}\n${refs.key}\n${shallow}`;
    const rest = renderedReply(key, () => renderRest(snapshot, refs, first));
    return [
      ...greeting,
      // The capabilities may be new each time (session id); what follows them is not.
      Buffer.from(formatFirstAdvertisedRef(first, { capabilities, objectFormat })),
      isPromise(rest) ? await rest : rest,
    ];
  } finally {
    snapshot.release();
  }
}

/** Everything behind the first line. */
async function renderRest(snapshot: Snapshot, refs: VisibleRefs, first: Ref | undefined): Promise<Buffer> {
  let text = "";
  for (const ref of first === undefined || first.name !== "HEAD" ? refs.all : [first, ...refs.all]) {
    const read = peeledOf(snapshot.objects, ref);
    const line = { name: ref.name, oid: ref.oid, peeled: isPromise(read) ? await read : read };
    text += ref === first ? formatPeeledRef(line) : formatAdvertisedRef(line);
  }
  for (const oid of snapshot.shallow)
    text += formatPktText(formatShallowLine({ kind: "shallow", oid })) ?? "";
  return Buffer.from(`${text}0000`);
}
