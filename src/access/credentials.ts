/**
 * What a client shows to be let in. In an `Authorization` header: RFC 7617 (Basic), RFC 6750 (Bearer). Over SSH: a key
 * whose signature over this very session has been verified before anybody is asked.
 */
import type { SshCertificate } from "./ssh-certificate.js";

export type Credentials =
  | { readonly kind: "basic"; readonly user: string; readonly password: string }
  | { readonly kind: "bearer"; readonly token: string }
  | ({ readonly kind: "ssh-key" } & SshKeyCredentials)
  | ({ readonly kind: "ssh-certificate" } & SshCertificateCredentials);

export interface SshKeyCredentials {
  /** The login name, the `git` of `git@host`. Anybody can say any name. */
  readonly user: string;
  /** `ssh-ed25519`, `ssh-rsa`, … */
  readonly algorithm: string;
  readonly blob: Buffer;
  /** `SHA256:…` */
  readonly fingerprint: string;
  /** 32 hexadecimal digits, no colons. */
  readonly md5: string;
  /** As in `authorized_keys`: algorithm and base64. */
  readonly line: string;
}

/**
 * The key fields are those of the certified key. A trusted authority has signed the certificate, and it is valid: now,
 * from this address, and for `principal`.
 */
export interface SshCertificateCredentials extends SshKeyCredentials {
  readonly principal: string;
  readonly certificate: SshCertificate;
}

/**
 * @returns undefined when there is no header, "malformed" when it cannot be understood or names nobody
 *   (empty user and password): such a request is answered like one with wrong credentials.
 */
export function parseAuthorizationHeader(header: string | undefined): Credentials | "malformed" | undefined {
  if (header === undefined) return undefined;
  const space = header.indexOf(" ");
  const scheme = header.slice(0, space < 0 ? header.length : space).toLowerCase();
  const rest = space < 0 ? "" : header.slice(space + 1).trim();
  if (scheme === "bearer") return /^[\x21-\x7e]+$/.test(rest) ? { kind: "bearer", token: rest } : "malformed";
  if (scheme !== "basic" || !/^[A-Za-z0-9+/]+={0,2}$/.test(rest)) return "malformed";
  const text = Buffer.from(rest, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon < 0 || /[\0-\x1f\x7f]/.test(text)) return "malformed";
  const user = text.slice(0, colon);
  const password = text.slice(colon + 1);
  return user === "" && password === "" ? "malformed" : { kind: "basic", user, password };
}
