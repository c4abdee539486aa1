/**
 * TLS client certificates. The handshake has proved that the caller has the key, and the listener that a listed authority
 * has signed the certificate; here a name becomes a user.
 */
import { GitwharfError } from "../base/errors.js";
import type { Authenticator, ClientCertificate } from "./authenticator.js";
import { isUserName } from "./user-name.js";

export interface ClientCertificateUsers {
  /**
   * What names the user: the subject's common name, or the first alternative name of a kind.
   * @default "CN"
   */
  readonly from?: "CN" | "email" | "DNS" | "URI";
  /** From what was read to a user. When given, nobody else gets in. */
  readonly map?: Readonly<Record<string, string>>;
}

/** @throws server/bad-configuration */
export function createClientCertificateAuthenticator(options: ClientCertificateUsers): Authenticator {
  const { from = "CN" } = options;
  const map = options.map === undefined ? undefined : new Map(Object.entries(options.map));
  for (const user of map?.values() ?? [])
    if (!isUserName(user))
      throw new GitwharfError(
        "server/bad-configuration",
        `'${user}' cannot be a user's name (client certificates)`,
      );
  return {
    name: "client-certificate",
    authenticate({ clientCertificate }) {
      if (clientCertificate === undefined) return undefined;
      if (!clientCertificate.isTrusted)
        return { refused: "a client certificate that no listed authority has signed" };
      const name = nameIn(clientCertificate, from);
      if (name === undefined) return { refused: `a client certificate without ${from}` };
      const user = map === undefined ? name : map.get(name);
      if (user === undefined || !isUserName(user))
        return {
          refused: `a client certificate whose ${from} is no user's: ${JSON.stringify(name.slice(0, 128))}`,
        };
      return {
        identity: {
          user,
          method: "client-certificate",
          credentialId: clientCertificate.fingerprint,
        },
      };
    },
  };
}

function nameIn(certificate: ClientCertificate, from: "CN" | "email" | "DNS" | "URI"): string | undefined {
  if (from !== "CN") {
    const prefix = `${from}:`;
    return certificate.alternativeNames.find((each) => each.startsWith(prefix))?.slice(prefix.length);
  }
  const { CN } = certificate.subject;
  // Several common names: which one the authority meant is anybody's guess.
  return typeof CN === "string" ? CN : undefined;
}
