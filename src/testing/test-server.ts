/**
 * A Git server in memory on a free port of 127.0.0.1, for users' own tests. Nothing is written to disk.
 */
import { createGitServer, type GitServer } from "../server/git-server.js";
import type { GitServerOptions } from "../server/git-server-options.js";
import { createMemoryRepositoryStore } from "../storage/memory/memory-repository-store.js";

export interface TestServer extends AsyncDisposable {
  readonly server: GitServer;
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** The URL of a repository: `urlOf("app")`. It comes into being on its first push. */
  urlOf(repository: string): string;
  close(): Promise<void>;
}

/** @param options as for `createGitServer`; repositories are made on first push unless `autoCreate` says otherwise */
export async function createTestServer(options: Partial<GitServerOptions> = {}): Promise<TestServer> {
  const server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    ...options,
  });
  const { http } = await server.listen({ http: 0 });
  const close = (): Promise<void> => server.close({ graceMs: 0 });
  return {
    server,
    url: http.url,
    urlOf: (repository) => `${http.url}/${repository}.git`,
    close,
    [Symbol.asyncDispose]: close,
  };
}
