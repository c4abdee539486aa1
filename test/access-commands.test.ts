/** `gitwharf user|key|token` beside a server that runs: what they change takes effect at once. */
import { existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { runGitwharf } from "./support/run-gitwharf.js";

const ED25519 =
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada@laptop\u001b[31m";

let workspace: GitClient;
let server: GitServer;
let url: string;
let database: string;

beforeEach(async () => {
  workspace = createWorkspace();
  database = `sqlite:${join(workspace.directory, "repositories/.gitwharf/access.sqlite")}`;
  server = createGitServer({
    repositories: join(workspace.directory, "repositories"),
    autoCreate: "push",
    durability: "none",
    database,
    log: () => undefined,
  });
  const { http } = await server.listen({ http: 0 });
  url = http.url;
  await workspace.run("init", "-q", "app");
  await workspace.in("app").run("commit", "-q", "--allow-empty", "-m", "one");
});
afterEach(async () => {
  await server.close({ graceMs: 0 });
  removeDirectory(workspace);
});

const gitwharf = (args: readonly string[], input = ""): Promise<GitResult> =>
  runGitwharf(args, { cwd: workspace.directory, input });

const as = (user: string, password: string): string =>
  url.replace("http://", `http://${user}:${encodeURIComponent(password)}@`);
const push = (base: string, ...args: readonly string[]) =>
  workspace.in("app").try("push", "-q", ...args, `${base}/app.git`, "HEAD:main");

// Many processes, one after the other.
describe("the commands for users, keys and tokens", { timeout: 240_000 }, () => {
  it("close a running server with the first user, and let in whom they know", async () => {
    expect(await server.isOpen()).toBe(true);
    expect((await push(url)).status).toBe(0);
    expect(existsSync(database.slice("sqlite:".length))).toBe(false);

    expect(await gitwharf(["user", "add", "ada", "--password-stdin"], "correct horse\n")).toMatchObject({
      status: 0,
      stdout: "added user ada\n",
    });
    expect(await server.isOpen()).toBe(false);
    const closed = await push(url);
    expect(closed.status).not.toBe(0);
    expect(closed.stderr).toMatch(/could not read Username|Authentication failed/);
    expect((await workspace.try("ls-remote", `${url}/app.git`)).status).not.toBe(0);
    expect((await push(as("ada", "wrong"))).stderr).toContain("Authentication failed");
    expect(await push(as("ada", "correct horse"))).toMatchObject({ status: 0 });

    const token = await gitwharf(["token", "add", "ada", "--label", "ci", "--read-only", "--expires", "1d"]);
    expect(token.stdout).toMatch(/^gitwharf_[0-9a-f]{72}\n$/);
    const secret = token.stdout.trim();
    expect((await workspace.try("ls-remote", `${as("x", secret)}/app.git`)).status).toBe(0);
    const denied = await push(as("ada", secret), "-f");
    expect(denied.stderr).toContain("this token does not allow to write");

    const listed = await gitwharf(["token", "list", "--json"]);
    expect(listed.stdout).not.toContain(secret);
    const [row] = JSON.parse(listed.stdout) as {
      id: string;
      user: string;
      label: string;
      lastUsed?: string;
    }[];
    expect(row).toMatchObject({ user: "ada", label: "ci", for: { operations: ["read"] } });
    expect(row?.lastUsed).toMatch(/^20/);
    expect((await gitwharf(["token", "remove", row?.id ?? ""])).status).toBe(0);
    expect((await workspace.try("ls-remote", `${as("x", secret)}/app.git`)).stderr).toContain(
      "Authentication failed",
    );

    expect((await gitwharf(["user", "password", "ada", "--none"])).status).toBe(0);
    expect((await push(as("ada", "correct horse"))).stderr).toContain("Authentication failed");
    expect((await gitwharf(["user", "remove", "ada"])).status).toBe(0);
    expect((await push(url)).status).not.toBe(0);
    expect(await server.isOpen()).toBe(false);
  });

  it("let anyone read a repository from one request to the next", async () => {
    await push(url);
    await gitwharf(["user", "add", "ada", "--password-stdin"], "x");
    const read = async (): Promise<number | null> =>
      (await workspace.try("ls-remote", `${url}/app.git`)).status;
    expect(await read()).not.toBe(0);
    expect((await gitwharf(["public", "add", "app.git"])).stdout).toBe("anyone may read app\n");
    expect(await read()).toBe(0);
    expect((await push(url, "-f")).stderr).toMatch(/could not read Username|Authentication failed/);
    expect(await push(as("ada", "x"))).toMatchObject({ status: 0 });
    expect((await gitwharf(["public", "list"])).stdout).toBe("app\n");
    expect((await gitwharf(["public", "remove", "app"])).stdout).toBe("app is private\n");
    expect(await read()).not.toBe(0);
    expect((await gitwharf(["public", "remove", "app"])).status).toBe(1);
  });

  it("keep keys, and print them without what would reach the terminal", async () => {
    await gitwharf(["user", "add", "ada"]);
    writeFileSync(join(workspace.directory, "key.pub"), `${ED25519}\n`);
    const added = await gitwharf(["key", "add", "ada", "key.pub", "--repository", "group/*"]);
    expect(added.stdout).toMatch(/^added key SHA256:\S{43} to ada\n$/);
    expect(await gitwharf(["key", "add", "ada"], ED25519)).toMatchObject({ status: 1 });
    const listed = await gitwharf(["key", "list", "ada"]);
    expect(listed.stdout).toMatch(
      /^ada {2}SHA256:\S+ {2}ssh-ed25519 {2}ada@laptop\?\[31m {2}\{"repositories"/,
    );
    const fingerprint = /SHA256:\S+/.exec(listed.stdout)?.[0] ?? "";
    expect((await gitwharf(["key", "remove", fingerprint])).status).toBe(0);
    expect(await gitwharf(["key", "list"])).toMatchObject({ status: 0, stdout: "" });
  });

  it("explain tells which rule decides", async () => {
    const policies = [
      { name: "kept", effect: "deny", refs: ["refs/heads/main"], actions: ["force"] },
      { name: "team", effect: "allow", users: ["@users"] },
    ];
    writeFileSync(join(workspace.directory, "c.json"), JSON.stringify({ policies }));
    const explain = (...args: readonly string[]) => gitwharf(["explain", "--config", "c.json", ...args]);
    const main = ["ada", "push", "app", "refs/heads/main", "--action"];
    expect(await explain(...main, "update")).toMatchObject({
      status: 0,
      stdout: "  kept does not match\n  team allows\nallowed by team\n",
    });
    expect(await explain(...main, "force")).toMatchObject({
      status: 1,
      stdout: "  kept denies\ndenied by kept\n",
    });
    expect((await explain("@anonymous", "read", "app")).stdout).toContain("denied: no rule allows it");
    expect((await explain("ada", "push", "app", "main")).status).toBe(2);
  });

  it("explain leaves to an application what it is asked", async () => {
    const explain = (...args: readonly string[]) => gitwharf(["explain", "--config", "c.json", ...args]);
    writeFileSync(
      join(workspace.directory, "c.json"),
      JSON.stringify({ gitorious: { denyForcePushing: true } }),
    );
    const main = ["ada", "push", "app", "refs/heads/main", "--action"];
    expect(await explain(...main, "force")).toMatchObject({
      status: 1,
      stdout: "  deny force pushing denies\ndenied by deny force pushing\n",
    });
    expect(await explain(...main, "update")).toMatchObject({
      status: 0,
      stdout: "  deny force pushing does not match\nit depends on what is pushed, or on code\n",
    });
    writeFileSync(join(workspace.directory, "c.json"), JSON.stringify({ gitorious: {} }));
    expect(await explain(...main, "force")).toMatchObject({
      status: 0,
      stdout: "it depends on what is pushed, or on code\n",
    });
  });

  it("explain knows rules about paths and about what readers see, and public repositories of the database", async () => {
    const policies = [
      { name: "ops", effect: "deny", paths: ["ops/**"] },
      {
        name: "secret",
        effect: "deny",
        operations: ["read"],
        refs: ["refs/heads/secret/**"],
        users: ["bob"],
      },
      { name: "team", effect: "allow", users: ["@users"] },
    ];
    writeFileSync(join(workspace.directory, "c.json"), JSON.stringify({ policies }));
    const explain = (...args: readonly string[]) =>
      gitwharf(["explain", "--config", "c.json", "-d", "explained", ...args]);
    expect((await explain("ada", "push", "app")).stdout).toBe(
      "  ops may deny\n  secret does not match\n  team allows\nit depends on what is pushed, or on code\n",
    );
    // Whatever is pushed, nothing allows it.
    expect(await explain("@anonymous", "push", "app")).toMatchObject({
      status: 1,
      stdout: expect.stringContaining("  ops may deny\n"),
    });
    expect(await explain("bob", "read", "app", "refs/heads/secret/x")).toMatchObject({
      status: 1,
      stdout: "  ops does not match\n  secret denies\ndenied by secret\n",
    });
    expect(await explain("bob", "read", "app", "refs/heads/main")).toMatchObject({ status: 0 });
    expect(await explain("@anonymous", "read", "app")).toMatchObject({ status: 1 });
    await gitwharf(["public", "add", "app", "-d", "explained"]);
    const open = await explain("@anonymous", "read", "app", "--json");
    expect(JSON.parse(open.stdout)).toMatchObject({
      outcome: "allowed",
      rules: [{}, {}, {}, { rule: "public repositories", verdict: "allows" }],
    });
    expect((await explain("@anonymous", "read", "other")).stdout).toContain(
      "public repositories does not match",
    );
  });

  it("make a database only with the first user, and say where", async () => {
    const listed = await gitwharf(["user", "list", "-d", "elsewhere"]);
    expect(listed).toMatchObject({ status: 1 });
    expect(listed.stderr).toMatch(/there is no database \S+elsewhere\/.gitwharf\/access.sqlite/);
    expect(existsSync(join(workspace.directory, "elsewhere"))).toBe(false);
    const added = await gitwharf(["user", "add", "ada", "-d", "elsewhere"]);
    expect(added).toMatchObject({ status: 0, stdout: "added user ada\n" });
    expect(added.stderr).toMatch(/^making the database \S+elsewhere/);
    expect(statSync(join(workspace.directory, "elsewhere/.gitwharf")).mode & 0o777).toBe(0o700);
    expect((await gitwharf(["user", "list", "-d", "elsewhere"])).stdout).toContain("ada");
    // The server that runs has its own.
    expect(await server.isOpen()).toBe(true);
  });

  it("exit with 1 for what is not there, and with 2 for what is wrong", async () => {
    await gitwharf(["user", "add", "ada"]);
    expect(await gitwharf(["user", "add", "Ada"])).toMatchObject({ status: 1 });
    expect(await gitwharf(["user", "remove", "eve"])).toMatchObject({
      status: 1,
      stderr: "gitwharf: there is no user 'eve'\n",
    });
    expect(await gitwharf(["token", "add", "eve"])).toMatchObject({ status: 1, stdout: "" });
    expect(await gitwharf(["token", "remove", "0"])).toMatchObject({ status: 1 });
    expect(await gitwharf(["key", "remove", "SHA256:x"])).toMatchObject({ status: 1 });
    const wrong = [
      ["user"],
      ["user", "add"],
      ["user", "add", "a b"],
      ["user", "list", "--database", "mysql://x"],
      ["token", "add", "ada", "--expires", "soon"],
      ["token", "add", "ada", "--ref", "refs/heads/main"],
      ["token", "add", "ada", "--ref", "allow:push:refs/heads/main"],
      ["key", "add", "ada", "absent.pub"],
    ];
    const ran = await Promise.all(wrong.map((args) => gitwharf(args)));
    expect(ran.map(({ status }, i) => [wrong[i], status])).toEqual(wrong.map((args) => [args, 2]));
    const keys = ["", "ssh-ed25519 AAAA", "-----BEGIN OPENSSH PRIVATE KEY-----", `${ED25519}\n${ED25519}`];
    // What an option would narrow, nobody here would heed.
    keys.push(`from="10.0.0.0/8" ${ED25519}`, `restrict ${ED25519}`);
    const tried = await Promise.all(keys.map((key) => gitwharf(["key", "add", "ada"], key)));
    expect(tried.map(({ status }, i) => [keys[i], status])).toEqual(keys.map((key) => [key, 2]));
    expect((await gitwharf(["user", "add", "bob", "--password-stdin"], "")).status).toBe(2);
    expect(JSON.parse((await gitwharf(["user", "list", "--json"])).stdout)).toMatchObject([
      { name: "ada", password: "no password" },
    ]);
  });
});
