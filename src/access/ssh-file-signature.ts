/**
 * Signatures that `ssh-keygen -Y sign` makes, over files and, by git, over commits. Specification: OpenSSH's
 * PROTOCOL.sshsig. Not here: whose key it is.
 *
 *     OFFSET  SIZE  MEANING (inside the armour, base64)
 *          0     6  "SSHSIG"
 *          6     4  version 1
 *         10     …  strings: public key, namespace, reserved, hash algorithm, signature
 */
import { createHash } from "node:crypto";
import { fingerprintOf, parseSshPublicKey, verifySshSignature } from "./ssh-public-key.js";
import { encodeSshString, SshReader } from "./ssh-wire.js";

export interface SshSigner {
  /** `SHA256:…` */
  readonly fingerprint: string;
  readonly blob: Buffer;
}

const MAGIC = "SSHSIG";
const ARMOUR = /^-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)\n-----END SSH SIGNATURE-----\n?$/;

/** @returns the key that made it; undefined for what is no signature of this message for this purpose */
export function sshSignerOf(armoured: string, message: Buffer, namespace: string): SshSigner | undefined {
  const body = ARMOUR.exec(armoured)?.[1];
  if (body === undefined) return undefined;
  const bytes = Buffer.from(body, "base64");
  if (bytes.toString("latin1", 0, MAGIC.length) !== MAGIC) return undefined;
  try {
    const reader = new SshReader(bytes.subarray(MAGIC.length));
    if (reader.uint32() !== 1) return undefined;
    const key = parseSshPublicKey(reader.bytes());
    const madeFor = reader.text();
    const reserved = reader.bytes();
    const algorithm = reader.text();
    const signature = reader.bytes();
    reader.end();
    if (madeFor !== namespace || !["sha256", "sha512"].includes(algorithm)) return undefined;
    const signed = Buffer.concat([
      Buffer.from(MAGIC),
      encodeSshString(namespace),
      encodeSshString(reserved),
      encodeSshString(algorithm),
      encodeSshString(createHash(algorithm).update(message).digest()),
    ]);
    if (!verifySshSignature(key, signature, signed)) return undefined;
    return { fingerprint: fingerprintOf(key.blob), blob: key.blob };
  } catch {
    return undefined;
  }
}
