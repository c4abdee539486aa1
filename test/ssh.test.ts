/** The SSH server with the real git and OpenSSH's client, open to its own machine. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GitServer, Listening } from "../src/server/git-server.js";
import { createGitServer } from "../src/server/git-server.js";
import type { SshListener } from "../src/transport/ssh/listener.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createSshClient, type SshClient } from "./support/ssh-client.js";

describe("git over SSH, open", () => {
  let workspace: GitClient;
  let server: GitServer;
  let listening: Listening;
  let ssh: SshListener;
  let client: SshClient;
  const host = "git@127.0.0.1";

  beforeAll(async () => {
    workspace = createWorkspace();
    server = createGitServer({ repositories: createMemoryRepositoryStore(), autoCreate: "push" });
    listening = await server.listen({ http: 0, ssh: 0 });
    ssh = listening.ssh as SshListener;
    client = createSshClient({ directory: workspace.directory, port: ssh.port });
  });
  afterAll(async () => {
    await server.close({ graceMs: 0 });
    removeDirectory(workspace);
  });

  const git = (directory: string, ...args: string[]): ReturnType<GitClient["try"]> =>
    workspace.in(directory).tryWith({ env: client.environment }, ...args);

  it.each([
    ["sha1", 0],
    ["sha1", 1],
    ["sha1", 2],
    ["sha256", 0],
    ["sha256", 2],
  ])("pushes, clones and fetches %s with protocol v%i", async (format, version) => {
    const name = `${format}-${version}`;
    const other = createGitServer({
      repositories: createMemoryRepositoryStore(),
      autoCreate: "push",
      objectFormat: format === "sha256" ? "sha256" : "sha1",
    });
    const listens = await other.listen({ http: 0, ssh: 0 });
    const url = `ssh://${host}:${listens.ssh?.port}/team/${name}.git`;
    try {
      await workspace.run("init", "-q", `--object-format=${format}`, name);
      const work = workspace.in(name);
      await work.run("commit", "-q", "--allow-empty", "-m", "first");
      const protocol = ["-c", `protocol.version=${version}`];
      const pushed = await git(name, ...protocol, "push", url, "main");
      expect(pushed.stderr).toContain("main -> main");
      expect(pushed.status).toBe(0);
      const cloned = await git(".", ...protocol, "clone", "-q", url, `${name}-copy`);
      expect(cloned).toMatchObject({ status: 0 });
      await work.run("commit", "-q", "--allow-empty", "-m", "second");
      await work.run("tag", "-a", "-m", "tag", "v1");
      expect(await git(name, ...protocol, "push", "--follow-tags", url, "main")).toMatchObject({ status: 0 });
      expect(await git(`${name}-copy`, ...protocol, "pull", "-q", "--tags")).toMatchObject({ status: 0 });
      const copy = workspace.in(`${name}-copy`);
      expect(await copy.run("rev-parse", "HEAD", "v1")).toBe(await work.run("rev-parse", "HEAD", "v1"));
      await copy.run("fsck", "--strict");
      // Nothing to do, and a refused ref, end as they do with git's own server.
      expect(await git(name, ...protocol, "push", url, "main")).toMatchObject({ status: 0 });
      const refused = await git(name, ...protocol, "push", url, "HEAD~1:refs/heads/main");
      expect(refused.status).toBe(1);
      expect(refused.stderr).toContain("rejected");
      expect((await git(name, ...protocol, "ls-remote", url)).stdout).toContain("refs/tags/v1^{}");
    } finally {
      await other.close({ graceMs: 0 });
    }
  });

  it("answers git archive --remote", async () => {
    await workspace.run("init", "-q", "archived");
    const work = workspace.in("archived");
    await work.run("commit", "-q", "--allow-empty", "-m", "first");
    const url = `ssh://${host}:${ssh.port}/archived.git`;
    expect(await git("archived", "push", url, "main")).toMatchObject({ status: 0 });
    const archived = await git(
      "archived",
      "archive",
      `--remote=${url}`,
      "--format=tar",
      "-o",
      "out.tar",
      "main",
    );
    expect(archived).toMatchObject({ status: 0 });
    expect(await git("archived", "archive", `--remote=${url}`, "nothing")).toMatchObject({
      status: 128,
      stderr: expect.stringContaining("nothing"),
    });
  });

  it("tells with an exit status and a sentence what it does not serve", async () => {
    const run = (...args: string[]): ReturnType<SshClient["ssh"]> => client.ssh([host, ...args]);
    const missing = await run("git-upload-pack 'missing'");
    expect(missing).toMatchObject({
      status: 1,
      stdout: "",
      stderr: "gitwharf: repository 'missing' does not exist\n",
    });
    expect(await run("bash", "-c", "id")).toMatchObject({
      status: 1,
      stdout: "",
      stderr: expect.stringMatching(/^gitwharf: this command is not served here/),
    });
    expect(await run("git-upload-pack '../x'")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("cannot be a repository name"),
    });
    expect(await run("git-lfs-authenticate app download")).toMatchObject({
      status: 1,
      stderr: "gitwharf: Git LFS is not served here\n",
    });
    await server.store.create("broken-off");
    const brokenOff = await client.ssh([host, "git-upload-pack 'broken-off'"], "0009nonsense");
    expect(brokenOff).toMatchObject({ status: 128, stderr: "" });
    expect(brokenOff.stdout).toContain("ERR ");
    const shell = await run();
    expect(shell).toMatchObject({ status: 1, stdout: "" });
    expect(shell.stderr).toMatch(
      /There is no shell, but: git clone ssh:\/\/git@127\.0\.0\.1:[0-9]+\/REPOSITORY\.git\n$/,
    );
  });

  // Gogs ran `env NAME=VALUE` for every variable that a client sent (CVE-2024-39930).
  it("takes GIT_PROTOCOL from a client's environment and nothing else, and runs nothing", async () => {
    const sent = ["SetEnv=--split-string=id LD_PRELOAD=/tmp/x.so GIT_DIR=/etc GIT_PROTOCOL=version=2;id"];
    const dirty = createSshClient({ directory: workspace.directory, port: ssh.port, options: sent });
    expect(await dirty.ssh([host, "env"])).toMatchObject({ status: 1, stdout: "" });
    await workspace.run("init", "-q", "variables");
    await workspace.in("variables").run("commit", "-q", "--allow-empty", "-m", "first");
    const url = `ssh://${host}:${ssh.port}/variables.git`;
    expect(await git("variables", "push", url, "main")).toMatchObject({ status: 0 });
    // Not a version that is known, and no command: the answer is that of v0.
    const answer = await dirty.ssh([host, "git-upload-pack 'variables'"], "0000");
    expect(answer.status).toBe(0);
    expect(answer.stdout).toMatch(/^[0-9a-f]{4}[0-9a-f]{40} HEAD\0/);
    const v2 = createSshClient({
      directory: workspace.directory,
      port: ssh.port,
      options: ["SetEnv=GIT_PROTOCOL=version=2"],
    });
    expect((await v2.ssh([host, "git-upload-pack 'variables'"], "0000")).stdout).toMatch(/^000eversion 2\n/);
  });

  it("gives no terminal, subsystem, forwarding or environment", async () => {
    const terminal = await client.ssh(["-tt", host]);
    expect(terminal.stderr).toContain("PTY allocation request failed");
    expect(await client.ssh(["-s", host, "sftp"])).toMatchObject({
      stderr: expect.stringContaining("subsystem request failed"),
    });
    expect(
      await client.ssh(["-o", "ExitOnForwardFailure=yes", "-N", "-R", "0:127.0.0.1:1", host]),
    ).toMatchObject({
      stderr: expect.stringContaining("remote port forwarding failed"),
    });
    expect(await client.ssh(["-W", "127.0.0.1:1", host])).toMatchObject({
      stderr: expect.stringContaining("stdio forwarding failed"),
    });
  });

  it("offers strict key exchange and nothing that is broken", async () => {
    const { stderr } = await client.ssh(["-vvv", "-o", "LogLevel=DEBUG3", host, "x"]);
    expect(stderr).toContain("kex-strict-s-v00@openssh.com");
    const offered = stderr.slice(stderr.indexOf("peer server KEXINIT proposal"));
    const lists = offered.slice(0, offered.indexOf("kex: algorithm"));
    expect(lists).toContain("curve25519-sha256");
    expect(lists).not.toMatch(/sha1|ssh-rsa|ssh-dss|cbc|zlib|md5/);
    const announced = /server-sig-algs=<([^>]*)>/.exec(stderr)?.[1]?.split(",") ?? [];
    expect(announced).toContain("rsa-sha2-512");
    expect(announced).toContain("ecdsa-sha2-nistp521");
    expect(announced).not.toContain("ssh-rsa");
  });
});
