/**
 * The binary form of a list of revoked SSH keys (KRL), as `ssh-keygen -k` writes it. Specification: OpenSSH's
 * PROTOCOL.krl.
 *
 *   OFFSET  SIZE  MEANING
 *   0       8     "SSHKRL", line feed, NUL
 *   8       4     version of the format, 1
 *   12      8     number of the list
 *   20      8     when it was made
 *   28      8     flags
 *   36      …     two strings, reserved and comment; then sections: a byte with the kind, and a string
 *
 *   SECTION  HOLDS
 *   1        certificates of the authority whose key is the first string (none: of any), a reserved string, and parts:
 *            a byte with the kind, and a string: 0x20 serial numbers, 0x21 two of them with all between, 0x22 one and
 *            a number whose bits are those that follow it, 0x23 key ids, 0x39 an extension
 *   2        keys, as strings
 *   3, 5     SHA-1 and SHA-256 of keys, as strings
 *   255      an extension: its name, whether it is critical, what it says
 *
 * What is not known here is refused: a list that is half understood revokes nothing reliably. Signed lists are not known.
 */
import { GitwharfError } from "../base/errors.js";
import { SshReader } from "./ssh-wire.js";

const MAGIC = Buffer.from("SSHKRL\n\0", "latin1");
const HEAD_BYTES = 36;
const BITS_PER_BYTE = 8;

/** What one list says, in whichever form. */
export interface RevokedKeys {
  readonly certificates: readonly RevokedCertificates[];
  /** Raw SHA-256 and SHA-1 of public keys, in hexadecimal digits. */
  readonly hashes: ReadonlySet<string>;
}

export interface RevokedCertificates {
  /** Of the authority; undefined: of any. */
  readonly authority: Buffer | undefined;
  hasSerial(serial: bigint): boolean;
  readonly keyIds: ReadonlySet<string>;
}

export function isBinaryRevocations(bytes: Buffer): boolean {
  return bytes.subarray(0, MAGIC.length).equals(MAGIC);
}

/** @param hashOf a key's blob @throws server/bad-configuration */
export function parseBinaryRevocations(bytes: Buffer, hashOf: (blob: Buffer) => string): RevokedKeys {
  const certificates: RevokedCertificates[] = [];
  const hashes = new Set<string>();
  try {
    if (bytes.length < HEAD_BYTES || bytes.readUInt32BE(MAGIC.length) !== 1)
      throw wrong("its version is not 1");
    const reader = new SshReader(bytes.subarray(HEAD_BYTES));
    reader.bytes();
    reader.bytes();
    while (!reader.done) {
      const kind = reader.uint8();
      const section = new SshReader(reader.bytes());
      switch (kind) {
        case 1:
          certificates.push(readCertificates(section));
          break;
        case 2:
          while (!section.done) hashes.add(hashOf(section.bytes()));
          break;
        case 3:
        case 5:
          while (!section.done) hashes.add(section.bytes().toString("hex"));
          break;
        case 255:
          skipExtension(section);
          break;
        default:
          throw wrong(`its section of kind ${kind} is not known here`);
      }
    }
  } catch (cause) {
    if (cause instanceof GitwharfError && cause.code === "server/bad-configuration") throw cause;
    throw wrong("it ends in the middle of something", cause);
  }
  return { certificates, hashes };
}

type Serials = (serial: bigint) => boolean;

function readCertificates(section: SshReader): RevokedCertificates {
  const authority = section.bytes();
  section.bytes();
  const serials: Serials[] = [];
  const keyIds = new Set<string>();
  while (!section.done) {
    const kind = section.uint8();
    const bytes = section.bytes();
    const part = new SshReader(bytes);
    switch (kind) {
      case 0x20: {
        const listed = new Set<bigint>();
        while (!part.done) listed.add(part.uint64());
        serials.push((serial) => listed.has(serial));
        break;
      }
      case 0x21: {
        const [from, to] = [part.uint64(), part.uint64()];
        part.end();
        serials.push((serial) => serial >= from && serial <= to);
        break;
      }
      case 0x22: {
        const from = part.uint64();
        const bits = part.unsigned();
        part.end();
        serials.push((serial) => hasBit(bits, serial - from));
        break;
      }
      case 0x23:
        while (!part.done) keyIds.add(part.text());
        break;
      case 0x39:
        skipExtension(part);
        break;
      default:
        throw wrong(`what it says of certificates (${kind}) is not known here`);
    }
  }
  return {
    authority: authority.length === 0 ? undefined : authority,
    hasSerial: (serial) => serials.some((has) => has(serial)),
    keyIds,
  };
}

/** @param bits a number, big-endian */
function hasBit(bits: Buffer, index: bigint): boolean {
  if (index < 0n || index >= BigInt(bits.length * BITS_PER_BYTE)) return false;
  const at = Number(index);
  return (((bits[bits.length - 1 - (at >> 3)] ?? 0) >> (at & 7)) & 1) === 1;
}

function skipExtension(reader: SshReader): void {
  const name = reader.text();
  if (reader.uint8() !== 0)
    throw wrong(`its extension ${JSON.stringify(name.slice(0, 60))} is not known here`);
}

function wrong(why: string, cause?: unknown): GitwharfError {
  return new GitwharfError(
    "server/bad-configuration",
    `the list of revoked SSH keys cannot be used: ${why}`,
    {
      cause,
    },
  );
}
