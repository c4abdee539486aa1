/**
 * The first message of upload-pack: refs and capabilities in v0 and v1, capabilities alone in v2.
 * Specification: gitprotocol-pack "Reference Discovery", gitprotocol-v2 "Capability Advertisement".
 */
import { LRUCache } from "lru-cache";
import { nullObjectId } from "../../object/object-id.js";
import { encodePktLine, FLUSH } from "../wire/pkt-line.js";
import { peeledOf, visibleRefs } from "./visible-refs.js";
import type { UploadPackContext } from "./upload-pack-context.js";

/** Rendered advertisements; the key names all that they depend on. */
const rendered = new LRUCache<string, Buffer>({ maxSize: 64 * 1024 * 1024, sizeCalculation: (b) => b.length + 256 });

/** The pkt-lines of the advertisement, to be written in order. */
export async function advertiseUploadPack(context: UploadPackContext): Promise<readonly Buffer[]> {
  if (context.version === 2) return [Buffer.concat(capabilityLines(context))];
  const greeting = context.version === 1 ? [encodePktLine("version 1\n")] : [];
  const snapshot = await context.repository.snapshot();
  try {
    const { hideRefs } = context.settings.uploadPack;
    const capabilities = v0Capabilities(context);
    const sessionFree = capabilities.replace(/ session-id=\S+/, "");
    const key = `${context.repository.id}\n${snapshot.refs.version}\n${[...snapshot.shallow].join()}\n${hideRefs.join()}\n${sessionFree}`;
    const cached = sessionFree === capabilities ? rendered.get(key) : undefined;
    if (cached !== undefined) return [...greeting, cached];
    const refs = visibleRefs(snapshot, hideRefs);
    const lines: Buffer[] = [];
    const add = (oid: string, name: string, symrefs = ""): void => {
      const tail = lines.length === 0 ? `\0${capabilities}${symrefs}` : "";
      lines.push(encodePktLine(`${oid} ${name}${tail}\n`));
    };
    if (refs.head.oid !== undefined) {
      const target = refs.head.symbolicTarget;
      add(refs.head.oid, "HEAD", target === undefined ? "" : ` symref=HEAD:${target}`);
    }
    for (const ref of refs.all) {
      add(ref.oid, ref.name);
      const peeled = await peeledOf(snapshot, ref);
      if (peeled !== undefined) add(peeled, `${ref.name}^{}`);
    }
    if (lines.length === 0) add(nullObjectId(context.repository.objectFormat), "capabilities^{}");
    for (const oid of snapshot.shallow) lines.push(encodePktLine(`shallow ${oid}`));
    lines.push(FLUSH);
    const bytes = Buffer.concat(lines);
    if (sessionFree === capabilities) rendered.set(key, bytes);
    return [...greeting, bytes];
  } finally {
    snapshot.release();
  }
}

/** Capabilities of v0 and v1, in git's order. */
export function v0Capabilities(context: UploadPackContext): string {
  const { uploadPack, transfer } = context.settings;
  const any = uploadPack.allowAnySha1InWant;
  return [
    "multi_ack thin-pack side-band side-band-64k ofs-delta shallow deepen-since deepen-not deepen-relative",
    "no-progress include-tag multi_ack_detailed no-done",
    ...(any || uploadPack.allowTipSha1InWant ? ["allow-tip-sha1-in-want"] : []),
    ...(any || uploadPack.allowReachableSha1InWant ? ["allow-reachable-sha1-in-want"] : []),
    ...(uploadPack.allowFilter ? ["filter"] : []),
    ...(transfer.advertiseSid ? [`session-id=${context.sessionId}`] : []),
    `object-format=${context.repository.objectFormat}`,
    `agent=${context.agent}`,
  ].join(" ");
}

/** The capabilities of v2, one a line, and a flush. */
function capabilityLines(context: UploadPackContext): Buffer[] {
  const { uploadPack, transfer, lsRefs } = context.settings;
  const fetch = [
    "shallow",
    "wait-for-done",
    ...(uploadPack.allowFilter ? ["filter"] : []),
    ...(uploadPack.allowRefInWant ? ["ref-in-want"] : []),
    "sideband-all",
  ];
  const lines = [
    "version 2",
    `agent=${context.agent}`,
    lsRefs.unborn === "advertise" ? "ls-refs=unborn" : "ls-refs",
    `fetch=${fetch.join(" ")}`,
    "server-option",
    `object-format=${context.repository.objectFormat}`,
    ...(transfer.advertiseSid ? [`session-id=${context.sessionId}`] : []),
    ...(transfer.advertiseObjectInfo ? ["object-info"] : []),
    ...(uploadPack.advertiseBundleUris ? ["bundle-uri"] : []),
  ];
  return [...lines.map((line) => encodePktLine(`${line}\n`)), FLUSH];
}

