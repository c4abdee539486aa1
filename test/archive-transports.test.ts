/** git archive --remote over SSH and git://, beside git's own over the same repository: every form, and only what refs show. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { createSshClient } from "./support/ssh-client.js";

let workspace: GitClient;
let work: GitClient;
let server: GitServer;
let path: string;
let environment: NodeJS.ProcessEnv;
const remotes: Record<string, string> = {};

beforeAll(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "work");
  work = workspace.in("work");
  mkdirSync(join(work.directory, "docs/deep"), { recursive: true });
  writeFileSync(join(work.directory, "a.txt"), "a\n");
  writeFileSync(join(work.directory, "docs/b.txt"), "b\n");
  writeFileSync(join(work.directory, "docs/deep/c.md"), "c\n".repeat(5000));
  await work.run("add", "-A");
  await work.run("commit", "-q", "-m", "first");
  await work.run("tag", "-a", "-m", "one", "v1");
  await work.run("commit", "-q", "--allow-empty", "-m", "second");
  path = join(workspace.directory, "root/team/app.git");
  await workspace.run("clone", "-q", "--bare", "work", path);
  writeFileSync(join(path, "git-daemon-export-ok"), "");
  server = createGitServer({
    repositories: join(workspace.directory, "root"),
    sshServer: { hostKeyDirectory: inject("hostKeyDirectory") },
    log: () => undefined,
  });
  const { ssh, git } = await server.listen({ http: 0, ssh: 0, git: 0 });
  remotes["SSH"] = `ssh://git@127.0.0.1:${ssh?.port}/team/app.git`;
  remotes["git://"] = `${git?.url}/team/app.git`;
  environment = createSshClient({ directory: workspace.directory, port: ssh?.port ?? 0 }).environment;
});
afterAll(async () => {
  await server.close({ graceMs: 0 });
  removeDirectory(workspace);
});

/** @returns how git ended, and the archive */
async function archive(
  remote: string,
  ...args: readonly string[]
): Promise<GitResult & { readonly bytes: Buffer }> {
  const file = join(workspace.directory, "archive");
  writeFileSync(file, "");
  const result = await work.tryWith(
    { env: environment },
    "archive",
    `--remote=${remote}`,
    "-o",
    file,
    ...args,
  );
  return { ...result, bytes: readFileSync(file) };
}

describe.each(["SSH", "git://"])("git archive --remote over %s", (transport) => {
  const remote = (): string => remotes[transport] ?? "";

  it.each([
    ["--format=tar", "main"],
    ["--format=tar", "--prefix=app-1.0/", "v1"],
    ["--format=tar", "main", "docs/deep", "a.txt"],
    ["--format=tar", "refs/tags/v1", "docs"],
    ["--format=zip", "main"],
    ["--format=zip", "--prefix=p/q/", "-0", "HEAD", "docs"],
    ["--format=tar.gz", "main"],
    ["--format=tgz", "--prefix=p/", "-9", "v1", "docs"],
  ])("gives what git gives: %s %s %s %s %s", async (...args) => {
    const [ours, theirs] = [await archive(remote(), ...args), await archive(path, ...args)];
    expect(ours).toMatchObject({ status: 0, stderr: "" });
    expect(theirs.status).toBe(0);
    const isGzip = /gz/.test(args[0] ?? "");
    const plain = (bytes: Buffer): Buffer => (isGzip ? gunzipSync(bytes) : bytes);
    expect(plain(ours.bytes).equals(plain(theirs.bytes))).toBe(true);
    expect(plain(ours.bytes).length).toBeGreaterThan(100);
  });

  it("lists the forms that there are", async () => {
    const list = await work.tryWith({ env: environment }, "archive", `--remote=${remote()}`, "--list");
    expect(list.stdout.split("\n").toSorted()).toEqual(["", "tar", "tar.gz", "tgz", "zip"]);
  });

  it("gives no tree that no ref shows, by whatever name", async () => {
    const lost = await workspace.in("root/team/app.git").run("commit-tree", "-m", "lost", "main^{tree}");
    const tree = await work.run("rev-parse", "main:docs");
    const first = await work.run("rev-parse", "v1^{commit}");
    for (const name of [
      lost,
      first,
      tree,
      lost.slice(0, 10),
      "main~1",
      "main^",
      "v1^{commit}",
      "main@{0}",
      "-x",
      "",
    ]) {
      const [ours, theirs] = [await archive(remote(), name), await archive(path, name)];
      expect([name, ours.status === 0, theirs.status === 0]).toEqual([name, false, false]);
      expect(ours.bytes.length).toBe(0);
    }
    // A directory of what a ref shows is shown by it.
    expect((await archive(remote(), "--format=tar", "main:docs")).status).toBe(0);
  });
});
