import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jwkOf } from "../../test/support/jwk.js";
import { makeSshKey, sshKeygen } from "../../test/support/ssh-keygen.js";
import {
  authorizedKeysLine,
  fingerprintOf,
  isMalformedKey,
  isVerifiedByDevice,
  md5FingerprintOf,
  parseAuthorizedKeysLine,
  parseSshPublicKey,
  verifySshSignature,
} from "./ssh-public-key.js";
import { encodeSshString } from "./ssh-wire.js";

describe("SSH public keys", () => {
  let directory = "";
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it.each(["ed25519", "ecdsa:256", "ecdsa:384", "ecdsa:521", "rsa:2048"])("of type %s", (type) => {
    const key = makeSshKey(directory, `key-${type}`, type);
    const parsed = parseAuthorizedKeysLine(`no-pty,command="x y" ${key.line}`);
    expect(parsed).toBeDefined();
    if (parsed === undefined) return;
    expect(key.line.startsWith(`${authorizedKeysLine(parsed)} `)).toBe(true);
    expect(sshKeygen(["-l", "-f", `${key.path}.pub`])).toContain(fingerprintOf(parsed.blob));
    expect(sshKeygen(["-l", "-E", "md5", "-f", `${key.path}.pub`]).replaceAll(":", "")).toContain(
      md5FingerprintOf(parsed.blob),
    );
    // `ssh-keygen -Y sign` signs as an agent does: https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig
    const message = join(directory, `message-${type}`);
    writeFileSync(message, "to be signed");
    sshKeygen(["-Y", "sign", "-q", "-f", key.path, "-n", "test", message]);
    const armoured = readFileSync(`${message}.sig`, "utf8").replace(/-----[^-]+-----/g, "");
    const envelope = Buffer.from(armoured, "base64");
    const signature = envelope.subarray(-lastStringLength(envelope));
    const signed = Buffer.concat([
      Buffer.from("SSHSIG"),
      encodeSshString("test"),
      encodeSshString(""),
      encodeSshString("sha512"),
      encodeSshString(createHash("sha512").update("to be signed").digest()),
    ]);
    expect(verifySshSignature(parsed, signature, signed)).toBe(true);
    expect(verifySshSignature(parsed, signature, Buffer.concat([signed, Buffer.from("!")]))).toBe(false);
    for (let at = 0; at < signature.length; at += 7) {
      const broken = Buffer.from(signature);
      broken[at] = (broken[at] ?? 0) ^ 1;
      expect(verifySshSignature(parsed, broken, signed)).toBe(false);
    }
  });

  it("refuses RSA with SHA-1, short RSA and what is no key", () => {
    const key = parseSshPublicKey(makeSshKey(directory, "sha1", "rsa:2048").blob);
    const sha1 = Buffer.concat([encodeSshString("ssh-rsa"), encodeSshString(Buffer.alloc(256, 1))]);
    expect(verifySshSignature(key, sha1, Buffer.from("x"))).toBe(false);
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
    const { n = "", e = "" } = jwkOf(publicKey) as { n?: string; e?: string };
    const number = (text: string): Buffer =>
      encodeSshString(Buffer.concat([Buffer.alloc(1), Buffer.from(text, "base64url")]));
    const blob = Buffer.concat([encodeSshString("ssh-rsa"), number(e), number(n)]);
    expect(() => parseSshPublicKey(blob)).toThrow(/at least 2048 bits, this one has 1024/);
    expect(() => parseAuthorizedKeysLine("ssh-ed25519 !!!")).toThrow(/TYPE BASE64/);
    expect(parseAuthorizedKeysLine("# comment")).toBeUndefined();
  });

  it("asks a key in a security device whether somebody was there", () => {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const x = Buffer.from(jwkOf(publicKey).x ?? "", "base64url");
    const type = "sk-ssh-ed25519@openssh.com";
    const key = parseSshPublicKey(
      Buffer.concat([encodeSshString(type), encodeSshString(x), encodeSshString("ssh:")]),
    );
    const sha256 = (data: string): Buffer => createHash("sha256").update(data).digest();
    const signature = (flags: number): Buffer => {
      const state = Buffer.from([flags, 0, 0, 0, 7]);
      const made = sign(null, Buffer.concat([sha256("ssh:"), state, sha256("signed")]), privateKey);
      return Buffer.concat([encodeSshString(type), encodeSshString(made), state]);
    };
    expect(verifySshSignature(key, signature(1), Buffer.from("signed"))).toBe(true);
    expect(verifySshSignature(key, signature(0), Buffer.from("signed"))).toBe(false);
    expect(verifySshSignature(key, signature(1), Buffer.from("other"))).toBe(false);
    // Touched only, and by whom the device knows.
    expect(isVerifiedByDevice(key, signature(1))).toBe(false);
    expect(isVerifiedByDevice(key, signature(5))).toBe(true);
    const plain = parseSshPublicKey(makeSshKey(directory, "no-device").blob);
    expect(isVerifiedByDevice(plain, signature(5))).toBe(false);
  });

  it("lets nothing but its own error escape", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(
          "ssh-ed25519",
          "ecdsa-sha2-nistp256",
          "ssh-rsa",
          "sk-ssh-ed25519@openssh.com",
          "ssh-dss",
        ),
        fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 4 }),
        fc.uint8Array({ maxLength: 8 }),
        (type, fields, rest) => {
          const blob = Buffer.concat([encodeSshString(type), ...fields.map(encodeSshString), rest]);
          try {
            parseSshPublicKey(blob);
          } catch (error) {
            expect(isMalformedKey(error)).toBe(true);
          }
        },
      ),
    );
  });
});

/** The signature is the last string of the envelope: the one whose length leads exactly to its end. */
function lastStringLength(envelope: Buffer): number {
  let offset = 6 + 4;
  for (;;) {
    const length = envelope.readUInt32BE(offset);
    if (offset + 4 + length === envelope.length) return length;
    offset += 4 + length;
  }
}
