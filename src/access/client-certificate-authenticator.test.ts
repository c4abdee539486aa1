import { describe, expect, it } from "vitest";
import type { ClientCertificate } from "./authenticator.js";
import {
  type ClientCertificateUsers,
  createClientCertificateAuthenticator,
} from "./client-certificate-authenticator.js";

const CERTIFICATE: ClientCertificate = {
  isTrusted: true,
  subject: { CN: "grace", O: "navy" },
  alternativeNames: [
    "DNS:laptop.example.org",
    "email:grace@example.org",
    "email:other@example.org",
    "URI:spiffe://navy/g",
  ],
  fingerprint: "f".repeat(64),
};

function ask(options: ClientCertificateUsers, more: Partial<ClientCertificate> = {}): unknown {
  const clientCertificate = { ...CERTIFICATE, ...more };
  const attempt = {
    credentials: undefined,
    address: undefined,
    peerAddress: undefined,
    transport: "http" as const,
  };
  return createClientCertificateAuthenticator(options).authenticate({ ...attempt, clientCertificate });
}
const user = (name: string): unknown => ({
  identity: { user: name, method: "client-certificate", credentialId: CERTIFICATE.fingerprint },
});

describe("a TLS client certificate", () => {
  it("is its common name's, or the first alternative name's of a kind", () => {
    expect(ask({})).toEqual(user("grace"));
    expect(ask({ from: "email" })).toEqual(user("grace@example.org"));
    expect(ask({ from: "DNS" })).toEqual(user("laptop.example.org"));
    expect(ask({ from: "email", map: { "grace@example.org": "hopper" } })).toEqual(user("hopper"));
    expect(ask({ from: "URI", map: { "spiffe://navy/g": "hopper" } })).toEqual(user("hopper"));
  });

  it("is refused when no listed authority has signed it or it names nobody, and is nobody's when there is none", () => {
    for (const [options, more] of [
      [{}, { isTrusted: false }],
      [{}, { subject: {} }],
      [{}, { subject: { CN: ["grace", "root"] } }],
      [{}, { subject: { CN: "Grace Hopper" } }],
      [{ from: "email" }, { alternativeNames: ["DNS:laptop.example.org"] }],
      // No user's name without a map.
      [{ from: "URI" }, {}],
      [{ map: { hopper: "grace" } }, {}],
      [{ map: {} }, { subject: { CN: "toString" } }],
    ] as const)
      expect(ask(options, more)).toHaveProperty("refused");
    expect(
      createClientCertificateAuthenticator({}).authenticate({
        credentials: undefined,
        address: undefined,
        peerAddress: undefined,
        transport: "http",
      }),
    ).toBeUndefined();
  });

  it("leads to names that users may have", () => {
    expect(() => createClientCertificateAuthenticator({ map: { grace: "grace hopper" } })).toThrow(
      /cannot be a user's name/,
    );
  });
});
