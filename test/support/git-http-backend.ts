/** The judge over HTTP: git's own `git http-backend`. */
import { endGitHttpAdapter, startGitHttpAdapter } from "./git-runner.js";

export interface GitHttpBackend {
  urlOf(name: string): string;
  close(): Promise<void>;
}

/** @param root directory of bare repositories */
export async function startGitHttpBackend(root: string): Promise<GitHttpBackend> {
  const port = await startGitHttpAdapter(root);
  return {
    urlOf: (name) => `http://127.0.0.1:${port}/${name}`,
    close: () => endGitHttpAdapter(port),
  };
}
