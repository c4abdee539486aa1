/**
 * New private keys in the form of OpenSSH's files. The library's own generator now and then writes one that nobody can
 * read. Specification: OpenSSH's PROTOCOL.key.
 *
 *   FIELD          TYPE
 *   magic          "openssh-key-v1" and NUL
 *   cipher, kdf    strings, "none"
 *   kdf options    string, empty
 *   number of keys uint32, 1
 *   public key     string
 *   private part   string: a random uint32, twice; the type; the key's fields; the comment; 1, 2, 3 … up to a multiple of 8
 */
import { generateKeyPair, type JsonWebKey, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import { encodeSshString } from "../../access/ssh-wire.js";

export interface OpensshKeyPair {
  readonly privateKey: string;
  /** As in a `.pub` file. */
  readonly publicLine: string;
}

export type OpensshKeyKind = "ed25519" | "ecdsa" | "rsa";

const RSA_BITS = 3072;
const BLOCK_BYTES = 8;

const generate = promisify(generateKeyPair) as unknown as (
  type: string,
  options: object,
) => Promise<{ readonly privateKey: JsonWebKey }>;

export async function makeOpensshKey(kind: OpensshKeyKind, comment: string): Promise<OpensshKeyPair> {
  // Exported by the generator: Node can lock up for ever in the export of a key object whose generating job is being
  // collected.
  const { privateKey } = await generate(kind === "ecdsa" ? "ec" : kind, {
    modulusLength: RSA_BITS,
    namedCurve: "P-256",
    privateKeyEncoding: { format: "jwk" },
    publicKeyEncoding: { format: "jwk" },
  });
  return formatOpensshKey(privateKey, comment);
}

/** @param jwk Ed25519, P-256 or RSA, private */
export function formatOpensshKey(jwk: JsonWebKey, comment: string): OpensshKeyPair {
  const { type, publicFields, privateFields } = fieldsOf(jwk);
  const publicBlob = Buffer.concat([encodeSshString(type), ...publicFields]);
  const check = randomBytes(4);
  const section = Buffer.concat([
    check,
    check,
    encodeSshString(type),
    ...privateFields,
    encodeSshString(comment),
  ]);
  const padding = Buffer.from(Array.from({ length: BLOCK_BYTES }, (_, index) => index + 1));
  const padded = Buffer.concat([section, padding.subarray(0, -section.length & (BLOCK_BYTES - 1))]);
  const file = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    encodeSshString("none"),
    encodeSshString("none"),
    encodeSshString(""),
    Buffer.from([0, 0, 0, 1]),
    encodeSshString(publicBlob),
    encodeSshString(padded),
  ]);
  const lines = file.toString("base64").replace(/.{1,70}/g, "$&\n");
  return {
    privateKey: `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines}-----END OPENSSH PRIVATE KEY-----\n`,
    publicLine: `${type} ${publicBlob.toString("base64")} ${comment}`,
  };
}

function fieldsOf(jwk: JsonWebKey): {
  readonly type: string;
  readonly publicFields: readonly Buffer[];
  readonly privateFields: readonly Buffer[];
} {
  const bytes = (name: keyof JsonWebKey): Buffer => Buffer.from(String(jwk[name] ?? ""), "base64url");
  switch (jwk.kty) {
    case "OKP": {
      const x = bytes("x");
      const both = encodeSshString(Buffer.concat([bytes("d"), x]));
      return {
        type: "ssh-ed25519",
        publicFields: [encodeSshString(x)],
        privateFields: [encodeSshString(x), both],
      };
    }
    case "EC": {
      const point = Buffer.concat([Buffer.from([4]), bytes("x"), bytes("y")]);
      const publicFields = [encodeSshString("nistp256"), encodeSshString(point)];
      return {
        type: "ecdsa-sha2-nistp256",
        publicFields,
        privateFields: [...publicFields, mpint(bytes("d"))],
      };
    }
    default:
      return {
        type: "ssh-rsa",
        publicFields: [mpint(bytes("e")), mpint(bytes("n"))],
        privateFields: (["n", "e", "d", "qi", "p", "q"] as const).map((name) => mpint(bytes(name))),
      };
  }
}

/** No leading zeros, except one in front of a first bit that would make the number negative. */
function mpint(number: Buffer): Buffer {
  let start = 0;
  while (start < number.length && number[start] === 0) start++;
  const shortest = number.subarray(start);
  const isHigh = ((shortest[0] ?? 0) & 0x80) !== 0;
  return encodeSshString(isHigh ? Buffer.concat([Buffer.alloc(1), shortest]) : shortest);
}
