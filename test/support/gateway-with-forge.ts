/** A gateway before a stand-in for a forge, whose repositories are real, and a person with git. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createGateway, type Gateway, type GatewayParts } from "../../src/gateway/gateway.js";
import type { GatewayOptions } from "../../src/gateway/gateway-options.js";
import { createMemoryRepositoryStore } from "../../src/storage/memory/memory-repository-store.js";
import { createTestServer, type TestServer } from "../../src/testing/test-server.js";
import { type ForgeWithGit, startForgeWithGit } from "./forges/forge-with-git.js";
import { startGitea } from "./forges/gitea-stand-in.js";
import { createWorkspace, type GitClient, removeDirectory } from "./git-client.js";
import type { StandInOptions } from "./forges/stand-in-forge.js";

export interface RunningGateway {
  readonly gateway: Gateway;
  readonly server: TestServer;
  /** Everything that was logged, as text. */
  readonly logged: () => string;
  /** Of an upstream. */
  urlOf(owner: string, repo: string): string;
  close(): Promise<void>;
}

export interface GatewayWithForge {
  readonly forge: ForgeWithGit;
  /** The database's file. */
  readonly database: string;
  /** Bytes of the database. */
  databaseBytes(): Buffer;
  start(options?: Partial<GatewayOptions>, parts?: Partial<GatewayParts>): Promise<RunningGateway>;
  /** A clone through a gateway, with a remote `gost`. */
  cloneBy(running: RunningGateway, owner: string, repo: string): Promise<GitClient>;
  close(): Promise<void>;
}

export async function startGatewayWithForge(standIn: StandInOptions = {}): Promise<GatewayWithForge> {
  const forge = await startForgeWithGit(startGitea, standIn);
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-gateway-"));
  const database = join(directory, "database", "gateway.db");
  const workspace = createWorkspace();
  const open: RunningGateway[] = [];
  let clones = 0;
  return {
    forge,
    database,
    databaseBytes: () =>
      Buffer.concat(
        ["", "-wal", "-shm"].flatMap((ending) =>
          existsSync(database + ending) ? [readFileSync(database + ending)] : [],
        ),
      ),
    async start(options = {}, parts = {}) {
      const log: unknown[] = [];
      const note = (entry: unknown): void => void log.push(entry);
      const gateway = await createGateway({
        options: { forges: [forge.forge.settings], ...options },
        database: `sqlite:${database}`,
        scratch: createMemoryRepositoryStore(),
        log: note,
        ...parts,
      });
      const server = await createTestServer({ beside: gateway.handler, log: note });
      const { name, host } = forge.forge.settings;
      const running: RunningGateway = {
        gateway,
        server,
        logged: () => log.map((entry) => textOf(entry)).join("\n"),
        urlOf: (owner, repo) =>
          `${server.url}/v1/${name}${name === "gt" ? `/${host ?? ""}` : ""}/${owner}/${repo}`,
        async close() {
          open.splice(open.indexOf(running), 1);
          await gateway.close();
          await server.close();
        },
      };
      open.push(running);
      return running;
    },
    async cloneBy(running, owner, repo) {
      const name = `clone-${clones++}`;
      const url = running.urlOf(owner, repo);
      await workspace.run("clone", "-q", url, name);
      const client = workspace.in(name);
      await client.run("remote", "add", "gost", url);
      return client;
    },
    async close() {
      for (let last = open.at(-1); last !== undefined; last = open.at(-1)) await last.close();
      await forge.close();
      removeDirectory(workspace);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** With what errors were caused by, and their details. */
function textOf(entry: unknown): string {
  const seen = new Set<unknown>();
  return JSON.stringify(entry, (_key, value: unknown) => {
    if (typeof value !== "object" || value === null) return typeof value === "bigint" ? String(value) : value;
    if (seen.has(value)) return "…";
    seen.add(value);
    if (!(value instanceof Error)) return value;
    const { message, stack, cause } = value;
    return { ...Object.fromEntries(Object.entries(value)), message, stack, cause };
  });
}
