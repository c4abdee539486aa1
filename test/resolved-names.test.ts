/** Names that stand for repositories: the real client uses one name, everything behind it another. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import type { ResolveRepository } from "../src/access/repository-resolver.js";
import type { AuthorizationRequest } from "../src/engine/authorization.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { send } from "./support/raw-http.js";
import { type RemoteTestApplication, SECRET, startRemoteApplication } from "./support/remote-application.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey } from "./support/ssh-keygen.js";

let workspace: GitClient;
let app: GitClient;
let server: GitServer | undefined;
let application: RemoteTestApplication | undefined;
let url: string;
let sshPort: number | undefined;
let asked: AuthorizationRequest[];

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  await workspace.run("init", "-q", "--bare", "served/team/real.git");
  await workspace.run("init", "-q", "--bare", "outside.git");
  asked = [];
});
afterEach(async () => {
  await server?.close({ graceMs: 0 });
  await application?.close();
  server = application = undefined;
  removeDirectory(workspace);
});

async function serve(options: Partial<GitServerOptions>): Promise<void> {
  server = createGitServer({
    repositories: join(workspace.directory, "served"),
    authorize: (request) => {
      asked.push(request);
      return { allowed: true };
    },
    log: () => undefined,
    durability: "none",
    sshServer: { hostKeyDirectory: inject("hostKeyDirectory") },
    ...options,
  });
  const { http, ssh } = await server.listen({ http: 0, ssh: 0 });
  url = http.url;
  sshPort = ssh?.port;
}

const alias: ResolveRepository = (name) => ({ public: "team/real", fresh: "team/made" })[name];
const statusOf = async (name: string, service = "git-upload-pack"): Promise<number> =>
  (await send(`${url}/${name}.git/info/refs?service=${service}`)).status;

describe("a name that stands for a repository", () => {
  it("is pushed to, read and read as plain files, and authorization is about the repository", async () => {
    await serve({ resolveRepository: alias });
    await app.run("push", "-q", `${url}/public.git`, "main");
    const id = await app.run("rev-parse", "main");
    expect(await workspace.in("served/team/real.git").run("rev-parse", "main")).toBe(id);
    expect(await app.run("ls-remote", `${url}/public.git`, "main")).toContain(id);
    expect((await send(`${url}/public.git/HEAD`)).body.toString()).toBe("ref: refs/heads/main\n");
    expect(asked.length).toBeGreaterThan(3);
    expect(new Set(asked.map(({ repository }) => repository))).toEqual(new Set(["team/real"]));
    expect(asked.some(({ commands }) => commands?.length === 1)).toBe(true);
  });

  it("is used over SSH as well", async () => {
    await serve({ resolveRepository: alias, authenticate: () => ({ user: "ada" }) });

    const key = makeSshKey(workspace.directory, "key");
    const client = createSshClient({ directory: workspace.directory, port: sshPort ?? 0, keys: [key.path] });
    const git = (name: string): ReturnType<GitClient["tryWith"]> =>
      app.tryWith(
        { env: client.environment },
        "push",
        `ssh://git@127.0.0.1:${sshPort}/${name}.git`,
        "main:ssh",
      );
    expect(await git("public")).toMatchObject({ status: 0 });
    expect(await workspace.in("served/team/real.git").run("branch", "--list", "ssh")).toContain("ssh");
    const unknown = await git("team/real");
    expect(unknown.status).not.toBe(0);
    expect(unknown.stderr).toContain("repository 'team/real' does not exist");
  });

  it("makes the repository that it stands for, and no other", async () => {
    await serve({ resolveRepository: alias, autoCreate: "push" });
    await app.run("push", "-q", `${url}/fresh.git`, "main");
    expect(existsSync(join(workspace.directory, "served/team/made.git/HEAD"))).toBe(true);
    expect(existsSync(join(workspace.directory, "served/fresh.git"))).toBe(false);
  });

  it("does not tell of the name behind it", async () => {
    await serve({ resolveRepository: alias });
    const { status, body } = await send(`${url}/fresh.git/info/refs?service=git-upload-pack`);
    expect(status).toBe(404);
    expect(body.toString()).toBe("repository 'fresh' does not exist\n");
  });

  it("that stands for nothing is answered as authorization would answer", async () => {
    const authenticate = (): { user: string } => ({ user: "ada" });
    await serve({
      resolveRepository: alias,
      authenticate,
      authorize: ({ identity, repository }) =>
        identity.user === undefined
          ? { allowed: false, reason: "sign in", answer: "challenge" }
          : { allowed: repository !== "x", reason: "no", answer: "hide" },
    });
    expect([await statusOf("public"), await statusOf("nothing")]).toEqual([401, 401]);
    expect([
      await statusOf("public", "git-receive-pack"),
      await statusOf("nothing", "git-receive-pack"),
    ]).toEqual([401, 401]);
  });

  it("leads nowhere when the callback fails or points out of the store", async () => {
    const answers: Record<string, string> = { up: "../outside", root: "/etc", odd: "team/real.git/hooks" };
    await serve({
      resolveRepository: (name) => {
        if (name === "fails") throw new Error("a database is away");
        return answers[name];
      },
    });
    for (const name of ["up", "root", "odd", "fails"]) {
      const { status, body } = await send(`${url}/${name}.git/info/refs?service=git-upload-pack`);
      expect([name, status]).toEqual([name, 503]);
      expect(body.toString()).not.toContain("database");
    }
  });
});

describe("a name that a remote application resolves", () => {
  it("is a repository or a path in the roots, and nothing else", async () => {
    application = await startRemoteApplication();
    const served = join(workspace.directory, "served");
    const answers: Record<string, unknown> = {
      name: { repository: "team/real" },
      path: { fullPath: `${served}/team/real.git` },
      unknown: { unknown: true },
      outside: { fullPath: `${workspace.directory}/outside.git` },
      up: { fullPath: `${served}/team/../../outside.git` },
      upname: { repository: "../outside" },
      relative: { fullPath: "team/real.git" },
      both: { repository: "team/real", fullPath: `${served}/team/real.git` },
      no: { unknown: false },
      list: ["team/real"],
    };
    application.answer = ({ body }) => answers[String(body["name"])];
    const remote = {
      url: application.url,
      secret: SECRET,
      resolve: true,
      authorize: false,
      authenticate: false,
    };
    await serve({ remote });
    const statuses: Record<string, number> = {};
    for (const name of Object.keys(answers)) statuses[name] = await statusOf(name);
    const bad = { outside: 503, up: 503, upname: 503, relative: 503, both: 503, no: 503, list: 503 };
    expect(statuses).toEqual({ name: 200, path: 200, unknown: 404, ...bad });
    await app.run("push", "-q", `${url}/path.git`, "main");
    expect(application.asked.every(({ path }) => path === "/git/resolve")).toBe(true);
    await server?.close();
    await serve({ remote: { ...remote, roots: [join(served, "other")] } });
    expect([await statusOf("path"), await statusOf("name")]).toEqual([503, 200]);
  });
});
