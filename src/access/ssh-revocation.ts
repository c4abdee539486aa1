/**
 * SSH keys and certificates that are no longer good. The text is what `ssh-keygen -k` takes as its KRL specification,
 * one a line, and plain public keys as in OpenSSH's RevokedKeys:
 *
 *   serial: 7          a certificate by its serial number, of any trusted authority
 *   serial: 10-20      all from 10 to 20
 *   id: ada@laptop     a certificate by its key id
 *   key: ssh-…         a key, certified or not; also of an authority
 *   sha256: SHA256:…   the same by its fingerprint; `hash:` is another name for it
 *   ssh-ed25519 AAAA…  the same as with `key:`
 *
 * Not here: the binary form (KRL) that ssh-keygen makes of it.
 */
import { GitwharfError } from "../base/errors.js";
import type { SshCertificate } from "./ssh-certificate.js";
import { fingerprintOf, parseAuthorizedKeysLine } from "./ssh-public-key.js";

export interface SshRevocations {
  /** @returns why the certificate is revoked */
  findCertificate(certificate: SshCertificate): string | undefined;
  /** @param blob of a key without certificate */
  hasKey(blob: Uint8Array): boolean;
}

/** @throws server/bad-configuration naming the line: a list that is half understood revokes nothing reliably */
export function parseSshRevocations(text: string): SshRevocations {
  const serials: (readonly [bigint, bigint])[] = [];
  const keyIds = new Set<string>();
  const fingerprints = new Set<string>();
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const match = /^(serial|id|key|sha256|hash)\s*:\s*(.*)$/i.exec(line);
    const value = match?.[2] ?? line;
    try {
      switch (match?.[1]?.toLowerCase()) {
        case "serial":
          serials.push(parseSerials(value));
          break;
        case "id":
          keyIds.add(value);
          break;
        case "sha256":
        case "hash":
          if (!/^SHA256:[A-Za-z0-9+/]{43}$/.test(value)) throw new Error("a fingerprint is SHA256:…");
          fingerprints.add(value);
          break;
        default: {
          const key = parseAuthorizedKeysLine(value);
          if (key !== undefined) fingerprints.add(fingerprintOf(key.blob));
        }
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
  const hasKey = (blob: Uint8Array): boolean =>
    fingerprints.size > 0 && fingerprints.has(fingerprintOf(blob));
  return {
    hasKey,
    findCertificate(certificate) {
      if (serials.some(([from, to]) => certificate.serial >= from && certificate.serial <= to)) {
        return `its serial number ${certificate.serial} is revoked`;
      }
      if (keyIds.has(certificate.keyId)) return "its key id is revoked";
      if (hasKey(certificate.publicKey.blob)) return "its key is revoked";
      if (hasKey(certificate.authority.blob)) return "its authority is revoked";
      return undefined;
    },
  };
}

export const NO_REVOCATIONS: SshRevocations = { findCertificate: () => undefined, hasKey: () => false };

function parseSerials(text: string): readonly [bigint, bigint] {
  const match = /^(0x[0-9a-f]+|[0-9]+)(?:\s*-\s*(0x[0-9a-f]+|[0-9]+))?$/i.exec(text);
  if (match?.[1] === undefined) throw new Error("a serial number is a number, or two with '-' between them");
  const from = BigInt(match[1]);
  return [from, match[2] === undefined ? from : BigInt(match[2])];
}
