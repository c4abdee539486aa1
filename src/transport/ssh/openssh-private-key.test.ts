import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ssh2 from "ssh2";
import { describe, expect, it } from "vitest";
import { jwkOf } from "../../../test/support/jwk.js";
import { sshKeygen } from "../../../test/support/ssh-keygen.js";
import { formatOpensshKey, makeOpensshKey } from "./openssh-private-key.js";

describe("formatOpensshKey", () => {
  it.each(["ed25519", "ecdsa", "rsa"] as const)("writes %s keys that OpenSSH reads", async (kind) => {
    const directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
    try {
      const { privateKey, publicLine } = await makeOpensshKey(kind, "a comment");
      const file = join(directory, "key");
      writeFileSync(file, privateKey, { mode: 0o600 });
      expect(sshKeygen(["-y", "-f", file]).trim()).toBe(publicLine);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it("writes every key so that the library can sign with it, also those whose numbers are short", () => {
    let left = 200;
    let short = 0;
    for (let count = 0; count < 5000 && (left > 0 || short < 2); count++) {
      const { privateKey } =
        count % 3 === 0 ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: "P-256" });
      const jwk = jwkOf(privateKey);
      const isShort = Buffer.from(jwk.d ?? "", "base64url")[0] === 0;
      if (left-- <= 0 && !isShort) continue;
      if (isShort) short++;
      const parsed = ssh2.utils.parseKey(formatOpensshKey(jwk, "x".repeat(count % 9)).privateKey);
      if (parsed instanceof Error) throw parsed;
      const signature = parsed.sign("text");
      if (signature instanceof Error) throw signature;
      expect(parsed.verify("text", signature)).toBe(true);
    }
    expect(short).toBeGreaterThanOrEqual(2);
  });
});
