/** A push certificate as handlers see it: nonce judged, stored as a blob, verified by the application. */
import { createHash } from "node:crypto";
import { DEFAULT_LIMITS } from "../../base/limits.js";
import { ingestPack } from "../../engine/ingest/ingest-pack.js";
import type { PushCertificate, PushCertificateVerification } from "../../engine/push.js";
import { hashObject } from "../../object/object-id.js";
import { formatEntry, formatPackHeader } from "../../pack/pack-writer.js";
import type { Quarantine } from "../../storage/contracts/quarantine.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { checkNonce, formatNonce } from "./certificate-nonce.js";
import type { RawCertificate } from "./push-request.js";
import type { ReceivePackContext } from "./receive-pack-context.js";

export async function openCertificate(
  context: ReceivePackContext,
  raw: RawCertificate,
  about: { readonly quarantine: Quarantine; readonly snapshot: Snapshot; readonly statelessRpc: boolean },
): Promise<PushCertificate> {
  const { receive } = context.settings;
  const whole = Buffer.concat([raw.payload, raw.signature]);
  await storeBlob(context, about, whole);
  const nonce = {
    seed: receive.certNonceSeed ?? "",
    repositoryId: context.repository.name,
    nowSeconds: Math.floor(Date.now() / 1000),
  };
  const judged = checkNonce(raw.nonce, {
    ...nonce,
    slopSeconds: receive.certNonceSlopSeconds,
    statelessRpc: about.statelessRpc,
  });
  const certificate: PushCertificate = {
    payload: raw.payload,
    signature: raw.signature,
    pusher: raw.pusher,
    nonce: raw.nonce,
    nonceIssued: judged.nonceStatus === "OK" ? raw.nonce : formatNonce(nonce),
    ...judged,
    blobOid: hashObject(context.repository.objectFormat, "blob", whole),
  };
  const verification = await verify(context, certificate);
  return verification === undefined ? certificate : { ...certificate, verification };
}

/** A callback that throws has verified nothing: "E" is git's letter for a signature that cannot be checked. */
async function verify(
  context: ReceivePackContext,
  certificate: PushCertificate,
): Promise<PushCertificateVerification | undefined> {
  try {
    return await context.verifyPushCertificate?.(certificate);
  } catch (error) {
    context.onHandlerError("verifyPushCertificate", error);
    return { status: "E" };
  }
}

/** Through the same gate as everything else that is written: a pack of one object. */
async function storeBlob(
  context: ReceivePackContext,
  about: { readonly quarantine: Quarantine; readonly snapshot: Snapshot },
  data: Buffer,
): Promise<void> {
  const { objectFormat } = context.repository;
  const body = Buffer.concat([formatPackHeader(1), formatEntry("blob", data)]);
  const pack = Buffer.concat([body, createHash(objectFormat).update(body).digest()]);
  await ingestPack({
    quarantine: about.quarantine,
    objects: about.snapshot.objects,
    source: (async function* () {
      yield await Promise.resolve(pack);
    })(),
    objectFormat,
    // It has been held to a limit of its own (`certificateBytesMax`).
    limits: DEFAULT_LIMITS,
    collisionDetection: context.collisionDetection,
    maxInputSizeBytes: Infinity,
    signal: context.signal,
  });
}
