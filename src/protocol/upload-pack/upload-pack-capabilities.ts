/**
 * What upload-pack says it can do, by version. Only what is handled; docs/protocol-support.md is the table, and a
 * test compares it with this. Specification: gitprotocol-capabilities, gitprotocol-v2.
 */
import type { Head } from "../../storage/contracts/ref-store.js";
import { capabilityToken } from "../capabilities.js";
import type { UploadPackContext } from "./upload-pack-context.js";

/** v0 and v1: one line, in git's order. */
export function v0Capabilities(context: UploadPackContext, head: Head): string {
  const { uploadPack, transfer } = context.settings;
  const any = uploadPack.allowAnySha1InWant;
  const symref = head.oid === undefined ? undefined : head.symbolicTarget;
  return [
    "multi_ack thin-pack side-band side-band-64k ofs-delta shallow deepen-since deepen-not deepen-relative",
    "no-progress include-tag multi_ack_detailed",
    ...(any || uploadPack.allowTipSha1InWant ? ["allow-tip-sha1-in-want"] : []),
    ...(any || uploadPack.allowReachableSha1InWant ? ["allow-reachable-sha1-in-want"] : []),
    "no-done",
    ...(symref === undefined ? [] : [`symref=HEAD:${symref}`]),
    ...(uploadPack.allowFilter ? ["filter"] : []),
    ...(transfer.advertiseSid ? [`session-id=${capabilityToken(context.sessionId)}`] : []),
    `object-format=${context.repository.objectFormat}`,
    `agent=${capabilityToken(context.agent)}`,
  ].join(" ");
}

/** Features of the v2 command `fetch` that depend on settings. */
export function fetchFeatures({ settings, packfileUris, repository }: UploadPackContext): {
  readonly filter: boolean;
  readonly refInWant: boolean;
  readonly sidebandAll: boolean;
  readonly packfileUris: boolean;
} {
  const { allowFilter, allowRefInWant } = settings.uploadPack;
  return {
    filter: allowFilter,
    refInWant: allowRefInWant,
    sidebandAll: true,
    packfileUris: packfileUris !== undefined && repository.addressOfPack !== undefined,
  };
}

/** v2: a line each. */
export function v2Capabilities(context: UploadPackContext): readonly string[] {
  const { transfer, lsRefs } = context.settings;
  const features = fetchFeatures(context);
  const fetch = [
    "shallow",
    "wait-for-done",
    ...(features.filter ? ["filter"] : []),
    ...(features.refInWant ? ["ref-in-want"] : []),
    ...(features.sidebandAll ? ["sideband-all"] : []),
    ...(features.packfileUris ? ["packfile-uris"] : []),
  ];
  return [
    `agent=${capabilityToken(context.agent)}`,
    lsRefs.unborn === "advertise" ? "ls-refs=unborn" : "ls-refs",
    `fetch=${fetch.join(" ")}`,
    "server-option",
    `object-format=${context.repository.objectFormat}`,
    ...(transfer.advertiseSid ? [`session-id=${capabilityToken(context.sessionId)}`] : []),
    ...(transfer.advertiseObjectInfo ? ["object-info=size"] : []),
    ...(offersBundles(context) ? ["bundle-uri"] : []),
  ];
}

/** Capabilities of v2 that a client may send with a command. */
export function v2RequestCapabilities({ settings }: UploadPackContext): ReadonlySet<string> {
  const names = ["agent", "server-option", "object-format"];
  return new Set(settings.transfer.advertiseSid ? [...names, "session-id"] : names);
}

/** Bundles know no refs: to who may not see all of them they would give out what is hidden. */
export function offersBundles({ settings, isHiddenRef, bundles, repository }: UploadPackContext): boolean {
  const makesSome = bundles !== undefined && repository.bundles !== undefined;
  return (settings.uploadPack.advertiseBundleUris || makesSome) && isHiddenRef === undefined;
}
