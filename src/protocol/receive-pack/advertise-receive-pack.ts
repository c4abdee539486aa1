/**
 * The first message of receive-pack: refs, `.have` lines, capabilities.
 * Specification: gitprotocol-pack "Reference Discovery", gitprotocol-capabilities.
 */
import { LRUCache } from "lru-cache";
import { cacheOfProcess } from "../../base/process-caches.js";
import { nullObjectId } from "../../object/object-id.js";
import { hiddenRefsKey } from "../hidden-refs.js";
import { encodePktLine, FLUSH } from "../wire/pkt-line.js";
import { formatNonce } from "./certificate-nonce.js";
import { hiddenRefsOf, type ReceivePackContext } from "./receive-pack-context.js";

/** Everything behind the first line, whose capabilities may be new each time. */
const rendered = cacheOfProcess(
  new LRUCache<string, Buffer>({
    maxSize: 32 * 1024 * 1024,
    sizeCalculation: (b) => b.length + 256,
  }),
);

/** The pkt-lines of the advertisement, to be written in order. */
export async function advertiseReceivePack(context: ReceivePackContext): Promise<readonly Buffer[]> {
  const { repository, settings } = context;
  const snapshot = await repository.snapshot({ onlyRefs: true });
  try {
    const isHidden = hiddenRefsOf(context);
    const visible =
      settings.receive.hideRefs.length === 0 && context.isHiddenRef === undefined
        ? snapshot.refs.all
        : snapshot.refs.all.filter((ref) => !isHidden(ref.name));
    const shown = new Set(visible.map((ref) => ref.oid));
    const haves = [...new Set(snapshot.alternateTips)].filter((oid) => !shown.has(oid));
    const lines = [...haves.map((oid) => `${oid} .have`), ...visible.map((ref) => `${ref.oid} ${ref.name}`)];
    const [first = `${nullObjectId(repository.objectFormat)} capabilities^{}`] = lines;
    // The version counts the tips of alternates in.
    const key = `${repository.id}\n${snapshot.version}\n${hiddenRefsKey(settings.receive.hideRefs, context.isHiddenRef)}`;
    let rest = rendered.get(key);
    if (rest === undefined) {
      const shallow = [...snapshot.shallow].map((oid) => encodePktLine(`shallow ${oid}`));
      rest = Buffer.concat([...lines.slice(1).map((line) => encodePktLine(`${line}\n`)), ...shallow, FLUSH]);
      rendered.set(key, rest);
    }
    const greeting = context.version === 1 ? [encodePktLine("version 1\n")] : [];
    return [...greeting, encodePktLine(`${first}\0${receivePackCapabilities(context)}\n`), rest];
  } finally {
    snapshot.release();
  }
}

function receivePackCapabilities(context: ReceivePackContext): string {
  const { receive, transfer } = context.settings;
  const seed = receive.certNonceSeed;
  const nonce =
    seed === undefined
      ? undefined
      : formatNonce({
          seed,
          repositoryId: context.repository.name,
          nowSeconds: Math.floor(Date.now() / 1000),
        });
  return [
    "report-status report-status-v2 delete-refs side-band-64k quiet",
    ...(receive.advertiseAtomic ? ["atomic"] : []),
    "ofs-delta",
    ...(nonce === undefined ? [] : [`push-cert=${nonce}`]),
    ...(receive.advertisePushOptions ? ["push-options"] : []),
    ...(transfer.advertiseSid ? [`session-id=${context.sessionId}`] : []),
    `object-format=${context.repository.objectFormat}`,
    `agent=${context.agent}`,
  ].join(" ");
}
