/** What the options say about SSH, put together: keys, trust, algorithms. */
import { join } from "node:path";
import type { IsListedAddress } from "../access/trusted-addresses.js";
import { createSshTrust } from "../access/ssh-trust.js";
import type { ServiceHost } from "../transport/service-host.js";
import type { SshAlgorithms } from "../transport/ssh/algorithms.js";
import { makeTransientHostKeys, readHostKeys } from "../transport/ssh/host-keys.js";
import type { LfsAuthenticate } from "../transport/ssh/lfs-authenticate.js";
import { listenSsh, type SshListener } from "../transport/ssh/listener.js";
import type { CommandFront } from "../transport/ssh/serve-command.js";
import type { GitServerOptions } from "./git-server-options.js";
import type { ListenAddress } from "./listen-address.js";

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
  /** Revoked keys and certificates, in the text form of ssh-keygen's KRL specification. */
  readonly revokedKeysFile?: string;
  /** Answers `git-lfs-authenticate`. */
  readonly lfsAuthenticate?: LfsAuthenticate;
}

/** @throws server/bad-configuration */
export async function listenSshFor(
  options: GitServerOptions,
  service: ServiceHost,
  address: ListenAddress & { readonly proxies?: IsListedAddress | undefined },
  front?: CommandFront,
): Promise<SshListener> {
  const { repositories, sshServer: ssh = {} } = options;
  const inRepositories =
    typeof repositories === "string" ? join(repositories, ".gitwharf", "ssh") : undefined;
  const directory = ssh.hostKeyDirectory ?? inRepositories;
  const { userAuthoritiesFile, revokedKeysFile, principals } = ssh;
  return listenSsh({
    ...address,
    service,
    hostKeys: directory === undefined ? await makeTransientHostKeys() : await readHostKeys(directory),
    trust: createSshTrust({
      ...(userAuthoritiesFile === undefined ? {} : { authoritiesFile: userAuthoritiesFile }),
      ...(revokedKeysFile === undefined ? {} : { revokedFile: revokedKeysFile }),
      ...(principals === undefined ? {} : { principals }),
    }),
    algorithms: ssh.algorithms,
    lfsAuthenticate: ssh.lfsAuthenticate,
    front,
  });
}
