/**
 * The main job with the real client over HTTP: every backend in every version of the protocol, with both hash functions.
 * Any two of the three meet; what all three would do together, the contract suites of storage say of each backend alone.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { data } from "./support/fast-import.js";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";

interface Backend {
  readonly name: string;
  options(workspace: GitClient): Partial<GitServerOptions>;
}

const BACKENDS: readonly Backend[] = [
  { name: "memory", options: () => ({}) },
  {
    name: "disk with reftables",
    options: (w) => ({ repositories: join(w.directory, "repositories"), refFormat: "reftable" }),
  },
  { name: "disk", options: (w) => ({ repositories: join(w.directory, "repositories") }) },
];

for (const [number, backend] of BACKENDS.entries()) {
  for (const version of [0, 1, 2] as const) {
    const objectFormat = (number + version) % 2 === 0 ? "sha1" : "sha256";
    describe(`${backend.name}, ${objectFormat}, protocol v${version}`, () => {
      let workspace: GitClient;
      let server: TestServer;
      let app: GitClient;
      const protocol = ["-c", `protocol.version=${version}`] as const;

      beforeEach(async () => {
        workspace = createWorkspace();
        server = await createTestServer({
          objectFormat,
          durability: "none",
          ...backend.options(workspace),
        });
        await workspace.run("init", "-q", `--object-format=${objectFormat}`, "app");
        app = workspace.in("app");
        await app.run("remote", "add", "origin", server.urlOf("team/app"));
        await commit(app, "README", "first\n");
      });
      afterEach(async () => {
        await server.close();
        removeDirectory(workspace);
      });

      it("pushes, clones, fetches and pushes again", async () => {
        await app.run(...protocol, "push", "-q", "origin", "main");
        await workspace.run(...protocol, "clone", "-q", server.urlOf("team/app"), "copy");
        const copy = workspace.in("copy");
        expect(await copy.run("rev-parse", "HEAD")).toBe(await app.run("rev-parse", "HEAD"));
        await commitAll(
          app,
          Array.from({ length: 5 }, (_, i) => [`file${i}`, `content ${i}\n`]),
        );
        await app.run("tag", "-a", "v1", "-m", "one");
        await app.run(...protocol, "push", "-q", "origin", "main", "v1");
        await copy.run(...protocol, "pull", "-q");
        expect(await copy.run("rev-parse", "HEAD")).toBe(await app.run("rev-parse", "HEAD"));
        expect(await copy.run("rev-parse", "v1^{}")).toBe(await app.run("rev-parse", "main"));
        await commit(copy, "README", "changed\n");
        await copy.run(...protocol, "push", "-q");
        await app.run(...protocol, "pull", "-q", "--ff-only", "origin", "main");
        await copy.run("fsck", "--strict");
        await app.run("fsck", "--strict");
      });

      it("clones an empty repository, then deletes, forces and lists", async () => {
        await app.run(...protocol, "push", "-q", "origin", "main");
        await app.run("checkout", "-q", "-b", "feature/x");
        await commit(app, "x", "x\n");
        await app.run(...protocol, "push", "-q", "origin", "feature/x");
        await app.run("commit", "-q", "--amend", "-m", "amended");
        const refused = await app.try(...protocol, "push", "origin", "feature/x");
        expect(refused.status).not.toBe(0);
        await app.run(...protocol, "push", "-q", "--force", "origin", "feature/x");
        const listed = await app.run(...protocol, "ls-remote", "origin");
        expect(listed).toContain(`${await app.run("rev-parse", "HEAD")}\trefs/heads/feature/x`);
        expect(listed).toContain(`${await app.run("rev-parse", "main")}\tHEAD`);
        await app.run(...protocol, "push", "-q", "origin", ":feature/x");
        expect(await app.run(...protocol, "ls-remote", "origin", "feature/x")).toBe("");
      });

      it("clones shallow, deepens, and filters", async () => {
        await commitAll(
          app,
          Array.from({ length: 6 }, (_, i) => ["README", `version ${i}\n`.repeat(50)]),
        );
        await app.run(...protocol, "push", "-q", "origin", "main");
        await workspace.run(...protocol, "clone", "-q", "--depth=2", server.urlOf("team/app"), "shallow");
        const shallow = workspace.in("shallow");
        expect(await shallow.run("rev-list", "--count", "HEAD")).toBe("2");
        await shallow.run(...protocol, "fetch", "-q", "--deepen=2");
        expect(await shallow.run("rev-list", "--count", "HEAD")).toBe("4");
        await shallow.run(...protocol, "fetch", "-q", "--unshallow");
        expect(await shallow.run("rev-list", "--count", "HEAD")).toBe("7");
        if (version === 2) {
          await workspace.run(
            ...protocol,
            "clone",
            "-q",
            "--filter=blob:none",
            server.urlOf("team/app"),
            "partial",
          );
          const partial = workspace.in("partial");
          expect(
            (await partial.run("rev-list", "--objects", "--missing=print", "HEAD")).split("\n?").length - 1,
          ).toBe(6);
          expect(await partial.run("show", "HEAD~3:README")).toContain("version 2");
        }
      });
    });
  }
}

async function commit(client: GitClient, file: string, content: string): Promise<void> {
  writeFileSync(join(client.directory, file), content);
  await client.run("add", "-A");
  await client.run("commit", "-q", "-m", `change ${file}`);
}

/** A commit for each, by one process. */
async function commitAll(
  client: GitClient,
  changes: readonly (readonly [file: string, content: string])[],
): Promise<void> {
  const input = changes
    .map(([file, content], i) => {
      const from = i === 0 ? "from refs/heads/main^0\n" : "";
      const who = "Ada <ada@example.org> 1700000000 +0100";
      return `commit refs/heads/main\ncommitter ${who}\n${data(`change ${file}`)}${from}M 100644 inline ${file}\n${data(content)}`;
    })
    .join("");
  expect((await client.tryWith({ input }, "fast-import", "--quiet")).stderr).toBe("");
  await client.run("reset", "-q", "--hard");
}
