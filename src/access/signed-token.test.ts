/** Tokens that somebody else has signed: each of the ways in which one can be wrong. */
import { createHmac, generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { type JWTPayload, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jwkOf } from "../../test/support/jwk.js";
import type { AuthenticationAnswer, Authenticator } from "./authenticator.js";
import { createSignedTokenAuthenticator } from "./signed-token.js";

const keys = {
  ed: generateKeyPairSync("ed25519"),
  ec: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  rsa: generateKeyPairSync("rsa", { modulusLength: 2048 }),
  stranger: generateKeyPairSync("ed25519"),
};
const NOW = Math.floor(Date.now() / 1000);
const CLAIMS: JWTPayload = {
  sub: "ada",
  aud: "git.example.org",
  iss: "platform",
  iat: NOW,
  exp: NOW + 600,
  jti: "42",
  repositories: ["group/*"],
  operations: ["read", "write"],
  refs: [{ effect: "allow", refs: ["refs/heads/ci/**"], actions: ["create", "update"] }],
};

let directory: string;
let authenticator: Authenticator;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  const pem = (key: KeyObject): string => key.export({ type: "spki", format: "pem" }).toString();
  writeFileSync(join(directory, "ed.pem"), pem(keys.ed.publicKey));
  writeFileSync(join(directory, "rsa.pem"), pem(keys.rsa.publicKey));
  const jwks = { keys: [{ ...jwkOf(keys.ec.publicKey), kid: "ec" }] };
  writeFileSync(join(directory, "set.json"), JSON.stringify(jwks));
  authenticator = createSignedTokenAuthenticator({
    keys: ["ed.pem", "rsa.pem", "set.json"].map((name) => join(directory, name)),
    audience: "git.example.org",
    issuer: "platform",
  });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const sign = (
  claims: JWTPayload = CLAIMS,
  {
    alg = "EdDSA",
    kid = "ed",
    key = keys.ed.privateKey,
  }: { alg?: string; kid?: string; key?: KeyObject } = {},
): Promise<string> => new SignJWT(claims).setProtectedHeader({ alg, kid }).sign(key);

async function ask(token: string): Promise<AuthenticationAnswer> {
  return authenticator.authenticate({
    credentials: { kind: "bearer", token },
    address: undefined,
    peerAddress: undefined,
    transport: "http",
  });
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("a signed token", () => {
  it.each([
    ["EdDSA", "ed", keys.ed.privateKey],
    ["ES256", "ec", keys.ec.privateKey],
    ["RS256", "rsa", keys.rsa.privateKey],
  ])("signed with %s says who it is and what it is for", async (alg, kid, key) => {
    expect(await ask(await sign(CLAIMS, { alg, kid, key }))).toEqual({
      identity: {
        user: "ada",
        method: "signed-token",
        credentialId: `${kid}:42`,
        grant: {
          operations: ["read", "write"],
          repositories: ["group/*"],
          refs: CLAIMS["refs"],
          expiresAt: (NOW + 600 + 30) * 1000,
        },
      },
    });
  });

  it("is good for as long after its end as clocks may differ", async () => {
    const answer = await ask(await sign({ ...CLAIMS, iat: NOW - 600, exp: NOW - 10 }));
    expect(answer).toHaveProperty("identity.grant.expiresAt", (NOW + 20) * 1000);
    expect(await ask(await sign({ ...CLAIMS, iat: NOW - 600, exp: NOW - 40 }))).toHaveProperty("refused");
  });

  it.each<[string, Record<string, unknown>]>([
    ["has expired", { ...CLAIMS, iat: NOW - 700, exp: NOW - 100 }],
    ["is not valid yet", { ...CLAIMS, nbf: NOW + 300 }],
    ["is for another server", { ...CLAIMS, aud: "other.example.org" }],
    ["is of another issuer", { ...CLAIMS, iss: "somebody" }],
    ["lives too long", { ...CLAIMS, exp: NOW + 90_000 }],
    ["never ends", { ...CLAIMS, exp: undefined }],
    ["names nobody", { ...CLAIMS, sub: undefined }],
    ["names no user", { ...CLAIMS, sub: "a b\n" }],
    ["does not name repositories", { ...CLAIMS, repositories: undefined }],
    ["does not name operations", { ...CLAIMS, operations: undefined }],
    ["names an operation that is not known", { ...CLAIMS, operations: ["admin"] }],
    ["has a ref rule that cannot be read", { ...CLAIMS, refs: [{ effect: "maybe", refs: ["*"] }] }],
  ])("that %s is refused", async (_, claims) => {
    expect(await ask(await sign(claims as JWTPayload))).toHaveProperty("refused");
  });

  it("of a stranger is refused, also under a known key's name", async () => {
    expect(await ask(await sign(CLAIMS, { key: keys.stranger.privateKey }))).toHaveProperty("refused");
    expect(await ask(await sign(CLAIMS, { kid: "other", key: keys.stranger.privateKey }))).toHaveProperty(
      "refused",
    );
  });

  it("is refused with no signature, with a key taken for a secret, and with another algorithm", async () => {
    const body = encode(CLAIMS);
    expect(await ask(`${encode({ alg: "none" })}.${body}.`)).toHaveProperty("refused");
    const head = encode({ alg: "HS256", kid: "rsa" });
    const secret = keys.rsa.publicKey.export({ type: "spki", format: "pem" });
    const mac = createHmac("sha256", secret).update(`${head}.${body}`).digest("base64url");
    expect(await ask(`${head}.${body}.${mac}`)).toHaveProperty("refused");
    for (const alg of ["PS256", "RS512"])
      expect(await ask(await sign(CLAIMS, { alg, kid: "rsa", key: keys.rsa.privateKey }))).toHaveProperty(
        "refused",
      );
  });

  it("that was changed is refused; what is no such token is left to others", async () => {
    const [head, , mac] = (await sign()).split(".");
    expect(await ask(`${head}.${encode({ ...CLAIMS, sub: "root" })}.${mac}`)).toHaveProperty("refused");
    expect(await ask("gitwharf_x")).toBeUndefined();
    expect(await ask(`eyJ${"a".repeat(20_000)}.b.c`)).toHaveProperty("refused");
  });

  it("is refused, and nothing worse, whatever its parts hold", async () => {
    const part = fc.oneof(
      fc.json().map((text) => Buffer.from(text).toString("base64url")),
      fc
        .record(
          {
            alg: fc.oneof(fc.constantFrom("EdDSA", "ES256", "RS256", "none"), fc.anything()),
            kid: fc.oneof(fc.constantFrom("ed", "rsa", "ec"), fc.anything()),
            b64: fc.anything(),
            crit: fc.anything(),
            jwk: fc.anything(),
            zip: fc.anything(),
          },
          { requiredKeys: ["alg"] },
        )
        .map((value) => Buffer.from(JSON.stringify(value) ?? "").toString("base64url")),
      fc.string().map((text) => text.replaceAll(/[^\w-]/g, "")),
    );
    await fc.assert(
      fc.asyncProperty(part, part, part, async (head, body, mac) => {
        const answer = await ask(`${head}.${body}.${mac}`);
        expect(answer === undefined || "refused" in answer).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it("is checked with keys that come and go while the server runs; broken ones change nothing", async () => {
    const file = join(directory, "turning.pem");
    const publish = (key: KeyObject): void =>
      writeFileSync(file, key.export({ type: "spki", format: "pem" }).toString());
    publish(keys.ed.publicKey);
    const failures: unknown[] = [];
    const turning = createSignedTokenAuthenticator(
      { keys: [file], audience: "git.example.org" },
      { everyMs: 0, onFailure: (error) => failures.push(error) },
    );
    const isTaken = async (key: KeyObject): Promise<boolean> => {
      const token = await sign(CLAIMS, { kid: "turning", key });
      const answer = await turning.authenticate({
        credentials: { kind: "bearer", token },
        address: undefined,
        peerAddress: undefined,
        transport: "http",
      });
      return answer !== undefined && "identity" in answer;
    };
    expect(await isTaken(keys.ed.privateKey)).toBe(true);
    publish(keys.stranger.publicKey);
    utimesSync(file, 1, 1);
    expect(await isTaken(keys.ed.privateKey)).toBe(false);
    expect(await isTaken(keys.stranger.privateKey)).toBe(true);
    writeFileSync(file, "no key");
    expect(await isTaken(keys.stranger.privateKey)).toBe(true);
    expect(failures).toHaveLength(1);
  });

  it("wants public keys of the known kinds", () => {
    const file = (name: string, text: string): string => {
      writeFileSync(join(directory, name), text);
      return join(directory, name);
    };
    const small = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey;
    for (const path of [
      file("private.pem", keys.ed.privateKey.export({ type: "pkcs8", format: "pem" }).toString()),
      file("private.json", JSON.stringify({ keys: [jwkOf(keys.ec.privateKey)] })),
      file("small.pem", small.export({ type: "spki", format: "pem" }).toString()),
      file("empty.json", "{}"),
      file("broken.pem", "-----BEGIN"),
      join(directory, "absent.pem"),
    ]) {
      expect(() => createSignedTokenAuthenticator({ keys: [path], audience: "x" })).toThrow(
        expect.objectContaining({ code: "server/bad-configuration" }),
      );
    }
  });
});
