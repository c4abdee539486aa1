/** `git clone --recurse-submodules`, of commits that no ref names, by relative and by absolute addresses. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { commitHead, data, importRepository } from "./support/fast-import.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

let workspace: GitClient;
let disk: TestServer;

beforeEach(async () => {
  workspace = createWorkspace();
  disk = await createTestServer({ repositories: workspace.directory, durability: "none" });
});
afterEach(async () => {
  await disk.close();
  removeDirectory(workspace);
});

describe("submodules", () => {
  it("are cloned with the project that names them", async () => {
    const library = await importRepository(
      workspace,
      "library",
      [
        `${commitHead("refs/heads/main", 0, "one")}M 100644 inline lib\n${data("one")}`,
        `${commitHead("refs/heads/main", 1, "two")}M 100644 inline lib\n${data("two")}`,
      ].join(""),
    );
    // In v0 a client asks for such a commit only where the server says that it may.
    await library.run("config", "uploadpack.allowReachableSHA1InWant", "true");
    // The project stands at the older commit, which no ref names.
    const older = await library.run("rev-parse", "main~1");
    const modules =
      '[submodule "library"]\n\tpath = third/library\n\turl = ../library.git\n' +
      `[submodule "again"]\n\tpath = again\n\turl = ${disk.urlOf("library")}\n`;
    await importRepository(
      workspace,
      "project",
      `${commitHead("refs/heads/main", 0, "project")}M 100644 inline .gitmodules\n${data(modules)}` +
        `M 160000 ${older} third/library\nM 160000 ${older} again\n`,
    );
    for (const version of [0, 2]) {
      for (const options of [[], ["--shallow-submodules", "--depth=1"], ["--jobs=4"]]) {
        const directory = `project-${version}-${options.length}`;
        await workspace.run(
          "-c",
          `protocol.version=${version}`,
          "clone",
          "-q",
          "--recurse-submodules",
          ...options,
          disk.urlOf("project"),
          directory,
        );
        for (const path of ["third/library", "again"]) {
          const module = workspace.in(`${directory}/${path}`);
          expect(await module.run("rev-parse", "HEAD")).toBe(older);
          expect(await module.run("show", "HEAD:lib")).toBe("one");
        }
        removeDirectory(workspace.in(directory));
      }
    }
  });
});
