/** `gitwharf serve --audit-log`, the commands that write into the same log, and `gitwharf audit verify`. */
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { CLI, runGitwharf } from "./support/run-gitwharf.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";
import { makeSshKey } from "./support/ssh-keygen.js";

let workspace: GitClient;
let repositories: string;
let file: string;
let serving: ServeProcess | undefined;

beforeEach(async () => {
  workspace = createWorkspace();
  repositories = join(workspace.directory, "repositories");
  file = join(workspace.directory, "audit.jsonl");
  await workspace.run("init", "-q", "app");
  await workspace.in("app").run("commit", "-q", "--allow-empty", "-m", "one");
});
afterEach(async () => {
  await serving?.end("SIGKILL");
  serving = undefined;
  removeDirectory(workspace);
});

const gitwharf = (args: readonly string[], input = "", more: NodeJS.ProcessEnv = {}): Promise<GitResult> => {
  const env = { ...process.env, SUDO_USER: undefined, SSH_CLIENT: undefined, ...more };
  return runGitwharf(args, { cwd: workspace.directory, env, input });
};

function lines(of = file): readonly Record<string, unknown>[] {
  return readFileSync(of, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((text) => JSON.parse(text) as Record<string, unknown>);
}

const verify = (...args: readonly string[]): Promise<GitResult> =>
  gitwharf(["audit", "verify", "-d", repositories, ...args]);

describe("commands that change something", { timeout: 240_000 }, () => {
  it("are written into the log that the server has named, by whom, and whether it was done", async () => {
    serving = await startServe(repositories, "--audit-log", file);
    const key = makeSshKey(workspace.directory, "ada");
    const on = ["-d", repositories];
    const run = async (args: readonly string[], status = 0, input = ""): Promise<string> => {
      const ran = await gitwharf([...args, ...on], input);
      expect({ ...ran, args }).toMatchObject({ status });
      return ran.stdout.trim();
    };
    await run(["user", "add", "ada", "--password-stdin"], 0, "hush-hush");
    await run(["user", "add", "ada"], 1);
    await run(["user", "password", "ada"], 0, "hush-again");
    await run(["key", "add", "ada", `${key.path}.pub`, "--read-only"]);
    const tokenText = await run(["token", "add", "ada", "--expires", "1d", "--json"]);
    const { id, token } = JSON.parse(tokenText) as { readonly id: string; readonly token: string };
    await run(["token", "remove", id]);
    await run(["public", "add", "team/app"]);
    await run(["public", "remove", "team/app"]);
    await run(["panic", "on", "--message", "stop"]);
    await run(["panic", "off"]);
    await run(["panic", "off"], 1);
    await run(["user", "remove", "ada"]);
    const made = lines().filter(({ transport }) => transport === "cli");
    expect(made.map(({ event, outcome }) => `${String(event)} ${String(outcome)}`)).toEqual([
      "user-add ok",
      "user-add refused",
      "user-password ok",
      "key-add ok",
      "token-add ok",
      "token-remove ok",
      "public-add ok",
      "public-remove ok",
      "panic-on ok",
      "panic-off ok",
      "panic-off refused",
      "user-remove ok",
    ]);
    expect(made[0]).toMatchObject({
      user: userInfo().username,
      method: "os",
      details: { name: "ada", password: true },
    });
    expect(made[4]).toMatchObject({ details: { name: "ada", id } });
    expect(made[8]).toMatchObject({ details: { reads: false, message: "stop" } });
    for (const secret of ["hush-hush", "hush-again", token])
      expect(readFileSync(file, "utf8")).not.toContain(secret);
    expect(await verify()).toMatchObject({ status: 0 });
  });

  it("name who stands behind sudo, and from where", async () => {
    const env = { GITWHARF_AUDIT_LOG: file, SUDO_USER: "grace", SSH_CLIENT: "192.0.2.7 5555 22" };
    await gitwharf(["user", "add", "ada", "-d", repositories], "", env);
    expect(lines()[0]).toMatchObject({
      user: "grace",
      method: "sudo",
      address: "192.0.2.7",
      event: "user-add",
    });
  });

  it("change nothing that cannot be written down, but for the panic switch", async () => {
    mkdirSync(file);
    const on = ["-d", repositories, "--audit-log", file];
    const refused = await gitwharf(["user", "add", "ada", ...on]);
    expect(refused.stderr).toContain(`the audit log ${file} cannot be written`);
    expect(refused.status).toBe(1);
    expect(existsSync(join(repositories, ".gitwharf", "access.sqlite"))).toBe(false);
    const panic = await gitwharf(["panic", "on", ...on]);
    expect(panic).toMatchObject({
      status: 1,
      stdout: expect.stringContaining("on: pushes are refused") as string,
    });
    expect(panic.stderr).toContain("What this command has done stands, unrecorded");
    expect(existsSync(join(repositories, ".gitwharf", "panic.json"))).toBe(true);
  });
});

describe("gitwharf serve --audit-log", () => {
  const push = (name: string): Promise<GitResult> =>
    workspace.in("app").try("push", "-q", `${serving?.url}/${name}.git`, "main");

  it("goes on after a kill at any moment, and verify tells of it", async () => {
    serving = await startServe(repositories, "--audit-log", file);
    expect((await push("a")).status).toBe(0);
    const pushes = Array.from({ length: 6 }, (_, i) => push(`k${i}`));
    await Promise.race(pushes);
    await serving.end("SIGKILL");
    const ended = await Promise.all(pushes);
    appendFileSync(file, '{"sequence":');
    const torn = await verify();
    expect(torn).toMatchObject({
      status: 1,
      stdout: expect.stringContaining("the last line is torn: 12 bytes") as string,
    });
    serving = await startServe(repositories, "--audit-log", file);
    expect((await push("b")).status).toBe(0);
    expect(await serving.end("SIGTERM")).toBe(0);
    const whole = await verify();
    expect(whole.stdout).toMatch(/note: torn, 12 bytes, and marked by line \d+/);
    expect(whole.stdout).toMatch(/^ok: \d+ lines, sequence 1 to \d+, head [0-9a-f]{64}$/m);
    expect(whole.status).toBe(0);
    // Whatever a client was told of is in the log.
    const text = readFileSync(file, "utf8");
    for (const [i, { status }] of ended.entries())
      if (status === 0)
        expect(text).toMatch(new RegExp(`"event":"push",.*"repository":"k${i}","outcome":"ok"`));
    expect(text).toContain('"repository":"b"');
  });

  it("shares its log with another server and with commands", async () => {
    serving = await startServe(repositories, "--audit-log", file);
    const second = await startServe(repositories, "--audit-log", file);
    try {
      const app = workspace.in("app");
      await Promise.all([
        ...Array.from({ length: 6 }, (_, i) => app.run("push", "-q", `${serving?.url}/a${i}.git`, "main")),
        ...Array.from({ length: 6 }, (_, i) => app.run("push", "-q", `${second.url}/b${i}.git`, "main")),
        gitwharf(["panic", "off", "-d", repositories]),
      ]);
      expect(lines().filter(({ event }) => event === "push")).toHaveLength(12);
      expect(await verify()).toMatchObject({ status: 0 });
    } finally {
      await second.end("SIGTERM");
    }
  });

  it("says what it cannot use", async () => {
    mkdirSync(file);
    await expect(startServe(repositories, "--audit-log", file)).rejects.toThrow(
      /ended with 1.*cannot be written/s,
    );
  });
});

describe("commands that serve over standard input and output", () => {
  const git = (...args: readonly string[]): Promise<GitResult> => workspace.in("app").try(...args);

  it("write into the log that they are told of, as who started them", async () => {
    const repository = join(repositories, "app.git");
    await workspace.run("init", "-q", "--bare", repository);
    const program = (service: string): string => `${process.execPath} ${CLI} ${service} --audit-log ${file}`;
    expect(
      await git("push", "-q", `--receive-pack=${program("receive-pack")}`, repository, "main"),
    ).toMatchObject({
      status: 0,
    });
    const clone = ["clone", "-q", "-u", program("upload-pack"), `file://${repository}`, "copy"];
    expect((await workspace.try(...clone)).status).toBe(0);
    const common = { transport: "stdio", user: userInfo().username, method: "os", repository };
    expect(lines()).toMatchObject([
      { ...common, event: "push-begin" },
      { ...common, event: "push", outcome: "ok", refs: [{ name: "refs/heads/main", outcome: "accepted" }] },
      { ...common, event: "fetch", outcome: "ok" },
    ]);
    renameSync(file, `${file}.1`);
    mkdirSync(file);
    const refused = await git("push", `--receive-pack=${program("receive-pack")}`, repository, "main:two");
    expect(refused.stderr).toContain("the server cannot write its audit log");
    expect(refused.status).toBe(128);
  });

  it("write as the user whom sshd has signed in, into the log of the directory", async () => {
    serving = await startServe(repositories, "--audit-log", file);
    await git("push", "-q", `${serving.url}/app.git`, "main");
    const env = { SSH_ORIGINAL_COMMAND: "git-upload-pack 'app.git'", SSH_CLIENT: "192.0.2.7 5 22" };
    await gitwharf(["ssh-command", "ada", "-d", repositories], "0000", env);
    expect(lines().findLast(({ event }) => event === "fetch")).toMatchObject({
      user: "ada",
      method: "ssh-command",
      transport: "ssh",
      address: "192.0.2.7",
      repository: "app",
      outcome: "ok",
    });
    await gitwharf(["user", "add", "ada", "-d", repositories]);
    const removed = await gitwharf(
      ["ssh-command", "ada", "--key", "SHA256:gone", "-d", repositories],
      "",
      env,
    );
    expect(removed.status).toBe(1);
    expect(lines().at(-1)).toMatchObject({
      event: "sign-in",
      transport: "ssh",
      address: "192.0.2.7",
      credentialId: "SHA256:gone",
      outcome: "unauthenticated",
      reason: expect.stringContaining("is not one of 'ada' any more") as string,
    });
    expect(await verify()).toMatchObject({ status: 0 });
  });
});

describe("gitwharf audit verify", () => {
  let made: GitClient | undefined;

  beforeEach(async () => {
    made ??= await makeLog();
    cpSync(made.directory, workspace.directory, { recursive: true });
  });
  afterAll(() => {
    if (made !== undefined) removeDirectory(made);
  });

  async function makeLog(): Promise<GitClient> {
    const elsewhere = createWorkspace();
    const to = (name: string): string => join(elsewhere.directory, name);
    for (const name of ["ada", "ben", "cyd"])
      await gitwharf(["user", "add", name, "-d", to("repositories"), "--audit-log", to("audit.jsonl")]);
    return elsewhere;
  }

  const headOf = ({ stdout }: GitResult): string => /head ([0-9a-f]{64})/.exec(stdout)?.[1] ?? "";

  it("names file, line and what is wrong, and exits with 1", async () => {
    const good = await verify(file);
    expect(good).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^ok: 3 lines, sequence 1 to 3/) as string,
    });
    writeFileSync(file, readFileSync(file, "utf8").replace('"name":"ben"', '"name":"eve"'));
    const bad = await verify(file);
    expect(bad.stdout).toContain(
      `${file}:3: error: does not follow the line before it: one of the two was changed`,
    );
    expect(bad.stdout).toMatch(/^1 error: 3 lines/m);
    expect(bad.status).toBe(1);
    const json = await verify(file, "--json");
    const parsed = json.stdout
      .trim()
      .split("\n")
      .map((text) => JSON.parse(text) as object);
    expect(parsed).toMatchObject([
      { file, line: 3, isError: true },
      { lines: 3, errors: 1 },
    ]);
  });

  it("sees a tail that was cut off against a head that was remembered", async () => {
    const head = headOf(await verify(file));
    expect((await verify(file, "--head", head)).status).toBe(0);
    const text = readFileSync(file, "utf8");
    writeFileSync(file, `${text.split("\n").slice(0, 2).join("\n")}\n`);
    rmSync(`${file}.head`);
    expect((await verify(file)).status).toBe(0);
    const cut = await verify(file, "--head", head);
    expect(cut).toMatchObject({
      status: 1,
      stdout: expect.stringContaining("no line has the remembered head") as string,
    });
  });

  it("takes rotated files in order, or what the one before ended with", async () => {
    const head = headOf(await verify(file));
    renameSync(file, `${file}.1`);
    await gitwharf(["user", "remove", "ben", "-d", repositories, "--audit-log", file]);
    expect((await verify(`${file}.1`, file)).status).toBe(0);
    expect((await verify(file, "--after", head)).status).toBe(0);
    expect((await verify(file)).status).toBe(1);
    expect((await verify(file, `${file}.1`)).status).toBe(1);
  });

  it("exits with 2 for what it cannot look at", async () => {
    expect(await verify("nowhere.jsonl")).toMatchObject({ status: 2 });
    expect(await verify(file, "--head", "abc")).toMatchObject({ status: 2 });
    expect((await verify()).stderr).toContain("name the files of the audit log");
  });
});
