/**
 * SSH keys and certificates that are no longer good: in OpenSSH's binary form (KRL), or as text. The text is what
 * `ssh-keygen -k` takes as its KRL specification, one a line, and plain public keys as in OpenSSH's RevokedKeys:
 *
 *   serial: 7          a certificate by its serial number, of any trusted authority
 *   serial: 10-20      all from 10 to 20
 *   id: ada@laptop     a certificate by its key id
 *   key: ssh-…         a key, certified or not; also of an authority
 *   sha1:, sha256:     the same
 *   hash: SHA256:…     the same by its fingerprint; also with `sha256:`
 *   ssh-ed25519 AAAA…  the same as with `key:`
 *   # text             a comment, also behind what a line says
 */
import { createHash } from "node:crypto";
import { GitwharfError } from "../base/errors.js";
import type { SshCertificate } from "./ssh-certificate.js";
import { parsePublicKeyLine } from "./ssh-public-key.js";
import { isBinaryRevocations, parseBinaryRevocations, type RevokedKeys } from "./ssh-revocation-binary.js";

export interface SshRevocations {
  /** @returns why the certificate is revoked */
  findCertificate(certificate: SshCertificate): string | undefined;
  /** @param blob of a key without certificate */
  hasKey(blob: Uint8Array): boolean;
}

/** @throws server/bad-configuration: a list that is half understood revokes nothing reliably */
export function parseSshRevocations(list: Buffer | string): SshRevocations {
  const { certificates, hashes } =
    typeof list !== "string" && isBinaryRevocations(list)
      ? parseBinaryRevocations(list, sha256)
      : parseText(list.toString("utf8"));
  const hasKey = (blob: Uint8Array): boolean =>
    hashes.size > 0 &&
    (hashes.has(sha256(blob)) || hashes.has(createHash("sha1").update(blob).digest("hex")));
  return {
    hasKey,
    findCertificate(certificate) {
      const { serial, keyId, authority } = certificate;
      for (const listed of certificates) {
        if (listed.authority !== undefined && !listed.authority.equals(authority.blob)) continue;
        if (listed.hasSerial(serial)) return `its serial number ${serial} is revoked`;
        if (listed.keyIds.has(keyId)) return "its key id is revoked";
      }
      if (hasKey(certificate.publicKey.blob)) return "its key is revoked";
      if (hasKey(authority.blob)) return "its authority is revoked";
      return undefined;
    },
  };
}

/** @throws server/bad-configuration naming the line */
function parseText(text: string): RevokedKeys {
  const serials: (readonly [bigint, bigint])[] = [];
  const keyIds = new Set<string>();
  const hashes = new Set<string>();
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.replace(/#.*$/s, "").trim();
    if (line === "") continue;
    const match = /^(serial|id|key|sha1|sha256|hash)\s*:\s*(.*)$/i.exec(line);
    const value = match?.[2] ?? line;
    try {
      switch (match?.[1]?.toLowerCase()) {
        case "serial":
          serials.push(parseSerials(value));
          break;
        case "id":
          keyIds.add(value);
          break;
        case "hash":
          hashes.add(hashOfFingerprint(value));
          break;
        case "sha256":
          hashes.add(value.startsWith("SHA256:") ? hashOfFingerprint(value) : hashOfKey(value));
          break;
        default:
          hashes.add(hashOfKey(value));
      }
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : "it is malformed";
      throw new GitwharfError(
        "server/bad-configuration",
        `line ${index + 1} of the list of revoked SSH keys cannot be used: ${why}`,
        { cause },
      );
    }
  }
  const hasSerial = (serial: bigint): boolean => serials.some(([from, to]) => serial >= from && serial <= to);
  return { certificates: [{ authority: undefined, hasSerial, keyIds }], hashes };
}

export const NO_REVOCATIONS: SshRevocations = { findCertificate: () => undefined, hasKey: () => false };

function parseSerials(text: string): readonly [bigint, bigint] {
  const match = /^(0x[0-9a-f]+|[0-9]+)(?:\s*-\s*(0x[0-9a-f]+|[0-9]+))?$/i.exec(text);
  if (match?.[1] === undefined) throw new Error("a serial number is a number, or two with '-' between them");
  const from = BigInt(match[1]);
  return [from, match[2] === undefined ? from : BigInt(match[2])];
}

function hashOfFingerprint(text: string): string {
  if (!/^SHA256:[A-Za-z0-9+/]{43}$/.test(text)) throw new Error("a fingerprint is SHA256:…");
  return Buffer.from(text.slice("SHA256:".length), "base64").toString("hex");
}

function hashOfKey(text: string): string {
  const key = parsePublicKeyLine(text);
  if (key === undefined) throw new Error("there is no key");
  return sha256(key.blob);
}

function sha256(blob: Uint8Array): string {
  return createHash("sha256").update(blob).digest("hex");
}
