/** What a person sees whose push is larger than the server takes: the reason, however much was still to come. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";

// Much work beside other tests on a small machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

describe("a push past a limit", () => {
  let workspace: GitClient;
  let server: TestServer | undefined;

  beforeEach(() => {
    workspace = createWorkspace();
  });
  afterEach(async () => {
    await server?.close();
    removeDirectory(workspace);
  });

  it.each([
    ["packSizeBytesMax", 1_000_000],
    ["packObjectsMax", 4],
    ["objectSizeBytesMax", 1_000_000],
    ["inflatedTotalBytesMax", 3_000_000],
    ["commandsMax", 1],
  ] as const)("is told of %s", async (limit, value) => {
    server = await createTestServer({ limits: { [limit]: value }, autoCreate: "push" });
    await workspace.run("init", "-q", "app");
    const app = workspace.in("app");
    for (let i = 0; i < 5; i++) writeFileSync(join(app.directory, `file-${i}`), randomBytes(1_500_000));
    await app.run("-c", "core.looseCompression=0", "add", ".");
    await app.run("commit", "-q", "-m", "large");
    await app.run("tag", "v1");
    // Both ways in which git sends a pack: in one piece and in chunks.
    for (const postBuffer of ["100000000", "65536"]) {
      const pushed = await app.try(
        "-c",
        `http.postBuffer=${postBuffer}`,
        "-c",
        "pack.window=0",
        "push",
        server.urlOf("app"),
        "main",
        "v1",
      );
      expect(pushed.status).not.toBe(0);
      expect(pushed.stderr).toContain(`limit (${limit})`);
    }
    expect(await server.server.store.open("app")).toBeUndefined();
    await app.run("checkout", "-q", "--orphan", "small");
    await app.run("rm", "-rfq", ".");
    await app.run("commit", "-q", "--allow-empty", "-m", "small");
    await app.run("push", "-q", server.urlOf("app"), "small");
  });
});
