/**
 * Fields of a request that are to become more than a field. Seen at GitHub (CVE-2026-3854: a push option became an internal
 * header), at Gitea 1.17.3 and Gogs (a name became an option of a program, or of a shell), and in terminals that print what
 * a server says.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Push } from "../src/engine/push.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../src/storage/repository-settings-defaults.js";
import {
  basicOf,
  type Doors,
  gitHeaders,
  openDoors,
  overGit,
  overHttp,
  overSsh,
  type RawCall,
} from "./support/doors.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { openRequest } from "./support/open-request.js";
import { pktLine, send } from "./support/raw-http.js";
import { blobOid, formatCommands, packOfBlobs } from "./support/raw-push.js";
import { SECRET, startRemoteApplication } from "./support/remote-application.js";

/** What drives a terminal; line ends and tabs do not. */
const CONTROLS = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/;
const ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\x00\x08";
const BLOB = "a blob\n";

let workspace: GitClient;
let doors: Doors;
beforeAll(() => {
  workspace = createWorkspace();
});
afterAll(() => removeDirectory(workspace));
afterEach(() => doors.close());

function storeWithOptions(): ReturnType<typeof createMemoryRepositoryStore> {
  const { receive } = DEFAULT_REPOSITORY_SETTINGS;
  return createMemoryRepositoryStore({
    settings: () => ({ ...DEFAULT_REPOSITORY_SETTINGS, receive: { ...receive, advertisePushOptions: true } }),
  });
}

function pushWith(options: readonly string[], capabilities = "report-status push-options"): Buffer {
  const commands = formatCommands([{ newOid: blobOid(BLOB), name: "refs/tags/one" }], capabilities);
  return Buffer.concat([
    Buffer.from(commands),
    Buffer.from(capabilities.includes("push-options") ? `${options.map(pktLine).join("")}0000` : ""),
    packOfBlobs(BLOB),
  ]);
}

describe("GitHub CVE-2026-3854: a push option that is to become another field", () => {
  let pushes: Push[];
  beforeEach(async () => {
    pushes = [];
    doors = await openDoors(workspace, {
      repositories: storeWithOptions(),
      policies: [{ effect: "allow" }],
      handlers: { preReceive: (push) => void pushes.push(push) },
    });
  });
  const calls = (): readonly (readonly [string, RawCall])[] => [
    ["http", overHttp(doors, basicOf("ada"))],
    ["ssh", overSsh(doors, "ada")],
    ["git", overGit(doors)],
  ];

  it.each(["ci=1\nX-Role: admin", "ci=1\r\nX-Role: admin", "ci=1\0role=admin", "\x1b[2J", "a\tb", "\x7f"])(
    "%j is refused, with all of its push, over every transport",
    async (option) => {
      for (const [, call] of calls()) {
        const answer = await call("git-receive-pack", "app", pushWith(["plain", option]));
        expect(answer).toContain("a push option contains control characters");
        expect(answer).not.toContain("unpack ok");
      }
      expect(pushes).toEqual([]);
    },
  );

  it.each(["agent=x\x1b[2J", "session-id=a\nb", "object-format=sha1\x01"])(
    "so is the capability %j",
    async (capability) => {
      for (const [, call] of calls()) {
        const answer = await call("git-receive-pack", "app", pushWith([], `report-status ${capability}`));
        expect(answer).toContain("control characters");
      }
      expect(pushes).toEqual([]);
    },
  );

  it("what else it may hold reaches handlers as one value, and says nothing about who pushes", async () => {
    const options = [
      "user=root; role=admin",
      '","identity":{"user":"root"}',
      "a=b&c=d",
      "--exec=id",
      "$(id)",
      "%0d%0a",
    ];
    for (const [transport, call] of calls()) {
      expect(await call("git-receive-pack", transport, pushWith(options))).toContain("unpack ok");
    }
    expect(
      pushes.map(({ options: given, transport, identity, repository }) => [
        given,
        transport,
        identity.user,
        repository.name,
      ]),
    ).toEqual([
      [options, "http", "ada", "http"],
      [options, "ssh", "ada", "ssh"],
      [options, "git", undefined, "git"],
    ]);
  });
});

describe("a question to an application", () => {
  it("holds what a client has sent as values, whatever is in them", async () => {
    const application = await startRemoteApplication();
    try {
      application.answer = ({ path }) =>
        path.endsWith("/authenticate")
          ? { identity: { user: "ada" } }
          : { allowed: false, reason: `no${ESCAPES}\nng refs/heads/main forged` };
      doors = await openDoors(workspace, {
        authenticate: undefined as never,
        policies: undefined as never,
        anonymousRead: [],
        remote: { url: application.url, secret: SECRET, retries: 0 },
      });
      const user = 'a","user"="root","x"="';
      const answer = await send(`${doors.httpUrl}/app.git/info/refs?service=git-upload-pack`, {
        headers: { ...basicOf(user, 'p"},"user":"root'), "X-Forwarded-For": '127.0.0.1","x":"y' },
      });
      expect(answer.status).toBe(403);
      expect(answer.body.toString()).not.toMatch(CONTROLS);
      const [authenticate, authorize] = application.asked;
      expect(authenticate?.body).toMatchObject({
        credentials: { kind: "basic", user, password: 'p"},"user":"root' },
      });
      expect(authorize?.body).toMatchObject({ identity: { user: "ada" }, repository: "app" });
      expect(application.refused).toEqual([]);
    } finally {
      await application.close();
    }
  });
});

describe("Gitea 1.17.3, Gogs: a name that is to become an option or a command", () => {
  const NAMES = [
    "--upload-pack=touch-pwned",
    "-c",
    "$(touch-pwned)",
    "`id`",
    ";id",
    "|id",
    "&&id",
    "'quoted'",
    '"x"',
    "a=b",
  ];

  it("reaches a hook as one argument, as it is", async () => {
    const root = join(workspace.directory, "repositories");
    await workspace.run("init", "-q", "--bare", "repositories/app.git");
    mkdirSync(join(root, "app.git/hooks"), { recursive: true });
    const seen = join(workspace.directory, "arguments");
    const hook = `#!/bin/sh\nprintf '%s\\n' "$#" "$1" >>'${seen}'\n`;
    writeFileSync(join(root, "app.git/hooks/update"), hook, { mode: 0o755 });
    doors = await openDoors(workspace, { repositories: root, durability: "none", repositoryHooks: true });
    const names = NAMES.map((name) => `refs/heads/${name}`);
    const body = Buffer.concat([
      Buffer.from(
        formatCommands(names.map((name) => ({ newOid: blobOid(BLOB), name: name.replace("heads", "tags") }))),
      ),
      packOfBlobs(BLOB),
    ]);
    const answer = await overSsh(doors, "ada")("git-receive-pack", "app", body);
    expect(answer).toContain("unpack ok");
    expect(readFileSync(seen, "utf8")).toBe(
      names.map((name) => `3\n${name.replace("heads", "tags")}\n`).join(""),
    );
    expect(existsSync(join(root, "app.git/touch-pwned"))).toBe(false);
  });

  it.each([
    "git-upload-pack 'app'; touch pwned",
    "git-upload-pack $(touch pwned)",
    "git-upload-pack `touch pwned`",
    "git-upload-pack --upload-pack=touch 'app'",
    "git-upload-pack '-oProxyCommand=touch pwned'",
    "git-upload-pack '--help'",
    "git-upload-pack 'app' 'other'",
    "git-upload-pack 'app'\ntouch pwned",
    "GIT_DIR=/etc git-upload-pack 'app'",
    "env git-upload-pack 'app'",
    "sh -c 'git-upload-pack app'",
    "git-shell -c \"git-upload-pack 'app'\"",
    "git -c core.fsmonitor=id upload-pack 'app'",
    "git --exec-path=/tmp upload-pack 'app'",
    "git-upload-archive 'app' --exec=id",
    "gitwharf panic on",
    "/bin/sh",
    "",
  ])("over SSH runs nothing: %j", async (command) => {
    doors = await openDoors(workspace);
    const answer = await doors.sshAs("ada").ssh(["git@127.0.0.1", command], "0000");
    expect(answer).toMatchObject({ status: 1, stdout: "" });
    expect(answer.stderr).toMatch(/^gitwharf: /);
    expect(existsSync(join(workspace.directory, "pwned"))).toBe(false);
  });

  it.each([
    "git-upload-pack --strict /app",
    "git-shell /app",
    "upload-pack /app",
    "git-upload-pack /-oProxyCommand=id",
  ])("over git:// runs nothing: %j", async (request) => {
    doors = await openDoors(workspace);
    const answer = await openRequest(doors.gitUrl, pktLine(`${request}\0host=127.0.0.1\0`));
    answer.socket.end();
    expect(await answer.closed).toMatch(/^[0-9a-f]{4}ERR /);
  });
});

describe("words that drive a terminal", () => {
  it("do not leave the server, whoever says them: policies, handlers, names, over every transport", async () => {
    await workspace.run("init", "-q", "work");
    const work = workspace.in("work");
    await work.run("commit", "-q", "--allow-empty", "-m", "one");
    doors = await openDoors(workspace, {
      policies: [
        { effect: "deny", repositories: ["closed"], reason: `closed${ESCAPES}` },
        { effect: "allow" },
      ],
      handlers: {
        preReceive: async (push) => {
          await push.print(`look${ESCAPES}\n`);
          return `refused${ESCAPES}`;
        },
      },
    });
    const ssh = doors.sshAs("ada").environment;
    const urls = [doors.httpUrl, `ssh://git@127.0.0.1:${doors.sshPort}`, doors.gitUrl];
    for (const url of urls) {
      const closed = await work.tryWith(
        { env: ssh },
        ...gitHeaders(basicOf("ada")),
        "ls-remote",
        `${url}/closed.git`,
      );
      const pushed = await work.tryWith(
        { env: ssh },
        ...gitHeaders(basicOf("ada")),
        "push",
        `${url}/app.git`,
        "main",
      );
      expect(pushed.stderr).toContain("refused?");
      expect(closed.status).toBe(128);
      for (const { stdout, stderr } of [closed, pushed]) expect(stdout + stderr).not.toMatch(CONTROLS);
    }
    const shown = await doors
      .sshAs("ada")
      .ssh(["git@127.0.0.1", `git-upload-pack 'a${ESCAPES.replaceAll("\0", "")}'`]);
    expect(shown.status).toBe(1);
    expect(shown.stderr).not.toMatch(CONTROLS);
    for (const { message } of doors.log) expect(message).not.toMatch(CONTROLS);
  });
});
