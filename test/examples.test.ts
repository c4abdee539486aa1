/** Each example mounts gitwharf in a framework: clone and push through it. */
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";

interface Example {
  readonly git: { close(options?: { graceMs?: number }): Promise<void> };
  readonly listener: RequestListener;
}

const EXAMPLES: Record<string, { readonly prefix: string; load(): Promise<Example> }> = {
  "node-http": {
    prefix: "",
    async load() {
      const { git, server } = await importExample("node-http");
      return { git, listener: (server as Server).listeners("request")[0] as RequestListener };
    },
  },
  express: {
    prefix: "/git",
    async load() {
      const { git, app } = await importExample("express");
      return { git, listener: app as RequestListener };
    },
  },
  fastify: {
    prefix: "/git",
    async load() {
      const { git, app } = await importExample("fastify");
      const fastify = app as { ready(): Promise<void>; routing: RequestListener };
      await fastify.ready();
      return { git, listener: fastify.routing };
    },
  },
  hono: {
    prefix: "/git",
    async load() {
      const { git, app } = await importExample("hono");
      return {
        git,
        listener: (request, response) =>
          void getRequestListener((app as { fetch: Parameters<typeof getRequestListener>[0] }).fetch)(
            request,
            response,
          ),
      };
    },
  },
};

/** The examples are read from where they stand, so that what is tested is what a person copies. */
async function importExample(name: string): Promise<Record<string, unknown> & { git: Example["git"] }> {
  const url = new URL(`../../examples/${name}.js`, import.meta.url).href;
  return (await import(/* @vite-ignore */ url)) as Record<string, unknown> & { git: Example["git"] };
}

describe("examples", () => {
  let workspace: GitClient;
  let before: string;
  let server: Server;

  beforeEach(() => {
    workspace = createWorkspace();
    before = process.cwd();
    // The examples keep ./repositories; here that is a temporary directory.
    process.chdir(workspace.directory);
  });
  afterEach(() => {
    process.chdir(before);
    server.closeAllConnections();
    server.close();
    removeDirectory(workspace);
  });

  for (const [name, example] of Object.entries(EXAMPLES)) {
    it(`${name} takes a push and serves a clone`, async () => {
      const { git, listener } = await example.load();
      server = createServer(listener);
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${example.prefix}/${name}.git`;
      await workspace.run("init", "-q", "app");
      const app = workspace.in("app");
      await app.run("commit", "-q", "--allow-empty", "-m", "first");
      await app.run("push", "-q", url, "main");
      await workspace.run("clone", "-q", url, "copy");
      const head = await app.run("rev-parse", "HEAD");
      expect(await workspace.in("copy").run("rev-parse", "HEAD")).toBe(head);
      if (name === "express") {
        const page = await fetch(new URL("/", url));
        expect(await page.text()).toBe(`Latest pushes:\nexpress main ${head.slice(0, 7)}\n`);
      }
      await git.close({ graceMs: 0 });
    });
  }
});
