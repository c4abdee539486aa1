/**
 * Pushes of an object with half of a SHA-1 collision in it, by the real client. As no such Git object is known, the
 * detector also looks at the content without the object's header (see `engine/ingest/crafted-objects.test.ts`).
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type * as detection from "../src/object/collision-detection.js";
import { SHATTERED_PREFIX } from "../src/object/shattered.test.support.js";
import { createTestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

vi.mock("../src/object/collision-detection.js", async (importOriginal) => {
  const original = await importOriginal<typeof detection>();
  const createCollisionDetector = (): detection.CollisionDetector => {
    const real = original.createCollisionDetector();
    return {
      ...real,
      hash(head, body, target, at) {
        const crafted = real.hash(new Uint8Array(0), body, new Uint8Array(20), 0);
        return real.hash(head, body, target, at) || crafted;
      },
    };
  };
  return { createCollisionDetector };
});

describe("a push of an object made by a SHA-1 collision attack", () => {
  let workspace: GitClient;
  let app: GitClient;
  let blob: string;

  beforeAll(async () => {
    workspace = createWorkspace();
    await workspace.run("init", "-q", "app");
    app = workspace.in("app");
    await app.run("commit", "-q", "--allow-empty", "-m", "honest");
    await app.run("branch", "honest");
    writeFileSync(join(app.directory, "attack.pdf"), SHATTERED_PREFIX);
    await app.run("add", "attack.pdf");
    await app.run("commit", "-q", "-m", "attack");
    blob = await app.run("rev-parse", "HEAD:attack.pdf");
  });
  afterAll(() => removeDirectory(workspace));

  it("is refused, says which object, and leaves nothing; the next push is taken", async () => {
    await using server = await createTestServer();
    const url = server.urlOf("app");
    await expect(app.run("push", url, "main")).rejects.toThrow(
      new RegExp(`object ${blob} of the pack shows signs of a SHA-1 collision attack`),
    );
    expect(await app.run("ls-remote", url)).toBe("");
    await app.run("push", "-q", url, "honest");
    expect(await app.run("ls-remote", url)).toMatch(/\trefs\/heads\/honest$/);
  });

  it("is taken where detection is off", async () => {
    await using server = await createTestServer({ collisionDetection: false });
    const url = server.urlOf("app");
    await app.run("push", "-q", url, "main");
    expect(await app.run("ls-remote", url)).toMatch(/\trefs\/heads\/main$/);
  });
});
