/** git-lfs-authenticate with OpenSSH's client: who is told where large files are, and who is not. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import type { LfsRequest } from "../src/transport/ssh/lfs-authenticate.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey, type SshKeyFile } from "./support/ssh-keygen.js";
import { type SshTestServer, startSshServer } from "./support/ssh-server.js";

describe("git-lfs-authenticate", () => {
  let workspace: GitClient;
  let server: SshTestServer;
  let writer: SshKeyFile;
  let reader: SshKeyFile;
  const asked: LfsRequest[] = [];

  beforeAll(async () => {
    workspace = createWorkspace();
    writer = makeSshKey(workspace.directory, "writer");
    reader = makeSshKey(workspace.directory, "reader");
    const repositories = createMemoryRepositoryStore();
    for (const name of ["team/app", "secret", "broken"]) await repositories.create(name);
    server = await startSshServer({
      repositories,
      authenticate: (credentials) =>
        credentials.kind === "ssh-key"
          ? { user: credentials.blob.equals(writer.blob) ? "ada" : "bob" }
          : undefined,
      policies: [
        { effect: "allow", users: ["ada"] },
        { effect: "allow", operations: ["read"], repositories: ["team/*"] },
      ],
      sshServer: {
        lfsAuthenticate: (request) => {
          if (request.repository === "broken") throw new Error("the store of large files is away");
          asked.push(request);
          const { user } = request.identity;
          return {
            href: "https://lfs.example.org/",
            header: { Authorization: `RemoteAuth ${user}` },
            expires_in: 60,
          };
        },
      },
    });
  });
  afterAll(async () => {
    await server.close();
    removeDirectory(workspace);
  });

  const ask = (key: SshKeyFile, command: string): ReturnType<ReturnType<typeof createSshClient>["ssh"]> =>
    createSshClient({ directory: workspace.directory, port: server.ssh.port, keys: [key.path] }).ssh([
      "git@127.0.0.1",
      command,
    ]);

  it("answers in JSON who may, with the identity", async () => {
    const answer = await ask(writer, "git-lfs-authenticate team/app.git upload");
    expect(answer).toMatchObject({ status: 0, stderr: "" });
    expect(JSON.parse(answer.stdout)).toEqual({
      href: "https://lfs.example.org/",
      header: { Authorization: "RemoteAuth ada" },
      expires_in: 60,
    });
    const id = "a".repeat(64);
    expect(await ask(reader, `git-lfs-authenticate 'team/app.git' download ${id}`)).toMatchObject({
      status: 0,
    });
    expect(
      asked.map(({ identity, repository, operation }) => [identity.user, repository, operation]),
    ).toEqual([
      ["ada", "team/app", "upload"],
      ["bob", "team/app", "download"],
    ]);
  });

  it("is refused as reading and pushing would be, before anybody is asked", async () => {
    asked.length = 0;
    const pushing = await ask(reader, "git-lfs-authenticate team/app.git upload");
    expect(pushing).toMatchObject({ status: 1, stdout: "" });
    // Who may not read it is told the same as where there is nothing.
    const hidden = await ask(reader, "git-lfs-authenticate secret download");
    const absent = await ask(reader, "git-lfs-authenticate absent download");
    expect(hidden).toMatchObject({ status: 1, stdout: "" });
    expect(hidden.stderr).toBe(absent.stderr.replace("absent", "secret"));
    for (const command of ["team/app.git", "team/app.git delete", "../x download", "team/app.git upload; id"])
      expect(await ask(writer, `git-lfs-authenticate ${command}`)).toMatchObject({ status: 1, stdout: "" });
    expect(asked).toEqual([]);
  });

  it("that fails on our side says no more than that", async () => {
    const { status, stdout, stderr } = await ask(writer, "git-lfs-authenticate broken download");
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(/^gitwharf: /);
    expect(stderr).not.toContain("store of large files");
    expect(server.said.join("\n")).toContain("the store of large files is away");
  });
});
