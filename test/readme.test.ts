/** The README's own examples: what a person copies from there runs. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";

interface Embedded {
  readonly handler: RequestListener;
  close(options?: { graceMs?: number }): Promise<void>;
}

const BLOCKS = [
  ...readFileSync(new URL("../../README.md", import.meta.url), "utf8").matchAll(/^```js\n([^]*?)^```$/gm),
].map((match) => match[1] as string);

/** Inside the package, where `gitwharf` means the package itself. */
const modules = fileURLToPath(new URL(`./readme-${process.pid}/`, import.meta.url));

function blockWith(text: string): string {
  const block = BLOCKS.find((candidate) => candidate.includes(text));
  if (block === undefined) throw new Error(`README.md has no example with ${text}`);
  return block;
}

async function load(source: string): Promise<Record<string, unknown>> {
  mkdirSync(modules, { recursive: true });
  const file = `${modules}${randomBytes(6).toString("hex")}.mjs`;
  writeFileSync(file, source);
  return (await import(/* @vite-ignore */ file)) as Record<string, unknown>;
}

describe("README.md", () => {
  let workspace: GitClient;
  let before: string;
  let server: Server | undefined;
  let git: Embedded | undefined;

  beforeEach(async () => {
    workspace = createWorkspace();
    before = process.cwd();
    process.chdir(workspace.directory);
    await workspace.run("init", "-q", "app");
    await workspace.in("app").run("commit", "-q", "--allow-empty", "-m", "first");
  });
  afterEach(async () => {
    process.chdir(before);
    await git?.close({ graceMs: 0 });
    server?.closeAllConnections();
    server?.close();
    git = server = undefined;
    removeDirectory(workspace);
    rmSync(modules, { recursive: true, force: true });
  });

  async function serve(handler: RequestListener): Promise<number> {
    const listening = createServer(handler);
    server = listening;
    await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
    return (listening.address() as AddressInfo).port;
  }

  it("embeds with handlers that refuse and that thank", async () => {
    const listen = 'createServer(git.handler).listen(5000, "127.0.0.1");';
    const block = blockWith("postReceive");
    expect(block).toContain(listen);
    git = (await load(block.replace(listen, "export { git };")))["git"] as Embedded;
    const url = `http://127.0.0.1:${await serve(git.handler)}/app.git`;
    const app = workspace.in("app");
    await expect(app.run("push", url, "main")).rejects.toThrow(/remote rejected.*sign in to push main/);
    expect((await app.try("push", url, "main:topic")).stderr).toContain("remote: Thank you for 1 refs.");
  });

  it("asks who may do what", async () => {
    process.env["GIT_PASSWORD"] = "secret";
    git = (await load(`${blockWith("authorize:")}\nexport { git };`))["git"] as Embedded;
    const port = await serve(git.handler);
    await workspace.run("init", "-q", "--bare", "repositories/app.git");
    const app = workspace.in("app");
    await expect(app.run("push", "-q", `http://127.0.0.1:${port}/app.git`, "main")).rejects.toThrow(
      /could not read Username|Authentication failed/,
    );
    await expect(
      app.run("push", "-q", `http://user:wrong@127.0.0.1:${port}/app.git`, "main"),
    ).rejects.toThrow(/Authentication failed/);
    await app.run("push", "-q", `http://user:secret@127.0.0.1:${port}/app.git`, "main");
    await workspace.run("clone", "-q", `http://127.0.0.1:${port}/app.git`, "copy");
    expect(await workspace.in("copy").run("rev-parse", "HEAD")).toBe(await app.run("rev-parse", "HEAD"));
  });

  it("gives tests a server in memory", async () => {
    const block = blockWith("gitwharf/testing")
      .replace("const server", "export const server")
      .replace("await server.close();", "");
    const { server: memory } = (await load(block)) as {
      server: { urlOf(name: string): string } & AsyncDisposable;
    };
    const app = workspace.in("app");
    await app.run("push", "-q", memory.urlOf("app"), "main");
    await workspace.run("clone", "-q", memory.urlOf("app"), "copy");
    expect(await workspace.in("copy").run("rev-parse", "HEAD")).toBe(await app.run("rev-parse", "HEAD"));
    await memory[Symbol.asyncDispose]();
  });
});
