import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { certifySshKey, makeSshKey, sshKeygen, type SshKeyFile } from "../../test/support/ssh-keygen.js";
import { checkSshCertificate, parseSshCertificate, type SshCertificateCheck } from "./ssh-certificate.js";
import { fingerprintOf, isMalformedKey, parseSshPublicKey } from "./ssh-public-key.js";
import { NO_REVOCATIONS, parseSshRevocations } from "./ssh-revocation.js";

describe("OpenSSH user certificates", () => {
  let directory = "";
  let authority: SshKeyFile;
  let user: SshKeyFile;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
    authority = makeSshKey(directory, "authority");
    user = makeSshKey(directory, "user");
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const check = (more: Partial<SshCertificateCheck> = {}): SshCertificateCheck => ({
    authorities: [parseSshPublicKey(authority.blob)],
    revocations: NO_REVOCATIONS,
    principals: ["ada"],
    address: "192.0.2.7",
    isVerifiedByDevice: false,
    now: Date.now(),
    ...more,
  });
  const ADA = ["-n", "ada,eve", "-z", "7"];
  const judge = (options: readonly string[], more: Partial<SshCertificateCheck> = {}): unknown => {
    const certificate = parseSshCertificate(certifySshKey(authority, user, options));
    return checkSshCertificate(certificate, check(more));
  };

  it.each(["ed25519", "ecdsa:256", "ecdsa:384", "ecdsa:521", "rsa:3072"])("of %s authorities", (type) => {
    const own = makeSshKey(directory, `authority-${type}`, type);
    const subject = makeSshKey(directory, `subject-${type}`, type);
    const blob = certifySshKey(own, subject, [...ADA, "-V", "-1m:+1h"]);
    const certificate = parseSshCertificate(blob);
    expect(certificate).toMatchObject({ serial: 7n, keyId: "test-id", principals: ["ada", "eve"] });
    expect(certificate.publicKey.blob.equals(subject.blob)).toBe(true);
    expect([...certificate.extensions.keys()]).toContain("permit-pty");
    const trusted = check({ authorities: [parseSshPublicKey(own.blob)] });
    expect(checkSshCertificate(certificate, trusted)).toEqual({ principal: "ada", forceCommand: undefined });
    expect(() => checkSshCertificate(certificate, check())).toThrow(/no trusted authority signed it/);
    for (let at = 0; at < blob.length; at += 11) {
      const broken = Buffer.from(blob);
      broken[at] = (broken[at] ?? 0) ^ 1;
      expect(() => parseSshCertificate(broken)).toThrow(/the SSH key cannot be used/);
    }
    for (let end = 0; end < blob.length; end += 5) {
      expect(() => parseSshCertificate(blob.subarray(0, end))).toThrow(/the SSH key cannot be used/);
    }
  });

  it("refuses authorities that sign with SHA-1", () => {
    const own = makeSshKey(directory, "authority-sha1", "rsa:2048");
    const blob = certifySshKey(own, user, [...ADA, "-t", "ssh-rsa"]);
    expect(() => parseSshCertificate(blob)).toThrow(/was not signed/);
  });

  it("is for its principals, its time and its kind", () => {
    expect(judge(ADA)).toMatchObject({ principal: "ada" });
    expect(() => judge(ADA, { principals: ["bob"] })).toThrow(/none of the principals/);
    expect(() => judge([])).toThrow(/names no principals/);
    expect(() => judge([...ADA, "-V", "-2h:-1h"])).toThrow(/has expired/);
    expect(() => judge([...ADA, "-V", "+1h:+2h"])).toThrow(/not valid yet/);
    const { validBefore } = parseSshCertificate(certifySshKey(authority, user, [...ADA, "-V", "+0h:+1h"]));
    const end = Number(validBefore) * 1000;
    expect(judge([...ADA, "-V", "+0h:+1h"], { now: end - 2000 })).toBeDefined();
    expect(() => judge([...ADA, "-V", "+0h:+1h"], { now: end + 2000 })).toThrow(/has expired/);
    expect(() => judge(["-h", ...ADA])).toThrow(/for hosts/);
  });

  it("knows its critical options and refuses what it does not know", () => {
    const forced = judge([...ADA, "-O", "force-command=git-upload-pack 'app'"]);
    expect(forced).toEqual({ principal: "ada", forceCommand: "git-upload-pack 'app'" });
    const ranges = [...ADA, "-O", "source-address=192.0.2.0/24,2001:db8::/32"];
    for (const address of ["192.0.2.200", "::ffff:192.0.2.1", "2001:db8::1"]) {
      expect(judge(ranges, { address })).toBeDefined();
    }
    for (const address of ["192.0.3.1", "2001:db9::1", "::ffff:192.0.3.1", "", undefined]) {
      expect(() => judge(ranges, { address })).toThrow(/from the client's address/);
    }
    expect(() => judge([...ADA, "-O", "critical:odd@example.org=1"])).toThrow(
      /'odd@example.org' is not known/,
    );
  });

  it("lets a device in that has verified its user, where it asks for that", () => {
    const asking = [...ADA, "-O", "verify-required"];
    expect(() => judge(asking)).toThrow(/a security device that has verified its user/);
    expect(judge(asking, { isVerifiedByDevice: true })).toMatchObject({ principal: "ada" });
  });

  it("is revoked by serial number, key id, key and authority", () => {
    const line = (text: string): Partial<SshCertificateCheck> => ({ revocations: parseSshRevocations(text) });
    expect(judge(ADA, line("serial: 8\nserial: 0x9-11\nid: other\n# serial: 7"))).toBeDefined();
    for (const text of ["serial: 7", "serial: 5-9", "serial:0x7", "id: test-id"]) {
      expect(() => judge(ADA, line(text))).toThrow(/is revoked/);
    }
    expect(() => judge(ADA, line(`key: ${user.line}`))).toThrow(/its key is revoked/);
    expect(() => judge(ADA, line(user.line))).toThrow(/its key is revoked/);
    for (const hash of [fingerprintOf(user.blob), user.line]) {
      expect(() => judge(ADA, line(`sha256: ${hash}`))).toThrow(/its key is revoked/);
    }
    expect(() => judge(ADA, line(`sha1: ${user.line}`))).toThrow(/its key is revoked/);
    expect(() => judge(ADA, line("serial: 7 # lost on a train"))).toThrow(/is revoked/);
    expect(() => parseSshRevocations("id: x\nkey:")).toThrow(/^line 2 of the list.*there is no key/);
    expect(() => judge(ADA, line(`key: ${authority.line}`))).toThrow(/its authority is revoked/);
    expect(parseSshRevocations(user.line).hasKey(user.blob)).toBe(true);
    expect(() => parseSshRevocations("serial: 1\nserial: x")).toThrow(/^line 2 of the list/);
    expect(() => parseSshRevocations("hash: abc")).toThrow(/a fingerprint is SHA256/);
    expect(() => parseSshRevocations("sha256: abc")).toThrow(/^line 1 of the list/);
  });

  it("is revoked by a list in ssh-keygen's binary form", () => {
    const other = makeSshKey(directory, "other-authority");
    const fingerprint = sshKeygen(["-l", "-f", user.path]).split(" ")[1];
    const list = (text: string, by = authority): Partial<SshCertificateCheck> => {
      const [specification, file] = [join(directory, "specification"), join(directory, "krl")];
      writeFileSync(specification, `${text}\n`);
      sshKeygen(["-k", "-q", "-f", file, "-s", `${by.path}.pub`, specification]);
      return { revocations: parseSshRevocations(readFileSync(file)) };
    };
    const scattered = "serial: 1-3\nserial: 5\nserial: 9\nserial: 100000-200000\nserial: 0xffffffffffffffff";
    const harmless = `${scattered}\nid: other\nkey: ${other.line}`;
    expect(judge(ADA, list(harmless))).toBeDefined();
    for (const serial of ["1", "3", "5", "9", "100000", "150000", "200000", "18446744073709551615"]) {
      expect(() => judge(["-n", "ada", "-z", serial], list(harmless))).toThrow(
        /serial number \d+ is revoked/,
      );
    }
    for (const serial of ["0", "4", "8", "10", "99999", "200001"]) {
      expect(judge(["-n", "ada", "-z", serial], list(harmless))).toBeDefined();
    }
    for (const text of ["serial: 7", "serial: 5-9", "serial: 5\nserial: 7\nserial: 9", "id: test-id"]) {
      expect(() => judge(ADA, list(text))).toThrow(/is revoked/);
      // What it says of certificates is said of those of one authority.
      expect(judge(ADA, list(text, other))).toBeDefined();
    }
    for (const text of [
      `key: ${user.line}`,
      `sha1: ${user.line}`,
      `sha256: ${user.line}`,
      `hash: ${fingerprint}`,
    ]) {
      expect(() => judge(ADA, list(text, other))).toThrow(/its key is revoked/);
      expect(list(text).revocations?.hasKey(user.blob)).toBe(true);
      expect(list(text).revocations?.hasKey(other.blob)).toBe(false);
    }
    expect(() => judge(ADA, list(`key: ${authority.line}`))).toThrow(/its authority is revoked/);
    list(harmless);
    const whole = readFileSync(join(directory, "krl"));
    for (let end = 8; end < whole.length; end++) {
      // A list that ends between two sections is whole.
      try {
        parseSshRevocations(whole.subarray(0, end));
      } catch (error) {
        expect(error).toMatchObject({ code: "server/bad-configuration" });
      }
    }
    expect(() => parseSshRevocations(whole.subarray(0, -1))).toThrow(/ends in the middle/);
    const unknown = Buffer.concat([whole, Buffer.from([77, 0, 0, 0, 0])]);
    expect(() => parseSshRevocations(unknown)).toThrow(/kind 77 is not known/);
  });

  it("says of what is no certificate that it cannot be used", () => {
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(100), user.blob, Buffer.alloc(40, 0xff)]) {
      let error: unknown;
      try {
        parseSshCertificate(bytes);
      } catch (caught) {
        error = caught;
      }
      expect(isMalformedKey(error)).toBe(true);
    }
  });
});
