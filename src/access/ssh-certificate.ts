/**
 * OpenSSH user certificates: parsed, and judged by who signed them, for whom, for how long and for which addresses.
 * Specification: OpenSSH's PROTOCOL.certkeys.
 *
 *   FIELD               TYPE
 *   type                string, `ssh-ed25519-cert-v01@openssh.com`
 *   nonce               string
 *   the public key      as in a key of that type
 *   serial              uint64
 *   kind                uint32, 1 for users
 *   key id              string
 *   principals          string of strings
 *   valid after, before uint64 each, seconds since 1970
 *   critical options    string of names and values
 *   extensions          string of names and values
 *   reserved            string
 *   signature key       string
 *   signature           string, over all before it
 */
import { BlockList, isIP } from "node:net";
import { GitwharfError } from "../base/errors.js";
import { parseSshPublicKey, readKeyFields, type SshPublicKey, verifySshSignature } from "./ssh-public-key.js";
import type { SshRevocations } from "./ssh-revocation.js";
import { encodeSshString, malformed, SshReader } from "./ssh-wire.js";

export interface SshCertificate {
  /** The key that the certificate speaks of. */
  readonly publicKey: SshPublicKey;
  readonly serial: bigint;
  readonly keyId: string;
  readonly principals: readonly string[];
  /** Seconds since 1970. */
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  readonly criticalOptions: ReadonlyMap<string, Buffer>;
  readonly extensions: ReadonlyMap<string, Buffer>;
  readonly authority: SshPublicKey;
}

/** What a certificate that was found good allows. */
export interface SshCertificateGrant {
  /** The principal that let it in. */
  readonly principal: string;
  /** Runs in place of the command that the client asks for. */
  readonly forceCommand: string | undefined;
}

export interface SshCertificateCheck {
  readonly authorities: readonly SshPublicKey[];
  readonly revocations: SshRevocations;
  /** The certificate must name one of these. */
  readonly principals: readonly string[];
  readonly address: string | undefined;
  /** @see isVerifiedByDevice of ssh-public-key.ts */
  readonly isVerifiedByDevice: boolean;
  /** Milliseconds since 1970. */
  readonly now: number;
}

const SUFFIX = "-cert-v01@openssh.com";
const KIND_USER = 1;
const PRINCIPALS_MAX = 256;
const OPTIONS_MAX = 64;

/** `ssh-rsa-cert-v01@openssh.com` and its like; also `rsa-sha2-512-cert-v01@openssh.com`, which names an algorithm. */
export function isCertificateType(type: string): boolean {
  return type.endsWith(SUFFIX);
}

/** What `type` is without being certified: `ssh-ed25519` for `ssh-ed25519-cert-v01@openssh.com`. */
export function plainTypeOf(type: string): string {
  if (!isCertificateType(type)) return type;
  const plain = type.slice(0, -SUFFIX.length);
  return plain.startsWith("sk-") ? `${plain}@openssh.com` : plain;
}

/**
 * Takes the certificate apart and checks that the authority it names has signed it. Whether that authority is trusted is
 * `checkSshCertificate`'s to say.
 * @throws access/malformed-key
 */
export function parseSshCertificate(blob: Uint8Array): SshCertificate {
  const reader = new SshReader(blob);
  const certificateType = reader.text();
  if (!isCertificateType(certificateType)) throw malformed("it is no certificate");
  const type = plainTypeOf(certificateType);
  reader.bytes();
  const keyStart = reader.offset;
  const fields = readKeyFields(type, reader);
  const keyBytes = Buffer.from(blob).subarray(keyStart, reader.offset);
  const serial = reader.uint64();
  if (reader.uint32() !== KIND_USER) throw malformed("it is a certificate for hosts, not for users");
  const keyId = reader.text();
  const principals = readPrincipals(reader.bytes());
  const validAfter = reader.uint64();
  const validBefore = reader.uint64();
  const criticalOptions = readOptions(reader.bytes());
  const extensions = readOptions(reader.bytes());
  reader.bytes();
  const authority = parseSshPublicKey(reader.bytes());
  const signed = Buffer.from(blob).subarray(0, reader.offset);
  const signature = reader.bytes();
  reader.end();
  if (!verifySshSignature(authority, signature, signed)) {
    throw malformed("the certificate was not signed by the authority that it names");
  }
  const publicKey = { type, blob: Buffer.concat([encodeSshString(type), keyBytes]), ...fields };
  return {
    publicKey,
    serial,
    keyId,
    principals,
    validAfter,
    validBefore,
    criticalOptions,
    extensions,
    authority,
  };
}

/** @throws access/unauthenticated with the reason, for the log: a stranger is told no more than that it failed */
export function checkSshCertificate(
  certificate: SshCertificate,
  check: SshCertificateCheck,
): SshCertificateGrant {
  const { authority, criticalOptions } = certificate;
  const shown = JSON.stringify(certificate.keyId.slice(0, 100));
  const refuse = (why: string): GitwharfError =>
    new GitwharfError("access/unauthenticated", `the certificate ${shown} is refused: ${why}`);
  if (!check.authorities.some(({ blob }) => blob.equals(authority.blob))) {
    throw refuse("no trusted authority signed it");
  }
  const revoked = check.revocations.findCertificate(certificate);
  if (revoked !== undefined) throw refuse(revoked);
  const now = BigInt(Math.floor(check.now / 1000));
  if (now < certificate.validAfter) throw refuse("it is not valid yet");
  if (now >= certificate.validBefore) throw refuse("it has expired");
  if (certificate.principals.length === 0) throw refuse("it names no principals");
  const principal = check.principals.find((name) => certificate.principals.includes(name));
  if (principal === undefined) throw refuse("it names none of the principals that may sign in by this name");
  let forceCommand: string | undefined;
  for (const [name, value] of criticalOptions) {
    switch (name) {
      case "force-command":
        forceCommand = optionText(value);
        break;
      case "source-address":
        if (!allowsAddress(optionText(value), check.address)) {
          throw refuse("it is not valid from the client's address");
        }
        break;
      case "verify-required":
        if (value.length > 0 || !check.isVerifiedByDevice) {
          throw refuse("it asks for a security device that has verified its user");
        }
        break;
      default:
        throw refuse(
          `its critical option '${JSON.stringify(name.slice(0, 60)).slice(1, -1)}' is not known here`,
        );
    }
  }
  return { principal, forceCommand };
}

/** A list of CIDR ranges. What cannot be understood allows nobody. */
function allowsAddress(ranges: string, address: string | undefined): boolean {
  if (address === undefined) return false;
  const plain = /^::ffff:([0-9.]+)$/i.exec(address)?.[1] ?? address;
  const family = isIP(plain);
  if (family === 0) return false;
  const list = new BlockList();
  for (const range of ranges.split(",")) {
    const match = /^([0-9a-fA-F.:]+)(?:\/([0-9]{1,3}))?$/.exec(range.trim());
    const version = isIP(match?.[1] ?? "");
    const bits = version === 4 ? 32 : 128;
    const prefix = Number(match?.[2] ?? bits);
    if (match?.[1] === undefined || version === 0 || prefix > bits) return false;
    list.addSubnet(match[1], prefix, version === 4 ? "ipv4" : "ipv6");
  }
  return list.check(plain, family === 4 ? "ipv4" : "ipv6");
}

function readPrincipals(bytes: Buffer): readonly string[] {
  const reader = new SshReader(bytes);
  const principals: string[] = [];
  while (!reader.done) {
    if (principals.length >= PRINCIPALS_MAX)
      throw malformed(`it names more than ${PRINCIPALS_MAX} principals`);
    principals.push(reader.text());
  }
  return principals;
}

function readOptions(bytes: Buffer): ReadonlyMap<string, Buffer> {
  const reader = new SshReader(bytes);
  const options = new Map<string, Buffer>();
  let before = "";
  while (!reader.done) {
    const name = reader.text();
    if (options.size >= OPTIONS_MAX) throw malformed(`it has more than ${OPTIONS_MAX} options`);
    // They come in order, each once: two readers cannot understand them differently.
    if (options.size > 0 && name <= before) throw malformed("its options are not in order");
    options.set(name, reader.bytes());
    before = name;
  }
  return options;
}

function optionText(value: Buffer): string {
  const reader = new SshReader(value);
  const text = reader.text();
  reader.end();
  return text;
}
