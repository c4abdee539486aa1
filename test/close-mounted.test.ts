/** `close()` of a server whose handler is mounted in a server of the caller's: what is at work is finished. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createGitServer } from "../src/server/git-server.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

let workspace: GitClient;
beforeEach(() => {
  workspace = createWorkspace();
});
afterEach(() => removeDirectory(workspace));

it.each(["finishes a push that is at work, and takes no other request", "waits no longer than it is told"])(
  "%s",
  async (title) => {
    const patient = title.startsWith("finishes");
    let atWork = (): void => undefined;
    let release = (): void => undefined;
    const begun = new Promise<void>((resolve) => (atWork = resolve));
    const released = new Promise<void>((resolve) => (release = resolve));
    const git = createGitServer({
      repositories: createMemoryRepositoryStore(),
      autoCreate: "push",
      handlers: {
        preReceive: async () => {
          atWork();
          await released;
        },
      },
      log: () => undefined,
    });
    const server = createServer(git.handler);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/app.git`;
      await workspace.run("init", "-q", "app");
      await workspace.in("app").run("commit", "-q", "--allow-empty", "-m", "first");
      const push = workspace.in("app").try("push", url, "main");
      await begun;
      const closed = git.close({ graceMs: patient ? 60_000 : 0 });
      if (patient) {
        expect((await fetch(`${url}/info/refs?service=git-upload-pack`)).status).toBe(503);
        release();
        expect((await push).status).toBe(0);
      }
      await closed;
      release();
      expect((await push).status === 0).toBe(patient);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  },
);
