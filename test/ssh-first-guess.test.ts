/** Clients that send their half of the first key exchange along with their lists, as Dropbear does. */
import { createECDH, generateKeyPairSync } from "node:crypto";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeSshString } from "../src/access/ssh-wire.js";
import { jwkOf } from "./support/jwk.js";
import { type SshTestServer, startSshServer } from "./support/ssh-server.js";

const KEXINIT = 20;
const KEXECDH_INIT = 30;
const KEXECDH_REPLY = 31;

describe("a first key exchange that is guessed", () => {
  let server: SshTestServer;

  beforeAll(async () => {
    server = await startSshServer();
  });
  afterAll(() => server.close());

  function packet(payload: Buffer): Buffer {
    const padding = 8 - ((5 + payload.length) % 8) + 8;
    const head = Buffer.alloc(5);
    head.writeUInt32BE(1 + payload.length + padding);
    head.writeUInt8(padding, 4);
    return Buffer.concat([head, payload, Buffer.alloc(padding)]);
  }
  function lists(kex: string, hostKey: string): Buffer {
    const names = [kex, hostKey];
    for (const both of ["aes128-gcm@openssh.com", "hmac-sha2-256", "none", ""]) names.push(both, both);
    const end = Buffer.from([1, 0, 0, 0, 0]);
    return Buffer.concat([Buffer.from([KEXINIT]), Buffer.alloc(16, 7), ...names.map(encodeSshString), end]);
  }
  const half = (key: Buffer): Buffer =>
    packet(Buffer.concat([Buffer.from([KEXECDH_INIT]), encodeSshString(key)]));
  function x25519(): Buffer {
    const { publicKey } = generateKeyPairSync("x25519");
    return Buffer.from(jwkOf(publicKey).x ?? "", "base64url");
  }
  const p256 = (): Buffer => createECDH("prime256v1").generateKeys();

  /** Everything in one piece. @returns the types of the server's first packets */
  function answerTo(...packets: readonly Buffer[]): Promise<readonly number[]> {
    return new Promise((resolve) => {
      const socket = connect(server.ssh.port, "127.0.0.1");
      let bytes = Buffer.alloc(0);
      socket.on("error", () => undefined);
      socket.write(Buffer.concat([Buffer.from("SSH-2.0-guesses\r\n"), ...packets]));
      const typesSoFar = (): number[] => {
        const types: number[] = [];
        let at = bytes.indexOf("\n") + 1;
        while (at > 0 && at + 6 <= bytes.length) {
          types.push(bytes[at + 5] as number);
          at += 4 + bytes.readUInt32BE(at);
        }
        return types;
      };
      socket.on("data", (chunk: Buffer) => {
        bytes = Buffer.concat([bytes, chunk]);
        if (typesSoFar().includes(KEXECDH_REPLY)) socket.destroy();
      });
      socket.once("close", () => resolve(typesSoFar()));
    });
  }

  it("is taken when it is right", async () => {
    const right = lists("curve25519-sha256,ecdh-sha2-nistp256", "ssh-ed25519");
    expect(await answerTo(packet(right), half(x25519()))).toContain(KEXECDH_REPLY);
  });

  it.each([
    ["the key exchange", lists("ecdh-sha2-nistp256,curve25519-sha256", "ssh-ed25519")],
    ["the host key", lists("ecdh-sha2-nistp256", "ecdsa-sha2-nistp256,ssh-ed25519")],
  ])("is dropped when it is wrong about %s", async (_, guessed) => {
    expect(await answerTo(packet(guessed), half(Buffer.alloc(8)), half(p256()))).toContain(KEXECDH_REPLY);
  });
});
