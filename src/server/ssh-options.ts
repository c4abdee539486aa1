/** What may be said about SSH, and whether it makes sense. Does without SSH's library: every server is checked. */
import { GitwharfError } from "../base/errors.js";
import { libraryAlgorithms, type SshAlgorithms } from "../transport/ssh/algorithms.js";
import type { LfsAuthenticate } from "../transport/ssh/lfs-authenticate.js";

export interface SshServerOptions {
  /**
   * Where the server's own keys are; those that are missing are made.
   * @default `.gitwharf/ssh` in the directory of the repositories; new keys at every start for a store of your own
   */
  readonly hostKeyDirectory?: string;
  /** Lists in place of the default ones, best first. */
  readonly algorithms?: SshAlgorithms;
  /**
   * Public keys of authorities, one a line, whose user certificates let in: the principal is the user. With it the server
   * is not open any more.
   */
  readonly userAuthoritiesFile?: string;
  /** Principals that let in who calls himself `user`. @default the name itself */
  readonly principals?: (user: string) => readonly string[];
  /** Revoked keys and certificates: OpenSSH's KRL, or the text that ssh-keygen makes one of. */
  readonly revokedKeysFile?: string;
  /** Answers `git-lfs-authenticate`. */
  readonly lfsAuthenticate?: LfsAuthenticate;
}

const TEXTS = ["hostKeyDirectory", "userAuthoritiesFile", "revokedKeysFile"] as const;
const FUNCTIONS = ["principals", "lfsAuthenticate"] as const;

/**
 * A file of revoked keys under a wrong name would revoke nothing.
 * @throws server/bad-configuration
 */
export function checkSshServerOptions(options: SshServerOptions | undefined): void {
  if (options === undefined) return;
  if (typeof options !== "object" || options === null) throw wrong("sshServer is an object");
  const known: readonly string[] = [...TEXTS, ...FUNCTIONS, "algorithms"];
  const odd = Object.keys(options).find((name) => !known.includes(name));
  if (odd !== undefined)
    throw wrong(`there is no option '${odd}' of sshServer; known are ${known.join(", ")}`);
  for (const name of TEXTS) {
    const value: unknown = options[name];
    if (value !== undefined && (typeof value !== "string" || value === ""))
      throw wrong(`sshServer.${name} is the path of a ${name === "hostKeyDirectory" ? "directory" : "file"}`);
  }
  for (const name of FUNCTIONS) {
    const value: unknown = options[name];
    if (value !== undefined && typeof value !== "function") throw wrong(`sshServer.${name} is a function`);
  }
  const { algorithms } = options as { readonly algorithms?: unknown };
  if (algorithms === undefined) return;
  if (typeof algorithms !== "object" || algorithms === null || Array.isArray(algorithms))
    throw wrong("sshServer.algorithms is an object");
  libraryAlgorithms(algorithms);
}

function wrong(message: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", message);
}
