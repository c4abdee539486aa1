/**
 * Algorithms that the SSH server offers, best first. No SHA-1, no CBC, no DSA, no compression (which would let a client
 * send little that becomes much), no Diffie-Hellman with groups that cost a server more than a client.
 */
import type { ServerConfig } from "ssh2";
import { GitwharfError } from "../../base/errors.js";

export interface SshAlgorithms {
  readonly keyExchange?: readonly string[];
  readonly hostKey?: readonly string[];
  readonly cipher?: readonly string[];
  readonly mac?: readonly string[];
}

export const DEFAULT_SSH_ALGORITHMS = {
  keyExchange: [
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group14-sha256",
  ],
  hostKey: [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
  ],
  cipher: [
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
  ],
  mac: ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"],
} as const satisfies Required<SshAlgorithms>;

type LibraryAlgorithms = NonNullable<ServerConfig["algorithms"]> & {
  readonly serverHostKey: readonly string[];
};

/** @throws server/bad-configuration for an empty list, a list that is none of the four and for what is never offered */
export function libraryAlgorithms(chosen: SshAlgorithms = {}): LibraryAlgorithms {
  const odd = Object.keys(chosen).find((name) => !Object.hasOwn(DEFAULT_SSH_ALGORITHMS, name));
  if (odd !== undefined) {
    const known = Object.keys(DEFAULT_SSH_ALGORITHMS).join(", ");
    throw wrong(`there is no list '${odd}' of SSH algorithms; known are ${known}`);
  }
  const given = Object.entries(chosen).filter(([, list]) => list !== undefined);
  const lists = { ...DEFAULT_SSH_ALGORITHMS, ...(Object.fromEntries(given) as SshAlgorithms) };
  for (const [what, list] of Object.entries(lists)) {
    if (!Array.isArray(list) || list.length === 0)
      throw wrong(`the list '${what}' of SSH algorithms is empty`);
    const weak = list.find((name) =>
      /^(?:ssh-rsa|ssh-dss)$|sha1|md5|cbc|arcfour|3des|ripemd|-96$/.test(String(name)),
    );
    if (weak !== undefined) throw wrong(`the SSH algorithm '${weak}' is not safe any more`);
  }
  const library = {
    kex: [...lists.keyExchange],
    serverHostKey: [...lists.hostKey],
    cipher: [...lists.cipher],
    hmac: [...lists.mac],
    compress: ["none"],
  };
  return library as unknown as LibraryAlgorithms;
}

/** Without strict key exchange, packets can be cut off unseen from the start of such a connection (CVE-2023-48795). */
export function needsStrictKeyExchange(cipher: string, mac: string): boolean {
  return cipher.startsWith("chacha20") || (!cipher.includes("gcm") && mac.includes("-etm"));
}

function wrong(message: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", message);
}
