/**
 * Which SSH certificates are believed and which keys no longer are, from two files. They are read again for every
 * sign-in and every command, so a revocation counts at once; a file that cannot be read or understood lets nobody in.
 */
import { readFile } from "node:fs/promises";
import { GitwharfError } from "../base/errors.js";
import { checkSshCertificate, type SshCertificate, type SshCertificateGrant } from "./ssh-certificate.js";
import { parsePublicKeyLine, type SshPublicKey } from "./ssh-public-key.js";
import { NO_REVOCATIONS, parseSshRevocations, type SshRevocations } from "./ssh-revocation.js";

export interface SshTrustOptions {
  /** Public keys of the authorities whose user certificates are taken, one a line. Without it none is. */
  readonly authoritiesFile?: string;
  /**
   * The principals that let a client in that calls itself `user`, as the `git` of `git@host`; the first that
   * a certificate names becomes the user.
   * @default the name itself
   */
  readonly principals?: (user: string) => readonly string[];
  /** Keys and certificates that are revoked: OpenSSH's KRL, or the text that ssh-keygen makes one of. */
  readonly revokedFile?: string;
}

export interface SshCertificateHolder {
  /** Login name. */
  readonly user: string;
  readonly address: string | undefined;
  /** The security device that signed says that it has verified its user, by a PIN or a finger. */
  readonly isVerifiedByDevice: boolean;
}

export interface SshTrust {
  readonly takesCertificates: boolean;
  /** @throws access/unauthenticated when it is revoked, server/bad-configuration */
  checkKey(blob: Uint8Array): Promise<void>;
  /** @throws access/unauthenticated with the reason, for the log; server/bad-configuration */
  checkCertificate(certificate: SshCertificate, client: SshCertificateHolder): Promise<SshCertificateGrant>;
}

export function createSshTrust(options: SshTrustOptions): SshTrust {
  const { authoritiesFile, revokedFile } = options;
  const revocations = async (): Promise<SshRevocations> =>
    revokedFile === undefined ? NO_REVOCATIONS : parseSshRevocations(await readBytes(revokedFile));
  return {
    takesCertificates: authoritiesFile !== undefined,
    async checkKey(blob) {
      if (!(await revocations()).hasKey(blob)) return;
      throw new GitwharfError("access/unauthenticated", "the key is revoked");
    },
    async checkCertificate(certificate, { user, address, isVerifiedByDevice }) {
      const authorities = authoritiesFile === undefined ? [] : await readAuthorities(authoritiesFile);
      return checkSshCertificate(certificate, {
        authorities,
        revocations: await revocations(),
        principals: options.principals?.(user) ?? [user],
        address,
        isVerifiedByDevice,
        now: Date.now(),
      });
    },
  };
}

/** @throws server/bad-configuration */
async function readAuthorities(file: string): Promise<readonly SshPublicKey[]> {
  const keys: SshPublicKey[] = [];
  for (const [index, line] of (await readBytes(file)).toString("utf8").split("\n").entries()) {
    try {
      const key = parsePublicKeyLine(line.replace(/^\s*cert-authority\s/, ""));
      if (key !== undefined) keys.push(key);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : "it is malformed";
      throw new GitwharfError("server/bad-configuration", `line ${index + 1} of ${file}: ${why}`, { cause });
    }
  }
  return keys;
}

async function readBytes(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new GitwharfError("server/bad-configuration", `${file} cannot be read`, { cause });
  }
}
