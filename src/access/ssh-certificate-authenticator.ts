/**
 * Users by their SSH certificates: the principal is the user. Whether the certificate is good has been checked before
 * anybody asks here.
 */
import type { Authenticator } from "./authenticator.js";
import { isUserName } from "./user-name.js";

export function createSshCertificateAuthenticator(): Authenticator {
  return {
    name: "ssh-certificate",
    authenticate({ credentials }) {
      if (typeof credentials !== "object" || credentials.kind !== "ssh-certificate") return undefined;
      const { principal, fingerprint, certificate } = credentials;
      if (!isUserName(principal)) return { refused: "its principal cannot be the name of a user" };
      return {
        identity: {
          user: principal,
          method: "ssh-certificate",
          credentialId: fingerprint,
          attributes: { keyId: certificate.keyId, serial: String(certificate.serial) },
        },
      };
    },
  };
}
