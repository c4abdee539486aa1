/**
 * SSH public keys: read, named by their fingerprints, and asked whether they made a signature. Not here: private keys.
 * Specification: RFC 4253 (section 6.6), RFC 5656, RFC 8332, RFC 8709, OpenSSH's PROTOCOL.u2f.
 *
 * SHA-1 signatures (`ssh-rsa`), DSA and RSA keys of fewer than 2,048 bits are refused.
 */
import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { GitwharfError } from "../base/errors.js";
import { malformed, SshReader } from "./ssh-wire.js";

export interface SshPublicKey {
  /** `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`, … */
  readonly type: string;
  readonly blob: Buffer;
  readonly key: KeyObject;
  /** Of a key in a security device: what signatures are bound to. */
  readonly application?: string;
}

const RSA_BITS_MIN = 2048;
const RSA_BITS_MAX = 16_384;
/** Flags of a security device's signature. */
const USER_PRESENT = 1;
const USER_VERIFIED = 4;
const CURVES: Readonly<
  Record<string, { readonly jwk: string; readonly bytes: number; readonly hash: string }>
> = {
  nistp256: { jwk: "P-256", bytes: 32, hash: "sha256" },
  nistp384: { jwk: "P-384", bytes: 48, hash: "sha384" },
  nistp521: { jwk: "P-521", bytes: 66, hash: "sha512" },
};

/** @throws access/malformed-key */
export function parseSshPublicKey(blob: Uint8Array): SshPublicKey {
  const reader = new SshReader(blob);
  const type = reader.text();
  const key = readKeyFields(type, reader);
  reader.end();
  return { type, blob: Buffer.from(blob), ...key };
}

/**
 * The fields that make a key of `type`, wherever they stand (a certificate has them in its middle).
 * @throws access/malformed-key
 */
export function readKeyFields(type: string, reader: SshReader): Pick<SshPublicKey, "key" | "application"> {
  switch (type) {
    case "ssh-ed25519":
      return { key: ed25519(reader) };
    case "sk-ssh-ed25519@openssh.com":
      return { key: ed25519(reader), application: reader.text() };
    case "ecdsa-sha2-nistp256":
    case "ecdsa-sha2-nistp384":
    case "ecdsa-sha2-nistp521":
      return { key: ecdsa(reader, type.slice("ecdsa-sha2-".length)) };
    case "sk-ecdsa-sha2-nistp256@openssh.com":
      return { key: ecdsa(reader, "nistp256"), application: reader.text() };
    case "ssh-rsa":
      return { key: rsa(reader) };
    default:
      throw malformed(`keys of type '${printable(type)}' are not supported`);
  }
}

/**
 * @param signature as RFC 4253 has it: the name of the algorithm and the algorithm's own bytes
 * @returns false for any signature that the key did not make, malformed ones among them
 */
export function verifySshSignature(key: SshPublicKey, signature: Uint8Array, signed: Uint8Array): boolean {
  try {
    const reader = new SshReader(signature);
    const algorithm = reader.text();
    const bytes = reader.bytes();
    if (key.application !== undefined) {
      if (algorithm !== key.type) return false;
      const flags = reader.uint8();
      const counter = reader.uint32();
      reader.end();
      return verifyFromDevice(key, key.application, { bytes, flags, counter }, signed);
    }
    reader.end();
    return verifyRaw(key, algorithm, bytes, signed);
  } catch {
    return false;
  }
}

/**
 * True when a security device says, in a signature of it that has been verified, that it has verified its user: by a PIN
 * or a finger. That somebody has touched it, every signature of a device must say.
 */
export function isVerifiedByDevice(key: SshPublicKey, signature: Uint8Array): boolean {
  if (key.application === undefined) return false;
  const reader = new SshReader(signature);
  reader.bytes();
  reader.bytes();
  return (reader.uint8() & USER_VERIFIED) !== 0;
}

/** Signature algorithms by which a key of `type` may sign. */
export function signatureAlgorithmsOf(type: string): readonly string[] {
  return type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256"] : [type];
}

/** All of them, for `server-sig-algs`. */
export const SIGNATURE_ALGORITHMS = [
  "ssh-ed25519",
  "sk-ssh-ed25519@openssh.com",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "sk-ecdsa-sha2-nistp256@openssh.com",
  "rsa-sha2-512",
  "rsa-sha2-256",
] as const;

/** `SHA256:…`, as OpenSSH prints it. */
export function fingerprintOf(blob: Uint8Array): string {
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

/** The older fingerprint: MD5 as 32 hexadecimal digits without colons. */
export function md5FingerprintOf(blob: Uint8Array): string {
  return createHash("md5").update(blob).digest("hex");
}

/** As it stands in `authorized_keys`, without options and comment. */
export function authorizedKeysLine(key: Pick<SshPublicKey, "type" | "blob">): string {
  return `${key.type} ${key.blob.toString("base64")}`;
}

/**
 * One line of an `authorized_keys` or `.pub` file. Options before the key are not looked at.
 * @returns undefined for an empty line and a comment
 * @throws access/malformed-key
 */
export function parseAuthorizedKeysLine(line: string): SshPublicKey | undefined {
  const text = line.trim();
  if (text === "" || text.startsWith("#")) return undefined;
  const match = /(?:^|\s)((?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+)\s+([A-Za-z0-9+/]+={0,2})(?:\s|$)/.exec(text);
  if (match === null) throw malformed("write it as `TYPE BASE64`, the form of a .pub file");
  const key = parseSshPublicKey(Buffer.from(match[2] ?? "", "base64"));
  if (key.type !== match[1]) throw malformed(`it says '${match[1]}' and is a key of type '${key.type}'`);
  return key;
}

/**
 * The same of a line with nothing before the key: options narrow what a key is good for, and nobody here heeds them.
 * @throws access/malformed-key
 */
export function parsePublicKeyLine(line: string): SshPublicKey | undefined {
  const key = parseAuthorizedKeysLine(line);
  if (key !== undefined && !line.trim().startsWith(key.type))
    throw malformed("options before a key are not taken; write it as `TYPE BASE64`, the form of a .pub file");
  return key;
}

function verifyRaw(key: SshPublicKey, algorithm: string, bytes: Buffer, signed: Uint8Array): boolean {
  if (!signatureAlgorithmsOf(key.type).includes(algorithm)) return false;
  switch (algorithm) {
    case "ssh-ed25519":
      return verify(null, signed, key.key, bytes);
    case "rsa-sha2-256":
      return verify("sha256", signed, key.key, bytes);
    case "rsa-sha2-512":
      return verify("sha512", signed, key.key, bytes);
    default:
      return verifyEcdsa(key.key, algorithm.slice("ecdsa-sha2-".length), bytes, signed);
  }
}

/** A device signs the hash of what it was asked for, its flags and a counter. */
function verifyFromDevice(
  key: SshPublicKey,
  application: string,
  signature: { readonly bytes: Buffer; readonly flags: number; readonly counter: number },
  signed: Uint8Array,
): boolean {
  if ((signature.flags & USER_PRESENT) === 0) return false;
  const state = Buffer.alloc(5);
  state.writeUInt8(signature.flags);
  state.writeUInt32BE(signature.counter, 1);
  const sha256 = (bytes: string | Uint8Array): Buffer => createHash("sha256").update(bytes).digest();
  const message = Buffer.concat([sha256(application), state, sha256(signed)]);
  return key.type.startsWith("sk-ssh-ed25519")
    ? verify(null, message, key.key, signature.bytes)
    : verifyEcdsa(key.key, "nistp256", signature.bytes, message);
}

function verifyEcdsa(key: KeyObject, curveName: string, bytes: Buffer, signed: Uint8Array): boolean {
  const curve = CURVES[curveName];
  if (curve === undefined) return false;
  const reader = new SshReader(bytes);
  const [r, s] = [reader.unsigned(), reader.unsigned()];
  reader.end();
  if (r.length > curve.bytes || s.length > curve.bytes) return false;
  const fixed = Buffer.alloc(2 * curve.bytes);
  r.copy(fixed, curve.bytes - r.length);
  s.copy(fixed, 2 * curve.bytes - s.length);
  return verify(curve.hash, signed, { key, dsaEncoding: "ieee-p1363" }, fixed);
}

function ed25519(reader: SshReader): KeyObject {
  const x = reader.bytes();
  if (x.length !== 32) throw malformed("an Ed25519 key has 32 bytes");
  return fromJwk({ kty: "OKP", crv: "Ed25519", x: x.toString("base64url") });
}

function ecdsa(reader: SshReader, expected: string): KeyObject {
  const name = reader.text();
  const curve = CURVES[name];
  if (curve === undefined || name !== expected)
    throw malformed("its curve is not the one that its type names");
  const point = reader.bytes();
  if (point.length !== 1 + 2 * curve.bytes || point[0] !== 4) throw malformed("its point is malformed");
  return fromJwk({
    kty: "EC",
    crv: curve.jwk,
    x: point.subarray(1, 1 + curve.bytes).toString("base64url"),
    y: point.subarray(1 + curve.bytes).toString("base64url"),
  });
}

function rsa(reader: SshReader): KeyObject {
  const e = reader.unsigned();
  const n = reader.unsigned();
  const bits = n.length === 0 ? 0 : n.length * 8 - Math.clz32(n[0] ?? 0) + 24;
  if (bits < RSA_BITS_MIN)
    throw malformed(`RSA keys need at least ${RSA_BITS_MIN} bits, this one has ${bits}`);
  // A large exponent makes every verification slow.
  if (bits > RSA_BITS_MAX || e.length > 4) throw malformed("its numbers are too large");
  return fromJwk({ kty: "RSA", n: n.toString("base64url"), e: e.toString("base64url") });
}

function fromJwk(jwk: Record<string, string>): KeyObject {
  try {
    return createPublicKey({ key: jwk, format: "jwk" });
  } catch (cause) {
    throw malformed("its numbers make no key", cause);
  }
}

function printable(text: string): string {
  return JSON.stringify(text.slice(0, 60)).slice(1, -1);
}

/** True for an error that says that a key cannot be used. */
export function isMalformedKey(error: unknown): boolean {
  return error instanceof GitwharfError && error.code === "access/malformed-key";
}
