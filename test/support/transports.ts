/** One server over HTTP, SSH and git://, open to everyone: for what has to be the same over all of them. */
import { inject } from "vitest";
import type { GitServer } from "../../src/server/git-server.js";
import type { GitServerOptions } from "../../src/server/git-server-options.js";
import { createSshClient } from "./ssh-client.js";

export const TRANSPORTS = ["http", "ssh", "git"] as const;
export type Transport = (typeof TRANSPORTS)[number];

export interface Transports {
  urlOf(transport: Transport, repository: string): string;
  /** For the client: how it signs in over SSH. */
  readonly env: NodeJS.ProcessEnv;
}

/** What such a server is told besides. */
export const OPEN_EVERYWHERE: Pick<GitServerOptions, "gitDaemon" | "sshServer"> = {
  gitDaemon: { exportAll: true, receivePack: true },
  sshServer: { hostKeyDirectory: inject("hostKeyDirectory") },
};

/** @param directory for the client's keys */
export async function listenEverywhere(server: GitServer, directory: string): Promise<Transports> {
  const { http, ssh, git } = await server.listen({ http: 0, ssh: 0, git: 0 });
  const port = ssh?.port ?? 0;
  const bases = { http: http.url, ssh: `ssh://git@127.0.0.1:${port}`, git: git?.url ?? "" };
  return {
    urlOf: (transport, repository) => `${bases[transport]}/${repository}.git`,
    env: createSshClient({ directory, port }).environment,
  };
}
