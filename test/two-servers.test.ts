/** Two server processes on one directory: pushes of real clients to both, interleaved; nothing is lost. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";

// Much work beside other tests on a small machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

describe("two servers on one directory", () => {
  let workspace: GitClient;
  let servers: readonly ServeProcess[];

  beforeEach(async () => {
    workspace = createWorkspace();
    const directory = join(workspace.directory, "repositories");
    await workspace.run("init", "-q", "--bare", "repositories/app.git");
    servers = await Promise.all([0, 1].map(() => startServe(directory, "--log", "none")));
  });
  afterEach(async () => {
    for (const server of servers) await server.end("SIGKILL");
    removeDirectory(workspace);
  });

  const urlOf = (server: number): string => `${servers[server % 2]?.url}/app.git`;

  async function commit(client: GitClient, text: string): Promise<string> {
    writeFileSync(join(client.directory, `file-${text}`), text);
    await client.run("add", ".");
    await client.run("commit", "-q", "-m", text);
    return client.run("rev-parse", "HEAD");
  }

  it("takes 40 pushes of four clients, each seen by both", async () => {
    const pushed = await Promise.all(
      [0, 1, 2, 3].map(async (number) => {
        await workspace.run("init", "-q", `client-${number}`);
        const client = workspace.in(`client-${number}`);
        const oids: string[] = [];
        for (let i = 0; i < 10; i++) {
          oids.push(await commit(client, `${number}-${i}`));
          await client.run("push", "-q", urlOf(number + i), `HEAD:refs/heads/branch-${number}`);
          if (i % 4 !== 0) continue;
          // The other server sees it at once.
          const seen = await client.run("ls-remote", urlOf(number + i + 1), `refs/heads/branch-${number}`);
          expect(seen).toContain(oids.at(-1));
        }
        return oids;
      }),
    );
    const bare = workspace.in("repositories/app.git");
    await bare.run("fsck", "--strict");
    for (const [number, oids] of pushed.entries()) {
      expect(await bare.run("rev-parse", `branch-${number}`)).toBe(oids.at(-1));
      expect(await bare.run("rev-list", "--count", `branch-${number}`)).toBe("10");
    }
    for (const server of [0, 1]) {
      await workspace.run("clone", "-q", "--mirror", urlOf(server), `mirror-${server}`);
      await workspace.in(`mirror-${server}`).run("fsck", "--strict");
    }
  });

  it("lets exactly one of two pushes to one ref win, and tells the other", async () => {
    for (const number of [0, 1]) {
      await workspace.run("init", "-q", `client-${number}`);
      await commit(workspace.in(`client-${number}`), `first-${number}`);
    }
    for (let round = 0; round < 8; round++) {
      const ref = `refs/heads/raced-${round}`;
      const results = await Promise.all(
        [0, 1].map((number) => workspace.in(`client-${number}`).try("push", urlOf(number), `HEAD:${ref}`)),
      );
      const winner = results.findIndex(({ status }) => status === 0);
      expect(results.filter(({ status }) => status === 0)).toHaveLength(1);
      expect(results[1 - winner]?.stderr).toMatch(/\[(remote )?rejected\]/);
      const oid = await workspace.in(`client-${winner}`).run("rev-parse", "HEAD");
      expect(await workspace.in("repositories/app.git").run("rev-parse", ref)).toBe(oid);
    }
    await workspace.in("repositories/app.git").run("fsck", "--strict");
  });
});
