/** A push as bytes: commands and a pack made by hand, for what no git client would send. */
import { createHash } from "node:crypto";
import { formatEntry, formatPackHeader } from "../../src/pack/pack-writer.js";
import { hashObject } from "../../src/object/object-id.js";
import { pktLine } from "./raw-http.js";

export const NULL_OID = "0".repeat(40);
export const RECEIVE_PACK_TYPE = "application/x-git-receive-pack-request";
export const UPLOAD_PACK_TYPE = "application/x-git-upload-pack-request";

export interface RawCommand {
  readonly oldOid?: string;
  readonly newOid: string;
  readonly name: string;
}

/** The commands with their flush. */
export function formatCommands(commands: readonly RawCommand[], capabilities = "report-status"): string {
  return `${commands
    .map(({ oldOid = NULL_OID, newOid, name }, i) =>
      pktLine(`${oldOid} ${newOid} ${name}${i === 0 ? `\0${capabilities}` : ""}`),
    )
    .join("")}0000`;
}

/** With the right trailer behind it. */
export function sealPack(count: number, ...entries: readonly Buffer[]): Buffer {
  const body = Buffer.concat([formatPackHeader(count), ...entries]);
  return Buffer.concat([body, createHash("sha1").update(body).digest()]);
}

export function packOfBlobs(...blobs: readonly (Buffer | string)[]): Buffer {
  return sealPack(blobs.length, ...blobs.map((blob) => formatEntry("blob", Buffer.from(blob))));
}

export function blobOid(data: Buffer | string): string {
  return hashObject("sha1", "blob", Buffer.from(data));
}

/** A push that makes `refs/tags/NAME` name a blob of its own pack. */
export function pushOfBlob(name: string, blob: Buffer | string, capabilities?: string): Buffer {
  const commands = formatCommands([{ newOid: blobOid(blob), name: `refs/tags/${name}` }], capabilities);
  return Buffer.concat([Buffer.from(commands), packOfBlobs(blob)]);
}
