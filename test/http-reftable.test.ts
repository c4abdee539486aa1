/** What refs in reftables could change about HTTP. The client's git need not know them: it sees only the protocol. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  GIT_WITH_REFTABLE,
  gitEnvironment,
  gitWithReftable,
} from "../src/storage/disk/refs/git-refs.test.support.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";
import { send } from "./support/raw-http.js";

const newerGit = gitWithReftable();

describe("a repository with reftables over HTTP", () => {
  let workspace: GitClient;
  let server: TestServer;
  let app: GitClient;

  const start = (): Promise<TestServer> =>
    createTestServer({
      repositories: join(workspace.directory, "repositories"),
      refFormat: "reftable",
      durability: "none",
    });
  const inRepository = (path: string): string => join(workspace.directory, "repositories/app.git", path);

  beforeEach(async () => {
    workspace = createWorkspace();
    server = await start();
    await workspace.run("init", "-q", "app");
    app = workspace.in("app");
    await app.run("commit", "-q", "--allow-empty", "-m", "first");
    await app.run("tag", "-a", "v1", "-m", "one");
    await app.run("push", "-q", server.urlOf("app"), "main", "v1");
  });
  afterEach(async () => {
    await server.close();
    removeDirectory(workspace);
  });

  it("is made in that format, and keeps no ref elsewhere", () => {
    expect(readFileSync(inRepository("config"), "utf8")).toMatch(
      /repositoryformatversion = 1[^]*refstorage = reftable/,
    );
    expect(readFileSync(inRepository("HEAD"), "utf8")).toBe("ref: refs/heads/.invalid\n");
    expect(readFileSync(inRepository("reftable/tables.list"), "utf8")).toMatch(
      /^(?:0x[0-9a-f-]+x[0-9a-f-]+\.ref\n)+$/,
    );
    expect(existsSync(inRepository("packed-refs"))).toBe(false);
    expect(readdirSync(inRepository("refs"))).toEqual(["heads"]);
  });

  it("is cloned by the dumb protocol, with refs and HEAD from the tables", async () => {
    const commit = await app.run("rev-parse", "main");
    const tag = await app.run("rev-parse", "v1");
    const url = server.urlOf("app");
    expect((await send(`${url}/info/refs`)).body.toString()).toBe(
      `${commit}\trefs/heads/main\n${tag}\trefs/tags/v1\n${commit}\trefs/tags/v1^{}\n`,
    );
    expect((await send(`${url}/HEAD`)).body.toString()).toBe("ref: refs/heads/main\n");
    const cloned = await workspace.tryWith({ env: { GIT_SMART_HTTP: "0" } }, "clone", "-q", url, "dumb");
    expect(cloned.stderr).toBe("");
    expect(await workspace.in("dumb").run("rev-parse", "HEAD", "v1")).toBe(`${commit}\n${tag}`);
    expect((await send(`${url}/reftable/tables.list`)).status).toBe(404);
  });

  it("keeps what was pushed when the server starts anew, through many pushes and compaction", async () => {
    for (let i = 0; i < 12; i++) {
      await app.run("commit", "-q", "--allow-empty", "-m", `change ${i}`);
      await app.run("push", "-q", server.urlOf("app"), "main", `main:refs/heads/side${i}`);
      if (i % 3 === 2) await app.run("push", "-q", server.urlOf("app"), `:refs/heads/side${i}`);
    }
    const before = await app.run("ls-remote", server.urlOf("app"));
    expect(before.split("\n")).toHaveLength(1 + 1 + 8 + 2);
    await server.close();
    expect(readdirSync(inRepository("reftable")).length).toBeLessThan(10);
    server = await start();
    expect(await app.run("ls-remote", server.urlOf("app"))).toBe(before);
  });

  it.skipIf(newerGit === undefined)(
    `is in order for git ${newerGit ?? "with reftables, absent here"}`,
    async () => {
      const url = server.urlOf("app");
      for (let i = 0; i < 5; i++) {
        await app.run("commit", "-q", "--allow-empty", "-m", `change ${i}`);
        await app.run("push", "-q", url, "main", `main:refs/heads/side${i}`);
      }
      const git = (...args: readonly string[]): string =>
        execFileSync(GIT_WITH_REFTABLE, ["-C", inRepository(""), ...args], {
          encoding: "utf8",
          env: gitEnvironment(GIT_WITH_REFTABLE),
        });
      expect(git("refs", "verify")).toBe("");
      expect(git("fsck", "--strict", "--no-dangling")).toBe("");
      const listed = git("for-each-ref", "--format=%(objectname)%09%(refname)").trimEnd().split("\n");
      const ours = (await app.run("ls-remote", "--refs", url)).split("\n");
      expect(listed).toEqual(ours);
      expect(git("rev-parse", "v1^{}").trim()).toBe(await app.run("rev-parse", "v1^{}"));
      git("update-ref", "refs/heads/from-git", "main");
      git("pack-refs", "--all");
      expect(await app.run("ls-remote", url, "refs/heads/from-git")).toContain(
        await app.run("rev-parse", "main"),
      );
    },
  );

  it("refuses names in conflict, one by one and all at once", async () => {
    const url = server.urlOf("app");
    const one = await app.try("push", url, "main:refs/heads/main/below", "main:refs/heads/other");
    expect(one.stderr).toMatch(/! \[remote rejected\] main -> main\/below/);
    expect(await app.run("ls-remote", url, "refs/heads/other")).not.toBe("");
    const all = await app.try("push", "--atomic", url, "main:refs/heads/main/below", "main:refs/heads/third");
    expect(all.status).not.toBe(0);
    expect(await app.run("ls-remote", url, "refs/heads/third")).toBe("");
  });

  it("says so when another process holds the lock, and goes on after it", async () => {
    const url = server.urlOf("app");
    writeFileSync(inRepository("reftable/tables.list.lock"), "");
    const refused = await app.try("push", url, "main:refs/heads/late");
    expect(refused.stderr).toMatch(/! \[remote rejected\] main -> late \(.*tables\.list\.lock/);
    expect(await app.run("ls-remote", url, "refs/heads/main")).not.toBe("");
    unlinkSync(inRepository("reftable/tables.list.lock"));
    await app.run("push", "-q", url, "main:refs/heads/late");
  });
});
