/** A server in memory that listens for SSH on a free port, with one repository and a client's directory. */
import { createGitServer, type GitServer } from "../../src/server/git-server.js";
import type { GitServerOptions } from "../../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../../src/storage/memory/memory-repository-store.js";
import type { ServiceLogEntry } from "../../src/transport/service-host.js";
import type { SshListener } from "../../src/transport/ssh/listener.js";

export interface SshTestServer {
  readonly server: GitServer;
  readonly ssh: SshListener;
  readonly httpUrl: string;
  /** Messages of the log, whatever their level. */
  readonly said: readonly string[];
  close(): Promise<void>;
}

export async function startSshServer(options: Partial<GitServerOptions> = {}): Promise<SshTestServer> {
  const said: string[] = [];
  const server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    log: ({ message, error }: ServiceLogEntry) =>
      void said.push(error === undefined ? message : `${message}: ${String(error)}`),
    ...options,
  });
  const { http, ssh } = await server.listen({ http: 0, ssh: 0 });
  if (ssh === undefined) throw new Error("there is no SSH server");
  return { server, ssh, httpUrl: http.url, said, close: () => server.close({ graceMs: 0 }) };
}
