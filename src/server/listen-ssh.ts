/** What the options say about SSH, put together: keys, trust, algorithms. Loads SSH's library: for who listens. */
import { join } from "node:path";
import type { IsListedAddress } from "../access/trusted-addresses.js";
import { createSshTrust } from "../access/ssh-trust.js";
import type { ServiceHost } from "../transport/service-host.js";
import { makeTransientHostKeys, readHostKeys } from "../transport/ssh/host-keys.js";
import { listenSsh, type SshListener } from "../transport/ssh/listener.js";
import type { CommandFront } from "../transport/ssh/serve-command.js";
import type { GitServerOptions } from "./git-server-options.js";
import type { ListenAddress } from "./listen-address.js";

/** @throws server/bad-configuration */
export async function listenSshFor(
  options: GitServerOptions,
  service: ServiceHost,
  { proxies, ...address }: ListenAddress & { readonly proxies?: IsListedAddress | undefined },
  front?: CommandFront,
): Promise<SshListener> {
  const { repositories, sshServer: ssh = {} } = options;
  const inRepositories =
    typeof repositories === "string" ? join(repositories, ".gitwharf", "ssh") : undefined;
  const directory = ssh.hostKeyDirectory ?? inRepositories;
  const { userAuthoritiesFile, revokedKeysFile, principals } = ssh;
  return listenSsh({
    address,
    proxies,
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
