/** `gitwharf serve` with a gateway in its configuration, as a process. */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startForgeWithGit } from "./support/forges/forge-with-git.js";
import { startGitHub } from "./support/forges/github-stand-in.js";
import { createWorkspace, removeDirectory } from "./support/git-client.js";
import { startServe } from "./support/serve-process.js";

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
