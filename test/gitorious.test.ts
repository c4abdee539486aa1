/** A Gitorious application, asked by its internal API as it stands; over HTTP with the real client. */
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { GitoriousOptions } from "../src/access/gitorious/gitorious-options.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type GitoriousTestApplication, startGitoriousApplication } from "./support/gitorious-application.js";
import { type RawAnswer, send } from "./support/raw-http.js";

const PASSWORD = "correct horse/battery&staple";
const NULL = "0".repeat(40);

let application: GitoriousTestApplication;
let workspace: GitClient;
let app: GitClient;
let root: string;
let server: GitServer | undefined;
let url: string;
let logged: ServiceLogEntry[];

beforeEach(async () => {
  application = await startGitoriousApplication();
  workspace = createWorkspace();
  root = join(workspace.directory, "repositories");
  for (const name of ["ab/cd/0123", "ab/cd/4567"])
    await workspace.run("init", "-q", "--bare", join("repositories", `${name}.git`));
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  application.users.set("ada", PASSWORD).set("bob", PASSWORD);
  application.repositories
    .set("project/app.git", { fullPath: join(root, "ab/cd/0123.git"), pushers: ["ada"] })
    .set("~ada/project/secret.git", {
      fullPath: join(root, "ab/cd/4567.git"),
      readers: ["ada"],
      pushers: ["ada"],
    });
  logged = [];
});
afterEach(async () => {
  await server?.close({ graceMs: 0 });
  server = undefined;
  await application.close();
  removeDirectory(workspace);
});

async function serve(
  gitorious: Partial<GitoriousOptions> = {},
  options: Partial<GitServerOptions> = {},
): Promise<void> {
  server = createGitServer({
    repositories: root,
    gitorious: { url: application.url, retries: 0, cacheSeconds: 0, ...gitorious },
    log: (entry) => logged.push(entry),
    ...options,
  });
  ({
    http: { url },
  } = await server.listen({ http: 0 }));
}

const as = (user: string, path = "project/app.git", password = PASSWORD): string =>
  `${url.replace("://", `://${encodeURIComponent(user)}:${encodeURIComponent(password)}@`)}/${path}`;
const basic = (user: string, password = PASSWORD): Record<string, string> => ({
  Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`,
});
const ask = async (
  path: string,
  headers: Record<string, string> = {},
): Promise<[number, string, string | undefined]> => {
  const answer: RawAnswer = await send(url, { headers, path });
  return [answer.status, answer.body.toString(), answer.headers["www-authenticate"]];
};
const upload = (path: string): string => `/${path}/info/refs?service=git-upload-pack`;
const receive = (path: string): string => `/${path}/info/refs?service=git-receive-pack`;
const messages = (): string => logged.map(({ message }) => message).join("\n");
const asked = (path: string): readonly Readonly<Record<string, string>>[] =>
  application.calls.filter((call) => call.path === path).map(({ parameters }) => parameters);

describe("a Gitorious application", () => {
  it("is asked as its contract says, and its answers hold", async () => {
    await serve();
    await app.run("push", "-q", as("ada@example.org"), "main", "main:refs/heads/two");
    const id = await app.run("rev-parse", "main");
    expect(asked("/authenticate")[0]).toEqual({ username: "ada@example.org", password: PASSWORD });
    expect(asked("/repo-config").at(-1)).toEqual({ repo_path: "project/app.git", username: "ada" });
    expect(application.calls.every(({ headers }) => headers.accept === "application/json")).toBe(true);
    const refs = ["main", "two"].map((name) => ({
      username: "ada",
      repository_id: "1",
      refname: `refs/heads/${name}`,
      oldsha: NULL,
      newsha: id,
    }));
    expect(asked("/hooks/pre-receive")).toEqual(refs.map((ref) => ({ ...ref, mergebase: "" })));
    expect(await application.received("/hooks/post-receive", 2)).toMatchObject(
      refs.map((parameters) => ({ method: "POST", parameters })),
    );
    await workspace.run("clone", "-q", `${url}/project/app.git`, "copy");
    expect(asked("/repo-config").at(-1)).toEqual({ repo_path: "project/app.git", username: "" });
    expect(await workspace.in("copy").run("rev-parse", "HEAD")).toBe(id);
    expect(await workspace.in("repositories/ab/cd/0123.git").run("rev-parse", "main")).toBe(id);
  });

  it("is told the merge base, and one refused ref refuses the push with the first line of the text", async () => {
    await serve();
    await app.run("push", "-q", as("ada"), "main");
    const base = await app.run("rev-parse", "main");
    await app.run("commit", "-q", "--allow-empty", "-m", "two");
    await app.run("push", "-q", as("ada"), "main");
    const old = await app.run("rev-parse", "main");
    await app.run("reset", "-q", "--hard", base);
    await app.run("commit", "-q", "--allow-empty", "-m", "three");
    application.refusals.set("refs/heads/kept", "refs/heads/kept is kept\nng refs/heads/main x\n");
    const refused = await app.try("push", "-f", as("ada"), "main", "main:kept");
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("main -> kept (refs/heads/kept is kept)");
    expect(refused.stderr).toContain("main -> main (refs/heads/kept is kept)");
    expect(asked("/hooks/pre-receive").at(-1)).toMatchObject({ refname: "refs/heads/kept", mergebase: "" });
    expect(asked("/hooks/pre-receive").at(-2)).toMatchObject({
      refname: "refs/heads/main",
      oldsha: old,
      mergebase: base,
    });
    expect(await app.run("ls-remote", as("ada"), "main")).toContain(old);
    await app.run("push", "-q", "-f", as("ada"), "main", "main:gone");
    await app.run("push", "-q", as("ada"), ":gone");
    expect(asked("/hooks/pre-receive").at(-1)).toMatchObject({ newsha: NULL, mergebase: "" });
    const delivered = await application.received("/hooks/post-receive", 5);
    expect(delivered.map(({ parameters }) => parameters["oldsha"])).toEqual([
      NULL,
      base,
      old,
      NULL,
      await app.run("rev-parse", "main"),
    ]);
    expect(logged.find(({ fields }) => fields?.["outcome"] === "denied")?.fields).toMatchObject({
      user: "ada",
      address: "127.0.0.1",
      repository: "ab/cd/0123",
      service: "receive-pack",
      milliseconds: expect.any(Number) as number,
    });
  });

  it("answers over HTTP in Gitorious's words", async () => {
    await serve();
    const realm = 'Basic realm="Gitorious", charset="UTF-8"';
    expect(await ask(upload("project/app.git"), basic("ada", "wrong"))).toEqual([
      401,
      "Invalid username or password\n",
      realm,
    ]);
    expect(await ask(upload("project/app.git"), { Authorization: "Basic %%%" })).toEqual([
      401,
      "Invalid username or password\n",
      realm,
    ]);
    for (const path of ["project/app.git", "~ada/project/secret.git", "no/such.git"])
      expect(await ask(receive(path))).toEqual([401, "Anonymous pushing not allowed\n", realm]);
    const posted = await send(`${url}/project/app.git/git-receive-pack`, {
      headers: { "Content-Type": "application/x-git-receive-pack-request" },
      body: "0000",
    });
    expect([posted.status, posted.body.toString()]).toEqual([401, "Anonymous pushing not allowed\n"]);
    expect(await ask(upload("~ada/project/secret.git"))).toEqual([401, "Access denied\n", realm]);
    expect(await ask(upload("~ada/project/secret.git"), basic("bob"))).toEqual([
      403,
      "Access denied\n",
      undefined,
    ]);
    expect((await ask(upload("~ada/project/secret.git"), basic("ada")))[0]).toBe(200);
    for (const headers of [{}, basic("ada")])
      expect(await ask(upload("no/such.git"), headers)).toEqual([
        404,
        "Invalid repository path\n",
        undefined,
      ]);
    for (const path of [
      "/",
      "/project/app.git",
      upload("project/../app.git"),
      upload("project/app"),
      upload("project/a%20b.git"),
      upload(".git"),
    ])
      expect(await ask(path, basic("ada")), path).toEqual([400, "Invalid command\n", undefined]);
  });

  it("has every session logged, also of who is not let in", async () => {
    await serve();
    await ask(receive("project/app.git"), basic("ada", "wrong"));
    await ask(upload("~ada/project/secret.git"), basic("bob"));
    await ask(upload("project/app.git"), basic("ada"));
    const sessions = logged.flatMap(({ fields }) => (fields?.["service"] === undefined ? [] : [fields]));
    const common = { address: "127.0.0.1", transport: "http", milliseconds: expect.any(Number) as number };
    expect(sessions).toMatchObject([
      { ...common, repository: "project/app.git", service: "receive-pack-refs", outcome: "unauthenticated" },
      {
        ...common,
        user: "bob",
        repository: "~ada/project/secret.git",
        service: "upload-pack-refs",
        outcome: "denied",
      },
      { ...common, user: "ada", repository: "ab/cd/0123", service: "upload-pack-refs", outcome: "ok" },
    ]);
  });

  it("may have another realm", async () => {
    await serve({ realm: "Our Git" });
    expect((await ask(receive("project/app.git")))[2]).toBe('Basic realm="Our Git", charset="UTF-8"');
  });

  it("tells a person who may read and not push why", async () => {
    await serve();
    const refused = await app.try("push", as("bob"), "main");
    expect(refused.stderr).toContain("main -> main (You may not push here)");
    expect(asked("/hooks/post-receive")).toEqual([]);
  });

  it("is not asked again for a few seconds which repository a path stands for", async () => {
    await serve({ cacheSeconds: 60 });
    await app.run("push", "-q", as("ada"), "main");
    expect((await ask(upload("project/app.git"), basic("ada")))[0]).toBe(200);
    expect(asked("/repo-config")).toHaveLength(1);
    expect((await ask(upload("project/app.git")))[0]).toBe(200);
    expect(asked("/repo-config")).toHaveLength(2);
    expect((await ask(upload("no/such.git")))[0]).toBe(404);
    expect((await ask(upload("no/such.git")))[0]).toBe(404);
    expect(asked("/repo-config")).toHaveLength(4);
  });
});

describe("over git://", () => {
  it("the application is asked about who has not signed in", async () => {
    await app.run("push", "-q", join(root, "ab/cd/0123.git"), "main");
    for (const name of ["0123", "4567"])
      writeFileSync(join(root, `ab/cd/${name}.git/git-daemon-export-ok`), "");
    await serve();
    const listening = await server?.listen({ http: 0, git: 0 });
    const at = (path: string): string => `${listening?.git?.url ?? ""}/${path}`;
    expect(await app.run("ls-remote", at("project/app.git"))).toContain("refs/heads/main");
    expect(asked("/repo-config")).toEqual([{ repo_path: "project/app.git", username: "" }]);
    for (const path of ["~ada/project/secret.git", "no/such.git"])
      expect((await app.try("ls-remote", at(path))).stderr).toContain(
        `access denied or repository not exported: ${path.startsWith("~") ? "" : "/"}${path}`,
      );
    expect(asked("/repo-config").at(-2)).toEqual({ repo_path: "~ada/project/secret.git", username: "" });
    rmSync(join(root, "ab/cd/0123.git/git-daemon-export-ok"));
    expect((await app.try("ls-remote", at("project/app.git"))).stderr).toContain("not exported");
  });
});

describe("an application that is away, slow or lying", () => {
  const cases: readonly (readonly [string, GitoriousTestApplication["intercept"]])[] = [
    ["fails", (_call, response) => (response.writeHead(500).end("Traceback: secret"), true)],
    ["never answers", () => true],
    ["hangs up", (_call, response) => (response.destroy(), true)],
    ["talks nonsense", (_call, response) => (response.end("<html>"), true)],
    ["answers with a list", (_call, response) => (response.end("[]"), true)],
    [
      "sends elsewhere",
      (_call, response) => (response.writeHead(302, { Location: `${application.url}/ok` }).end(), true),
    ],
    ["talks without end", (_call, response) => (response.end(`"${"x".repeat(100_000)}"`), true)],
    ["says that something was made", (_call, response) => (response.writeHead(201).end("{}"), true)],
  ];

  it.each(cases)("that %s lets nobody in", async (what, intercept) => {
    await app.run("push", "-q", join(root, "ab/cd/0123.git"), "main");
    await serve({ timeoutMs: 2000 });
    for (const path of ["/authenticate", "/repo-config"]) {
      application.intercept = (call, response) => call.path === path && intercept(call, response);
      expect(await ask(upload("project/app.git"), basic("ada"))).toEqual([
        500,
        "An error occurred, please contact support\n",
        undefined,
      ]);
    }
    application.intercept = (call, response) =>
      call.path === "/hooks/pre-receive" && intercept(call, response);
    const pushed = await app.try("push", as("ada"), "main:other");
    const heads = await app.run("ls-remote", "--heads", as("ada"));
    // Of these answers nothing but the status is read.
    if (what.startsWith("talks") || what.startsWith("answers with")) expect(heads).toContain("other");
    else {
      expect(pushed.stderr).toContain("(the server could not ask whether you may push; try again later)");
      expect(heads).not.toContain("other");
    }
    expect(messages()).not.toContain("correct");
    expect(messages()).not.toContain("staple");
  });

  it.each([
    ["outside of the roots", "/etc/passwd"],
    ["beside them", "ROOT/../other/app.git"],
    ["that is relative", "ab/cd/0123.git"],
    ["that is the root itself", "ROOT"],
    ["that is a number", 7],
    ["that is missing", undefined],
    ["of two lines", "ROOT/ab\ncd"],
  ])("with a full_path %s is not believed", async (_what, path) => {
    await serve();
    const fullPath = typeof path === "string" ? path.replace("ROOT", root) : path;
    application.repositories.set("project/lie.git", {
      fullPath: "",
      pushers: ["ada"],
      more: { full_path: fullPath },
    });
    expect(await ask(upload("project/lie.git"), basic("ada"))).toEqual([
      500,
      "An error occurred, please contact support\n",
      undefined,
    ]);
    expect(logged.some(({ level }) => level === "error")).toBe(true);
  });

  it("is left alone for a while when it is away, and not for what it chokes on", async () => {
    await serve({ breakerFailures: 2, breakerResetMs: 600_000 });
    const status = async (path: string): Promise<number> => (await ask(upload(path)))[0];
    let failing = 500;
    application.intercept = (call, response) => {
      if (call.parameters["repo_path"] !== "odd.git") return false;
      response.writeHead(failing).end();
      return true;
    };
    for (let i = 0; i < 3; i++) expect(await status("odd.git")).toBe(500);
    expect(await status("project/app.git")).toBe(200);
    failing = 503;
    for (let i = 0; i < 3; i++) expect(await status("odd.git")).toBe(500);
    expect(await status("project/app.git")).toBe(500);
  });

  it("is believed within the allowed roots only", async () => {
    await serve({ roots: [join(root, "ab/cd/4567.git"), join(root, "ef")] });
    expect((await ask(upload("project/app.git")))[0]).toBe(500);
  });

  it("does not make a repository that is not there", async () => {
    await serve({}, { autoCreate: "push" });
    application.repositories.set("project/new.git", { fullPath: join(root, "new.git"), pushers: ["ada"] });
    expect(await ask(receive("project/new.git"), basic("ada"))).toEqual([
      404,
      "Invalid repository path\n",
      undefined,
    ]);
  });

  it("may not call somebody what nobody can be called", async () => {
    await serve();
    application.intercept = (call, response) => {
      if (call.path !== "/authenticate") return false;
      response.end(JSON.stringify({ username: "ada\nroot" }));
      return true;
    };
    expect((await ask(upload("project/app.git"), basic("ada")))[0]).toBe(500);
  });
});

describe("hooks beside a Gitorious application", () => {
  const script = (path: string, text: string, mode = 0o755): void => {
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, `#!/bin/sh\n${text}\n`);
    chmodSync(path, mode);
  };
  const out = (name: string): string => join(workspace.directory, name);
  const hook = (name: string, repository = "ab/cd/0123.git"): string => join(root, repository, "hooks", name);
  const record = (name: string): string =>
    `{ echo "$0" "$@"; cat; env | grep -E '^(GITORIOUS_|REMOTE_USER)' | sort; } >> '${out(name)}'`;

  it("get all lines, three arguments, and Gitorious's environment", async () => {
    application.repositories.set("project/app.git", {
      fullPath: join(root, "ab/cd/0123.git"),
      pushers: ["ada"],
      more: { custom_pre_receive_path: out("configured-pre-receive") },
    });
    for (const name of ["pre-receive", "update", "post-receive"])
      script(hook(`custom-${name}`), record(name));
    await serve();
    await app.run("push", "-q", as("ada"), "main", "main:two");
    const id = await app.run("rev-parse", "main");
    const lines = ["main", "two"].map((name) => `${NULL} ${id} refs/heads/${name}`);
    const environment = [
      `GITORIOUS_CUSTOM_PRE_RECEIVE_PATH=${out("configured-pre-receive")}`,
      "GITORIOUS_GIT_CLONE_URL=git://example.org/project/app.git",
      "GITORIOUS_HTTP_CLONE_URL=http://example.org/project/app.git",
      "GITORIOUS_PROTO=http",
      "GITORIOUS_REPOSITORY_ID=1",
      "GITORIOUS_SSH_CLONE_URL=git@example.org:project/app.git",
      "GITORIOUS_USER=ada",
      "REMOTE_USER=ada",
    ];
    const read = (name: string): string[] => readFileSync(out(name), "utf8").trim().split("\n");
    for (const name of ["pre-receive", "post-receive"])
      expect(read(name)).toEqual([hook(`custom-${name}`), ...lines, ...environment]);
    expect(read("update")).toEqual(
      ["main", "two"].flatMap((name) => [
        `${hook("custom-update")} refs/heads/${name} ${NULL} ${id}`,
        ...environment,
      ]),
    );
  });

  it("are looked for in the repository, in the server's directory, and where the application says", async () => {
    const hooksDirectory = out("hooks");
    application.repositories.set("project/app.git", {
      fullPath: join(root, "ab/cd/0123.git"),
      pushers: ["ada"],
      more: { custom_pre_receive_path: out("configured") },
    });
    const places = [
      hook("custom-pre-receive"),
      join(hooksDirectory, "custom-pre-receive"),
      out("configured"),
    ];
    for (const place of places) script(place, `echo "$0" >> '${out("ran")}'`);
    await serve({ hooksDirectory });
    for (const [i, place] of places.entries()) {
      await app.run("push", "-q", as("ada"), `main:branch-${i}`);
      // Not executable: as good as absent, and without a hint, because Gitorious puts examples there.
      chmodSync(place, 0o644);
    }
    const pushed = await app.tryWith({}, "push", as("ada"), "main:branch-3");
    expect(pushed).toMatchObject({ status: 0 });
    expect(pushed.stderr).not.toContain("hint");
    expect(readFileSync(out("ran"), "utf8").trim().split("\n")).toEqual(places);
  });

  it("run after the application has allowed all, and may refuse; post-receive after it was told", async () => {
    script(hook("custom-pre-receive"), `cat; touch '${out("pre")}'; exit 1`);
    await serve();
    application.refusals.set("refs/heads/kept", "kept");
    expect((await app.try("push", as("ada"), "main:kept")).stderr).toContain("(kept)");
    expect(() => readFileSync(out("pre"))).toThrow("ENOENT");
    const refused = await app.try("push", as("ada"), "main");
    expect(refused.stderr).toMatch(/remote: 0{40} [0-9a-f]{40} refs\/heads\/main/);
    expect(refused.stderr).toContain("(pre-receive hook declined)");
    expect(asked("/hooks/post-receive")).toEqual([]);
    script(hook("custom-pre-receive"), "exit 0");
    let toldWhenRun: number | undefined;
    application.intercept = (call, response) => {
      if (call.path === "/told") toldWhenRun = asked("/hooks/post-receive").length;
      if (call.path !== "/told") return false;
      response.end();
      return true;
    };
    const node = `require("http").get("${application.url}/told").end()`;
    script(hook("custom-post-receive"), `exec '${process.execPath}' -e '${node}'`);
    await app.run("push", "-q", as("ada"), "main");
    await application.received("/told", 1);
    expect(toldWhenRun).toBe(1);
  });

  it("of a repository find Gitorious's environment, too", async () => {
    script(hook("update"), `env | grep -E '^(GITORIOUS_|GITWHARF_USER)' | sort > '${out("own")}'`);
    await serve({}, { repositoryHooks: true });
    await app.run("push", "-q", as("ada"), "main");
    const found = readFileSync(out("own"), "utf8");
    expect(found).toContain("GITORIOUS_REPOSITORY_ID=1\n");
    expect(found).toContain("GITWHARF_USER=ada\n");
  });

  it("keep what dumb clients read current", async () => {
    await serve();
    await app.run("tag", "-a", "-m", "v1", "v1");
    await app.run("push", "-q", as("ada"), "main", "v1");
    const repository = workspace.in("repositories/ab/cd/0123.git");
    const read = (path: string): string => readFileSync(join(repository.directory, path), "utf8");
    const refs = read("info/refs");
    const packs = read("objects/info/packs");
    await repository.run("update-server-info");
    expect(refs).toBe(read("info/refs"));
    expect(packs.trim().split("\n").toSorted()).toEqual(
      read("objects/info/packs").trim().split("\n").toSorted(),
    );
    expect(packs).toMatch(/^P pack-[0-9a-f]{40}\.pack\n\n$/);
    await app.run("push", "-q", as("ada"), ":v1");
    expect(read("info/refs")).toMatch(/^[0-9a-f]{40}\trefs\/heads\/main\n$/);
  });

  it("are required, if asked for: without pre-receive nothing is served", async () => {
    await serve({}, { requirePreReceive: true });
    const status = async (path = upload("project/app.git")): Promise<number> => (await ask(path))[0];
    expect(await status()).toBe(500);
    expect(await status("/project/app.git/HEAD")).toBe(500);
    expect((await app.try("push", as("ada"), "main")).status).not.toBe(0);
    script(hook("pre-receive"), "exit 0", 0o644);
    expect(await status()).toBe(500);
    expect(messages()).not.toContain("is not executable");
    expect(logged.map(({ error }) => String(error)).join("\n")).toContain("is not executable");
    chmodSync(hook("pre-receive"), 0o755);
    expect(await status()).toBe(200);
    await app.run("push", "-q", as("ada"), "main");
  });
});

describe("deny force pushing", () => {
  it.each([true, ["ab/**"]])(
    "refuses forced updates and deletions in Gitorious's words (%s)",
    async (deny) => {
      await serve({ denyForcePushing: deny });
      await app.run("push", "-q", as("ada"), "main", "main:gone");
      await app.run("commit", "-q", "--allow-empty", "-m", "two");
      await app.run("push", "-q", as("ada"), "main");
      await app.run("commit", "-q", "--allow-empty", "--amend", "-m", "other");
      expect((await app.try("push", "-f", as("ada"), "main")).stderr).toContain(
        "(You are not allowed to force-update refs/heads/main in this repository)",
      );
      expect((await app.try("push", as("ada"), ":gone")).stderr).toContain(
        "(You are not allowed to delete refs/heads/gone in this repository)",
      );
    },
  );

  it("leaves other repositories alone", async () => {
    await serve({ denyForcePushing: ["x/**"] });
    await app.run("push", "-q", as("ada"), "main", "main:gone");
    await app.run("push", "-q", as("ada"), ":gone");
  });
});

describe("options of gitorious", () => {
  it.each([
    [{ url: "ftp://x" }, "begins with https: or http:"],
    [{ url: "http://gitorious.example.org" }, "in the clear"],
    [{ realm: 'a"b' }, "realm is"],
    [{ roots: ["relative"] }, "roots is a list of absolute directories"],
    [{ hooksDirectory: "hooks" }, "hooksDirectory is an absolute directory"],
    [{ cacheSeconds: 1000 }, "cacheSeconds is a whole number"],
    [{ denyForcePushing: "main" }, "denyForcePushing is"],
    [{ denyForcePush: true }, "it has no 'denyForcePush'"],
    [7, "it is an object"],
  ])("%j is refused", (gitorious, text) => {
    expect(() => createGitServer({ repositories: root, gitorious: gitorious as GitoriousOptions })).toThrow(
      text,
    );
  });

  it("do not go together with callbacks that would answer the same", () => {
    expect(() =>
      createGitServer({ repositories: root, gitorious: {}, authorize: () => ({ allowed: true }) }),
    ).toThrow("both authorize and gitorious would answer");
  });
});
