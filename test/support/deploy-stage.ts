/** A server that deploys, a repository that is pushed to it, and what both say: for tests with the real client. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { Build } from "../../src/database/build-store.js";
import type { Release } from "../../src/database/release-store.js";
import {
  type App,
  createPlainExecutor,
  type Deploy,
  type DeployOptions,
  openDeploy,
} from "../../src/index.js";
import { createGitServer, type GitServer } from "../../src/server/git-server.js";
import type { RepositoryStore } from "../../src/storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../../src/storage/disk/disk-repository-store.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./git-client.js";

export interface DeployStage {
  readonly workspace: GitClient;
  /** Where commits are made. */
  readonly app: GitClient;
  readonly deploy: Deploy;
  readonly server: GitServer;
  /** Of the app's repository. */
  url: string;
  /** With an app `shop`, and plain processes where the options name nothing else. A second time: in place of the first. */
  start(options?: Partial<DeployOptions>): Promise<void>;
  /** @returns the commit */
  commit(files: Record<string, string>, message?: string): Promise<string>;
  /** @param args @default `main` */
  push(...args: readonly string[]): Promise<GitResult>;
  shop(): Promise<App>;
  releases(): Promise<readonly Release[]>;
  builds(): Promise<readonly Build[]>;
  /** A buildpack of ours, as Heroku's look: a shell script for each program. */
  buildpack(
    name: string,
    programs: Record<string, string>,
  ): { readonly name: string; readonly directory: string };
  /** Fails when the server had something to log. */
  close(): Promise<void>;
}

export async function createDeployStage(): Promise<DeployStage> {
  const workspace = createWorkspace();
  // Who runs builds passes through.
  chmodSync(workspace.directory, 0o711);
  await workspace.run("init", "-q", "app");
  const app = workspace.in("app");
  const problems: string[] = [];
  const stores: RepositoryStore[] = [];
  let deploy: Deploy | undefined;
  let server: GitServer | undefined;
  const started = <T>(part: T | undefined): T => {
    if (part === undefined) throw new Error("it has not been started");
    return part;
  };
  const stop = async (): Promise<void> => {
    await server?.close({ graceMs: 0 });
    await deploy?.close();
  };
  const stage: DeployStage = {
    workspace,
    app,
    url: "",
    get deploy() {
      return started(deploy);
    },
    get server() {
      return started(server);
    },
    async start(options = {}) {
      await stop();
      const repositories = createDiskRepositoryStore({
        directory: join(workspace.directory, "served"),
        durability: "none",
      });
      stores.push(repositories);
      deploy = await openDeploy({
        database: `sqlite:${join(workspace.directory, "state/deploy.sqlite")}`,
        directory: join(workspace.directory, "deploy"),
        executor: createPlainExecutor({ warn: () => undefined }),
        leaseMs: 2000,
        log: (text, error) => void problems.push(`${text} ${String(error)}`),
        repositories,
        ...options,
      });
      const { handlers } = deploy;
      server = createGitServer({ repositories, autoCreate: "push", handlers, log: () => undefined });
      stage.url = `${(await server.listen({ http: 0 })).http.url}/shop.git`;
      if ((await deploy.state.apps.find("shop")) === undefined)
        await deploy.state.createApp({ name: "shop" });
    },
    async commit(files, message = "a commit") {
      for (const [path, text] of Object.entries(files)) {
        const place = join(app.directory, path);
        mkdirSync(join(place, ".."), { recursive: true });
        writeFileSync(place, text, { mode: text.startsWith("#!") ? 0o755 : 0o644 });
      }
      await app.run("add", "-A");
      await app.run("commit", "-q", "--allow-empty", "-m", message);
      return app.run("rev-parse", "HEAD");
    },
    push: (...args) => app.try("push", stage.url, ...(args.length === 0 ? ["main"] : args)),
    shop: async () => started(await stage.deploy.state.apps.find("shop")),
    releases: async () => stage.deploy.state.releases.list((await stage.shop()).id),
    builds: async () => stage.deploy.state.builds.list((await stage.shop()).id),
    buildpack(name, programs) {
      const directory = join(workspace.directory, name);
      mkdirSync(join(directory, "bin"), { recursive: true });
      for (const [program, text] of Object.entries(programs))
        writeFileSync(join(directory, "bin", program), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
      return { name, directory };
    },
    async close() {
      await stop();
      for (const store of stores.splice(0)) await store.close();
      removeDirectory(workspace);
      expect(problems.splice(0)).toEqual([]);
    },
  };
  return stage;
}

/** As the pusher reads it, without what git puts before. */
export function said(result: GitResult): string {
  return result.stderr.replaceAll(/^remote: ?/gm, "").replaceAll(/ +$/gm, "");
}

export function filesInSlug(slug: string): readonly string[] {
  return execFileSync("tar", ["-tf", slug], { encoding: "utf8" }).trim().split("\n").toSorted();
}

/** Looked at again and again, for twenty seconds at least. */
export async function until(what: () => Promise<boolean> | boolean): Promise<void> {
  for (let looks = 0; !(await what()); looks++) {
    if (looks > 2000) throw new Error("it does not happen");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
