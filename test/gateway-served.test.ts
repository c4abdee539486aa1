/** `gitwharf serve` with a gateway in its configuration, as a process. */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { createGatewayStore } from "../src/database/gateway-store.js";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { startForgeWithGit } from "./support/forges/forge-with-git.js";
import { startGitHub } from "./support/forges/github-stand-in.js";
import { createWorkspace, removeDirectory } from "./support/git-client.js";
import { startServe } from "./support/serve-process.js";

it("opens one pull request for a push whose process is killed while it is being opened", async () => {
  const forge = await startForgeWithGit(startGitHub);
  const person = createWorkspace();
  const at = (name: string): string => join(person.directory, name);
  const OPEN = "POST /repos/{owner}/{repo}/pulls";
  try {
    const upstream = await forge.addRepository({ owner: "ada", name: "engine" });
    const gateway = {
      forges: [forge.forge.settings],
      database: `sqlite:${at("gateway/g.db")}`,
      directory: person.directory,
      limits: { leaseMs: 500, retryMs: 500 },
    };
    writeFileSync(at("config.json"), JSON.stringify({ gateway }));
    const dying = await startServe(at("repositories"), "--config", at("config.json"));
    await person.run("clone", "-q", `${dying.url}/v1/gh/ada/engine`, "engine");
    const client = person.in("engine");
    await client.run("commit", "-q", "--allow-empty", "-m", "Turn faster");
    const release = forge.forge.hold(OPEN);
    const pushing = client.try("push", "origin", "HEAD:main");
    const operations = (): readonly string[] => forge.forge.requests.map(({ operation }) => operation);
    await expect.poll(operations, { timeout: 30_000 }).toContain(OPEN);
    await dying.end("SIGKILL");
    expect((await pushing).status).not.toBe(0);
    // The forge had the request, and carries it out for nobody.
    release();
    const next = await startServe(at("repositories"), "--config", at("config.json"));
    const database = await openDatabase(parseDatabaseLocation(gateway.database));
    const store = createGatewayStore(database);
    await expect
      .poll(() => store.recent(2), { timeout: 30_000 })
      .toMatchObject([{ state: "opened", pullNumber: 1 }]);
    await database.close();
    expect(upstream.pulls).toHaveLength(1);
    expect(operations().filter((operation) => operation === OPEN)).toHaveLength(1);
    await next.end("SIGTERM");
  } finally {
    removeDirectory(person);
    await forge.close();
  }
  expect(forge.forge.violations).toEqual([]);
});

it("takes contributions beside its own repositories", async () => {
  const forge = await startForgeWithGit(startGitHub);
  const person = createWorkspace();
  const at = (name: string): string => join(person.directory, name);
  try {
    const upstream = await forge.addRepository({ owner: "ada", name: "engine" });
    const gateway = {
      forges: [forge.forge.settings],
      database: `sqlite:${at("gateway/g.db")}`,
      directory: person.directory,
    };
    writeFileSync(at("config.json"), JSON.stringify({ gateway }));
    const served = await startServe(at("repositories"), "--config", at("config.json"));
    await person.run("clone", "-q", `${served.url}/v1/gh/ada/engine`, "engine");
    const client = person.in("engine");
    await client.run("commit", "-q", "--allow-empty", "-m", "Turn faster");
    const result = await client.try("push", "origin", "HEAD:main");
    expect(result.stderr).toContain("https://forge.example/ada/engine/pull/1");
    expect(upstream.pulls).toMatchObject([{ author: "bot", base: "main" }]);
    // Its own are where they were.
    await client.run("push", "-q", `${served.url}/v1.git`, "HEAD:main");
    expect(existsSync(at("repositories/v1.git"))).toBe(true);
    await served.end("SIGTERM");
    expect(readdirSync(person.directory).filter((name) => name.startsWith("gitwharf-gateway-"))).toEqual([]);
    expect(served.printed()).not.toContain("ada@example.org");
  } finally {
    removeDirectory(person);
    await forge.close();
  }
  expect(forge.forge.violations).toEqual([]);
});
